"""The commands of apps.shape3d, in this process, on a few small meshes."""

import pytest
from PIL import Image

from apps.io import workers
from apps.shape3d import __main__ as app
from apps.shape3d import render

OFF = "OFF\n4 4 0\n0 0 0\n1 0 0\n0 1 0\n0 0 1\n3 0 1 2\n3 0 1 3\n3 0 2 3\n3 1 2 3\n"


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("GEOMDML_DATA", str(tmp_path / "cache"))
    monkeypatch.setattr(workers, "cores", lambda: 1)
    for path in [tmp_path / "set" / name / f"{i}.off" for name in ("bed", "sofa") for i in range(4)]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(OFF if path.name != "3.off" else OFF[:-9])
    return tmp_path / "set"


def test_check_says_what_there_is(root, capsys):
    app.main(["check", "--data.root", str(root), "--size", "16"])
    lines = capsys.readouterr().out.splitlines()
    assert "6 shapes in 2 classes, " in lines[0]
    assert [line.split()[0] for line in lines[1:3]] == ["bed", "sofa"]
    assert lines[3] == "2 broken and left out:"
    assert lines[4] == "  bed/3.off cannot be read: it says 4 vertices and 4 faces but has 7 lines of them"
    assert lines[6].startswith("12 views of 16 px of each: ") and lines[6].endswith("views.u8")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "error: no command ''"),
        (["chekc"], "error: no command 'chekc'"),
        (["check", "--data.root", "/nowhere"], r"error: '/nowhere' does not exist: .*ROOT/chair/1\.off"),
        (["check", "--data.root", "ROOT", "--size", "1"], "error: size is 1; expected 8 to 1024"),
    ],
)
def test_a_mistake_ends_with_one_line(root, args, message):
    with pytest.raises(SystemExit, match=message) as error:
        app.main([str(root) if arg == "ROOT" else arg for arg in args])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "size"),
    [
        (["--views", "5", "--shading", "normals"], (192, 32)),
        (["--cameras", "view-gcn", "--shading", "normals"], (192, 64)),  # 20 views take two lines
        (["--views", "5", "--shading", "phong", "depth", "--colours", "--pose", "principal"], (192, 32)),
    ],
)
def test_a_sheet_of_images(root, tmp_path, options, size):
    out, meshes = tmp_path / "sheet.png", [str(root / "bed" / f"{i}.off") for i in (0, 1)]
    render.main([*meshes, "--out", str(out), "--size", "16", *options])
    with Image.open(out) as image:
        assert image.size == size
        assert image.mode == "RGB"


def test_a_sheet_of_a_broken_mesh(root, tmp_path):
    with pytest.raises(SystemExit, match=r"error: '.*3\.off' cannot be read"):
        render.main([str(root / "bed" / "3.off"), "--out", str(tmp_path / "sheet.png")])
    assert not (tmp_path / "sheet.png").exists()
