"""Image files: which are read, how they are decoded, and which are broken."""

import io
import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import ExifTags, Image, ImageOps
from PIL.PngImagePlugin import PngImageFile
from rich.console import Console
from rich.progress import track
from torch import Tensor

from apps.datasets import left_out as counts
from apps.datasets.labelled_images import Choose, resized_part

SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
# Never more, whatever a file's name says: some of Pillow's other readers start programs.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
SHOWN = 3
AT_ONCE = 8192  # images whose check is asked for together
_LYING = (5, 6, 7, 8)  # orientations of EXIF whose rows are columns of the file

Item = TypeVar("Item")


class Encoded(NamedTuple):
    """An image file's content, and its name for messages."""

    name: str
    data: bytes

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Files:
    """Images in files, decoded when they are asked for; `size` as in `apps.datasets.folder.load`."""

    paths: tuple[Path, ...]
    size: int | None

    def __getitem__(self, row: int) -> UInt8[Tensor, "3 H W"]:
        return decode(self.paths[row], self.size)

    def part(self, row: int, choose: Choose, size: int) -> UInt8[Tensor, "3 size size"]:
        if self.size is None:
            return decode_part(self.paths[row], choose, size)
        return resized_part(self[row], choose, size)

    def file(self, row: int) -> Path:
        return self.paths[row]


def decode(path: Path | Encoded, size: int | None = None) -> UInt8[Tensor, "3 H W"]:
    """An image file in RGB: turned as its EXIF says, transparency over white, 16 bits to 8.

    Raises:
        ValueError: the file is no such image, is broken or too large; names the path.
    """
    with _image(path) as image:
        if size is not None:
            # JPEG can leave out detail that would be averaged away.
            image.draft(None, (2 * size, 2 * size))
        _scale_transparent_colour(image)
        rgb = _upright_rgb(image)
        if size is not None:
            rgb = ImageOps.fit(rgb, (size, size), Image.Resampling.BICUBIC)
        return _tensor(rgb).contiguous()


def decode_part(path: Path | Encoded, choose: Choose, size: int) -> UInt8[Tensor, "3 size size"]:
    """A part of an image file, as `decode` gives it, at size × size; `choose` is given its height and width.

    No more than that part is made a tensor, and of a JPEG no more detail is decoded than the size can show.
    """
    with _image(path) as image:
        height, width = image.height, image.width
        if image.getexif().get(ExifTags.Base.Orientation, 1) in _LYING:
            height, width = width, height
        top, left, rows, columns = choose(height, width)
        share = 2 * size / min(rows, columns)
        if share < 1:
            image.draft(None, (math.ceil(image.width * share), math.ceil(image.height * share)))
        _scale_transparent_colour(image)
        rgb = _upright_rgb(image)
        if rgb.size == (width, height):
            part = rgb.crop((left, top, left + columns, top + rows))
            return resized_part(_tensor(part), lambda *whole: (0, 0, *whole), size)
        down, across = rgb.height / height, rgb.width / width  # what the draft has left
        box = (left * across, top * down, (left + columns) * across, (top + rows) * down)
        x, y, right, bottom = math.floor(box[0]), math.floor(box[1]), math.ceil(box[2]), math.ceil(box[3])
        part = rgb.crop((x, y, right, bottom))  # first, so that nothing from around it is averaged in
        inside = (box[0] - x, box[1] - y, box[2] - x, box[3] - y)
        return _tensor(part.resize((size, size), Image.Resampling.BICUBIC, box=inside)).contiguous()


def whole(paths: Sequence[Path], root: Path, *, strict: bool, left_out: dict[str, int] | None = None) -> list[Path]:
    """The paths without those of broken images, which are counted in one warning, with what else was `left_out`.

    Every image is decoded first, so that none of those that stay ends a training later.

    Raises:
        ValueError: an image is broken and `strict` is asked for, or none is whole.
    """
    broken = find_broken(paths, lambda path: path)
    reasons = "; ".join([*broken.values()][:SHOWN]) + ("; ..." if len(broken) > SHOWN else "")
    if broken and (strict or len(broken) == len(paths)):
        raise ValueError(f"{len(broken)} of {len(paths)} images in {str(root)!r} are broken: {reasons}")
    counts.warn(root, "images", {f"broken ({reasons})": len(broken), **(left_out or {})})
    return [path for path in paths if path not in broken]


