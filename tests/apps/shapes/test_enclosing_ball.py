"""The smallest ball around points, against known balls, optimality, and how it moves with the points."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation

from apps.shapes.enclosing_ball import enclosing_ball

clouds = st.integers(1, 40).flatmap(
    lambda n: arrays(np.float64, (n, 3), elements=st.floats(-1, 1, allow_subnormal=False).map(lambda x: round(x, 6)))
)


def radius_of_sampled_balls(points, seed):
    """The least radius of a ball around the points, over many centres: never below the smallest."""
    rng = np.random.default_rng(seed)
    centres = points.mean(axis=0) + rng.normal(size=(500, 3)) * rng.uniform(0, 1, (500, 1))
    return np.linalg.norm(points[None] - centres[:, None], axis=-1).max(axis=1).min()


@pytest.mark.parametrize(
    ("points", "centre", "radius"),
    [
        ([[3, 4, 5]], [3, 4, 5], 0),
        ([[1, 0, 0], [1, 0, 0]], [1, 0, 0], 0),
        ([[0, 0, 0], [2, 0, 0], [0.5, 0, 0]], [1, 0, 0], 1),
        ([[1, 0, 0], [-0.5, 0.75**0.5, 0], [-0.5, -(0.75**0.5), 0]], [0, 0, 0], 1),
        ([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], [0, 0, 0], 3**0.5),
        ([[x, y, z] for x in (0, 2) for y in (0, 4) for z in (0, 6)], [1, 2, 3], 14**0.5),
        ([[0, 0, 0], [10, 0, 0], [5, 1, 0], [5, -1, 1]], [5, 0, 0], 5),
    ],
)
def test_known_balls(points, centre, radius):
    found, length = enclosing_ball(np.array(points, float))
    np.testing.assert_allclose(found, centre, atol=1e-12)
    assert length == pytest.approx(radius, abs=1e-12)


@given(clouds, st.integers(0, 99))
def test_it_holds_the_points_and_no_ball_is_smaller(points, seed):
    centre, radius = enclosing_ball(points)
    distances = np.linalg.norm(points - centre, axis=1)
    assert distances.max() <= radius * (1 + 1e-12)
    assert radius <= radius_of_sampled_balls(points, seed) + 1e-9
    # optimal: the centre is in the convex hull of the points on the boundary, so none can be left behind
    boundary = points[distances >= radius * (1 - 1e-7)] - centre
    directions = np.random.default_rng(seed).normal(size=(200, 3))
    assert ((boundary @ directions.T).max(axis=0) >= -1e-6).all()


@given(clouds, st.integers(0, 99), st.floats(0.01, 100))
def test_it_moves_with_the_points(points, seed, scale):
    rng = np.random.default_rng(seed)
    rotation, shift = Rotation.random(rng=rng).as_matrix(), rng.normal(size=3)
    centre, radius = enclosing_ball(points)
    moved_centre, moved_radius = enclosing_ball(scale * points @ rotation.T + shift)
    np.testing.assert_allclose(moved_centre, scale * rotation @ centre + shift, atol=1e-6 * (1 + scale))
    assert moved_radius == pytest.approx(scale * radius, abs=1e-9 * (1 + scale))


def test_a_sphere_of_many_points():
    points = np.random.default_rng(0).normal(size=(100_000, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    centre, radius = enclosing_ball(points + 7)
    np.testing.assert_allclose(centre, 7, atol=1e-3)
    assert 1 - 1e-3 < radius <= 1 + 1e-12
