"""The reader of OFF: every way of writing a mesh, and no way of damaging a file that crashes it."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from apps.shapes import off
from apps.shapes.meshes import decode

SQUARE = b"OFF\n4 1 0\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n4 0 1 2 3\n"
MIXED = b"OFF\n# a house\n5 3 0\n\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n0.5 1.5 0\n3 2 4 3\n4 0 1 2 3\n3 0 1 4\n"
NASTY = [b"nan", b"inf", b"-1", b"1e999", b"99999999999999999999", b"0x10", b"1_0", b"", b"3.5", b"\xff", b"\x1c", b"#"]


@pytest.mark.parametrize(
    "content",
    [
        SQUARE,
        SQUARE.replace(b"OFF\n4 1 0", b"OFF4 1 0"),  # ModelNet
        SQUARE.replace(b"OFF\n4 1 0", b"OFF 4 1 0"),
        SQUARE.replace(b"OFF\n4 1 0", b"OFF\n4 1"),
        SQUARE.replace(b"\n", b"\r\n"),
        SQUARE.replace(b"\n", b"\r"),
        SQUARE.replace(b"\n", b" # caf\xe9\n\n \t\n"),
        SQUARE.rstrip(),
        b"\xef\xbb\xbf" + SQUARE,
        SQUARE.replace(b"4 0 1 2 3", b"4  0 1 2\t3 255 0 0"),
        b"C" + SQUARE.replace(b" 0\n", b" 0 9 9 9 255\n").replace(b"4 1 0 9 9 9 255", b"4 1 0"),
        SQUARE.replace(b"1 0 0", b"1.0e0 -0 +0.0"),
        SQUARE.replace(b"4 0 1 2 3", b"4 0 1.0 2 3e0"),
    ],
)
def test_ways_to_write_a_square(content):
    vertices, faces, _ = off.parse(content)
    assert vertices.tolist() == [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]
    assert faces.tolist() == [[0, 1, 2], [0, 2, 3]]


def test_polygons_become_fans_in_the_order_of_the_file():
    assert off.parse(MIXED).faces.tolist() == [[2, 4, 3], [0, 1, 2], [0, 2, 3], [0, 1, 4]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b"# OFF\n", "it is empty"),
        (b"ply\nformat ascii 1.0\n", "does not begin with OFF but with b'ply'"),
        (b"OFF\n", "counts are b''"),
        (b"OFF\n4 -1 0\n", "counts are b'4 -1 0'"),
        (b"OFF4 1.0 0\n", "counts are"),
        (b"OFF 99999999999999999999 1 0\n", "counts are"),
        (b"OFF 999999999 999999999 0\n0 0 0\n", "it has 999,999,999 triangles: 5,000,000 is the most that is read"),
        (SQUARE[: SQUARE.index(b"4 0 1")], "says 4 vertices and 1 faces but has 4 lines"),
        (SQUARE + b"3 0 1 2\n", "says 4 vertices and 1 faces but has 6 lines"),
        (SQUARE.replace(b"1 1 0\n", b"1 1\n"), "vertex 2 is '1 1'"),
        (SQUARE.replace(b"1 1 0\n", b"1 x 0\n"), "vertex 2 is '1 x 0'"),
        (SQUARE.replace(b"1 1 0\n", b"\x1c\n"), "vertex 2 is"),
        (MIXED.replace(b"3 0 1 4", b"3 0 1"), "face 2 is '3 0 1'"),
        (MIXED.replace(b"3 0 1 4", b"2 0 1"), "face 2 has 2 corners"),
        (MIXED.replace(b"3 0 1 4", b"nan 0 1"), "face 2 has nan corners"),
        (MIXED.replace(b"3 0 1 4", b"1e9 0 1 4"), r"face 2 has 1e\+09 corners"),
        (MIXED.replace(b"3 0 1 4", b"3 0 1 5"), "face 2 names vertex 5 of 5"),
        (MIXED.replace(b"3 0 1 4", b"3 0 1 -1"), "face 2 names vertex -1 of 5"),
        (MIXED.replace(b"3 0 1 4", b"3 0 1 nan"), "face 2 names vertex nan of 5"),
        (MIXED.replace(b"3 0 1 4", b"3 0 1 0.5"), "face 2 names vertex 0.5 of 5"),
    ],
)
def test_what_is_wrong_is_said(content, message):
    with pytest.raises(ValueError, match=message) as error:
        off.parse(content)
    assert "\n" not in str(error.value)


@given(
    arrays(np.float64, st.tuples(st.integers(3, 9), st.just(3)), elements=st.floats(-1e6, 1e6)),
    st.lists(st.lists(st.integers(0, 2), min_size=3, max_size=5), max_size=6),
)
def test_what_is_written_is_read(vertices, polygons):
    lines = [f"OFF\n{len(vertices)} {len(polygons)} 0"]
    lines += [" ".join(map(repr, row)) for row in vertices.tolist()]
    lines += [" ".join(map(str, [len(polygon), *polygon])) for polygon in polygons]
    found, faces, _ = off.parse("\n".join(lines).encode())
    assert np.array_equal(found, vertices)
    expected = [[p[0], p[i], p[i + 1]] for p in polygons for i in range(1, len(p) - 1)]
    assert faces.tolist() == expected


def is_a_mesh_or_a_clear_error(content):
    try:
        mesh = decode(content, ".off")
    except ValueError as error:
        assert str(error) and "\n" not in str(error)
        return
    assert mesh.faces.min() >= 0 and mesh.faces.max() == len(mesh.vertices) - 1
    assert np.isfinite(mesh.vertices).all()


@given(st.sampled_from([SQUARE, MIXED]), st.data())
def test_damage_gives_a_mesh_or_a_clear_error(content, data):
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content)))
        match data.draw(st.sampled_from(["cut", "flip", "drop", "insert", "word", "double"])):
            case "cut":
                content = content[:place]
            case "flip":
                content = content[:place] + bytes([data.draw(st.integers(0, 255))]) + content[place + 1 :]
            case "drop":
                content = content[:place] + content[place + data.draw(st.integers(1, 20)) :]
            case "insert":
                content = content[:place] + data.draw(st.binary(max_size=8)) + content[place:]
            case "word":
                words = content.split(b" ")
                words[place % len(words)] = data.draw(st.sampled_from(NASTY))
                content = b" ".join(words)
            case "double":
                content = content[:place] + content[max(0, place - 30) :]
    is_a_mesh_or_a_clear_error(content)


@given(st.binary(max_size=200))
@example(b"OFF 1 1 0\n0 0 0\n\xa0\n")
@example(b"OFF 1 1 0\n\x1c\n3 0 0 0\n")
def test_any_bytes_give_a_mesh_or_a_clear_error(content):
    is_a_mesh_or_a_clear_error(content)
    is_a_mesh_or_a_clear_error(b"OFF " + content)


@pytest.mark.parametrize("end", range(0, len(MIXED)))
def test_every_truncation_gives_a_mesh_or_a_clear_error(end):
    is_a_mesh_or_a_clear_error(MIXED[:end])
