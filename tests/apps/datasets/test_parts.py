"""A part of an image is that of the whole image, whatever of its file is decoded."""

import numpy as np
import pytest
import torch
from PIL import Image

from apps.datasets.files import Files, decode, decode_part
from apps.datasets.labelled_images import LabelledImages, join, resized_part

BOX = (30, 100, 160, 200)  # top, left, height, width


def photograph(path, width=400, height=240, orientation=1, **options):
    """Waves of some length, the longer ones the stronger, and a corner of its own."""
    y, x = np.mgrid[:height, :width] / 16
    channels = [np.sin(x), np.cos(y), np.sin(x + y)]
    pixels = (128 + 100 * np.stack(channels, -1)).astype(np.uint8)
    pixels[: height // 4, : width // 4] = (255, 0, 0)
    exif = Image.Exif()
    exif[0x112] = orientation
    Image.fromarray(pixels).save(path, exif=exif, **options)
    return path


@pytest.mark.parametrize("size", [20, 64, 150])
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_as_of_the_whole_image(tmp_path, suffix, size):
    path = photograph(tmp_path / f"1.{suffix}")
    part, expected = decode_part(path, lambda *_: BOX, size), resized_part(decode(path), lambda *_: BOX, size)
    assert part.shape == (3, size, size) and part.dtype == torch.uint8
    off = (part.int() - expected.int()).abs()
    assert int(off.max()) <= (2 if suffix == "png" else 30) and float(off.double().mean()) < 2


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_before_the_part_is_chosen(tmp_path, orientation):
    path = photograph(tmp_path / "1.jpg", orientation=orientation)
    sizes = []

    def choose(height, width):
        sizes.append((height, width))
        return 0, 0, height // 2, width // 2

    part, expected = decode_part(path, choose, 16), resized_part(decode(path), choose, 16)
    assert sizes[0] == sizes[1] == ((240, 400) if orientation < 5 else (400, 240))
    assert float((part.int() - expected.int()).abs().double().mean()) < 2


def test_little_of_a_large_file_is_decoded(tmp_path, monkeypatch):
    path, seen = photograph(tmp_path / "1.jpg", 1600, 1200), []
    crop = Image.Image.crop
    monkeypatch.setattr(Image.Image, "crop", lambda self, box: seen.append(self.size) or crop(self, box))
    decode_part(path, lambda height, width: (0, 0, height, width), 64)
    decode_part(path, lambda height, width: (0, 0, 128, 128), 64)
    assert seen == [(200, 150), (1600, 1200)]


def test_of_files_in_memory_chosen_and_joined(tmp_path):
    path = photograph(tmp_path / "1.png")
    files = LabelledImages(np.array([0]), ("a",), ("1",), Files((path,), None))
    memory = LabelledImages(np.array([0]), ("b",), ("2",), [decode(path)])
    both = join(files, memory).of_rows([1, 0])
    expected = decode_part(path, lambda *_: BOX, 32)
    assert torch.equal(both.part(1, lambda *_: BOX, 32), expected)
    assert int((both.part(0, lambda *_: BOX, 32).int() - expected.int()).abs().max()) <= 2


def test_a_broken_file_is_named(tmp_path):
    path = tmp_path / "1.jpg"
    path.write_bytes(photograph(tmp_path / "2.jpg").read_bytes()[:500])
    with pytest.raises(ValueError, match=r"1\.jpg' cannot be decoded"):
        decode_part(path, lambda *_: BOX, 16)
