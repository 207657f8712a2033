"""Rendered images against analytic images, and the laws of turning, winding, scaling and sampling."""

import json
import os
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import trimesh
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from apps.shapes.cameras import dodecahedron, ring
from apps.shapes.meshes import Mesh
from apps.shapes.rendering import Look, render

ROOT = Path(__file__).parents[3]
SIZE = 48
DIRECTIONS = [*ring(7), *ring(3, -70)[1:], *dodecahedron(), (1.0, 2.0, -3.0), (-5.0, 0.1, 2.0)]
OBLIQUE = st.sampled_from([direction for direction in DIRECTIONS if all(direction)])
RADIUS, TUBE = 0.7, 0.3


def mesh_of(shape):
    return Mesh(np.asarray(shape.vertices, np.float64), np.asarray(shape.faces, np.int64))


SPHERE = mesh_of(trimesh.creation.icosphere(subdivisions=5))
CUBE = mesh_of(trimesh.creation.box((2, 2, 2)))
TORUS = mesh_of(trimesh.creation.torus(RADIUS, TUBE, major_sections=256, minor_sections=128))


def soup(seed, count=12):
    """Random triangles."""
    return Mesh(np.random.default_rng(seed).normal(size=(3 * count, 3)), np.arange(3 * count).reshape(-1, 3))


def frame(direction, size=SIZE):
    """Camera axes and the (S, S, 3) points of the pixels' rays at the plane through the centre, written anew."""
    towards = np.array(direction) / np.linalg.norm(direction)
    right = np.array([towards[2], 0, -towards[0]]) / np.hypot(towards[0], towards[2])
    up = np.cross(towards, right)
    x = (np.arange(size) + 0.5) / size * 2 - 1
    return (right, up, towards), x[None, :, None] * right + x[::-1][:, None, None] * up


def ray_sphere(points, towards):
    """Distance along -towards from the plane at 1, normal, and how far a ray is from the silhouette."""
    square = (points**2).sum(axis=-1)
    height = np.sqrt(np.clip(1 - square, 0, None))
    return np.where(square < 1, 1 - height, np.inf), points + height[..., None] * towards, np.abs(1 - np.sqrt(square))


def ray_cube(points, towards):
    """Slabs: Kay & Kajiya, Ray tracing complex scenes, 1986; the cube in the unit ball has half side 1/√3."""
    half = 3**-0.5
    along = -towards
    near = (-np.sign(along) * half - (points + towards)) / along
    far = (np.sign(along) * half - (points + towards)) / along
    enter, leave = near.max(axis=-1), far.min(axis=-1)
    normal = np.where(np.arange(3) == near.argmax(axis=-1)[..., None], -np.sign(along), 0.0)
    last_two = np.sort(near, axis=-1)[..., 1:]
    margin = np.minimum(np.abs(leave - enter), last_two[..., 1] - last_two[..., 0])
    return np.where(enter < leave, enter, np.inf), normal, margin


def ray_torus(points, towards):
    """Sphere tracing: the distance to a torus around z is known everywhere."""

    def from_tube(p):
        flat = np.hypot(p[..., 0], p[..., 1]) - RADIUS
        return flat, np.hypot(flat, p[..., 2])

    distance, closest = np.zeros(points.shape[:-1]), np.full(points.shape[:-1], np.inf)
    for _ in range(400):
        gap = from_tube(points + towards - distance[..., None] * towards)[1] - TUBE
        closest = np.minimum(closest, gap)
        distance = np.minimum(distance + np.clip(gap, 0, None), 3.0)
    at = points + towards - distance[..., None] * towards
    flat, gap = from_tube(at)
    outwards = at[..., :2] / np.hypot(at[..., 0], at[..., 1])[..., None]
    normal = np.concatenate([outwards * (flat / gap)[..., None], (at[..., 2] / gap)[..., None]], axis=-1)
    hit = closest < 1e-6
    return np.where(hit, distance, np.inf), normal, np.where(hit, np.abs(normal @ towards) ** 2, np.abs(closest))


