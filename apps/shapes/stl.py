"""STL, triangles one by one, as text and binary: https://www.loc.gov/preservation/digital/formats/fdd/fdd000504.shtml"""

import io
import re
import warnings

import numpy as np
import trimesh

from apps.shapes.limits import MOST_FACES, check_counts
from apps.shapes.mesh import Mesh

HEADER, TRIANGLE = 84, 50  # bytes
WORDS = re.compile(rb"^[ \t]*(solid|facet|vertex|endloop|endfacet|endsolid)\b", re.MULTILINE | re.IGNORECASE)
FACET = [b"facet", b"vertex", b"vertex", b"vertex", b"endloop", b"endfacet"]


def parse(data: bytes, most: int = MOST_FACES) -> Mesh:
    """Vertices and triangles of an STL file; every triangle has corners of its own. Read by trimesh, once it is whole.

    Raises:
        ValueError: cut off, facets that are no triangles, or anything else.

    >>> loop = b"outer loop\\nvertex 0 0 0\\nvertex 1 0 0\\nvertex 0 1 0\\nendloop\\n"
    >>> parse(b"solid a\\nfacet normal 0 0 1\\n" + loop + b"endfacet\\nendsolid a\\n").faces.tolist()
    [[0, 1, 2]]
    """
    triangles = int.from_bytes(data[80:HEADER], "little")
    if len(data) < HEADER or len(data) != HEADER + TRIANGLE * triangles:
        check_counts(0, sum(1 for _ in WORDS.finditer(data)) // len(FACET), most)
        _check_text(data)
    else:
        check_counts(0, triangles, most)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("error", ".*unmatched data")  # numpy's word for text that is no number
        mesh = trimesh.load_mesh(io.BytesIO(data), file_type="stl", process=False)
    faces = np.asarray(mesh.faces, np.int64).reshape(-1, 3)
    return Mesh(np.asarray(mesh.vertices, np.float64).reshape(-1, 3), faces)


def _check_text(data: bytes) -> None:
    words = [word.lower() for word in WORDS.findall(data)]
    place = 0
    while place < len(words):
        if words[place] != b"solid":
            raise ValueError(f"it has {words[place].decode()!r} outside of a solid")
        try:
            end = words.index(b"endsolid", place)
        except ValueError:
            raise ValueError("it has a solid that does not end") from None
        facets = words[place + 1 : end]
        if facets != FACET * (len(facets) // len(FACET)):
            raise ValueError("it has a facet that is no triangle")
        place = end + 1
