"""Rendering a data set: what is rendered again and what is not, what is broken, and what a kill leaves."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import pytest

from apps.datasets import furniture_views, mesh_folder
from apps.io import workers
from apps.io.packages import FetchError
from apps.shapes import cache as shape_cache
from apps.shapes import views as view_cache
from apps.shapes.cameras import ring
from apps.shapes.meshes import MeshError, MeshFile
from apps.shapes.rendering import Look, render
from apps.shapes.views import render_cached
from tests.apps.small_disk import small_disk

ROOT = Path(__file__).parents[3]
LOOK = Look(ring(2), 8)


def write(path, seed):
    corners = np.random.default_rng(seed).normal(size=(6, 3)).round(3).tolist()
    lines = ["OFF", "6 2 0", *(" ".join(map(str, corner)) for corner in corners), "3 0 1 2", "3 3 4 5"]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines))


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("GEOMDML_DATA", str(tmp_path / "cache"))
    for i in range(6):
        write(tmp_path / "set" / "ab"[i % 2] / f"{i}.off", i)
    return tmp_path / "set"


@pytest.fixture
def count(monkeypatch):
    """Rendering in this process, and how many meshes were rendered since it was last asked."""
    calls = []
    monkeypatch.setattr(workers, "cores", lambda: 1)
    monkeypatch.setattr(view_cache, "render", lambda mesh, look: calls.append(1) or render(mesh, look))

    def since() -> int:
        number = len(calls)
        calls.clear()
        return number

    return since


def check(result, look=LOOK):
    for i, source in enumerate(result.shapes.sources):
        assert np.array_equal(result.views[i].numpy(), render(source.read(), look))


def test_rendered_once(root, count, capsys):
    first = render_cached(mesh_folder.load(root), LOOK)
    said = capsys.readouterr()
    assert said.out == "" and "rendering set-" in said.err and "6/6" in said.err
    assert count() == 6 and first.broken == () and len(first.views) == len(first.shapes) == 6
    check(first)
    check(render_cached(mesh_folder.load(root), LOOK))
    assert count() == 0 and capsys.readouterr().err == ""


def test_a_changed_or_new_mesh_is_rendered_and_no_other(root, count):
    render_cached(mesh_folder.load(root), LOOK)
    count()
    before = (root / "a" / "0.off").stat()
    write(root / "a" / "0.off", 99)
    os.utime(root / "a" / "0.off", ns=(before.st_atime_ns, before.st_mtime_ns))
    write(root / "a" / "new.off", 7)
    (root / "b" / "1.off").rename(root / "b" / "renamed.off")
    result = render_cached(mesh_folder.load(root), LOOK)
    assert count() == 2 and len(result.shapes) == 7
    check(result)


def test_another_look_is_rendered_anew(root, count):
    for look in (LOOK, Look(ring(3), 8), Look(ring(2), 8, "normals"), Look(ring(2), 8, samples=1)):
        check(render_cached(mesh_folder.load(root), look), look)
        assert count() == 6


def test_twins_are_rendered_once(root, count):
    (root / "b" / "twin.off").write_bytes((root / "a" / "0.off").read_bytes())
    result = render_cached(mesh_folder.load(root), LOOK)
    assert count() == 6 and len(result.shapes) == 7
    check(result)


def test_broken_meshes_are_named_counted_and_left_out(root, count, caplog):
    (root / "a" / "0.off").write_text("OFF\n3 1 0\n0 0 0\n")
    (root / "b" / "9.off").write_text("")
    for _ in range(2):
        result = render_cached(mesh_folder.load(root), LOOK)
        assert len(result.shapes) == len(result.views) == 5
        assert result.broken == (
            "a/0.off cannot be read: it says 3 vertices and 1 faces but has 1 lines of them",
            "b/9.off cannot be read: it is empty",
        )
        check(result)
        (record,) = caplog.records
        assert "2 of 7 shapes of set-" in record.getMessage() and "a/0.off cannot" in record.getMessage()
        caplog.clear()
    assert count() == 5
    with pytest.raises(ValueError, match=r"2 of 7 shapes .* are broken: a/0\.off"):
        render_cached(mesh_folder.load(root), LOOK, strict=True)


def test_all_broken_is_an_error(root, count):
    for path in root.rglob("*.off"):
        path.write_text("OFF")
    with pytest.raises(ValueError, match=r"6 of 6 shapes of set-.* are broken: .*; \.\.\.$"):
        render_cached(mesh_folder.load(root), LOOK)


def test_a_mesh_that_is_gone_is_broken_until_it_is_back(root, count):
    shapes = mesh_folder.load(root)
    content = (root / "a" / "2.off").read_bytes()
    (root / "a" / "2.off").unlink()
    assert render_cached(shapes, LOOK).broken == ("a/2.off does not exist",)
    (root / "a" / "2.off").write_bytes(content)
    assert render_cached(shapes, LOOK).broken == ()


def test_an_interrupted_run_goes_on(root, count, monkeypatch):
    calls = []

    def three(mesh, look):
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(1)
        return render(mesh, look)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(view_cache, "render", three)
        render_cached(mesh_folder.load(root), LOOK)
    check(render_cached(mesh_folder.load(root), LOOK))
    assert count() == 3


def test_a_mesh_that_kills_its_process_is_broken_in_this_run_and_tried_in_the_next(root, count, monkeypatch):
    def third_killed(function, items, *, chunk, killed):
        yield from map(function, items[:2])
        yield killed(items[2])
        yield from map(function, items[3:])

    with monkeypatch.context() as patched:
        patched.setattr(shape_cache, "on_all_cores", third_killed)
        found = render_cached(mesh_folder.load(root), LOOK)
    assert found.broken == ("a/4.off took more memory than there is: the process that read it was killed",)
    check(found)
    assert count() == 5
    found = render_cached(mesh_folder.load(root), LOOK)
    assert found.broken == () and count() == 1
    check(found)


def test_where_no_process_starts_it_is_told_and_what_was_done_is_kept(root, count, monkeypatch):
    def two_then_killed(function, items, *, chunk, killed):
        yield from map(function, items[:2])
        raise BrokenProcessPool

    with monkeypatch.context() as patched, pytest.raises(FetchError, match=r"no process can be started for rendering"):
        patched.setattr(shape_cache, "on_all_cores", two_then_killed)
        render_cached(mesh_folder.load(root), LOOK)
    check(render_cached(mesh_folder.load(root), LOOK))
    assert count() == 6


def test_short_memory_is_an_error_of_that_mesh(root, count, monkeypatch):
    def short(mesh, look):
        raise MemoryError

    monkeypatch.setattr(view_cache, "render", short)
    with pytest.raises(MeshError, match=r"0\.off' needs more memory than there is"):
        view_cache.images_of(MeshFile(root / "a/0.off"), LOOK)


def test_a_cache_that_cannot_be_written_is_named(root, tmp_path):
    (tmp_path / "cache").touch()
    with pytest.raises(FetchError, match=r"cache.*GEOMDML_DATA"):
        render_cached(mesh_folder.load(root), LOOK)


def test_a_complete_cache_is_read_without_a_lock_or_a_write(root, count, monkeypatch):
    write(root / "a/broken.off", 0)
    (root / "a/broken.off").write_text("OFF\n3 1 0\n0 0 0\n")
    first = render_cached(mesh_folder.load(root), LOOK)

    def refused(*_, **__):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        for name in ("FileLock", "Store"):
            patched.setattr(shape_cache, name, refused)
        count()
        found = render_cached(mesh_folder.load(root), LOOK)
        assert count() == 0 and found.broken == first.broken
        check(found)
        write(root / "a/new.off", 7)  # of another it has none, and can keep none
        with pytest.raises(FetchError, match=r"cannot be kept in .*Permission denied.*GEOMDML_DATA"):
            render_cached(mesh_folder.load(root), LOOK)


def test_a_cache_on_a_read_only_disk_can_be_used(root, count, tmp_path, monkeypatch):
    with small_disk(tmp_path / "disk", 10**6) as disk:
        monkeypatch.setenv("GEOMDML_DATA", str(disk / "cache"))
        render_cached(mesh_folder.load(root), LOOK)
        for lock in disk.rglob(".lock"):
            lock.unlink()  # as in a copy
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        count()
        check(render_cached(mesh_folder.load(root), LOOK))
        assert count() == 0
        with pytest.raises(FetchError, match="Read-only file system"):
            render_cached(mesh_folder.load(root), Look(ring(3), 8))


def test_a_disk_without_locks_is_named(root, count, monkeypatch):
    def unsupported(*_, **__):
        raise NotImplementedError("FileSystem does not appear to support flock")

    monkeypatch.setattr(shape_cache, "FileLock", unsupported)
    with pytest.raises(FetchError, match=r"does not appear to support flock.*GEOMDML_DATA"):
        render_cached(mesh_folder.load(root), LOOK)


PROGRAM = """
import sys
from apps.io import workers
from apps.shapes.cameras import ring
from apps.shapes.rendering import Look
from apps.shapes.views import render_cached
from apps.datasets import mesh_folder
if __name__ == "__main__":
    workers.cores = lambda: 2
    render_cached(mesh_folder.load(sys.argv[1]), Look(ring(2), 8))
