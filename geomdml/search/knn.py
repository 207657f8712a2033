"""Nearest neighbours in any space, exact."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from geomdml._core import checks
from geomdml._core.numerics import result_dtype
from geomdml.search._unique_rows import distinct
from geomdml.spaces import Euclidean, Space

__all__ = ["Neighbours", "knn"]

_CHUNK = 2**22  # distances at a time: 32 MB in the float64 in which the spaces compute
_LONG = 2**14  # points of the gallery at a time


class Neighbours(NamedTuple):
    """The nearest points of a gallery, nearest first: `distances` (Q, k) and their `indices` (Q, k)."""

    distances: Tensor
    indices: Tensor


def knn(
    query: Float[Tensor, "Q D"], gallery: Float[Tensor, "P D"], k: int, *, space: Space | None = None
) -> Neighbours:
    """The k nearest points of a gallery for each query, exact, those at equal distances in the order of their indices.

    Equal points of the gallery are at exactly equal distances. Memory is bounded: whatever Q and P are, 2²² distances
    at a time, beside the result and two copies of the gallery.

    Args:
        query, gallery: (Q, D) and (P, D) points in the space's chart; either may be empty.
        k: how many, 0 ≤ k ≤ P.
        space: whose `pairwise_dist` is used; None is Euclidean.

    Returns:
        (distances, indices), both (Q, k), nearest first, without gradient, on the query's device.

    Raises:
        ValueError: k > P or k < 0, shapes that do not match, points that are NaN or infinite, a space that cannot
            measure them.
        TypeError: k that is no integer, points that are not floating point.

    Source: the definition.

    >>> gallery = torch.tensor([[0.0], [3.0], [1.0], [3.0]])
    >>> distances, indices = knn(torch.tensor([[2.5]]), gallery, 3)
    >>> distances, indices
    (tensor([[0.5000, 0.5000, 1.5000]]), tensor([[1, 3, 2]]))
    """
    checks.points(query=query, gallery=gallery)
    if isinstance(k, bool) or not isinstance(k, int):
        raise TypeError(f"k is a {type(k).__name__}; expected an integer")
    if not 0 <= k <= len(gallery):
        raise ValueError(f"k = {k} with {len(gallery)} points in the gallery; expected 0 to {len(gallery)}")
    checks.finite(query=query, gallery=gallery)
    space = space or Euclidean()
    with torch.no_grad():
        points, members = _distinct(gallery.to(query.device, result_dtype(query, gallery)), k)
        rows = max(1, _CHUNK // max(_LONG, k * members.shape[1]))
        found = [_expand(_nearest(some, points, k, space), members, len(gallery), k) for some in query.split(rows)]
    distances, indices = zip(*found, strict=True)
    return Neighbours(torch.cat(distances), torch.cat(indices))


def _distinct(gallery: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The points without repetition, as they first occur, and for each the first k indices where it does, else P.

    A tiled matrix product may round its columns differently, so that equal points would not tie.
    """
    P = len(gallery)
    _, point = distinct(gallery)
    count = point.bincount()
    order = point.argsort(stable=True)  # the indices, point after point
    first = count.cumsum(0) - count
    slot = torch.arange(max(1, min(k, int(count.max()))) if P else 1, device=gallery.device)
    members = order[(first[:, None] + slot).clamp(max=P - 1)] if P else order.view(0, 1)
    members = members.masked_fill(slot >= count[:, None], P)
    members = members[members[:, 0].argsort()]
    return gallery[members[:, 0]], members


def _nearest(query: Tensor, points: Tensor, k: int, space: Space) -> Neighbours:
    """Block after block of the points, the k nearest so far are kept, in order."""
    found = query.new_empty((len(query), 0), dtype=points.dtype)
    best = Neighbours(found, found.long())
    for start in range(0, len(points), _LONG):
        distances = space.pairwise_dist(query, points[start : start + _LONG]).to(points.dtype)
        if not bool(distances.isfinite().all()):
            raise ValueError(f"{space} gives distances that are NaN or infinite; expected points it can measure")
        indices = torch.arange(start, start + distances.shape[1], device=query.device).expand_as(distances)
        best = _smallest(torch.cat([best.distances, distances], 1), torch.cat([best.indices, indices], 1), k)
    return best


def _expand(found: Neighbours, members: Tensor, absent: int, k: int) -> Neighbours:
    """The k nearest of all points from the k nearest distinct ones: of equal distances the lowest indices first."""
    if len(members) == absent:
        return found
    indices, order = members[found.indices].flatten(1).sort(dim=1)
    distances = found.distances.repeat_interleave(members.shape[1], dim=1).gather(1, order)
    return _smallest(distances.masked_fill(indices == absent, torch.inf), indices, k)


def _smallest(distances: Tensor, indices: Tensor, k: int) -> Neighbours:
    """The first k of each row by distance, and then as they stand."""
    if 0 < 8 * k < distances.shape[1]:
        # What is nearer than the k-th, and the first of those level with it: faster than to sort all.
        last = distances.kthvalue(k, dim=1, keepdim=True).values
        nearer, level = distances < last, distances == last
        wanted = nearer | (level & (level.cumsum(1) <= k - nearer.sum(1, keepdim=True)))
        distances, indices = (x[wanted].view(len(x), k) for x in (distances, indices))
    distances, order = distances.sort(dim=1, stable=True)
    return Neighbours(distances[:, :k], indices.gather(1, order[:, :k]))
