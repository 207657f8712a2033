"""Points on meshes: on the surface, uniform by area, and a function of the content alone."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from apps.datasets import mesh_folder
from apps.multimodal.points import Cloud, sample, sample_cached
from apps.shapes import cache as shape_cache
from apps.shapes.meshes import Mesh, MeshFile, unit
from tests.apps.boxes import box


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.sampled_from((1e-6, 1.0, 1e6)))
def test_points_lie_in_the_triangles(seed, triangles, scale):
    rng = np.random.default_rng(seed)
    corners = scale * rng.normal(size=(triangles, 3, 3))
    mesh = Mesh(corners.reshape(-1, 3), np.arange(3 * triangles).reshape(-1, 3))
    for point in sample(mesh, 20, seed):
        shares = [
            np.linalg.lstsq(np.vstack([c.T / scale, np.ones(3)]), np.append(point / scale, 1.0))[0] for c in corners
        ]
        inside = [
            bool((s > -1e-6).all()) and np.allclose(s @ c, point, rtol=0, atol=1e-6 * scale)
            for s, c in zip(shares, corners, strict=True)
        ]
        assert any(inside)


def test_points_are_uniform_by_area():
    """Of two triangles one has three times the area; in one, the mean is the centroid, the covariance its formula."""
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [5, 0, 0], [8, 0, 0], [5, 1, 0]], float)
    points = sample(Mesh(corners, np.array([[0, 1, 2], [3, 4, 5]])), 40_000, seed=0)
    large = points[:, 0] > 2
    assert large.mean() == pytest.approx(0.75, abs=0.01)
    small, vertices = points[~large], corners[:3]
    centroid = vertices.mean(0)
    covariance = (vertices - centroid).T @ (vertices - centroid) / 12
    np.testing.assert_allclose(small.mean(0), centroid, atol=0.01)
    np.testing.assert_allclose(np.cov(small.T, bias=True), covariance, atol=0.002)


def test_points_are_a_function_of_the_content(four_boxes, tmp_path):
    box(tmp_path / "elsewhere.off", (1, 2, 3))
    first, second, other = (
        Cloud(64)(MeshFile(p)) for p in (four_boxes / "a/0.off", tmp_path / "elsewhere.off", four_boxes / "b/1.off")
    )
    assert np.array_equal(first, second) and not np.array_equal(first, other)
    assert first.dtype == np.float32 and bool((np.linalg.norm(first, axis=1) <= 1 + 1e-6).all())


def test_sampled_once_and_anew_where_a_mesh_has_changed(four_boxes, monkeypatch, capsys):
    made = []
    monkeypatch.setattr(
        Cloud, "__call__", lambda self, source, make=Cloud.__call__: made.append(1) or make(self, source)
    )
    cloud = Cloud(16)
    first = sample_cached(mesh_folder.load(four_boxes), cloud)
    assert len(made) == 4 and "sampling set-" in capsys.readouterr().err
    for i, source in enumerate(first.shapes.sources):
        assert torch.equal(first.points[i], torch.from_numpy(Cloud(16)(source)))
    made.clear()
    box(four_boxes / "a/0.off", (3, 2, 1))
    (four_boxes / "b/1.off").rename(four_boxes / "b/moved.off")
    again = sample_cached(mesh_folder.load(four_boxes), cloud)
    assert len(made) == 1 and len(again.points) == 4
    assert [again.shapes.names.index(name) for name in ("a/0.off", "b/moved.off")] == [0, 3]
    assert torch.equal(again.points[3], first.points[2])
    sample_cached(mesh_folder.load(four_boxes), Cloud(17))
    assert len(made) == 1 + 4


def test_broken_meshes_are_named_and_left_out(four_boxes, caplog):
    (four_boxes / "a/0.off").write_text("OFF\n3 1 0\n0 0 0\n")
    found = sample_cached(mesh_folder.load(four_boxes), Cloud(8))
    assert len(found.points) == 3 and found.broken[0].startswith("a/0.off cannot be read")
    with pytest.raises(ValueError, match=r"1 of 4 shapes of set-.* are broken: a/0\.off"):
        sample_cached(mesh_folder.load(four_boxes), Cloud(8), strict=True)


@pytest.mark.parametrize("count", [0, -1, shape_cache.SHOWN * 10**6])
def test_a_number_of_points_that_cannot_be_is_refused(count):
    with pytest.raises(ValueError, match=f"the number of points is {count}; expected 1 to 100,000"):
        Cloud(count)


def test_the_unit_ball_holds_the_points_however_large_the_mesh():
    mesh = Mesh(np.array([[0, 0, 0], [1e50, 0, 0], [0, 1e50, 0]]), np.array([[0, 1, 2]]))
    assert np.abs(sample(unit(mesh), 100, seed=1)).max() <= 1
