"""Images that a mesh is covered with: each is read once, within limits; of those that cannot be it is said why."""

import io
import posixpath
import warnings
from collections.abc import Callable

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from apps.shapes.beside import Beside

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TGA", "WEBP")
MOST_PIXELS = 2**26  # of all images of a mesh; 16 of 2048 × 2048

Pixels = UInt8[np.ndarray, "H W 4"]


class Images:
    """The images of a mesh by name; `missing` says of which none could be read, and why.

    Args:
        beside: where the files are.
    """

    def __init__(self, beside: Beside) -> None:
        self.beside, self.missing, self.left = beside, dict[str, str](), MOST_PIXELS
        self._decoded: dict[str, Pixels | None] = {}

    def named(self, name: str) -> Pixels | None:
        """The image in a file; where its name leads elsewhere, as onto its author's disk, one beside the mesh."""
        return self.decoded(name, lambda: read_near(self.beside, name))

    def decoded(self, name: str, read: Callable[[], bytes]) -> Pixels | None:
        """The image in some bytes; the name is for messages, and to read it once. None where there is none."""
        if name not in self._decoded:
            try:
                self._decoded[name] = self._pixels(read())
            except ValueError as error:
                self._decoded[name] = None
                self.missing[name] = f"{name[:80]!r}, which {error}"
        return self._decoded[name]

    def _pixels(self, data: bytes) -> Pixels:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow's on large images, which are counted here
                image = Image.open(io.BytesIO(data), formats=FORMATS)
        except Exception as error:  # broken bytes lead Pillow to whatever error
            raise ValueError(f"is no image that can be read ({', '.join(FORMATS)})") from error
        with image:
            size = image.width * image.height
            if size > self.left:  # before its pixels are read
                raise ValueError(
                    f"has {image.width} × {image.height} pixels: {self.left:,} more are the most that is read"
                )
            self.left -= size
            try:
                return np.array(image.convert("RGBA"))
            except Exception as error:
                raise ValueError("is a broken image") from error


def read_near(beside: Beside, name: str) -> bytes:
    """The content of a file that a mesh names by any path: where it says, else beside the mesh.

    Raises:
        ValueError: as `Beside.read`.
    """
    name = name.replace("\\", "/")
    try:
        return beside.read(name)
    except ValueError:
        bare = posixpath.basename(name)
        if bare in ("", name):
            raise
        try:
            return beside.read(bare)
        except ValueError as error:
            raise ValueError(f"lies elsewhere, and beside the mesh {error}") from error
