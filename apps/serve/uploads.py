"""What was uploaded, as images and meshes: nothing of it is kept, and its size is known before it is read."""

import io
from pathlib import PurePosixPath

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from apps.datasets.files import Encoded, decode
from apps.shapes import meshes
from apps.shapes.mesh import Mesh
from apps.shapes.meshes import Up

MOST_PIXELS = 2**24
SHOWN_SIDE = 256


def image(content: bytes, name: str) -> UInt8[Tensor, "3 H W"]:
    """An uploaded image in colours, over white.

    Raises:
        ValueError: no image that is read, or one of more than 16 million pixels.
    """
    try:
        with Image.open(io.BytesIO(content), formats=("JPEG", "PNG", "WEBP", "BMP", "GIF")) as opened:
            size = opened.size
    except Exception as error:  # whatever broken bytes lead Pillow to
        raise ValueError("the upload is no image that can be read; expected PNG, JPEG, WebP, GIF or BMP") from error
    if size[0] * size[1] > MOST_PIXELS:
        raise ValueError(f"the image has {size[0]} × {size[1]} pixels: {MOST_PIXELS:,} is the most that is read")
    try:
        return decode(Encoded("the upload", content))
    except ValueError as error:
        raise ValueError("the upload is no image that can be read: it is broken") from error


def thumbnail(pixels: UInt8[Tensor, "3 H W"]) -> UInt8[Tensor, "3 h w"]:
    """An image of at most 256 pixels a side, to be shown among others."""
    small = Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())
    small.thumbnail((SHOWN_SIDE, SHOWN_SIDE))
    return torch.from_numpy(np.array(small)).permute(2, 0, 1)


def mesh(content: bytes, name: str, *, painted: bool, up: Up) -> Mesh:
    """An uploaded mesh, y up; of a .gltf or .obj no other file is at hand, so textures must lie in a .glb.

    Args:
        painted: read its colours too.
        up: the axis that points up in it.

    Raises:
        ValueError: no mesh that is read.
    """
    suffix = PurePosixPath(name).suffix.lower()
    if suffix not in meshes.SUFFIXES:
        raise ValueError(f"the upload is called {name[-40:]!r}; expected a name that ends in one of "
                         f"{', '.join(sorted(meshes.SUFFIXES))}")  # fmt: skip
    try:
        found = meshes.decode(content, suffix, painted=painted)
    except ValueError as error:
        raise ValueError(f"the mesh {error}") from error
    return found if up == "y" else found.turned(meshes.UPRIGHT)
