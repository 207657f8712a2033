"""IDX files are read as written, and anything else is refused by its path."""

import gzip
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.datasets import fashion_mnist, idx, mnist

RNG = np.random.default_rng(0)
PARTS = {
    "train": RNG.integers(0, 256, (20, 4, 5), dtype=np.uint8),
    "t10k": RNG.integers(0, 256, (10, 4, 5), dtype=np.uint8),
}
LABELS = {"train": np.arange(20, dtype=np.uint8) % 10, "t10k": np.arange(10, dtype=np.uint8)}


def encoded(array):
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture(params=["plain", "gzip"])
def root(request, tmp_path):
    for part in PARTS:
        for name, array in ((f"{part}-images-idx3-ubyte", PARTS[part]), (f"{part}-labels-idx1-ubyte", LABELS[part])):
            if request.param == "gzip":
                (tmp_path / f"{name}.gz").write_bytes(gzip.compress(encoded(array)))
            else:
                (tmp_path / name).write_bytes(encoded(array))
    return tmp_path


@pytest.mark.parametrize("load", [mnist.load, fashion_mnist.load])
def test_a_folder_is_read_as_it_was_written(root, load):
    found = load(root)
    for images, part in ((found.train, "train"), (found.test, "t10k")):
        assert np.array_equal(images.pixels[:, 0], PARTS[part])
        assert np.array_equal(images.labels, LABELS[part])
    assert len(found.classes) == 10


def test_a_missing_file_is_named_with_the_layout(root):
    for path in root.glob("t10k-labels*"):
        path.unlink()
    with pytest.raises(ValueError, match=r"t10k-labels-idx1-ubyte is missing.*--data\.root expects"):
        mnist.load(root)


def test_a_label_without_a_class_is_refused(root):
    for path in root.glob("t10k-labels*"):
        path.unlink()
    (root / "t10k-labels-idx1-ubyte").write_bytes(encoded(LABELS["t10k"] + 3))
    with pytest.raises(ValueError, match="label 10 has no class"):
        mnist.load(root)


def test_parts_that_do_not_fit_are_refused(root):
    for path in root.glob("train-labels*"):
        path.unlink()
    (root / "train-labels-idx1-ubyte").write_bytes(encoded(LABELS["t10k"]))
    with pytest.raises(ValueError, match="20 images and 10 labels"):
        mnist.load(root)


@given(length=st.integers(0, 415), compress=st.booleans())
def test_a_truncated_file_is_refused_by_its_path(tmp_path_factory, length, compress):
    path = tmp_path_factory.mktemp("idx") / ("images.gz" if compress else "images")
    content = encoded(PARTS["train"])
    assert len(content) == 416
    if compress:
        whole = gzip.compress(content)
        path.write_bytes(whole[: length * len(whole) // 416])
    else:
        path.write_bytes(content[:length])
    with pytest.raises(ValueError, match=str(path)):
        idx.read(path, 3)


@pytest.mark.parametrize(
    "content",
    [
        encoded(PARTS["train"]) + b"!",
        encoded(PARTS["train"][0]),
        struct.pack(">BBBB3I", 0, 0, 8, 3, 2**32 - 1, 2**32 - 1, 2**32 - 1),
        struct.pack(">BBBB3I", 0, 0, 13, 3, 1, 1, 1) + b"1234",
    ],
    ids=["too long", "another dimension", "a huge claim", "floats"],
)
def test_what_is_no_such_array_is_refused(tmp_path, content):
    path = tmp_path / "images"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=str(path)):
        idx.read(path, 3)


def test_a_gzip_bomb_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(idx, "MOST_BYTES", 1000)
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(encoded(np.zeros((100, 100, 100), np.uint8))))
    with pytest.raises(ValueError, match="more than 1000"):
        idx.read(path, 3)
