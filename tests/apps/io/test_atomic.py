"""Files and folders appear whole or not at all."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from apps.io.atomic import Aside, make_folder, replacing, write_file


def test_what_interrupts_the_writing_leaves_no_part(tmp_path):
    path = tmp_path / "file"
    path.write_text("before")

    def write(part):
        part.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_file(path, write)
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("sync", [False, True])
def test_a_file_is_replaced_at_once(tmp_path, sync):
    path = tmp_path / "file"
    path.write_text("before")
    seen = []
    write_file(path, lambda part: (part.write_text("after"), seen.append(path.read_text())), sync=sync)
    assert seen == ["before"] and path.read_text() == "after" and list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_names_the_file_and_leaves_it(tmp_path):
    path = tmp_path / "file"
    path.write_text("before")

    def full(part):
        part.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match=r"file could not be written: No space left on device; what was there .* whole"):
        write_file(path, full)
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]


def test_where_the_part_cannot_be_removed_either_it_says_what_went_wrong_first(tmp_path, monkeypatch):
    """As on a disk that is mounted to be read."""

    def refused(part, **_):
        raise OSError(30, "Read-only file system", str(part))

    monkeypatch.setattr(Path, "unlink", refused)
    with pytest.raises(OSError, match="file could not be written: Read-only file system; what was there"):
        write_file(tmp_path / "file", refused)


def test_two_files_aside_do_not_meet(tmp_path, monkeypatch):
    one = Aside(tmp_path / "file")
    monkeypatch.setattr(os, "getpid", lambda: -1)
    other = Aside(tmp_path / "file")
    one.part.write_text("one")
    other.part.write_text("other")
    one.finish()
    assert (tmp_path / "file").read_text() == "one"
    other.discard()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_a_killed_process_left_is_removed_by_the_next_and_nothing_else(tmp_path):
    """Not what a living process writes, or one of another machine, nor a file of the user's."""
    script = "import os, sys\nfrom apps.io.atomic import Aside\nfrom pathlib import Path\n"
    script += "Aside(Path(sys.argv[1])).part.write_text('half')\nprint(flush=True)\n"
    killed = subprocess.run([sys.executable, "-c", script + "os.kill(os.getpid(), 9)", str(tmp_path / "a.csv")])
    assert killed.returncode == -9
    [left] = tmp_path.iterdir()
    with subprocess.Popen(
        [sys.executable, "-c", script + "input()", str(tmp_path / "b")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as living:
        assert living.stdin and living.stdout
        living.stdout.readline()
        [held] = {*tmp_path.iterdir()} - {left}
        others = [
            re.sub("[0-9a-f]{8}-", "00000000-", left.name),
            re.sub(r"-\d+", f"-{'9' * 30}", left.name),
            re.sub(r"[0-9a-f]{8}-", "", left.name),
            left.name[1:],
            left.name.replace("part", "whole"),
            ".hidden.part.csv",
        ]
        for name in others:
            (tmp_path / name).touch()
        write_file(tmp_path / "c.csv", lambda part: part.write_text("whole"))
        assert {path.name for path in tmp_path.iterdir()} == {held.name, "c.csv", *others}
        living.stdin.close()
    again = [sys.executable, "-c", script, str(tmp_path / "d")]
    subprocess.run(again, check=True)
    assert held not in tmp_path.iterdir()


def test_a_folder_is_made_once(tmp_path):
    made = []
    for _ in range(2):
        make_folder(tmp_path / "a" / "folder", lambda folder: (made.append(folder), (folder / "x").touch()))
    assert len(made) == 1 and [path.name for path in (tmp_path / "a" / "folder").iterdir()] == ["x"]


def test_what_a_link_leads_to_is_replaced(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link.csv").symlink_to(tmp_path / "there/table.csv")
    for content in ("first", "second"):
        write_file(tmp_path / "link.csv", lambda part, content=content: part.write_text(content))
        assert (tmp_path / "link.csv").is_symlink() and (tmp_path / "there/table.csv").read_text() == content
    assert len(list(tmp_path.rglob("*"))) == 3


def test_a_device_is_written_to_and_stays_one(tmp_path):
    (tmp_path / "nothing").symlink_to("/dev/null")
    write_file(tmp_path / "nothing", lambda part: part.write_text("gone"))
    assert (tmp_path / "nothing").is_char_device() and len(list(tmp_path.iterdir())) == 1


def test_a_folder_of_that_name_is_an_error_and_stays(tmp_path):
    (tmp_path / "table").mkdir()
    with pytest.raises(OSError, match="table could not be written: Is a directory"):
        write_file(tmp_path / "table", lambda part: part.write_text("x"))
    assert list(tmp_path.iterdir()) == [tmp_path / "table"]


def test_the_part_has_the_suffix_of_the_file(tmp_path):
    with replacing(tmp_path / "table.png") as part:
        assert part.suffix == ".png" and part.parent == tmp_path
        part.touch()


def test_an_error_of_another_file_keeps_its_name(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"elsewhere/mesh\.off"), replacing(tmp_path / "scores.csv"):
        (tmp_path / "elsewhere/mesh.off").read_bytes()
    assert not list(tmp_path.iterdir())
