"""Random points of hyperbolic space, to start from: uniform in a ball, and like a tree.

Points are tangent vectors at the origin (the chart of `geomdml.tangent`); `spaces.Hyperbolic.to` moves them to another.
The wrapped normal distribution is in `geomdml.statistics`.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from geomdml import tangent
from geomdml._core import checks
from geomdml._core.checks import Scalar
from geomdml._core.numerics import asinh_exp, direction, log_sinh

__all__ = ["tree_like", "uniform_in_ball"]


def __dir__() -> list[str]:
    return __all__


def uniform_in_ball(
    count: int,
    dim: int,
    radius: float,
    *,
    c: Scalar,
    dtype: torch.dtype = torch.float32,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "N D"]:
    """Points of uniform density, with respect to hyperbolic volume, within a distance from the origin.

    Args:
        count, dim: how many, ≥ 0, and of how many dimensions, ≥ 1.
        radius: the largest distance from the origin, > 0; so vectors are at most half as long.
        c: absolute curvature, > 0.
        dtype: of the result.
        generator: of the randomness; None is torch's own.

    Returns:
        (N, D) points, by their tangent vectors at the origin. Far out nearly all are near the boundary of the ball: the
        density of the distance r is proportional to sinh(√c r)^(D − 1).

    Raises:
        ValueError, TypeError: counts that are too small, radius or c that are not finite and above 0.

    Source: rejection: asinh(sinh(R)·p^(1/(D − 1))), p uniform, has the density sinh^(D − 2)·cosh, and is kept with the
    probability tanh(r)/tanh(R); at least half of them are.

    >>> u = uniform_in_ball(1000, 2, 6.0, c=1.0, generator=torch.Generator().manual_seed(0))
    >>> float((2 * u).norm(dim=1).max()) <= 6.0, float((2 * u).norm(dim=1).median()) > 5.0
    (True, True)
    """
    count, dim = checks.integer(0, count=count), checks.integer(1, dim=dim)
    checks.positive(radius=radius, c=c)
    root_c = math.sqrt(float(c))
    distance = _radii(count, dim, root_c * radius, generator) / root_c
    noise = torch.randn((count, dim), dtype=torch.float64, generator=generator)
    return (distance.unsqueeze(-1) / 2 * direction(noise)[0]).to(dtype)


def _radii(count: int, dim: int, farthest: float, generator: torch.Generator | None) -> Tensor:
    """Distances at unit curvature."""
    radii, left = torch.empty(count, dtype=torch.float64), torch.arange(count)
    end = torch.tensor(farthest, dtype=torch.float64)
    while len(left):
        p, q = torch.rand((2, len(left)), dtype=torch.float64, generator=generator)
        if dim == 1:
            radii[left] = end * p
            break
        radii[left] = asinh_exp(log_sinh(end) + p.log() / (dim - 1))
        left = left[q * torch.tanh(end) >= torch.tanh(radii[left])]
    return radii


def tree_like(
    parents: Int[Tensor, " N"],
    dim: int,
    *,
    edge: float,
    c: Scalar,
    dtype: torch.dtype = torch.float32,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "N D"]:
    """The nodes of a tree, each at one distance from its parent, siblings spread evenly about it.

    The longer the edges, the nearer are all distances to those along the tree: what a geodesic saves at each node it
    passes does not grow with the edges.

    Args:
        parents: (N,) the index of each node's parent; −1 for the root, of which there is one, at the origin.
        dim: of how many dimensions, ≥ 2.
        edge: the distance from a parent, > 0.
        c: absolute curvature, > 0.
        dtype: of the result.
        generator: of the randomness, the planes in which siblings lie; None is torch's own.

    Returns:
        (N, D) points, by their tangent vectors at the origin. Their directions tell neighbours apart as far as the
        dtype has digits: to √c times the distance from the origin of about 16 in float32 and 36 in float64.

    Raises:
        ValueError, TypeError: parents that are no tree, dim < 2, edge or c that are not finite and above 0.

    Source: Sarkar, "Low distortion Delaunay embedding of trees in hyperbolic plane" (2011), section 3, in a random
    plane through the way to the parent where there are more dimensions than 2.

    >>> u = tree_like(torch.tensor([-1, 0, 0, 1, 1]), 2, edge=4.0, c=1.0)
    >>> tangent.dist(u[1:], u[torch.tensor([0, 0, 1, 1])], c=1.0).round(decimals=3)
    tensor([4., 4., 4., 4.])
    """
    dim = checks.integer(2, dim=dim)
    checks.positive(edge=edge, c=c)
    above = checks.labels(parents=parents)
    points = torch.zeros((len(above), dim), dtype=torch.float64)
    children = torch.bincount(above[above >= 0], minlength=len(above))
    rank = _rank_among_siblings(above)
    for nodes in _generations(above):
        parent = above[nodes]
        grandparent = above[parent]
        noise = torch.randn((2, len(above), dim), dtype=torch.float64, generator=generator)[:, parent]
        orphans = (grandparent < 0).unsqueeze(-1)
        back = tangent.logmap(points[parent], points[grandparent.clamp(min=0)], c=c)
        e, _ = direction(torch.where(orphans, noise[0], back))
        f, _ = direction(noise[1] - (noise[1] * e).sum(-1, keepdim=True) * e)
        shares = (rank[nodes] + 1) / (
            children[parent] + (~orphans).squeeze(-1)
        )  # one of the directions is the parent's
        angle = (2 * math.pi * shares.double()).unsqueeze(-1)
        way = edge / 2 * (torch.cos(angle) * e + torch.sin(angle) * f)
        points[nodes] = tangent.expmap(points[parent], way, c=c)
    return points.to(dtype)


def _rank_among_siblings(parents: Tensor) -> Tensor:
    order = parents.argsort(stable=True)
    ordered = parents[order]
    first = torch.searchsorted(ordered, ordered)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order)) - first
    return rank


def _generations(parents: Tensor) -> list[Tensor]:
    """The children of the root, their children, and so on; refuses what is no tree."""
    count = len(parents)
    if not count or int(parents.min()) < -1 or int(parents.max()) >= count or int((parents < 0).sum()) != 1:
        raise ValueError(f"parents name {int((parents < 0).sum())} roots; expected one −1, and indices below {count}")
    found, generations = (parents < 0), []
    while not bool(found.all()):
        new = ~found & found[parents.clamp(min=0)]
        if not bool(new.any()):
            raise ValueError(f"parents have a cycle: {int((~found).sum())} nodes do not descend from the root")
        generations.append(new.nonzero().squeeze(-1))
        found = found | new
    return generations
