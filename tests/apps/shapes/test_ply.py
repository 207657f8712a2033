"""PLY, as text and binary: the same tetrahedron in every order of bytes and type, and what is damaged."""

import struct

import numpy as np
import pytest
import trimesh
from hypothesis import given
from hypothesis import strategies as st

from apps.shapes.meshes import decode

CORNERS = [[0, 0, 0], [2, 0, 0], [0, 3, 0], [0, 0, 4]]
SIDES = [[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]]
CODES = {"char": "b", "uchar": "B", "short": "h", "ushort": "H", "int": "i", "uint": "I", "float": "f", "double": "d"}
MARKS = {"binary_little_endian": "<", "binary_big_endian": ">"}


def ply(
    form="ascii",
    *,
    vertices=CORNERS,
    faces=SIDES,
    xyz="float",
    count="uchar",
    index="int",
    name="vertex_indices",
    end="\n",
    said=None,
):
    """A file with a colour before and after what is read, an element that is not read, and a second list."""
    head = [
        *("ply", f"format {form} 1.0", "comment made here", "obj_info none", f"element vertex {len(vertices)}"),
        *("property uchar red", *(f"property {xyz} {axis}" for axis in "xyz")),
        *("element material 1", "property list uchar float shine"),
        f"element face {len(faces) if said is None else said}",
        *("property uchar red", f"property list {count} {index} {name}", "property list uchar float texcoord"),
        *("element empty 0", "property int none", "end_header"),
    ]
    rows = [[(255, "uchar"), *((value, xyz) for value in row)] for row in vertices]
    rows += [[(2, "uchar"), (0.5, "float"), (0.25, "float")]]
    for face in faces:
        texcoord = [(1, "uchar"), (0.5, "float")]
        rows.append([(7, "uchar"), (len(face), count), *((corner, index) for corner in face), *texcoord])
    if form == "ascii":
        return (end.join([*head, *(" ".join(str(value) for value, _ in row) for row in rows)]) + end).encode()
    packed = [struct.pack(MARKS[form] + CODES[kind], value) for row in rows for value, kind in row]
    return (end.join(head) + end).encode() + b"".join(packed)


def triangles(data):
    mesh = decode(data, ".ply")
    return mesh.vertices[mesh.faces].tolist()


WHOLE = np.array(CORNERS, float)[np.array(SIDES)].tolist()
FORMS = ["ascii", *MARKS]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"end": "\r\n"},
        {"end": "\r"},
        {"xyz": "double"},
        {"xyz": "short"},
        {"count": "int", "index": "uint"},
        {"count": "ushort", "index": "short"},
        {"index": "char", "name": "vertex_index"},
    ],
    ids=str,
)
def test_every_order_type_and_line_end_gives_the_same(form, options):
    assert triangles(ply(form, **options)) == WHOLE


@pytest.mark.parametrize("form", FORMS)
def test_polygons_become_fans(form):
    square, house = [0, 1, 2, 3], [4, 5, 6, 7, 8]
    x = [0, 1, 1, 0, 5, 6, 6, 5.5, 5]
    y = [0, 0, 1, 1, 0, 0, 1, 2, 1]
    vertices = [[a, b, 0] for a, b in zip(x, y, strict=True)]
    expected = [[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7], [4, 7, 8], [0, 1, 7]]
    found = triangles(ply(form, vertices=vertices, faces=[square, house, [0, 1, 7]]))
    assert found == np.array(vertices, float)[np.array(expected)].tolist()


def test_a_binary_body_may_begin_with_what_ends_lines():
    vertices = [[0, 0, 0], [1, 0, 0], [0, 1, 0]]
    content = ply("binary_little_endian", vertices=vertices, faces=[[0, 1, 2]])
    head, mark, body = content.partition(b"end_header\n")
    for first in (b"\n", b"\r", b" "):
        assert triangles(head + mark + first + body[1:]) == [vertices]


