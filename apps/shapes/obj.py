"""OBJ, the format of Wavefront: vertices, faces, and the materials of faces. http://paulbourke.net/dataformats/obj/"""

import re
from collections.abc import Iterator
from itertools import chain

import numpy as np
from jaxtyping import Int64

from apps.shapes.beside import Beside
from apps.shapes.limits import MOST_FACES, check_counts, check_numbers, lines
from apps.shapes.mesh import Mesh
from apps.shapes.obj_paint import Painter
from apps.shapes.polygons import fans
from apps.shapes.text_numbers import numbers

# Statements that draw a surface from something other than faces, or that draw in another file.
UNREAD = frozenset({b"surf", b"bsp", b"bzp", b"cdp", b"call", b"csh"})

CORNERS = re.compile(rb"(?:[+-]?\d{1,18}(?:/[+-]?\d{0,18}){0,2}(?: |$))*+")


def parse(data: bytes, most: int = MOST_FACES, beside: Beside | None = None) -> Mesh:
    """The vertices and triangles of an OBJ file; a polygon becomes a fan of triangles around its first corner.

    A negative index counts back from the last vertex above its face. Normals, groups, lines and points are passed over.

    Args:
        beside: where the materials are that it names; without it all colours are passed over too.

    Raises:
        ValueError: anything else, in one line: what is wrong, and in which vertex or face, counted from 0.

    >>> content = b"v 0 0 0\\nv 1 0 0\\nv 1 1 0\\nf -3//1 -2//1 -1//1 # one\\nv 0 1 0\\n\\tf 1 3 \\\\\\n 4\\n"
    >>> parse(content).faces.tolist()
    [[0, 1, 2], [0, 2, 3]]
    """
    vertices: list[bytes] = []
    faces: list[list[bytes]] = []
    seen = []
    corners_read = 0
    painter = None if beside is None else Painter(beside)
    for keyword, rest in _statements(data):
        if keyword == b"v":
            vertices.append(rest)
        elif keyword in (b"f", b"fo"):
            faces.append(rest.split())
            seen.append(len(vertices))
            corners_read += len(faces[-1])
        elif keyword in UNREAD:
            raise ValueError(f"it has the statement {keyword.decode()!r}, which is not read: expected faces (f)")
        if painter is not None:
            painter.read(keyword, rest)
        check_counts(len(vertices), len(faces), most)
        check_numbers(corners_read, most)
    counts = np.array([len(corners) for corners in faces], np.int64)
    words = list(chain.from_iterable(faces))
    _check_corners(words, counts)
    corners = indices_of(words, 0)
    above = np.repeat(np.array(seen, np.int64), counts)
    indices = np.where(corners < 0, above + corners, corners - 1)
    wrong = np.flatnonzero((corners == 0) | (indices < 0) | (indices >= len(vertices)))
    if len(wrong):
        first = int(wrong[0])
        face, there = np.repeat(np.arange(len(faces)), counts)[first], len(vertices)
        state = f"there are {above[first]} above it" if corners[first] < 0 else f"expected 1 to {there}"
        raise ValueError(f"face {face} names vertex {corners[first]}: {state}")
    triangles = fans(indices, counts, most)
    paint = None
    if painter is not None:
        paint = painter.paint(vertices, triangles, indices_of(words, 1), counts)
    return Mesh(numbers(vertices, range(3), "vertex"), triangles, paint)


def libraries(data: bytes) -> list[str]:
    """The libraries of materials that an OBJ file names."""
    found = dict[str, None]()
    if b"mtllib" in data.lower():
        for keyword, rest in _statements(data):
            if keyword == b"mtllib":
                found[rest.decode(errors="replace").strip()] = None
    return list(found)


def _statements(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The keyword of each line, in lower case, and what follows it."""
    data = data.removeprefix(b"\xef\xbb\xbf")
    if b"\0" in data:
        raise ValueError("it has bytes of 0: expected text in ASCII or UTF-8")
    if b"\\" in data:
        data = re.sub(rb"\\[ \t]*(\r\n|\n|\r)", b" ", data)
    for line in lines(data):
        if b"#" in line:
            line = line.partition(b"#")[0]
        keyword, *rest = line.split(None, 1) or [b""]
        yield keyword.lower(), rest[0] if rest else b""


def indices_of(words: list[bytes], place: int) -> Int64[np.ndarray, "C"]:
    """The index at a place of corners such as b"7", b"7/1", b"7//3" or b"-1/-2/-3"; 0 where there is none.

    >>> indices_of([b"7", b"7/1", b"7//3", b"-1/-2/-3"], 1).tolist()
    [0, 1, 0, -2]
    """
    return np.array(
        [int(word.split(b"/", 2)[place] or 0) if word.count(b"/") >= place else 0 for word in words], np.int64
    )


def _check_corners(words: list[bytes], counts: Int64[np.ndarray, "P"]) -> None:
    if not CORNERS.fullmatch(b" ".join(words)):
        wrong = next(i for i, word in enumerate(words) if not CORNERS.fullmatch(word))
        face = np.repeat(np.arange(len(counts)), counts)[wrong]
        raise ValueError(f"face {face} has the corner {words[wrong][:40]!r}")
