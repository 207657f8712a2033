"""Images in a split of the user's own: a table of paths, labels and splits."""

import pytest
from PIL import Image

from apps.datasets.registry import guess_images, load_images
from apps.datasets.split_list import load

ROWS = [
    *(f"images/{label}{index}.png,{label},train" for label in "ab" for index in range(3)),
    *(f"images/{label}{index}.png,{label},test" for label in "ac" for index in range(3, 5)),
    *(f"images/b{index}.png,b,validation" for index in range(5, 7)),
]


@pytest.fixture
def table(tmp_path):
    (tmp_path / "images").mkdir()
    for index, row in enumerate(ROWS):
        Image.new("RGB", (8, 8), (20 * index, 0, 0)).save(tmp_path / row.partition(",")[0])
    path = tmp_path / "list.csv"
    path.write_text("path,label,split\n" + "\n".join(ROWS) + "\n")
    return path


def test_each_image_is_in_its_part(table, monkeypatch, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    split = load(table)
    parts = {"train": split.train, "validation": split.validation, "test": split.query}
    for part, images in parts.items():
        assert images is not None and images.root == table.parent
        named = {row.split(",")[0]: row.split(",")[1] for row in ROWS if row.endswith(part)}
        assert dict(zip(images.names, (images.classes[label] for label in images.labels), strict=True)) == named
        assert set(images.classes) == set(named.values())
        for i, name in enumerate(images.names):
            index = next(j for j, row in enumerate(ROWS) if row.startswith(name))
            assert images.image(i)[0].unique().tolist() == [20 * index]
    assert split.gallery is None


def test_the_columns_may_have_another_order_and_dress(table):
    rows = ["Split\tid\tLabel\tPath", *("\t".join([*reversed(row.split(","))]) for row in ROWS)]
    rows[1:] = [row.replace("\t", "\t7\t", 1) for row in rows[1:]]
    path = table.with_suffix(".TSV")
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(rows).encode())
    assert load(path).counts() == load(table).counts()


def test_it_is_recognised_and_has_its_own_validation(table):
    assert guess_images(table) == "table"
    given = load_images(table, "table")
    assert given.validation is not None and set(given.validation.classes) == {"b"} and len(given.train) == 6
    with pytest.raises(ValueError, match=r"--data\.validation 0\.5 beside 2 images of 1 classes that the data keep"):
        load_images(table, "table", validation=0.5)
    with pytest.raises(ValueError, match=r"--data\.split images with a table of paths, labels and splits"):
        load_images(table, "table", by="images")
    table.write_text("\n".join(["path,label,split", *ROWS[:10], "images/b5.png,d,train", "images/b6.png,e,train"]))
    kept = load_images(table, "table", validation=0.5)
    assert kept.validation is not None and len(kept.validation.classes) == len(kept.train.classes) == 2
    assert load_images(table, "table", validation=0).validation is None


def test_broken_images_are_left_out_and_counted(table, caplog):
    (table.parent / "images/a0.png").write_bytes(b"no image")
    assert len(load(table).train) == 5
    assert "1 broken" in caplog.text and "a0.png" in caplog.text
    with pytest.raises(ValueError, match=r"1 of the 12 images of .*list\.csv' cannot be used"):
        load(table, strict=True)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("images/a0.png,a,val", r"line 14 of '.*list\.csv' has the split 'val' for 'images/a0\.png'; .*validation"),
        ("images/a0.png,a,", r"line 14 .* has no split for 'images/a0\.png'"),
        ("images/a0.png,a", r"line 14 .* has no split for 'images/a0\.png'"),
        ("images/a0.png,,test", r"line 14 .* has no label for 'images/a0\.png'"),
        (",a,test", r"line 14 .* has no path"),
        ("images/gone.png,a,test", r"line 14 .* names 'images/gone\.png', which is no file"),
        ("images,a,test", r"line 14 .* names 'images', which is no file"),
        ("x\0y,a,test", r"line 14 .* is no file"),
        (f"{'x' * 5000},a,test", r"line 14 .* is no file"),
        ("images/./a0.png,a,test", r"line 14 .* names 'images/\./a0\.png', which line 2 has already"),
        ('"images/a', r"cannot be read: unexpected end of data"),
    ],
)
def test_a_wrong_line_is_named(table, row, message):
    table.write_text(table.read_text() + row + "\n")
    with pytest.raises(ValueError, match=message):
        load(table)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (ROWS[:6], "no class with two images for test"),
        (ROWS[6:10], r"fewer than two classes to train on \(0\)"),
        (ROWS[:3] + ROWS[6:], r"fewer than two classes to train on \(1\)"),
        ([*ROWS[:10], ROWS[10]], "no class with two images for validation"),
    ],
)
def test_a_part_that_cannot_be_used(table, rows, message):
    table.write_text("\n".join(["path,label,split", *rows]))
    with pytest.raises(ValueError, match=message):
        load(table)


def test_what_is_no_table(table, tmp_path):
    table.write_text("path,label\n" + ROWS[0])
    with pytest.raises(ValueError, match=r"has no split for .*; expected a table with columns path, label and split"):
        load(table)
    for where, state in (
        (tmp_path, "is a folder"),
        (tmp_path / "none.csv", "does not exist"),
        (tmp_path / "images/a0.png", "is of no such kind"),
    ):
        with pytest.raises(ValueError, match=state):
            load(where)
