"""Your own pictures: a folder with a folder of pictures for each class."""

import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageOps
from rich.console import Console
from rich.progress import track
from torch import Tensor

from apps.datasets import class_folders
from apps.datasets.pictures import Pictures

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif"})
# Never more, whatever a file's name says: some of Pillow's other readers start programs.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
SHOWN = 3

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Files:
    """Pictures in files, decoded when they are asked for; `size` as in `load`."""

    paths: tuple[Path, ...]
    size: int | None

    def __getitem__(self, row: int) -> UInt8[Tensor, "3 H W"]:
        return decode(self.paths[row], self.size)


def load(root: str | Path, *, size: int | None = None, strict: bool = False) -> Pictures:
    """The pictures below `root`; the folders directly in it are the classes, sorted, as are their pictures.

    Every file is opened at once and checked, and decoded only when asked for. Broken pictures, and links
    that lead out of `root` or to folders, are left out and counted in one warning. Names that start with a
    dot are passed over.

    Args:
        root: jpg, jpeg, png, webp, bmp and gif (first frame) lie in ROOT/CLASS/ or deeper.
        size: height and width in pixels: the shorter side becomes as long, of the longer one the middle is
            kept. None leaves every picture its own.
        strict: a broken picture is an error.

    Raises:
        ValueError: no such folder, another layout, a class without pictures; names the path. When `strict`,
            or when none is whole, broken pictures.
    """
    root = Path(root).expanduser()
    if size is not None and size < 1:
        raise ValueError(f"size is {size}: a positive number of pixels is wanted")
    found, left_out = class_folders.find(root, SUFFIXES, what="pictures", example="ROOT/robin/1.jpg")
    broken = {path: reason for path in _tracked(found) if (reason := _damage(path))}
    reasons = "; ".join([*broken.values()][:SHOWN]) + ("; ..." if len(broken) > SHOWN else "")
    if broken and (strict or len(broken) == len(found)):
        raise ValueError(f"{len(broken)} of {len(found)} pictures in {str(root)!r} are broken: {reasons}")
    left_out = {f"broken ({reasons})": len(broken), **left_out}
    if any(left_out.values()):
        parts = ", ".join(f"{count} {what}" for what, count in left_out.items() if count)
        log.warning("left out of the pictures in %r: %s", str(root), parts)
    paths = tuple(path for path in found if path not in broken)
    names = tuple(class_folders.printable(path.relative_to(root)) for path in paths)
    classes, labels = np.unique([name.partition("/")[0] for name in names], return_inverse=True)
    return Pictures(labels.astype(np.int64), tuple(classes.tolist()), names, Files(paths, size))


def decode(path: Path, size: int | None = None) -> UInt8[Tensor, "3 H W"]:
    """A picture file in RGB: turned as its EXIF says, transparency over white, 16 bits to 8.

    Raises:
        ValueError: the file is no such picture, is broken or too large; names the path.
    """
    with _picture(path) as image:
        if size is not None:
            # JPEG can leave out detail that would be averaged away.
            image.draft(None, (2 * size, 2 * size))
        rgb = _rgb(ImageOps.exif_transpose(image))
        if size is not None:
            rgb = ImageOps.fit(rgb, (size, size), Image.Resampling.BICUBIC)
        return torch.from_numpy(np.array(rgb)).permute(2, 0, 1).contiguous()


def _tracked(paths: Sequence[Path]) -> Iterator[Path]:
    console = Console(stderr=True)
    yield from track(paths, "checking pictures", console=console, transient=True, disable=not console.is_terminal)


def _damage(path: Path) -> str:
    """What is wrong with a picture, or nothing; decodes it only where its format gives no cheaper proof."""
    try:
        with _picture(path) as image:
            if image.format == "PNG":
                image.verify()
            elif image.format != "JPEG" or not _ends_as_jpeg(path):
                image.load()
    except ValueError as error:
        return str(error)
    return ""


def _ends_as_jpeg(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-2, os.SEEK_END)
        return file.read() == b"\xff\xd9"


@contextmanager
def _picture(path: Path) -> Iterator[Image.Image]:
    """An opened picture; whatever goes wrong with it becomes a ValueError that names the path."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            if not path.is_file():
                raise FileNotFoundError("no such file")
            with Image.open(path, formats=FORMATS) as image:
                yield image
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise ValueError(f"{str(path)!r} is too large: {error}") from error
    # Pillow's readers raise whatever broken bytes lead them to.
    except Exception as error:
        raise ValueError(f"{str(path)!r} cannot be decoded: {error}") from error


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        grey = np.asarray(image).astype(np.int64)
        return Image.fromarray(((grey * 255 + 32767) // 65535).astype(np.uint8)).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
