"""The colours of a mesh: those of its triangles' corners, times those of its textures."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float32, Int64, UInt8

Wrap = Literal["repeat", "mirror", "clamp"]

UNTEXTURED = -1
FARTHEST = 1e6  # place in a texture that means something in float32


class Texture(NamedTuple):
    """An image that covers the unit square, first row on top, and what lies beyond it to the right and below."""

    pixels: UInt8[np.ndarray, "H W 4"]
    wrap: tuple[Wrap, Wrap] = ("repeat", "repeat")


class Paint(NamedTuple):
    """The colours of F triangles, red, green, blue and alpha from 0 to 1, as they are displayed (sRGB).

    A point has the colour that its barycentric coordinates make of those at the corners, times that of its texture
    there. Alpha is coverage: the share of the light from behind that the surface stops.

    Args:
        colours: (F, 3, 4) at the corners of each triangle.
        uvs: (F, 3, 2) place of each corner in the texture: to the right and down, from 0 to 1.
        texture: (F,) row of `textures`, or -1.
        textures: what they name.
        missing: a line for each texture or library of materials that could not be read, such as "'a.png', which does
            not exist".

    >>> white(2).colours.shape, white(2).texture.tolist()
    ((2, 3, 4), [-1, -1])
    """

    colours: Float32[np.ndarray, "F 3 4"]
    uvs: Float32[np.ndarray, "F 3 2"]
    texture: Int64[np.ndarray, " F"]
    textures: tuple[Texture, ...] = ()
    missing: tuple[str, ...] = ()

    def of_faces(self, rows: np.ndarray) -> "Paint":
        """The colours of some of the triangles, by their places or a mark for each."""
        return self._replace(colours=self.colours[rows], uvs=self.uvs[rows], texture=self.texture[rows])

    def with_corners(self, order: Int64[np.ndarray, "F 3"]) -> "Paint":
        """The colours where each triangle lists its corners in another order."""
        colours, uvs = (np.take_along_axis(part, order[..., None], axis=1) for part in (self.colours, self.uvs))
        return self._replace(colours=colours, uvs=uvs)


def white(faces: int) -> Paint:
    """The colour of triangles that have none of their own."""
    return Paint(
        np.ones((faces, 3, 4), np.float32), np.zeros((faces, 3, 2), np.float32), np.full(faces, UNTEXTURED, np.int64)
    )


def joined(parts: Sequence[Paint]) -> Paint:
    """The colours of the triangles of one part after another; a texture that several of them have is held once."""
    if not parts:
        return white(0)
    textures = {id(texture): texture for part in parts for texture in part.textures}
    row = {key: place for place, key in enumerate(textures)}
    rows = [np.array([*(row[id(texture)] for texture in part.textures), UNTEXTURED])[part.texture] for part in parts]
    return Paint(
        np.concatenate([part.colours for part in parts]),
        np.concatenate([part.uvs for part in parts]),
        np.concatenate(rows),
        tuple(textures.values()),
        tuple(dict.fromkeys(line for part in parts for line in part.missing)),
    )


def as_uvs(points: np.ndarray) -> Float32[np.ndarray, "..."]:
    """Places in textures as numbers that can be used, whatever a file says.

    >>> as_uvs(np.array([0.5, np.nan, 1e300])).tolist()
    [0.5, 0.0, 1000000.0]
    """
    return np.clip(np.nan_to_num(points), -FARTHEST, FARTHEST).astype(np.float32)