@pytest.mark.parametrize(
    ("mesh", "trace", "edge", "rounding"),
    # by the facets of sphere and torus, at most 0.025 from the true normal in each of two directions
    [(SPHERE, ray_sphere, 1e-3, 4.1), (CUBE, ray_cube, 1e-5, 0.51), (TORUS, ray_torus, 0.02, 4.1)],
    ids=["sphere", "cube", "torus"],
)
@given(direction=OBLIQUE)
def test_silhouette_depth_and_normals_are_the_analytic_image(mesh, trace, edge, rounding, direction):
    axes, points = frame(direction)
    distance, normal, margin = trace(points, axes[2])
    hit, sure = np.isfinite(distance), margin > edge
    assert sure.mean() > 0.8 and 0.1 < hit.mean() < 0.9
    depth = render(mesh, Look((direction,), SIZE, "depth", samples=1))[0, 0].astype(float)
    assert np.array_equal((depth > 0)[sure], hit[sure])
    expected = 255 - 127 * np.where(hit, distance, 0)
    assert np.abs(depth - expected)[hit & sure].max() <= (1.1 if rounding > 1 else 0.51)
    normals = render(mesh, Look((direction,), SIZE, "normals", samples=1))[0].astype(float).transpose(1, 2, 0)
    expected = 127.5 * (normal @ np.stack(axes).T + 1)
    assert not normals[sure & ~hit].any()
    assert np.abs(normals - expected)[hit & sure].max() <= rounding


@pytest.mark.parametrize(("shading", "gloss"), [("lambert", 0.0), ("phong", 0.2)])
def test_light_on_a_sphere(shading, gloss):
    _, points = frame((0, 0, 1))
    distance, normal, margin = ray_sphere(points, np.array([0, 0, 1.0]))
    light = np.array([-0.4, 0.6, 0.8]) / np.linalg.norm([-0.4, 0.6, 0.8])
    between = light + np.array([0, 0, 1])
    grey = (
        0.2
        + 0.6 * np.clip(normal @ light, 0, None)
        + gloss * np.clip(normal @ between / np.linalg.norm(between), 0, None) ** 20
    )
    image = render(SPHERE, Look(ring(1, 0), SIZE, shading, samples=1))[0, 0].astype(float)
    sure = margin > 1e-3
    assert (image[sure & np.isinf(distance)] == 255).all()
    inside = sure & np.isfinite(distance)
    assert np.abs(image - 255 * grey)[inside].max() < (5 if gloss == 0 else 12)
    assert np.abs(image - 255 * grey)[inside].mean() < 1


@given(st.integers(0, 10**6), st.sampled_from(["lambert", "phong", "depth", "normals"]))
def test_the_winding_does_not_matter(seed, shading):
    mesh, rng = soup(seed), np.random.default_rng(seed)
    flipped = Mesh(mesh.vertices, rng.permuted(mesh.faces, axis=1))
    look = Look(ring(2), 24, shading)
    assert np.array_equal(render(mesh, look), render(flipped, look))


def test_the_winding_of_fine_triangles_does_not_matter():
    flipped = Mesh(TORUS.vertices, np.random.default_rng(0).permuted(TORUS.faces, axis=1))
    look = Look(ring(3), 96, "normals")
    assert np.array_equal(render(TORUS, look), render(flipped, look))


@given(st.integers(0, 10**6), st.integers(2, 12), st.sampled_from([-20.0, 0.0, 30.0]))
def test_a_turn_by_one_step_turns_the_views(seed, count, elevation):
    mesh, look = soup(seed), Look(ring(count, elevation), 32)
    step = Rotation.from_euler("y", 360 / count, degrees=True).as_matrix()
    still, turned = render(mesh, look).astype(float), render(mesh.turned(step), look).astype(float)
    difference = np.abs(np.roll(still, 1, axis=0) - turned)
    assert (difference > 2).mean() < 2e-3  # rays that pass an edge by a rounding error
    assert np.abs(still - turned).mean() > 10 * difference.mean()  # a soup does look another way from the next place


@given(st.integers(0, 10**6), st.sampled_from([1e-12, 0.3, 7.0, 1e12]), st.integers(-3, 3))
def test_place_and_size_do_not_matter(seed, scale, offset):
    mesh, look = soup(seed), Look(ring(2), 24)
    moved = Mesh(scale * (mesh.vertices + offset), mesh.faces)
    assert (np.abs(render(mesh, look).astype(float) - render(moved, look)) > 2).mean() < 2e-3


