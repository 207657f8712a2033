"""OBJ: every way to write a face gives its triangles, and what is damaged is named."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.shapes.meshes import decode

CORNERS = b"v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\n"
FIRST, SECOND = [[0, 0, 0], [1, 0, 0], [1, 1, 0]], [[0, 0, 0], [1, 1, 0], [0, 1, 0]]


def triangles(data):
    mesh = decode(data, ".obj")
    return mesh.vertices[mesh.faces].tolist()


@pytest.mark.parametrize(
    ("faces", "expected"),
    [
        (b"f -4 -3 -2\nv 9 9 9\n", [FIRST]),  # counted from here, not from the end of the file
        (b"f -4 -3 -2\nv 9 9 9\nf -5 -3 -2\n", [FIRST, SECOND]),
        (b"f -4//1 -3//1 -2//-1\nv 9 9 9\n", [FIRST]),
        (b"f -4/-1/-1 -3/-1/-1 -2/-1/-1\n", [FIRST]),
        (b"f -4 2 -2\n", [FIRST]),
        (b"  f 1 2 3\n\tf 1 3 4\n", [FIRST, SECOND]),
        (b"f\t1\t2\t3\nf  1   3\t 4  \n", [FIRST, SECOND]),
        (b"f 1 2 3 # the first\nf 1 3 4# the second\n", [FIRST, SECOND]),
        (b"f 1 2 \\\n 3\nf 1 3 \\\r\n4\n", [FIRST, SECOND]),
        (b"f 1 2 3\\\n 4\n", [FIRST, SECOND]),
        (b"f 1 2 3\r\nf 1 3 4\r\n", [FIRST, SECOND]),
        (b"f 1 2 3\rf 1 3 4\r", [FIRST, SECOND]),
        (b"f 1//2 2//2 3//2\nf 1/7 3/7 4/7\n", [FIRST, SECOND]),
        (b"f 1/1/1 2 3//9\n", [FIRST]),
        (b"f 1/ 2// 3/\n", [FIRST]),
        (b"f 1 2 3 4\n", [FIRST, SECOND]),
        (b"usemtl a\nf 1 2 3\nusemtl b\nf 1 3 4\nusemtl a\n", [FIRST, SECOND]),
        (b"g fan\nfo 1 2 3\nl 1 2\np 1\ns off\n", [FIRST]),
        (b"f +1 02 3", [FIRST]),
        (b"F 1 2 3\n", [FIRST]),
        (b"f 1 2\nf 1 2 3\n", [FIRST]),  # two corners have no surface
    ],
)
def test_a_face_is_read_however_it_is_written(faces, expected):
    assert triangles(CORNERS + faces) == expected


@pytest.mark.parametrize(
    ("vertices", "corner"),
    [
        (b"v 0 0 0\nv 1 0 0\nv 1 1 0.5 # top\n", [1, 1, 0.5]),
        (b"\tv\t0 0 0\n v 1 0 0\nv  1\t1 .5  1.0\n", [1, 1, 0.5]),  # with a weight
        (b"v 0 0 0 1 0 0\nv 1 0 0\nv 1e0 1E+0 5e-1 .1 .2 .3\n", [1, 1, 0.5]),  # with colours
        (b"\xef\xbb\xbfv 0 0 0\r\nv 1 0 0\r\nv 1 1 \\\r\n0.5\r\n", [1, 1, 0.5]),
    ],
)
def test_a_vertex_is_read_however_it_is_written(vertices, corner):
    assert triangles(vertices + b"f 1 2 3\n") == [[[0, 0, 0], [1, 0, 0], corner]]


def test_faces_may_come_before_their_vertices():
    assert triangles(b"f 1 2 3\n" + CORNERS) == [FIRST]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (CORNERS + b"f 0 1 2\n", "face 0 names vertex 0: expected 1 to 4"),
        (CORNERS + b"f 1 2 3\n f 1 0/1 2\n", "face 1 names vertex 0"),
        (CORNERS + b"f 1 2 -0\n", "names vertex 0"),
        (CORNERS + b"f 1 2 5\n", "names vertex 5: expected 1 to 4"),
        (b"v 0 0 0\nv 1 0 0\nf -3 -2 -1\n" + CORNERS, "names vertex -3: there are 2 above it"),
        (CORNERS + b"f -1 -2 -5\n", "names vertex -5: there are 4 above it"),
        (CORNERS + b"f 1 2 99999999999999999999\n", "has the corner b'99999999999999999999'"),
        (CORNERS + b"f 1 2 3.0\n", "has the corner b'3.0'"),
        (CORNERS + b"f 1 2 x\n", "has the corner b'x'"),
        (CORNERS + b"f 1 2 3/a\n", "has the corner b'3/a'"),
        (CORNERS + b"f 1 2 3/1/1/1\n", "has the corner b'3/1/1/1'"),
        (CORNERS + b"f 1 2 /3\n", "has the corner b'/3'"),
        (CORNERS + b"f 1 2 1_0\n", "has the corner b'1_0'"),
        (CORNERS + b"f 1 2 3\nf 1\n", "face 1 has 1 corners: expected 3 to 1000"),
        (CORNERS + b"f 1 2 3\nf", "face 1 has 0 corners"),
        (CORNERS + b"f" + b" 1" * 1001, "face 0 has 1001 corners"),
        (b"v 0 0 0\nv 1 0\nv 1 1 0\nf 1 2 3\n", "vertex 1 is '1 0'"),
        (b"v 0 0 0\nv\nv 1 1 0\nf 1 2 3\n", "vertex 1 is ''"),
        (b"v 0 0 0\nv 1 0 zero\nv 1 1 0\nf 1 2 3\n", "vertex 1 is '1 0 zero'"),
        (b"v 0 0 0\nv 1 0 0x1p3\nv 1 1 0\nf 1 2 3\n", "vertex 1 is '1 0 0x1p3'"),
        (b"v 0 0 0\nv 1 0 1e999\nv 1 1 0\nf 1 2 3\n", "not finite"),
        (b"v 0 0 0\nv 1 0 -inf\nv 1 1 0\nf 1 2 3\n", "not finite"),
        (CORNERS + b"f 1 2 3\nsurf 0 1 0 1 1 2 3 4\n", "has the statement 'surf', which is not read"),
        (CORNERS + b"f 1 2 3\ncall other.obj\n", "has the statement 'call'"),
        (CORNERS + b"f 1 2 3\n\0\0\0\0\0\0\0\nf 1 3 4\n", "it has bytes of 0: expected text"),
        ((CORNERS + b"f 1 2 3\n").decode().encode("utf-16"), "it has bytes of 0: expected text"),
    ],
    ids=lambda value: f"{len(value)} bytes" if isinstance(value, bytes) else value,
)
def test_what_is_damaged_is_named(content, reason):
    with pytest.raises(ValueError) as error:
        decode(content, ".obj")
    assert reason in str(error.value)


@given(
    st.lists(st.lists(st.integers(0, 5), min_size=3, max_size=7, unique=True), min_size=1, max_size=5),
    st.lists(st.sampled_from([b"%d", b"%d/1", b"%d//2", b"%d/3/-4"]), min_size=1),
    st.booleans(),
)
def test_absolute_and_relative_indices_name_the_same(polygons, forms, relative):
    """Vertices on a parabola, so that no three of them lie on a line, and one more after each face."""
    lines = [b"v %d %d 0" % (i, i * i) for i in range(6)]
    for count, polygon in enumerate(polygons):
        corners = [i - 6 - count if relative else i + 1 for i in polygon]
        lines += [b"f " + b" ".join(forms[k % len(forms)] % corner for k, corner in enumerate(corners)), b"v 9 9 9"]
    expected = [[p[0], p[i], p[i + 1]] for p in polygons for i in range(1, len(p) - 1)]
    x = np.array(triangles(b"\n".join(lines)))[:, :, 0]
    assert x.tolist() == expected