"""


def run(root, tmp_path):
    """The program in a process group of its own, in an empty folder."""
    (tmp_path / "program.py").write_text(PROGRAM)
    here = tmp_path / "here"
    here.mkdir(exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "HOME": str(here)}
    command = [sys.executable, str(tmp_path / "program.py"), str(root)]
    return subprocess.Popen(command, cwd=here, env=environment, start_new_session=True, stderr=subprocess.DEVNULL)


def group_is_alive(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until(condition, seconds=300.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_killed_in_the_middle(root, tmp_path, count):
    for i in range(150):
        write(root / "a" / f"more-{i}.off", 1000 + i)
    before = {path: path.read_bytes() for path in root.rglob("*.off")}
    process = run(root, tmp_path)
    folder = tmp_path / "cache" / "views"
    try:
        wait_until(lambda: any(len(path.read_bytes().splitlines()) > 32 for path in folder.glob("*/index.jsonl")))
        process.kill()
        process.wait()
        wait_until(lambda: not group_is_alive(process.pid))  # no worker is left behind
    finally:
        if group_is_alive(process.pid):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    result = render_cached(mesh_folder.load(root), LOOK)
    assert count() <= 156 - 32
    check(result)
    assert {path: path.read_bytes() for path in root.rglob("*.off")} == before
    assert list((tmp_path / "here").iterdir()) == []  # nor anything outside the cache


def test_a_file_is_found_by_its_content_alone(tmp_path):
    write(tmp_path / "a.off", 1)
    write(tmp_path / "b" / "c.off", 1)
    assert MeshFile(tmp_path / "a.off").key() == MeshFile(tmp_path / "b" / "c.off").key()


def test_every_view_is_an_image_and_every_shape_a_class(root, count):
    shapes = mesh_folder.load(root)
    images = furniture_views.of_views(shapes, LOOK)
    assert images.classes == shapes.names and images.names[:3] == ("a/0.off/0", "a/0.off/1", "a/2.off/0")
    assert images.labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    for row, (shape, view) in enumerate(np.ndindex(len(shapes.names), LOOK.views)):
        grey = render(shapes.sources[shape].read(), LOOK)[view]
        assert np.array_equal(images.image(row).numpy(), np.broadcast_to(grey, (3, 8, 8)))
