"""OBJ, the format of Wavefront: vertices and faces. http://paulbourke.net/dataformats/obj/"""

import re
from itertools import chain

import numpy as np
from jaxtyping import Float64, Int64

from apps.shapes.limits import MOST_FACES, check_counts, check_numbers, lines
from apps.shapes.polygons import fans
from apps.shapes.text_numbers import numbers

# Statements that draw a surface from something other than faces, or that draw in another file.
UNREAD = frozenset({b"surf", b"bsp", b"bzp", b"cdp", b"call", b"csh"})

CORNERS = re.compile(rb"(?:[+-]?\d{1,18}(?:/[+-]?\d*){0,2}(?: |$))*+")


def parse(data: bytes, most: int = MOST_FACES) -> tuple[Float64[np.ndarray, "V 3"], Int64[np.ndarray, "F 3"]]:
    """Vertices and triangles of an OBJ file; a polygon becomes a fan of triangles around its first corner.

    A negative index counts back from the last vertex above its face. Textures, normals, colours, materials, groups,
    lines and points are passed over.

    Raises:
        ValueError: anything else, in one line: what is wrong, and in which vertex or face, counted from 0.

    >>> content = b"v 0 0 0\\nv 1 0 0\\nv 1 1 0\\nf -3//1 -2//1 -1//1 # one\\nv 0 1 0\\n\\tf 1 3 \\\\\\n 4\\n"
    >>> vertices, faces = parse(content)
    >>> faces.tolist()
    [[0, 1, 2], [0, 2, 3]]
    """
    data = data.removeprefix(b"\xef\xbb\xbf")
    if b"\0" in data:
        raise ValueError("it has bytes of 0: expected text in ASCII or UTF-8")
    if b"\\" in data:
        data = re.sub(rb"\\[ \t]*(\r\n|\n|\r)", b" ", data)
    vertices: list[bytes] = []
    faces: list[list[bytes]] = []
    seen = []
    corners_read = 0
    for line in lines(data):
        if b"#" in line:
            line = line.partition(b"#")[0]
        keyword, *rest = line.split(None, 1) or [b""]
        keyword = keyword.lower()
        if keyword == b"v":
            vertices += rest or [b""]
        elif keyword in (b"f", b"fo"):
            faces.append(rest[0].split() if rest else [])
            seen.append(len(vertices))
            corners_read += len(faces[-1])
        elif keyword in UNREAD:
            raise ValueError(f"it has the statement {keyword.decode()!r}, which is not read: expected faces (f)")
        check_counts(len(vertices), len(faces), most)
        check_numbers(corners_read, most)
    counts = np.array([len(corners) for corners in faces], np.int64)
    corners = _corners(list(chain.from_iterable(faces)), counts)
    above = np.repeat(np.array(seen, np.int64), counts)
    indices = np.where(corners < 0, above + corners, corners - 1)
    wrong = np.flatnonzero((corners == 0) | (indices < 0) | (indices >= len(vertices)))
    if len(wrong):
        first = int(wrong[0])
        face, there = np.repeat(np.arange(len(faces)), counts)[first], len(vertices)
        state = f"there are {above[first]} above it" if corners[first] < 0 else f"expected 1 to {there}"
        raise ValueError(f"face {face} names vertex {corners[first]}: {state}")
    return numbers(vertices, range(3), "vertex"), fans(indices, counts, most)


def _corners(words: list[bytes], counts: Int64[np.ndarray, "P"]) -> Int64[np.ndarray, "C"]:
    """The vertices of corners such as b"7", b"7/1", b"7//3" or b"-1/-2/-3"."""
    if not CORNERS.fullmatch(b" ".join(words)):
        wrong = next(i for i, word in enumerate(words) if not CORNERS.fullmatch(word))
        face = np.repeat(np.arange(len(counts)), counts)[wrong]
        raise ValueError(f"face {face} has the corner {words[wrong][:40]!r}")
    return np.array([int(word.partition(b"/")[0]) for word in words], np.int64)
