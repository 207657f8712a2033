"""How far distances are from those of a tree."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from geomdml._core import checks

__all__ = ["Distortion", "distortion"]


class Distortion(NamedTuple):
    """`mean` of |scale·d/d_tree − 1|, and the `scale` > 0 that makes it least."""

    mean: float
    scale: float


def distortion(dist: Float[Tensor, "*shape"], tree_dist: Float[Tensor, "*shape"]) -> Distortion:
    """Mean relative error of distances against those of a tree, after the best common scale.

    With x = d/d_tree, Σ |s·x − 1| is least where s is the median of 1/x under the weights x.

    Args:
        dist: distances, ≥ 0, of any shape; tree_dist has the same pairs in the same places.
        tree_dist: distances in the tree, such as numbers of edges. Pairs at 0, a point and itself, are left out.

    Raises:
        ValueError: shapes that differ, numbers that are negative, NaN or infinite, no pair that is apart in the tree,
            all distances 0.
        TypeError: numbers that are not floating point.

    Source: Sala et al., "Representation tradeoffs for hyperbolic embeddings" (2018), section 2, for the mean.

    >>> distortion(torch.tensor([2.0, 4.0, 6.0]), torch.tensor([1.0, 2.0, 3.0]))
    Distortion(mean=0.0, scale=0.5)
    """
    checks.floating(dist=dist, tree_dist=tree_dist)
    if dist.shape != tree_dist.shape:
        raise ValueError(f"dist has shape {tuple(dist.shape)}, tree_dist {tuple(tree_dist.shape)}; expected the same")
    for name, values in (("dist", dist), ("tree_dist", tree_dist)):
        if not bool((values.isfinite() & (values >= 0)).all()):
            raise ValueError(f"{name} has numbers that are negative, NaN or infinite; expected distances")
    ratio = (dist.detach().double() / tree_dist.detach().double())[tree_dist > 0]
    if not len(ratio):
        raise ValueError("tree_dist has no distance above 0; expected at least one pair of different points")
    x = ratio[ratio > 0].sort(descending=True).values  # 1/x ascending
    if not len(x):
        raise ValueError("dist is 0 for all pairs; expected points that are not all equal")
    mass = x.cumsum(0)
    scale = 1 / x[torch.searchsorted(mass, mass[-1:] / 2)]
    return Distortion(mean=float((scale * ratio - 1).abs().mean()), scale=float(scale))
