"""Images without a layout: from flat and nested folders, and from lists of several kinds."""

import codecs
import csv
import os
import pickle

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from apps.datasets.image_list import load

COLOURS = {"a.png": (255, 0, 0), "b.tif": (0, 255, 0), "deep/er/c.jpg": (0, 0, 255)}


@pytest.fixture
def root(tmp_path):
    for name, colour in COLOURS.items():
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6), colour).save(path)
    return tmp_path / "images"


def check(listed, names=tuple(COLOURS)):
    assert listed.images.names == names and listed.failed == ()
    for i, colour in enumerate(COLOURS.values()):
        pixel = listed.images.image(i)[:, 3, 4].tolist()
        assert all(abs(mine - theirs) < 3 for mine, theirs in zip(pixel, colour, strict=True))


def test_a_folder_at_any_depth(root, caplog):
    (root / "notes.txt").touch()
    (root / "deep" / "._c.jpg").touch()
    listed = load(root)
    check(listed)
    assert [listed.images.classes[label] for label in listed.images.labels] == ["", "", "deep"]
    assert "1 .txt" in caplog.text and "1 hidden" in caplog.text


def test_one_image(root):
    listed = load(root / "a.png")
    assert listed.images.names == ("a.png",)


@pytest.mark.parametrize("start", [b"", codecs.BOM_UTF8])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n"])
def test_a_text_file_of_paths(root, start, end):
    path = root.parent / "list.txt"
    path.write_bytes(start + end.join(f"images/{name}" for name in COLOURS).encode())
    check(load(path), tuple(f"images/{name}" for name in COLOURS))
    path.write_text(end.join(str(root / name) for name in COLOURS))
    check(load(path), tuple(str(root / name) for name in COLOURS))


@pytest.mark.parametrize("name", ["x" * 300 + ".png", "y/" * 3000 + "z.png", "a\0b.png"])
def test_a_name_that_no_file_can_have_fails_alone(root, name):
    path = root.parent / "list.txt"
    path.write_text(f"images/a.png\n{name}\n")
    listed = load(path)
    assert listed.images.names == ("images/a.png",) and [failed for failed, _ in listed.failed] == [name]
    with pytest.raises(ValueError, match="does not exist"):
        load(name)


def test_paths_from_the_working_folder(root, tmp_path, monkeypatch):
    monkeypatch.chdir(root)
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/of_find").write_text("".join(f"./{name}\n" for name in COLOURS))
    check(load(tmp_path / "lists/of_find"), tuple(f"./{name}" for name in COLOURS))


@pytest.mark.parametrize("column", ["path", "Image", "filename"])
@pytest.mark.parametrize("kind", [".csv", ".tsv", ".parquet", "dictionary", "view"])
def test_a_table_with_a_column_of_paths(root, column, kind):
    path = root / f"table{kind if kind[0] == '.' else '.parquet'}"
    labels = ["x", "y", "x"]
    if path.suffix == ".parquet":
        names = pa.array(list(COLOURS))
        names = names.dictionary_encode() if kind == "dictionary" else names
        names = names.cast(pa.string_view()) if kind == "view" else names
        pq.write_table(pa.table({"id": [3, 2, 1], column: names, "label": labels}), path)
    else:
        with path.open("w", newline="", encoding="utf-8-sig") as file:
            writer = csv.writer(file, delimiter="," if kind == ".csv" else "\t")
            writer.writerows([["id", column, "label"], *zip("321", COLOURS, labels, strict=True)])
    listed = load(path)
    check(listed)
    assert listed.images.classes == ("x", "y") and listed.images.labels.tolist() == [0, 1, 0]


def test_what_cannot_be_decoded_is_named_with_the_reason(root):
    (root / "d.png").write_bytes(b"no image")
    names = ("a.png", "gone.png", "d.png", "a.png", "gone.png")
    (root.parent / "list").write_text("".join(f"images/{name}\n" for name in names))
    listed = load(root.parent / "list")
    assert listed.images.names == ("images/a.png", "images/a.png")
    assert [name for name, _ in listed.failed] == ["images/gone.png", "images/d.png", "images/gone.png"]
    assert "no such file" in listed.failed[0][1]
    assert [name for name, _ in load(root).failed] == ["d.png"]
    with pytest.raises(ValueError, match=r"1 of the 4 images of .* cannot be used: .*d\.png' cannot be decoded"):
        load(root, strict=True)


