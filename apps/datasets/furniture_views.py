"""The packaged furniture as images: a class is a model, an instance a view of it from the ring around it."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from torch import Tensor

from apps.datasets import furniture
from apps.datasets.labelled_images import LabelledImages
from apps.shapes.labelled_shapes import Shapes
from apps.shapes.rendering import Look
from apps.shapes.store import Arrays
from apps.shapes.views import render_cached

NAME = "541 models of furniture from 12 sides"


def load(size: int) -> LabelledImages:
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


def of_views(shapes: Shapes, look: Look) -> LabelledImages:
    """Every view of every shape as an image of its own; raises as `apps.shapes.views.render_cached`."""
    shapes, views, _ = render_cached(shapes, look)
    names = tuple(f"{name}/{view}" for name in shapes.names for view in range(look.views))
    return LabelledImages(np.repeat(np.arange(len(shapes.names)), look.views), shapes.names, names, _Views(views))


@dataclass(frozen=True)
class _Views:
    """Row by row, all views of a shape and then those of the next."""

    arrays: Arrays

    def __getitem__(self, row: int) -> UInt8[Tensor, "3 H W"]:
        shape, view = divmod(row, self.arrays.shape[0])
        return self.arrays[shape][view].expand(3, -1, -1)
