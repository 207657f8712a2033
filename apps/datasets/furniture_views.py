"""The packaged furniture as pictures: a class is a model, an instance a view of it from the ring around it."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from torch import Tensor

from apps.common.rendering import Look
from apps.common.shape_store import Arrays
from apps.common.view_cache import rendered
from apps.datasets import furniture
from apps.datasets.pictures import Pictures
from apps.datasets.shapes import Shapes


def load(size: int) -> Pictures:
    """541 classes of 12 grey views each, over white; by model, then angle. Some models are near twins.

    The first call fetches the meshes by apt-get and renders them on all cores (about three minutes of one).

    Args:
        size: height and width in pixels, 8 to 1024.

    Raises:
        ValueError: another size.
        FetchError: the meshes cannot be fetched, or the cache folder not be written to.
        ImportError: open3d is missing.
    """
    return of_views(furniture.load(), Look(size=size))


def of_views(shapes: Shapes, look: Look) -> Pictures:
    """Every view of every shape as a picture of its own; raises as `apps.common.view_cache.rendered`."""
    shapes, views, _ = rendered(shapes, look)
    names = tuple(f"{name}/{view}" for name in shapes.names for view in range(look.views))
    return Pictures(np.repeat(np.arange(len(shapes.names)), look.views), shapes.names, names, _Views(views))


@dataclass(frozen=True)
class _Views:
    """Row by row, all views of a shape and then those of the next."""

    arrays: Arrays

    def __getitem__(self, row: int) -> UInt8[Tensor, "3 H W"]:
        shape, view = divmod(row, self.arrays.shape[0])
        return self.arrays[shape][view].expand(3, -1, -1)
