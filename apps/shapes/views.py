"""The images of a data set's shapes: rendered once, on all cores, and cached."""

from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from apps.shapes.cache import Recipe, make_cached
from apps.shapes.labelled_shapes import Shapes, Source
from apps.shapes.meshes import MeshError
from apps.shapes.rendering import Look, render
from apps.shapes.store import Arrays


class Rendered(NamedTuple):
    """Shapes with their images: views[i] are those of shape i. `broken` has a line for each that is left out."""

    shapes: Shapes
    views: Arrays
    broken: tuple[str, ...]


def render_cached(shapes: Shapes, look: Look, *, strict: bool = False) -> Rendered:
    """The shapes that can be rendered, with their images, from the cache or rendered now.

    The images of a data set in one look are one file in the cache, see `apps.shapes.cache.make_cached`.

    Args:
        strict: a broken shape is an error.

    Raises:
        ValueError, FetchError: as `make_cached`.
        ImportError: open3d is missing.
    """
    recipe = Recipe(
        "views", look.key(), look.described(), look.shape, "uint8", "rendering", partial(images_of, look=look)
    )
    return Rendered(*make_cached(shapes, recipe, strict=strict))


def images_of(source: Source, look: Look) -> UInt8[np.ndarray, "V C S S"]:
    """The images of one shape. Raises MeshError, also for one that cannot be seen in any of them."""
    try:
        return render(source.read(), look)
    except MeshError:
        raise
    except ValueError as error:
        raise MeshError(str(source), str(error)) from error
    except MemoryError as error:
        raise MeshError(str(source), "needs more memory than there is") from error
