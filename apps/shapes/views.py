"""The images of a data set's shapes: rendered once, on all cores, and cached."""

import logging
from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from apps.shapes.cache import Recipe, make_cached
from apps.shapes.labelled_shapes import Shapes, Source
from apps.shapes.meshes import MeshError
from apps.shapes.rendering import Look, render
from apps.shapes.store import Arrays

SHOWN = 3

log = logging.getLogger(__name__)


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
    make = partial(images_of, look=look)
    recipe = Recipe("views", look.key(), look.described(), look.shape, "uint8", "rendering", make, painted=look.painted)
    return Rendered(*make_cached(shapes, recipe, strict=strict))


def images_of(source: Source, look: Look) -> UInt8[np.ndarray, "V C S S"]:
    """The images of one shape, with a warning where some of its textures cannot be read.

    Raises MeshError, also for one that cannot be seen in any of them.
    """
    try:
        mesh = source.read(painted=look.painted)
        if mesh.paint is not None and (missing := mesh.paint.missing):
            shown = "; ".join(missing[:SHOWN]) + ("; ..." if len(missing) > SHOWN else "")
            log.warning("%s is in its base colour where it names %s", source, shown)
        return render(mesh, look)
    except MeshError:
        raise
    except ValueError as error:
        raise MeshError(str(source), str(error)) from error
    except MemoryError as error:
        raise MeshError(str(source), "needs more memory than there is") from error