def test_a_name_that_is_no_text(root):
    name = os.fsdecode(b"caf\xe9.png")
    Image.new("RGB", (2, 2)).save(root / name)
    (root / "list").write_bytes(b"caf\xe9.png\n")
    (root / "list.csv").write_bytes(b"path,label\ncaf\xe9.png,caf\xe9\n")  # as in Latin-1
    assert load(root / "list.csv").images.classes == ("caf\\xe9",)
    for where in (root, root / "list"):
        assert "caf\\xe9.png" in load(where).images.names


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("nowhere", None, "nowhere' does not exist; expected a folder of images, an image, or a list"),
        ("empty.txt", b"\n\n", "names no images"),
        ("gone.txt", b"a\nb\n", r"2 of the 2 images of .* cannot be used"),
        ("other.csv", b"id,url\n1,2\n", r"has the columns \['id', 'url'\]; expected one of path, image"),
        ("utf16.txt", "a.png\n".encode("utf-16"), "is in UTF-16; expected a list of images in UTF-8"),
        ("broken.csv", b'path\n"a\n', "cannot be read: unexpected end of data"),
        ("no.parquet", b"PAR1 and no more", "cannot be read: .*expected a Parquet file"),
    ],
)
def test_lists_that_are_none(root, name, content, message):
    if content is not None:
        (root / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        load(root / name)


@pytest.mark.parametrize("name", [b"a" * 5000, b"nul\0.png", b"https://example.org/a.png", b"sub", b'"a.png"'])
def test_what_is_no_file_is_a_failure_and_not_the_end(root, name):
    (root / "sub").mkdir()
    (root / "list").write_bytes(name + b"\na.png\n")
    listed = load(root / "list")
    assert listed.images.names == ("a.png",) and [each for each, _ in listed.failed] == [name.decode()]


def test_a_folder_without_images_says_what_it_has(tmp_path):
    (tmp_path / "a.heic").touch()
    with pytest.raises(ValueError, match=r"has no image in it, expected .*\.tif.*; it has 1 \.heic"):
        load(tmp_path)


def test_no_name_is_not_the_working_folder():
    with pytest.raises(ValueError, match="name of the images is empty"):
        load("")


@pytest.mark.parametrize("group", [1, 2, 100])
def test_a_table_of_the_images_themselves(root, group):
    """As Hugging Face's datasets write them."""
    held = [{"bytes": (root / name).read_bytes(), "path": name} for name in COLOURS]
    rows = [*held, {"bytes": None, "path": "gone.png"}, {"bytes": b"no image", "path": None}]
    path = root / "a.parquet"
    pq.write_table(pa.table({"label": [1, 0, 1, 2, 3], "image": rows}), path, row_group_size=group)
    listed = load(path)
    assert listed.images.names == tuple(COLOURS) and listed.images.labels.tolist() == [1, 0, 1]
    (gone, no_bytes), (unnamed, no_image) = listed.failed
    assert (gone, unnamed) == ("gone.png", "a.parquet:4")
    assert "row 3 of" in no_bytes and "cannot be decoded" in no_image
    travelled = pickle.loads(pickle.dumps(listed.images))
    for i, colour in enumerate(COLOURS.values()):
        assert (travelled.image(i)[:, 3, 4].int() - torch.tensor(colour)).abs().max() < 3


def test_a_table_with_a_column_of_bytes(root):
    data = [(root / name).read_bytes() for name in COLOURS]
    pq.write_table(pa.table({"image": data}), root / "b.parquet")
    check(load(root / "b.parquet"), ("b.parquet:0", "b.parquet:1", "b.parquet:2"))


def test_a_table_of_something_else_is_refused(tmp_path):
    pq.write_table(pa.table({"image": [[1.0, 2.0]]}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"in its column 'image'; expected paths of images, or images"):
        load(tmp_path / "a.parquet")
