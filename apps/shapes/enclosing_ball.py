"""The smallest ball around points."""

from collections.abc import Iterator
from itertools import combinations

import numpy as np
from jaxtyping import Float

TOLERANCE = 1e-12  # of the radius; rounding of float64 is well below
MOST_STEPS = 1000

Points = Float[np.ndarray, "N 3"]
Point = Float[np.ndarray, "3"]


def enclosing_ball(points: Points) -> tuple[Point, float]:
    """Centre and radius of the smallest ball that holds all points; it turns and moves with them.

    The ball is spanned by at most four points (Welzl, Smallest enclosing disks, 1991). Starting from one, the point
    farthest outside is taken in, and the smallest ball of these few is found among the balls of their subsets. Its
    radius grows in every step, so no subset comes twice.

    Args:
        points: (N, 3), N ≥ 1, finite; float64.

    >>> centre, radius = enclosing_ball(np.array([[0.0, 0, 0], [2, 0, 0], [1, 0.5, 0]]))
    >>> centre.tolist(), radius
    ([1.0, 0.0, 0.0], 1.0)
    """
    support, centre, radius = points[:1], points[0], 0.0
    for _ in range(MOST_STEPS):
        distances = np.linalg.norm(points - centre, axis=1)
        farthest = int(distances.argmax())
        if distances[farthest] <= radius * (1 + TOLERANCE):
            break
        balls = list(_balls_through(points[farthest], support))
        holding = [ball for ball in balls if _holds(ball, support)] or balls[-1:]
        new_support, new_centre, new_radius = min(holding, key=lambda ball: ball[2])
        if new_radius <= radius:  # rounding has the last word
            break
        support, centre, radius = new_support, new_centre, new_radius
    return centre, float(np.linalg.norm(points - centre, axis=1).max())


Ball = tuple[Points, Point, float]


def _balls_through(point: Point, support: Points) -> Iterator[Ball]:
    """The smallest ball with `point` and n of the support on its boundary, for every such n points, n from 1 to 3."""
    for count in range(1, min(len(support), 3) + 1):
        for chosen in combinations(support, count):
            edges = np.array(chosen) - point
            # the centre is point + edgesᵀ x, as far from each point of the boundary as from `point`
            gram = edges @ edges.T
            x = np.linalg.lstsq(2 * gram, gram.diagonal(), rcond=None)[0]
            offset = x @ edges
            yield np.array([point, *chosen]), point + offset, float(np.linalg.norm(offset))


def _holds(ball: Ball, points: Points) -> bool:
    _, centre, radius = ball
    return bool((np.linalg.norm(points - centre, axis=1) <= radius * (1 + 1e-9)).all())
