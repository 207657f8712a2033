"""Nearest neighbours in any space, exact."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from geomdml._core import checks
from geomdml._core.numerics import result_dtype
from geomdml.search._ties import bounds, tied
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

    Equal points of the gallery are at exactly equal distances, and float64 distances that agree to 1e-13 are equal.
    Memory is bounded: whatever Q and P are, 2²² distances at a time, beside the result and two copies of the gallery.

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
    checks.rows(query=query, gallery=gallery)
    k = checks.integer(k=k)
    if not 0 <= k <= len(gallery):
        raise ValueError(f"k = {k} with {len(gallery)} points in the gallery; expected 0 to {len(gallery)}")
    checks.finite(query=query, gallery=gallery)
    space = space or Euclidean()
    with torch.no_grad():
        points, members = _distinct(gallery.to(query.device, result_dtype(query, gallery)))
        rows = max(1, _CHUNK // max(_LONG, k))
        found = [_expand(_nearest(some, points, k, space), members, k) for some in query.split(rows)]
    distances, indices = zip(*found, strict=True)
    return Neighbours(torch.cat(distances), torch.cat(indices))


class _Members(NamedTuple):
    """Where each of the distinct points occurs in the gallery: a stretch of `places`, ascending."""

    places: Tensor  # (P,)
    first: Tensor  # (N,) where the stretch of a point begins
    number: Tensor  # (N,) how long it is


def _distinct(gallery: Tensor) -> tuple[Tensor, _Members]:
    """The points without repetition, as they first occur, and their members.

    A tiled matrix product may round its columns differently, so that equal points would not tie.
    """
    first, point = distinct(gallery)
    count = point.bincount(minlength=len(first))
    order = first.argsort()
    members = _Members(point.argsort(stable=True), (count.cumsum(0) - count)[order], count[order])
    return gallery[first[order]], members


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


def _expand(found: Neighbours, members: _Members, k: int) -> Neighbours:
    """The k nearest of all points from the k nearest distinct ones: of equal distances the lowest indices first."""
    if not k or len(members.number) == len(members.places):
        return found
    count = members.number[found.indices]
    enough = (count.cumsum(1) < k).sum(1, keepdim=True)  # the place of the point that makes them k
    count = count.clamp(max=k).masked_fill_(found.distances > found.distances.gather(1, enough), 0)
    _, rows = (count.sum(1).cumsum(0) // _CHUNK).unique_consecutive(return_counts=True)
    parts = (part.split(rows.tolist() or [0]) for part in (*found, count))
    expanded = [_expand_some(Neighbours(*some), number, members, k) for *some, number in zip(*parts, strict=True)]
    return Neighbours(*map(torch.cat, zip(*expanded, strict=True)))


def _expand_some(found: Neighbours, count: Tensor, members: _Members, k: int) -> Neighbours:
    """The first k, by distance and then by index, of so many members of each point; at least k in each row."""
    flat = count.flatten()
    begins = flat.cumsum(0) - flat
    place = torch.arange(int(flat.sum()), device=flat.device)
    indices = members.places[place + (members.first[found.indices.flatten()] - begins).repeat_interleave(flat)]
    # Rows and distances ascend: only members at one distance are yet to be sorted.
    level = torch.ones_like(found.distances, dtype=torch.bool)
    level[:, 1:] = found.distances.diff() > 0
    key = level.flatten().cumsum(0).repeat_interleave(flat).mul_(len(members.places)).add_(indices)
    indices = key.sort().values % len(members.places)
    wanted = begins.view(count.shape)[:, :1] + torch.arange(k, device=flat.device)
    return Neighbours(found.distances.flatten().repeat_interleave(flat)[wanted], indices[wanted])


def _smallest(distances: Tensor, indices: Tensor, k: int) -> Neighbours:
    """The first k of each row by distance, and then as they stand."""
    if 0 < 8 * k < distances.shape[1]:
        # What is nearer than the k-th, and the first of those level with it: faster than to sort all.
        low, high = bounds(distances.kthvalue(k, dim=1, keepdim=True).values)
        nearer = distances < low
        level = (distances <= high) & ~nearer
        if distances.dtype == torch.float64:  # where they are level but for their last bits
            distances = distances.where(~level, distances.where(level, torch.inf).amin(1, keepdim=True))
        wanted = nearer | (level & (level.cumsum(1) <= k - nearer.sum(1, keepdim=True)))
        distances, indices = (x[wanted].view(len(x), k) for x in (distances, indices))
    distances, order = tied(distances).sort(dim=1, stable=True)
    return Neighbours(distances[:, :k], indices.gather(1, order[:, :k]))
