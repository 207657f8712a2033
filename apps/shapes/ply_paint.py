"""The colours of a PLY file: of its vertices or faces, and of the textures that MeshLab and others name in comments."""

import re
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float32, Int64

from apps.shapes.beside import Beside
from apps.shapes.paint import UNTEXTURED, Paint, Texture, as_uvs, white
from apps.shapes.ply_columns import Column, Columns
from apps.shapes.polygons import fans
from apps.shapes.textures import Images

COLOURS = (("red", "green", "blue"), ("diffuse_red", "diffuse_green", "diffuse_blue"), ("r", "g", "b"))
PLACES = (("texture_u", "texture_v"), ("s", "t"), ("u", "v"))
FILE = re.compile(rb"^comment[ \t]+TextureFile[ \t]+(.+?)[ \t]*\r?$", re.MULTILINE | re.IGNORECASE)
MOST_TEXTURES = 1000


def texture_files(data: bytes) -> list[str]:
    """The images that the comments of a file name.

    >>> texture_files(b"ply\\ncomment TextureFile a b.png\\nend_header\\n")
    ['a b.png']
    """
    return [name.decode(errors="replace") for name in FILE.findall(data.partition(b"end_header")[0])[:MOST_TEXTURES]]


def paint(
    data: bytes,
    found: Mapping[str, Columns],
    corners: Column,
    triangles: Int64[np.ndarray, "F 3"],
    beside: Beside,
) -> Paint:
    """The colours of triangles, which are those of the vertices, or of the faces where the vertices have none.

    Args:
        data: of the file.
        found: the columns of its elements.
        corners: of each polygon.
        triangles: made of these.
    """
    whole = white(len(triangles))
    polygon = np.repeat(np.arange(len(corners.counts)), np.maximum(corners.counts - 2, 0))
    vertices, faces = found.get("vertex", {}), found.get("face", {})
    colours = whole.colours
    if (of_vertices := _colours(vertices)) is not None:
        colours = of_vertices[triangles]
    elif (of_faces := _colours(faces)) is not None:
        colours = np.repeat(of_faces[polygon][:, None], 3, axis=1)
    names = texture_files(data)
    uvs = _uvs(vertices, faces, corners, triangles)
    if not names or uvs is None:
        return whole._replace(colours=colours)
    images = Images(beside)
    pixels = [images.named(name) for name in names]
    used = np.zeros(len(triangles), np.int64)
    if "texnumber" in faces and (faces["texnumber"].counts == 1).all():
        used = faces["texnumber"].values.astype(np.int64)[polygon]
    used[(used < 0) | (used >= len(names))] = UNTEXTURED
    rows = np.cumsum([image is not None for image in pixels]) - 1
    there = np.array([row if image is not None else UNTEXTURED for row, image in zip(rows, pixels, strict=True)])
    texture = np.where(used < 0, UNTEXTURED, there[used])
    textures = tuple(Texture(image) for image in pixels if image is not None)
    return Paint(colours, uvs, texture, textures, tuple(images.missing.values()))


def _colours(columns: Columns) -> Float32[np.ndarray, "N 4"] | None:
    """Red, green, blue and alpha of an element, 0 to 1."""
    for names in COLOURS:
        if all(name in columns and (columns[name].counts == 1).all() for name in names):
            rows = [_shares(columns[name]) for name in names]
            alpha = columns.get("alpha")
            one = alpha is not None and (alpha.counts == 1).all()
            rows.append(_shares(alpha) if alpha is not None and one else np.ones_like(rows[0]))
            return np.stack(rows, axis=1)
    return None


def _shares(column: Column) -> Float32[np.ndarray, "N"]:
    """Fractions as they are; whole numbers as shares of 255, or of 65,535 where their type is of two bytes."""
    most = {"f": 1, "d": 1, "h": 65535, "H": 65535}.get(column.type, 255)
    return np.clip(np.nan_to_num(column.values.astype(np.float64)) / most, 0, 1).astype(np.float32)


def _uvs(
    vertices: Columns, faces: Columns, corners: Column, triangles: Int64[np.ndarray, "F 3"]
) -> Float32[np.ndarray, "F 3 2"] | None:
    """The points of a texture at the corners of triangles: by polygon (texcoord), or by vertex."""
    if "texcoord" in faces and np.array_equal(faces["texcoord"].counts, 2 * corners.counts):
        points = faces["texcoord"].values.reshape(-1, 2)
        found = points[fans(np.arange(len(points)), corners.counts)]
    else:
        names = next((names for names in PLACES if all(name in vertices for name in names)), None)
        if names is None or any((vertices[name].counts != 1).any() for name in names):
            return None
        found = np.stack([vertices[name].values for name in names], axis=1)[triangles]
    return as_uvs(found * [1, -1] + [0, 1])  # v points up