def find_broken(items: Sequence[Item], file: Callable[[Item], Path | Encoded]) -> dict[Item, str]:
    """The items whose images cannot be decoded, and why; each is tried.

    Args:
        file: gives the file of an item; a ValueError of its own counts as a reason.
    """
    console = Console(stderr=True)
    hidden = not console.is_terminal
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow's decoders release the interpreter
        starts = range(0, len(items), AT_ONCE)  # what waits in a pool takes more room than an item
        parts = (pool.map(lambda item: _damage(item, file), items[at : at + AT_ONCE]) for at in starts)
        damage = chain.from_iterable(parts)
        tracked = track(damage, "checking images", len(items), console=console, transient=True, disable=hidden)
        return {item: reason for item, reason in zip(items, tracked, strict=True) if reason}


def _damage(item: Item, file: Callable[[Item], Path | Encoded]) -> str:
    """What is wrong with an image, or nothing."""
    try:
        path = file(item)
        with _image(path) as image:
            if image.format == "PNG":
                image.verify()  # the checksums, which are not looked at where pixels are decoded
        decode(path, size=1)  # at full size it takes ten times as long, and finds no more
    except ValueError as error:
        return str(error)
    return ""


@contextmanager
def _image(path: Path | Encoded) -> Iterator[Image.Image]:
    """An opened image; whatever goes wrong with it becomes a ValueError that names the path."""
    try:
        if isinstance(path, Path) and not path.is_file():
            raise FileNotFoundError("no such file")
        with Image.open(path if isinstance(path, Path) else io.BytesIO(path.data), formats=FORMATS) as image:
            # Where Pillow itself only warns; its warning cannot be made an error for one thread.
            if image.width * image.height > (most := Image.MAX_IMAGE_PIXELS or math.inf):
                raise Image.DecompressionBombError(f"{image.width} × {image.height} pixels; expected at most {most}")
            yield image
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise ValueError(f"{str(path)!r} is too large: {error}") from error
    # Pillow's readers raise whatever broken bytes lead them to.
    except Exception as error:
        raise ValueError(f"{str(path)!r} cannot be decoded: {error}") from error


def _tensor(rgb: Image.Image) -> UInt8[Tensor, "3 H W"]:
    return torch.from_numpy(np.array(rgb)).permute(2, 0, 1)


def _upright_rgb(image: Image.Image) -> Image.Image:
    """The image in RGB, turned as its EXIF says; itself where that is nothing to do, for a copy takes time."""
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers; expected 8 or 16 bits")
    if image.mode.startswith("I"):
        grey = np.asarray(image).astype(np.int64)
        if grey.size and not 0 <= grey.min() <= grey.max() <= 65535:
            raise ValueError("its pixels have more than 16 bits; expected 8 or 16")
        rounded = (grey * 255 + 32767) // 65535
        rounded[grey == image.info.get("transparency")] = 255
        return Image.fromarray(rounded.astype(np.uint8)).convert("RGB")
    if not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")


def _scale_transparent_colour(image: Image.Image) -> None:
    """The transparent colour of a PNG, on the scale of its pixels: Pillow has it as stored, whatever the bits."""
    layout = image.tile[0].args if isinstance(image, PngImageFile) and image.tile else None
    colour = image.info.get("transparency")
    if layout in ("L;2", "L;4") and colour is not None:
        image.info["transparency"] = colour * {"L;2": 85, "L;4": 17}[layout]
    elif layout == "RGB;16B" and colour is not None:
        image.info["transparency"] = tuple(value >> 8 for value in colour)


def text(name: str) -> str:
    """A file name that can be printed: bytes that are no UTF-8 are written out."""
    return os.fsencode(name).decode("utf-8", errors="backslashreplace")
