"""Rank correlations of an embedding with a tree above its classes."""

import torch
from jaxtyping import Float, Integer
from scipy.stats import spearmanr
from torch import Tensor

from geomdml._core import checks
from geomdml.class_trees import ancestors, tree_dist
from geomdml.spaces import Euclidean, Space

__all__ = ["distance_correlation", "radius_correlation"]

_NUMBERS = 2**22  # of points whose distances are measured at a time


def distance_correlation(
    points: Float[Tensor, "N D"],
    labels: Integer[Tensor, " N"],
    parents: Integer[Tensor, " M"],
    *,
    space: Space | None = None,
    pairs: int = 100_000,
    seed: int = 0,
) -> float:
    """Spearman's correlation of distances with those of the tree, over a sample of pairs of different classes.

    Args:
        points, labels: (N, D) embeddings and their classes, 0 to C − 1.
        parents: (M,) the tree, see `geomdml.class_trees`.
        space: whose `dist` is taken; None is Euclidean.
        pairs: how many pairs are drawn, with replacement; those of one class are left out.
        seed: of the draw.

    Returns:
        −1 to 1; NaN where all distances, or all tree distances, are equal.

    Raises:
        ValueError: shapes that do not match, labels outside the classes, no pair of different classes drawn.
        TypeError: embeddings that are not floating point, labels or parents that are not integers.

    Source: the definition.

    >>> x, labels = torch.tensor([[0.0], [1.0], [5.0]]), torch.tensor([0, 1, 2])
    >>> round(distance_correlation(x, labels, torch.tensor([3, 3, 4, -1, -1]), pairs=10_000), 2)
    0.87
    """
    checks.rows(points=points)
    checks.finite(points=points)
    apart = tree_dist(parents)
    classes = checks.labels(len(points), len(apart), labels=labels).cpu()
    drawn = torch.randint(
        max(1, len(points)), (checks.integer(1, pairs=pairs), 2), generator=torch.Generator().manual_seed(seed)
    )
    drawn = drawn[classes[drawn[:, 0]] != classes[drawn[:, 1]]] if len(points) else drawn[:0]
    if not len(drawn):
        raise ValueError(f"no pair of different classes among {pairs} drawn; expected points of at least two classes")
    measure, rows = (space or Euclidean()).dist, max(1, _NUMBERS // points.shape[1])
    with torch.no_grad():
        dist = torch.cat([measure(*points[some].unbind(1)) for some in drawn.to(points.device).split(rows)])
    return _spearman(dist, apart.cpu()[classes[drawn[:, 0]], classes[drawn[:, 1]]])


def radius_correlation(radii: Float[Tensor, " N"], parents: Integer[Tensor, " N"]) -> float:
    """Spearman's correlation of the radii of a tree's nodes with their depths: 1 where general nodes lie at the centre.

    Args:
        radii: (N,) distances of all nodes, classes and inner ones, from the origin.
        parents: (N,) the tree, see `geomdml.class_trees`.

    Returns:
        −1 to 1; NaN where all radii, or all depths, are equal.

    Raises:
        ValueError: radii of another number, NaN or infinite.
        TypeError: radii that are not floating point, parents that are not integers.

    Source: the definition.

    >>> round(radius_correlation(torch.tensor([2.0, 3.0, 1.0]), torch.tensor([2, 2, -1])), 3)  # depths 1, 1, 0
    0.866
    """
    paths = ancestors(parents)
    checks.floating(radii=radii)
    if radii.shape != (len(paths),):
        raise ValueError(f"radii has shape {tuple(radii.shape)}; expected ({len(paths)},), one a node")
    checks.finite(radii=radii)
    return _spearman(radii, (paths != paths[:, -1:]).sum(1))


def _spearman(x: Tensor, y: Tensor) -> float:
    x, y = x.detach().cpu().double(), y.detach().cpu().double()
    if len(x) < 2 or bool((x == x[0]).all()) or bool((y == y[0]).all()):
        return float("nan")
    return float(spearmanr(x.numpy(), y.numpy()).statistic)