def test_empty_lines_between_rows_are_passed_over():
    assert triangles(ply().replace(b"\n7 3", b"\n\n7 3") + b" \n") == WHOLE


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (ply(said=9), "it says 4 of vertex and 1 of material and 9 of face but has 9 lines of them"),
        (ply(said=3), "but has 9 lines"),
        (ply()[:-12], "face 3 is b'7 3 '"),
        (ply()[:-4], "face 3 is b'7 3 0 3 2 1 '"),
        (ply()[: ply().rindex(b"\n7")], "but has 8 lines"),
        (ply().replace(b"255 2 0 0", b"255 2 0"), "vertex 1 is b'255 2 0': expected 4 numbers"),
        (ply().replace(b"255 2 0 0", b"255 2 0 zero"), "vertex 1 is '255 2 0 zero'"),
        (ply().replace(b"255 2 0 0", b"255 2 0 0 0"), "vertex 1 is b'255 2 0 0 0'"),
        (ply().replace(b"7 3 0 1 3", b"7 3 0 1.5 3"), "face 1 is b'7 3 0 1.5 3 1 0.5'"),
        (ply().replace(b"7 3 0 1 3", b"7 3 0 1 3 5"), "face 1 is"),
        (ply().replace(b"7 3 0 1 3", b"7 -3 0 1 3"), "face 1 is"),
        (ply().replace(b"7 3 0 1 3", b"7 3 0 1 1_3"), "face 1 is"),
        (ply().replace(b"255 2 0 0", b"255 nan 0 0"), "not finite"),
        (ply(faces=[*SIDES, [0, 1, 4]]), "face 4 names vertex 4 of 4"),
        (ply(faces=[*SIDES, [0, 1, -1]]), "face 4 names vertex -1 of 4"),
        (ply("binary_big_endian", faces=[*SIDES, [0, 1, -1]]), "face 4 names vertex -1 of 4"),
        (ply(faces=[*SIDES, [0]]), "face 4 has 1 corners: expected 3 to 1000"),
        (ply(index="float"), "the vertex_indices of its faces are no whole numbers"),
        (ply(name="corners"), "its faces have red, corners, texcoord: expected a list vertex_indices"),
        (ply().replace(b"float x", b"float u"), "its vertices have red, u, y, z: expected numbers x, y and z"),
        (ply().replace(b"float x", b"half x"), "its header has the line 'property half x'"),
        (ply().replace(b"float x", b"float y"), "names an element or a property twice"),
        (ply().replace(b"format ascii", b"format utf8"), "its header has the line 'format utf8 1.0'"),
        (ply().replace(b"format ascii 1.0\n", b""), "its header has no line 'format"),
        (ply().replace(b"list uchar int", b"list float int"), "its header has the line 'property list float int"),
        (ply().replace(b"element material", b"element tristrips"), "it has triangle strips"),
        (ply().replace(b"end_header", b""), "it has no header"),
        (ply("binary_little_endian")[:-1], "it says 4 of face but ends in 3"),
        (ply("binary_little_endian")[:-60], "it says 4 of face but ends"),
        (ply("binary_little_endian") + b"\0", "it has 1 bytes more than its header says"),
        (ply("binary_little_endian", said=3), "bytes more than its header says"),
        (ply("binary_little_endian", said=10**6), "it says 1000000 of face but ends before them"),
        (ply("binary_big_endian", count="int").replace(struct.pack(">Bi", 7, 3), struct.pack(">Bi", 7, -3)), "has -3"),
        (ply("binary_big_endian", count="int").replace(struct.pack(">Bi", 7, 3), struct.pack(">Bi", 7, 2**30)), "has"),
    ],
    ids=lambda value: f"{len(value)} bytes" if isinstance(value, bytes) else value,
)
def test_what_is_damaged_is_named(content, reason):
    with pytest.raises(ValueError) as error:
        decode(content, ".ply")
    assert reason in str(error.value)


@pytest.mark.parametrize("missing", [1, 3, 5, 8, 16])
def test_a_plain_file_that_is_cut_off_is_refused(missing):
    whole = trimesh.Trimesh(CORNERS, SIDES, process=False).export(file_type="ply", encoding="ascii").rstrip()
    assert triangles(whole) == WHOLE
    with pytest.raises(ValueError, match=r"lines of them|face 3 is"):
        decode(whole[:-missing], ".ply")


def test_a_polygon_of_two_corners_has_no_surface():
    assert triangles(ply(faces=[[0, 1], *SIDES])) == WHOLE


@given(st.sampled_from(FORMS), st.integers(1, 400))
def test_a_file_that_is_cut_off_is_never_a_mesh(form, missing):
    content = ply(form).rstrip(b"\n") if form == "ascii" else ply(form)
    cut = content[: max(len(content) - missing, 0)]
    if form == "ascii" and cut.endswith(b" 1 0."):  # reads as 0
        return
    with pytest.raises(ValueError):
        decode(cut, ".ply")
