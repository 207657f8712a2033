"""OFF, the format of ModelNet and the Princeton Shape Benchmark: https://segeval.cs.princeton.edu/public/off_format.html"""

from collections.abc import Sequence
from itertools import islice

import numpy as np
from jaxtyping import Int64

from apps.shapes.limits import MOST_FACES, check_counts, lines
from apps.shapes.mesh import Mesh
from apps.shapes.polygons import MOST_CORNERS, fans
from apps.shapes.text_numbers import numbers

MOST_DIGITS = 9

Faces = Int64[np.ndarray, "F 3"]


def parse(data: bytes, most: int = MOST_FACES) -> Mesh:
    """Vertices and triangles of an OFF file; a polygon becomes a fan of triangles around its first corner.

    Comments, empty lines and colours at the ends of lines are passed over. The counts may follow the word OFF on its
    line, with or without a space, as in many files of ModelNet ("OFF490 518 0").

    Raises:
        ValueError: anything else, in one line: what is wrong, and in which vertex or face.

    >>> parse(b"OFF 4 1 0\\n0 0 0\\n1 0 0\\n1 1 0\\n0 1 0\\n4 0 1 2 3\\n").faces.tolist()
    [[0, 1, 2], [0, 2, 3]]
    """
    rows = (line for line in (line.partition(b"#")[0].strip() for line in lines(data)) if line)
    head = next(rows, b"").removeprefix(b"\xef\xbb\xbf")
    if not head:
        raise ValueError("it is empty")
    if not head.startswith((b"OFF", b"COFF")):
        raise ValueError(f"it does not begin with OFF but with {head[:20]!r}")
    counts = head.removeprefix(b"C").removeprefix(b"OFF").split() or next(rows, b"").split()
    if len(counts) not in (2, 3) or not all(count.isdigit() and len(count) <= MOST_DIGITS for count in counts):
        raise ValueError(f"its counts are {b' '.join(counts)[:40]!r}; expected those of vertices, faces, edges")
    vertices, faces = int(counts[0]), int(counts[1])
    check_counts(vertices, faces, most)
    first, second = list(islice(rows, vertices)), list(islice(rows, faces))
    found = len(first) + len(second) + sum(1 for _ in rows)
    if found != vertices + faces:
        raise ValueError(f"it says {vertices} vertices and {faces} faces but has {found} lines of them")
    return Mesh(numbers(first, range(3), "vertex"), _faces(second, vertices, most))


def _faces(lines: Sequence[bytes], vertices: int, most: int) -> Faces:
    counts = numbers(lines, [0], "face")[:, 0]
    allowed = (counts == np.floor(counts)) & (counts >= 3) & (counts <= MOST_CORNERS)
    if not allowed.all():
        row = int(allowed.argmin())
        raise ValueError(f"face {row} has {counts[row]:g} corners: expected 3 to {MOST_CORNERS}")
    counts = counts.astype(np.int64)
    check_counts(0, int((counts - 2).sum()), most)
    starts = np.cumsum(counts) - counts
    corners = np.empty(counts.sum(), np.int64)
    for count in np.unique(counts).tolist():
        rows = np.flatnonzero(counts == count)
        polygons = numbers([lines[row] for row in rows.tolist()], range(1, count + 1), "face", rows)
        wrong = (polygons != np.floor(polygons)) | (polygons < 0) | (polygons >= vertices)
        if wrong.any():
            row, place = np.argwhere(wrong)[0].tolist()
            raise ValueError(f"face {rows[row]} names vertex {polygons[row, place]:g} of {vertices}")
        corners[starts[rows][:, None] + np.arange(count)] = polygons
    return fans(corners, counts, most)
