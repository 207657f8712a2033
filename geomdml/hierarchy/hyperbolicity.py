"""How tree-like a metric is: Gromov's δ."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from geomdml._core import checks
from geomdml.spaces import Space

__all__ = ["Hyperbolicity", "delta_hyperbolicity"]

_ROWS = 64  # of a tile of the max-min product, which stays in the caches


class Hyperbolicity(NamedTuple):
    """Means over the samples: `delta`, `relative` = 2δ/diameter in [0, 1]; the spread of the latter; its values."""

    delta: float
    relative: float
    spread: float
    values: tuple[float, ...]


def delta_hyperbolicity(
    points: Float[Tensor, "N D"], *, space: Space | None = None, samples: int = 1000, repeats: int = 5, seed: int = 0
) -> Hyperbolicity:
    """Gromov's δ of a metric: 0 for a tree, the larger the less it is like one.

    With Gromov products (x|y)_w = (d(x, w) + d(y, w) − d(x, y))/2 as a matrix G, δ = max(G∘G − G), where ∘ is the
    max-min product. It takes O(samples³), so it is found on samples, each with one of its points for w. No w gives less
    than half of what another gives.

    Args:
        points: (N, D) points in the space's chart; without a space, an (N, N) matrix of distances.
        space: whose `pairwise_dist` measures; None takes `points` as distances.
        samples: points of a sample, at least 4; where there are no more than that, all are taken.
        repeats: samples drawn, at least 1.
        seed: of the samples, and of their w.

    Raises:
        ValueError: samples below 4, repeats below 1, no square matrix, NaN or infinite numbers, points all equal.
        TypeError: points that are not floating point.

    Source: Fournier, Ismail and Vigneron, "Computing the Gromov hyperbolicity of a discrete metric space" (2015);
    relative as in Khrulkov et al., "Hyperbolic image embeddings" (2020), section 3.

    >>> star = 2 * (1 - torch.eye(5))  # the leaves of a tree
    >>> delta_hyperbolicity(star).relative
    0.0
    >>> square = torch.tensor([[0.0, 1, 2, 1], [1, 0, 1, 2], [2, 1, 0, 1], [1, 2, 1, 0]])
    >>> delta_hyperbolicity(square).relative
    1.0
    """
    checks.rows(points=points)
    checks.finite(points=points)
    if space is None and len(points) != points.shape[1]:
        raise ValueError(f"points has shape {tuple(points.shape)}; expected a space, or a square matrix of distances")
    samples, repeats = checks.integer(4, samples=samples), checks.integer(1, repeats=repeats)
    generator = torch.Generator().manual_seed(checks.integer(seed=seed))
    deltas, relatives = [], []
    for _ in range(repeats):
        chosen = torch.randperm(len(points), generator=generator)[:samples].to(points.device)
        with torch.no_grad():
            some = points[chosen]
            dist = (some[:, chosen] if space is None else space.pairwise_dist(some, some)).double()
        diameter = float(dist.max())
        if not 0 < diameter < float("inf"):
            raise ValueError(f"the largest distance is {diameter}; expected points that are not all equal")
        deltas.append(_delta(dist))
        relatives.append(2 * deltas[-1] / diameter)
    values = torch.tensor(relatives, dtype=torch.float64)
    return Hyperbolicity(
        delta=sum(deltas) / repeats,
        relative=float(values.mean()),
        spread=float(values.std(correction=0)),
        values=tuple(relatives),
    )


def _delta(dist: Tensor) -> float:
    """δ with the first point for w; its row and column of Gromov products are 0."""
    products = (dist[:, :1] + dist[:1] - dist) / 2
    worst = 0.0
    for rows in products.split(_ROWS):
        most = torch.full_like(rows, -torch.inf)
        for column, row in zip(rows.T, products, strict=True):
            torch.maximum(most, torch.minimum(column[:, None], row), out=most)
        worst = max(worst, float((most - rows).max()))
    return worst