def test_the_same_on_every_run_and_number_of_threads():
    look = Look(ring(3), 64, "phong")
    first = render(TORUS, look)
    assert np.array_equal(first, render(TORUS, look)) and np.array_equal(first, render(TORUS, look, threads=2))


@pytest.mark.parametrize("samples", [2, 3, 4])
def test_samples_are_means_of_finer_images(samples):
    coarse = render(TORUS, Look(ring(2), 16, samples=samples)).astype(float)
    fine = render(TORUS, Look(ring(2), 16 * samples, samples=1)).astype(float)
    means = fine.reshape(2, 1, 16, samples, 16, samples).mean(axis=(3, 5))
    assert np.abs(coarse - means).max() <= 1


def test_up_is_up_and_the_ring_goes_round():
    flag = Mesh(np.array([[0, -1, 0], [0, 1, 0], [0.0, 1, 1]]), np.array([[0, 1, 2]]))  # its tip points to z, on top
    front, right, back, left = render(flag, Look(ring(4, 0), 32, "depth", samples=1))[:, 0] > 0
    assert not front.any() and not back.any()  # from the edge
    assert right[:8].sum() > 4 * right[-8:].sum() and np.array_equal(right, left[:, ::-1])
    columns = np.flatnonzero(right[4])  # from x, z points to the left
    assert right[-6, columns[-1]] and not right[-6, columns[0]]


def test_the_corners_of_a_dodecahedron():
    corners = np.array(dodecahedron())
    assert corners.shape == (20, 3)
    np.testing.assert_allclose(np.linalg.norm(corners, axis=1), 1)
    lengths = sorted(np.linalg.norm(a - b) for a, b in combinations(corners, 2))
    np.testing.assert_allclose(lengths[:30], 4 / (3**0.5 * (1 + 5**0.5)))  # 30 edges, the next diagonal is longer
    assert lengths[30] > 1.1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"directions": ()}, "the number of directions is 0; expected 1 to 100"),
        ({"size": 4}, "size is 4; expected 8 to 1024"),
        ({"samples": 0}, "samples is 0; expected 1 to 4"),
        ({"shading": "toon"}, "shading is 'toon'; expected one or several of lambert, phong"),
        ({"directions": ring(3, 90)}, "straight up or down"),
        ({"directions": ((0.0, 0.0, 0.0),)}, "straight up or down"),
        ({"directions": ((float("nan"), 0.0, 1.0),)}, "straight up or down"),
    ],
)
def test_what_cannot_be_a_look_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Look(**arguments)


def test_the_key_tells_looks_apart():
    looks = [Look(), Look(ring(11)), Look(ring(elevation=29)), Look(dodecahedron()), Look(size=64), Look(samples=1)]
    assert len({look.key() for look in [*looks, Look(shading="phong")]}) == len(looks) + 1
    assert Look().key() == Look(ring(12, 30)).key()


def test_a_machine_without_open3d_is_told_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "open3d", None)
    with pytest.raises(ImportError, match=r"pip install open3d-cpu .*libusb-1\.0-0"):
        render(CUBE, Look())


def test_no_display_and_nothing_written(tmp_path):
    """In a process without any of the desktop's variables, in an empty home and an empty folder."""
    code = (
        "import json, numpy as np; from apps.shapes.rendering import *; from apps.shapes.meshes import Mesh;"
        "print(json.dumps(render(Mesh(np.eye(3), np.array([[0, 1, 2]])), Look(ring(2), 8)).tolist()))"
    )
    folders = {name: str(tmp_path / name) for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR")}
    for folder in (*folders.values(), tmp_path / "here"):
        os.mkdir(folder)
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **folders}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, cwd=tmp_path / "here", capture_output=True, text=True, check=True)
    here = render(Mesh(np.eye(3), np.array([[0, 1, 2]])), Look(ring(2), 8)).tolist()
    assert json.loads(done.stdout) == here
    assert [path for path in tmp_path.rglob("*") if not path.is_dir()] == []
