"""The colours of a mesh where rays meet it."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Float32, Int64, UInt8
from PIL import Image

from apps.shapes.paint import Paint, Texture, Wrap


class Colouring:
    """Looks up colours by triangle and place in it.

    Where a texture has more pixels than there are rays for, the rays would pick some of them at random. Each texture is
    therefore held at half the size too, at a quarter and so on, and a triangle takes the largest of these of which a
    pixel is about as wide as the distance between two rays, seen from the front. Within it the nearest pixel counts: a
    pixel of the image is the mean over several rays.

    Args:
        paint: of the triangles.
        corners: (F, 3, 3), where they are.
        density: rays a unit of length, of a triangle seen from the front.
    """

    def __init__(self, paint: Paint, corners: Float[np.ndarray, "F 3 3"], density: float) -> None:
        self.paint = paint
        pyramids = [list(halved(texture)) for texture in paint.textures]
        images = [image for pyramid in pyramids for image in pyramid]
        self.pixels = np.concatenate([image.reshape(-1, 4) for image in images] or [np.empty((0, 4), np.uint8)])
        self.heights, self.widths = np.array([image.shape[:2] for image in images] or [(1, 1)]).T
        sizes = self.heights * self.widths
        self.starts = np.cumsum(sizes) - sizes
        lengths = np.array([len(pyramid) for pyramid in pyramids], np.int64)
        firsts = np.cumsum(lengths) - lengths
        self.image = np.full(len(paint.texture), -1, np.int64)  # which of all images each triangle takes
        for k, texture in enumerate(paint.textures):
            rows = np.flatnonzero(paint.texture == k)
            levels = _levels(paint.uvs[rows], corners[rows], texture.pixels.shape[:2], density)
            self.image[rows] = firsts[k] + np.minimum(levels, lengths[k] - 1)
        self.wraps = [texture.wrap for texture in paint.textures]

    def at(self, face: Int64[np.ndarray, "N"], place: Float32[np.ndarray, "N 2"]) -> Float32[np.ndarray, "N 4"]:
        """Red, green, blue and alpha, 0 to 1, where rays met the triangles.

        Args:
            place: barycentric coordinates of the second and third corner.
        """
        u, v = place.T[:, :, None]
        a, b, c = self.paint.colours[face].transpose(1, 0, 2)
        colours = a + u * (b - a) + v * (c - a)
        textured = np.flatnonzero(self.image[face] >= 0)
        if len(textured):
            face, u, v = face[textured], u[textured], v[textured]
            a, b, c = self.paint.uvs[face].transpose(1, 0, 2)
            colours[textured] *= self._texels(face, a + u * (b - a) + v * (c - a)) / np.float32(255)
        return colours

    def _texels(self, face: Int64[np.ndarray, "N"], uv: Float32[np.ndarray, "N 2"]) -> UInt8[np.ndarray, "N 4"]:
        image = self.image[face]
        width, height = self.widths[image], self.heights[image]
        column, row = np.floor(uv * np.stack([width, height], axis=1)).astype(np.int64).T
        of = self.paint.texture[face]
        for k, (across, down) in enumerate(self.wraps):
            mine = slice(None) if len(self.wraps) == 1 else of == k
            column[mine] = _wrapped(column[mine], width[mine], across)
            row[mine] = _wrapped(row[mine], height[mine], down)
        return self.pixels[self.starts[image] + row * width + column]


def halved(texture: Texture) -> Iterator[UInt8[np.ndarray, "H W 4"]]:
    """The image of a texture, at half the size, at a quarter, ... down to one pixel.

    What is transparent does not colour what is not: the means are weighted by alpha.

    >>> [image.shape[:2] for image in halved(Texture(np.zeros((4, 2, 4), np.uint8)))]
    [(4, 2), (2, 1), (1, 1)]
    """
    pixels = texture.pixels
    yield pixels
    while pixels.shape[:2] != (1, 1):
        height, width = (max(side // 2, 1) for side in pixels.shape[:2])
        pixels = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BOX))
        yield pixels


def _levels(
    uvs: Float32[np.ndarray, "F 3 2"], corners: Float[np.ndarray, "F 3 3"], size: tuple[int, int], density: float
) -> Int64[np.ndarray, " F"]:
    """How often a texture is halved for each triangle: log₂ of its pixels a ray, along a side, rounded down."""
    p, q = ((uvs[:, k] - uvs[:, 0]).astype(np.float64) for k in (1, 2))
    texels = np.abs(p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]) * size[0] * size[1] / 2
    a, b, c = corners.transpose(1, 0, 2)
    rays = np.linalg.norm(np.cross(b - a, c - a), axis=1) * density**2 / 2
    ratio = np.maximum(texels, 1e-30) / np.maximum(rays, 1e-30)
    return np.maximum(np.floor(np.log2(ratio) / 2), 0).astype(np.int64)


def _wrapped(place: Int64[np.ndarray, "N"], size: Int64[np.ndarray, "N"], wrap: Wrap) -> Int64[np.ndarray, "N"]:
    match wrap:
        case "repeat":
            return place % size
        case "clamp":
            return place.clip(0, size - 1)
        case "mirror":
            return np.minimum(place % (2 * size), 2 * size - 1 - place % (2 * size))
