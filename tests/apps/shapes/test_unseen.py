"""Shapes that no view shows, or whose surface vanishes in floating point, are broken ones: named, counted, left out."""

import numpy as np
import pytest

from apps.datasets import mesh_folder
from apps.multimodal.points import Cloud, sample
from apps.shape3d import render as sheet
from apps.shape3d.trained import _Rendering
from apps.shapes.cameras import ring
from apps.shapes.meshes import MeshError, MeshFile, decode, unit
from apps.shapes.rendering import Look, render
from apps.shapes.views import render_cached

LOOK = Look(ring(3), 16)
BOX = [[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)]
SIDES = [[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1], [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4]]


def obj(vertices, faces):
    lines = ["v " + " ".join(map(repr, map(float, row))) for row in vertices]
    return "\n".join([*lines, *("f " + " ".join(str(i + 1) for i in face) for face in faces), ""]).encode()


def triangle(size, place=(0, 0, 0), direction=(0, 1, 0)):
    """A right triangle with one side of length 1 and one of a given size, or both of it where there is no direction."""
    side = np.array(direction, float) if direction else np.array([0, size, 0])
    return np.array(place, float) + np.array([[0, 0, 0], side, [size, 0, 0]])


def box_and(*triangles):
    faces = [[8 + 3 * k, 9 + 3 * k, 10 + 3 * k] for k in range(len(triangles))]
    return obj([*BOX, *np.concatenate(triangles)], [*SIDES, *faces])


UNSEEN = {
    "a triangle of 1 mm, 1000 km away": box_and(triangle(1e-3, (1e6, 0, 0), None)),
    "far below": box_and(triangle(1e-3, (0, -1e6, 0), None)),
    "on both sides": box_and(triangle(1e-3, (1e7, 0, 0), None), triangle(1e-3, (-1e7, 3, 0), None)),
    "a needle": obj(triangle(1e-9), [[0, 1, 2]]),
    "a needle of 1e-20": obj(triangle(1e-20), [[0, 1, 2]]),
    "a slanted needle": obj(triangle(1e-9, direction=(0.6, 0.48, 0.64)), [[0, 1, 2]]),
    "needles": obj(np.concatenate([triangle(1e-12, (k / 7, 0, 0)) for k in range(2)]), [[0, 1, 2], [3, 4, 5]]),
    "dust": obj(np.concatenate([triangle(1e-8, place, None) for place in BOX]), np.arange(24).reshape(8, 3)),
}


@pytest.mark.parametrize("content", UNSEEN.values(), ids=UNSEEN)
def test_a_shape_that_no_view_shows_is_left_out_and_named(four_boxes, content, caplog):
    (four_boxes / "a" / "unseen.obj").write_bytes(content)
    for _ in range(2):  # rendered, then from the cache
        result = render_cached(mesh_folder.load(four_boxes), LOOK)
        (broken,) = result.broken
        assert broken.startswith("a/unseen.obj cannot be seen in any of 3 views of 16 pixels")
        assert len(result.shapes) == 4 and "1 of 5 shapes" in caplog.text
    with pytest.raises(ValueError, match=r"a/unseen\.obj cannot be seen"):
        render_cached(mesh_folder.load(four_boxes), LOOK, strict=True)


def test_one_view_that_shows_it_is_enough():
    """A sheet that lies flat is seen from above, and not from its own plane."""
    mesh = decode(obj([[0, 0, 0], [1, 0, 0], [0, 0, 1]], [[0, 1, 2]]), ".obj")
    edge_on = ring(4, elevation=0)
    with pytest.raises(ValueError, match="cannot be seen in any of 4 views"):
        render(mesh, Look(edge_on, 16))
    above = (0.1, 1.0, 0.0)
    assert (render(mesh, Look((*edge_on, above), 16))[-1] < 255).any()


def test_it_is_named_by_every_command(tmp_path):
    path = tmp_path / "unseen.obj"
    path.write_bytes(UNSEEN["a needle"])
    error = _Rendering(LOOK, "y")(path)
    assert isinstance(error, MeshError) and error.path == str(path) and "cannot be seen" in error.reason
    with pytest.raises(SystemExit, match=r"unseen\.obj' cannot be seen"):
        sheet.main([str(path), "--out", str(tmp_path / "a.png")])


@pytest.mark.parametrize("size", [1e-31, 1e-100, 1e-154, 1e-160, 1e-170, 1e-200, 1e-300, 1e-308, 5e-324])
@pytest.mark.parametrize("direction", [(0, 1, 0), (0, 0, 1)])
@pytest.mark.parametrize("scale", [1.0, 1e50])
def test_a_height_that_vanishes_is_no_surface(tmp_path, size, direction, scale):
    path = tmp_path / "flat.obj"
    path.write_bytes(obj(scale * triangle(size, direction=direction), [[0, 1, 2]]))
    with pytest.raises(MeshError, match=r"flat\.obj' has no surface"):
        Cloud(8)(MeshFile(path))


@pytest.mark.parametrize("size", [1e-170, 1e-320])
def test_what_vanishes_beside_a_surface_is_left_out(size):
    mesh = decode(box_and(triangle(size, (0, 2, 0))), ".obj")
    assert len(mesh.faces) == len(SIDES) and mesh.vertices[:, 1].max() == 1


@pytest.mark.parametrize("size", [1e-29, 1e-20, 1e-12, 1.0])
@pytest.mark.parametrize("scale", [1e-90, 1.0, 1e90])
def test_a_thin_surface_can_be_sampled(size, scale):
    mesh = unit(decode(obj(scale * triangle(size), [[0, 1, 2]]), ".obj"))
    points = sample(mesh, 50, seed=0)
    assert np.isfinite(points).all() and np.ptp(points[:, 1]) > 0.5
