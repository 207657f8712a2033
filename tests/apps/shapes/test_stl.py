"""STL: a file that is cut off or has facets that are no triangles is refused."""

import numpy as np
import pytest

from apps.shapes.meshes import decode


def facet(*corners):
    loop = "\n".join(f"vertex {x} {y} {z}" for x, y, z in corners)
    return f" facet normal 0 0 1\n  outer loop\n{loop}\nendloop\n endfacet\n"


FIRST, SECOND = ((0, 0, 0), (1, 0, 0), (1, 1, 0)), ((0, 0, 0), (1, 1, 0), (0, 1, 0))


def solid(*facets, name="a facet of solid wood"):
    return f"solid {name}\n{''.join(facets)}endsolid {name}\n"


def triangles(text):
    mesh = decode(text.encode(), ".stl")
    return mesh.vertices[mesh.faces]


@pytest.mark.parametrize(
    "text",
    [
        solid(facet(*FIRST), facet(*SECOND)),
        solid(facet(*FIRST)) + solid(facet(*SECOND), name=""),
        solid(facet(*FIRST), facet(*SECOND)).upper(),
        solid(facet(*FIRST), facet(*SECOND)).replace("\n", "\r\n").replace(" facet normal", "\tfacet normal"),
    ],
)
def test_all_solids_are_read(text):
    np.testing.assert_array_equal(triangles(text), np.array([FIRST, SECOND], float))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (solid(facet(*FIRST)) + solid(facet(*SECOND))[:-40], "a solid that does not end"),
        (solid(facet(*FIRST)) + solid(facet(*SECOND))[:60], "a solid that does not end"),
        (solid(facet(*FIRST), facet(*FIRST, (0, 1, 0))), "a facet that is no triangle"),
        (solid(facet(*FIRST), facet(*FIRST[:2])), "a facet that is no triangle"),
        (solid(facet(*FIRST)).replace("endloop", ""), "a facet that is no triangle"),
        (solid(facet(*FIRST)) + facet(*SECOND), "it has 'facet' outside of a solid"),
        (solid(facet(*FIRST)).replace("1 1 0", "1 one 0"), "cannot be read"),
        (solid(facet(*FIRST)).replace("1 1 0", "1 0"), "cannot be read"),
        (solid(facet(*FIRST)).replace("1 1 0", "1 nan 0"), "not finite"),
    ],
)
def test_what_is_damaged_is_refused(text, reason):
    with pytest.raises(ValueError, match=reason):
        triangles(text)


def test_a_binary_that_is_cut_off_is_refused():
    content = bytes(80) + (2).to_bytes(4, "little") + bytes(12)
    content += np.array(FIRST, "<f4").tobytes() + bytes(2) + bytes(12) + np.array(SECOND, "<f4").tobytes() + bytes(2)
    assert len(decode(content, ".stl").faces) == 2
    for damaged in (content[:-1], content + b"\0", content[:-50]):
        with pytest.raises(ValueError):
            decode(damaged, ".stl")
