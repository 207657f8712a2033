"""Your own pictures: a folder with a folder of pictures for each class."""

import logging
import os
import warnings
from collections.abc import Iterator
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

from apps.datasets.pictures import Pictures

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif"})
# Never more, whatever a file's name says: some of Pillow's other readers start programs.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
LAYOUT = "a folder that holds one folder of pictures for each class is wanted, as in ROOT/robin/1.jpg"
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
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        raise ValueError(f"{str(root)!r} {what}: {LAYOUT}")
    found, links = _listed(root)
    found, loose = _of_classes(root, found)
    broken = {path: reason for path in _tracked(found) if (reason := _damage(path))}
    reasons = "; ".join([*broken.values()][:SHOWN]) + ("; ..." if len(broken) > SHOWN else "")
    if broken and (strict or len(broken) == len(found)):
        raise ValueError(f"{len(broken)} of {len(found)} pictures in {str(root)!r} are broken: {reasons}")
    left_out = {f"broken ({reasons})": len(broken), "links to folders or out of it": links, "in no class folder": loose}
    if any(left_out.values()):
        parts = ", ".join(f"{count} {what}" for what, count in left_out.items() if count)
        log.warning("left out of the pictures in %r: %s", str(root), parts)
    paths = tuple(path for path in found if path not in broken)
    names = tuple(_text(path.relative_to(root).as_posix()) for path in paths)
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


def _listed(root: Path) -> tuple[list[Path], int]:
    """The picture files below `root`, sorted, and how many links are left out."""
    inside = root.resolve()
    pictures = []
    links = 0
    for folder, subfolders, files in os.walk(root, onerror=_unreadable):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        links += sum(Path(folder, name).is_symlink() for name in subfolders)
        for path in (Path(folder, name) for name in files if _is_picture(name)):
            if path.is_symlink() and not path.resolve().is_relative_to(inside):
                links += 1
            else:
                pictures.append(path)
    return sorted(pictures, key=lambda path: path.relative_to(root).parts), links


def _of_classes(root: Path, pictures: list[Path]) -> tuple[list[Path], int]:
    """The pictures that lie in class folders, and how many do not.

    Raises:
        ValueError: no class folders, or one without pictures.
    """
    folders = [path for path in root.iterdir() if path.is_dir() and not path.is_symlink()]
    classes = sorted(path.name for path in folders if not path.name.startswith("."))
    kept = [path for path in pictures if path.parent != root]
    loose = len(pictures) - len(kept)
    if not classes:
        what = f"{loose} pictures directly in it, no class folders" if loose else "no class folders"
        raise ValueError(f"{str(root)!r} has {what}: {LAYOUT}")
    filled = {path.relative_to(root).parts[0] for path in kept}
    if empty := [name for name in classes if name not in filled]:
        others = f" and {len(empty) - 1} more have" if len(empty) > 1 else " has"
        raise ValueError(
            f"class folder {str(root / empty[0])!r}{others} no pictures that can be used "
            f"({', '.join(sorted(SUFFIXES))}): put some in or remove it"
        )
    return kept, loose


def _is_picture(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES


def _unreadable(error: OSError) -> None:
    raise ValueError(f"{error.filename!r} cannot be read: {error.strerror}") from error


def _tracked(paths: list[Path]) -> Iterator[Path]:
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


def _text(name: str) -> str:
    """A file name that can be printed: bytes that are no UTF-8 are written out."""
    return os.fsencode(name).decode("utf-8", errors="backslashreplace")
