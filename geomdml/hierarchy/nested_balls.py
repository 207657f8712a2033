"""An embedding of a taxonomy by construction: nodes are nested balls, as wide as what is below them needs."""

import math

import numpy as np
import torch
from jaxtyping import Float, Float64, Int, Integer
from numpy import ndarray
from torch import Tensor

from geomdml._core import checks
from geomdml._core.checks import Scalar
from geomdml.hierarchy.closure import closure

__all__ = ["nested_balls"]

_DIRECTIONS = 128  # in which a place is looked for; more pack little closer
_MOST_CHILDREN = 256  # packed at once: the time to pack k balls grows as k²
_TOP = 0.25  # the radius of the ball round all, and
_ROOM = 1.05  # how much wider a ball is than what is in it, for which a half-space fits between the two


def nested_balls(
    edges: Integer[Tensor, "E 2"], dim: int, *, count: int | None = None, c: Scalar = 1.0, seed: int = 0
) -> Float64[Tensor, "N dim"]:
    """Points of which each is nearer to all its ancestors in a tree than to any other node.

    In the upper half-space, what is nearer to a point (x, t) than to the origin (0, 1) is a half-space over a ball of
    the boundary, and for small t that is about the ball round x of radius √t. Every node gets a ball, within its
    parent's, apart from its siblings' and not over its parent's x, and t is chosen so that its half-space fits into
    its ball and holds the balls of its children. So a node is in the half-spaces of its ancestors and in no other: it
    is nearer to them than to a root at the origin, and farther from all others. Balls are packed from the leaves up;
    those of all leaves are equally wide.

    Args:
        edges: (E, 2) pairs (child, parent) of node numbers ≥ 0, without cycles. A node with several parents hangs under
            the one that has the most ancestors; its other ancestors may be far from it.
        dim: dimensions ≥ 2. Two suffice for any tree, and more make the radii smaller.
        count: nodes there are, more than any number in edges; None takes the greatest number and one.
        c: absolute curvature, > 0.
        seed: of the directions that are tried.

    Returns:
        (N, dim) tangent vectors at the origin, float64, on the device of `edges`. The one root lies at the origin;
        of several roots each has its ball.

    Raises:
        ValueError, TypeError: as `closure`; dim < 2, a count that is too small, c ≤ 0.

    Source: ours. Sarkar, "Low distortion Delaunay embedding of trees in hyperbolic plane" (2011), places trees by
    construction so that distances are kept; here it is the order of distances.

    >>> edges = torch.tensor([[1, 0], [2, 0], [3, 1], [4, 1], [5, 2]])
    >>> points = nested_balls(edges, 2)
    >>> from geomdml.spaces import Hyperbolic
    >>> from geomdml.hierarchy import reconstruction
    >>> round(reconstruction(points, closure(edges), space=Hyperbolic(1.0)).map, 9)
    1.0
    """
    checks.positive(c=c)
    dim = checks.integer(2, dim=dim)
    parents = _parents(edges, count)
    centres, log_radii = _balls(parents, dim - 1, np.random.default_rng(checks.integer(seed=seed)))
    square = np.square(centres).sum(1)
    log_t = 2 * (log_radii + math.log(_TOP / math.sqrt(_ROOM))) - np.log1p(square)
    square += np.exp(2 * log_t)
    direction = np.concatenate([2 * centres, 1 - square[:, None]], 1)
    log_cosh = np.log1p(square) - math.log(2) - log_t
    radius = log_cosh + np.log1p(np.sqrt(-np.expm1(-2 * log_cosh)))
    scale = radius / (2 * math.sqrt(float(c)))
    points = scale[:, None] * direction / np.linalg.norm(direction, axis=1, keepdims=True)
    roots = np.flatnonzero(parents < 0)
    if len(roots) == 1:
        points[roots] = 0.0
    return torch.from_numpy(points).to(edges.device)


def _parents(edges: Tensor, count: int | None) -> Int[ndarray, " N"]:
    """The parent of each node that has the most ancestors, the least number of those; −1 where it has none."""
    ancestors = closure(edges).cpu().numpy()
    least = int(edges.max()) + 1 if len(edges) else 0
    count = least if count is None else checks.integer(count=count)
    if count < max(least, 1):
        raise ValueError(f"count is {count}; expected at least {max(least, 1)}, for node numbers below it")
    above = np.bincount(ancestors[:, 0], minlength=count)
    child, parent = edges.cpu().numpy().T
    order = np.lexsort((-parent, above[parent]))  # the last one written stays
    parents = np.full(count, -1)
    parents[child[order]] = parent[order]
    return parents


def _balls(parents: ndarray, m: int, rng: np.random.Generator) -> tuple[Float[ndarray, "N m"], Float[ndarray, " N"]]:
    """Centres of nested balls within that of radius _TOP round 0, and the logarithms of their radii as shares of it."""
    children, top = _children(parents)
    order = [top]
    for node in order:
        order += children[node]
    log_radii, offsets = np.zeros(len(children)), np.zeros((len(children), m))
    for node in reversed(order):
        if below := np.array(children[node], dtype=int)[np.argsort(-log_radii[children[node]], kind="stable")].tolist():
            widest = log_radii[below[0]]
            places, radius = _pack(np.exp(log_radii[below] - widest), m, rng)
            offsets[below] = places / (_ROOM * radius)
            log_radii[node] = widest + np.log(_ROOM * radius)
    log_radii -= log_radii[top]
    centres = np.zeros_like(offsets)
    for node in order:
        centres[children[node]] = centres[node] + _TOP * np.exp(log_radii[node]) * offsets[children[node]]
    return centres[: len(parents)], log_radii[: len(parents)]


def _children(parents: ndarray) -> tuple[list[list[int]], int]:
    """The children of each node, of groups where one has too many to pack at once, and the node at the top."""
    count = len(parents)
    children: list[list[int]] = [[] for _ in range(count + 1)]
    for child, parent in enumerate(parents.tolist()):
        children[parent].append(child)  # a root's parent is −1, the last
    for node in range(count + 1):
        while len(many := children[node]) > _MOST_CHILDREN:
            groups = [many[start : start + _MOST_CHILDREN] for start in range(0, len(many), _MOST_CHILDREN)]
            children[node] = list(range(len(children), len(children) + len(groups)))
            children += groups
    roots = children[count]
    return children, roots[0] if len(roots) == 1 else count


def _pack(radii: ndarray, m: int, rng: np.random.Generator) -> tuple[Float[ndarray, "k m"], float]:
    """Centres of balls with these radii, descending, that lie apart and not over the origin, and the radius of a ball
    round all: each as near to the origin as it can be in the best of some directions."""
    centres = np.zeros((len(radii), m))
    for i, radius in enumerate(radii):
        ways = np.array([[1.0], [-1.0]]) if m == 1 else rng.normal(size=(_DIRECTIONS, m))
        ways /= np.linalg.norm(ways, axis=1, keepdims=True)
        # where a ray in this direction is too near to a ball that is there
        middle = ways @ centres[:i].T
        half = np.square(middle) - np.square(centres[:i]).sum(1) + np.square(radii[:i] + radius)
        half = np.sqrt(half, where=half > 0, out=np.full_like(half, -np.inf))
        start, end = middle - half, middle + half
        along = np.full(len(ways), radius)
        while (inside := (start < along[:, None]) & (along[:, None] < end)).any():
            along = np.where(inside, end, along[:, None]).max(1)
        best = along.argmin()
        centres[i] = along[best] * ways[best]
    return centres, float((np.linalg.norm(centres, axis=1) + radii).max())
