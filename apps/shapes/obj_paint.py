"""The colours of an OBJ file's faces: those of its vertices, times those of its materials and their textures."""

from functools import cache

import numpy as np
from jaxtyping import Float32, Int64
from PIL import Image

from apps.shapes import mtl
from apps.shapes.beside import Beside
from apps.shapes.mtl import Map, Material
from apps.shapes.paint import UNTEXTURED, Paint, Texture, Wrap, as_uvs
from apps.shapes.polygons import fans
from apps.shapes.text_numbers import numbers
from apps.shapes.textures import Images, Pixels, read_near

COLOURED = range(6, 8)  # numbers in the line of a vertex that has a colour behind its place


class Painter:
    """Takes in what an OBJ file says of colours, statement by statement, and then paints its triangles.

    Args:
        beside: where the libraries of materials and their textures are.
    """

    def __init__(self, beside: Beside) -> None:
        self.beside, self.images = beside, Images(beside)
        self.places: list[bytes] = []  # each a point of a texture, vt
        self.above: list[int] = []  # how many of them are above each face
        self.uses = [(0, "")]  # from which face on which material is used
        self.materials: dict[str, Material] = {}
        self.missing: list[str] = []

    def read(self, keyword: bytes, words: bytes) -> None:
        """The next statement that is no vertex."""
        if keyword in (b"f", b"fo"):
            self.above.append(len(self.places))
        elif keyword == b"vt":
            self.places.append(words)
        elif keyword == b"usemtl":
            self.uses.append((len(self.above), words.decode(errors="replace").strip()))
        elif keyword == b"mtllib":
            self._read_library(words.decode(errors="replace").strip())

    def paint(
        self,
        vertices: list[bytes],
        triangles: Int64[np.ndarray, "F 3"],
        places: Int64[np.ndarray, "C"],
        counts: Int64[np.ndarray, "P"],
    ) -> Paint:
        """The colours of triangles that are made of polygons.

        Args:
            vertices: their lines.
            places: the point of a texture at each corner of each polygon, counted from 1, or from the last; 0 is none.
            counts: the corners of each polygon.

        Raises:
            ValueError: a face names a point that there is not; a point or a colour that is no number.
        """
        polygon = np.repeat(np.arange(len(counts)), np.maximum(counts - 2, 0))
        uvs, has_place = self._uvs(places, counts)
        names = [name for _, name in self.uses]
        ends = [*(face for face, _ in self.uses[1:]), len(counts)]
        used = np.repeat(np.arange(len(names)), np.diff([0, *ends]))[polygon]
        materials = [self.materials.get(name, Material()) for name in names]
        textures = cache(self._texture)
        colours = _colours(vertices)[triangles]
        texture = np.full(len(triangles), UNTEXTURED, np.int64)
        kept: list[Texture] = []
        for number in np.unique(used).tolist():
            material, rows = materials[number], used == number
            image = textures(material.texture, material.alpha_texture) if material.texture else None
            colours[rows] *= np.array([*_base(material, image is not None), material.alpha], np.float32)
            if image is None or material.texture is None:
                continue
            if not any(image is other for other in kept):
                kept.append(image)
            uvs[rows] = uvs[rows] * np.array(material.texture.scale, np.float32) + np.array(
                material.texture.offset, np.float32
            )
            texture[rows & has_place] = next(k for k, other in enumerate(kept) if other is image)
        uvs[..., 1] = 1 - uvs[..., 1]  # in OBJ the first row of an image is at the top, and v points up
        return Paint(colours, uvs, texture, tuple(kept), tuple([*self.missing, *self.images.missing.values()]))

    def _uvs(
        self, places: Int64[np.ndarray, "C"], counts: Int64[np.ndarray, "P"]
    ) -> tuple[Float32[np.ndarray, "F 3 2"], np.ndarray]:
        """The point of a texture at each corner of the triangles, and which triangles have them at all three."""
        above = np.repeat(np.array(self.above, np.int64), counts)
        rows = np.where(places < 0, above + places, places - 1)
        wrong = np.flatnonzero((places != 0) & ((rows < 0) | (rows >= len(self.places))))
        if len(wrong):
            face = np.repeat(np.arange(len(counts)), counts)[wrong[0]]
            raise ValueError(
                f"face {face} names point {places[wrong[0]]} of a texture (vt): there are {len(self.places)}"
            )
        corners = fans(np.where(places == 0, -1, rows), counts)
        points = np.vstack([numbers(self.places, range(2), "point of a texture"), np.zeros((1, 2))])
        return as_uvs(points)[corners], corners.min(axis=1, initial=0) >= 0

    def _read_library(self, name: str) -> None:
        contents, missing = library(self.beside, name)
        self.missing += missing
        for content in contents:
            try:
                self.materials = mtl.parse(content) | self.materials
            except ValueError as error:
                self.missing.append(f"{name[:80]!r}, of which {error}")

    def _texture(self, colour: Map, alpha: Map | None) -> Texture | None:
        pixels = self.images.named(colour.name)
        if pixels is None:
            return None
        if alpha is not None and alpha.name != colour.name:
            pixels = _with_alpha(pixels, self.images.named(alpha.name))
        wrap: Wrap = "clamp" if colour.clamp else "repeat"
        return Texture(pixels, (wrap, wrap))


def library(beside: Beside, name: str) -> tuple[list[bytes], list[str]]:
    """The content of a library of materials, and a line where there is none; a name with spaces may be several."""
    try:
        return [read_near(beside, name)], []
    except ValueError as error:
        if " " not in name:
            return [], [f"{name[:80]!r}, which {error}"]
    parts = [library(beside, part) for part in name.split()]
    return [content for found, _ in parts for content in found], [line for _, lines in parts for line in lines]


def _base(material: Material, textured: bool) -> tuple[float, float, float]:
    """The colour of a material; many exporters write black where a texture says it all."""
    return (1.0, 1.0, 1.0) if textured and not any(material.colour) else material.colour


def _with_alpha(pixels: Pixels, alpha: Pixels | None) -> Pixels:
    """An image with the alpha of another one, or with its brightness where it is opaque."""
    if alpha is None:
        return pixels
    mask = Image.fromarray(alpha)
    mask = mask.getchannel("A") if (alpha[..., 3] < 255).any() else mask.convert("L")
    height, width = pixels.shape[:2]
    return np.dstack([pixels[..., :3], np.asarray(mask.resize((width, height)))])


def _colours(vertices: list[bytes]) -> Float32[np.ndarray, "V 4"]:
    """The colours of vertices: the last three numbers of lines that have as many; white where one has none."""
    colours = np.ones((len(vertices), 4), np.float32)
    lengths = {len(line.split()) for line in vertices}
    if len(lengths) == 1 and (length := next(iter(lengths))) in COLOURED:
        found = numbers(vertices, range(length - 3, length), "vertex")
        colours[:, :3] = np.clip(found / (255 if found.max(initial=0) > 1 else 1), 0, 1)
    return colours
