"""A graph of near neighbours by the hyperbolic distance itself, built and walked in compiled code (extra `search`).

Each point has links to points near it, chosen so that none is nearer to a kept one than to the point: so a walk that
follows what is nearest to a query comes to its neighbourhood. Where that leaves room, as in trees, in which a parent
hides all its children from one another, the nearest of the others fill it.

Source: Malkov and Yashunin (2020), without their layers: a walk begins at the nearest of √N landmarks. Points come in
batches, which see one another and the graph as it was before them, so the result depends on no thread (Manohar et al.,
ParlayANN, 2024). Who had links to a removed point takes over its links (Singh et al., FreshDiskANN, 2021). Few points
of hyperbolic space are near to very many and cannot link to all: each gets one where there is room (`_adopt`). A walk
towards a point far out then ends at those few; so where radii differ there is a second graph, of directions alone, by
the same code: what it finds is ranked with the rest.
"""

from math import isqrt
from typing import NamedTuple

import numpy as np

from geomdml.search._metric import between, compiled, insert, inverse_length, shared, spread

LINKS, FEWER = 48, 24  # of a point at most: by distance, and by direction alone
BUILD = 100  # points in view when links are chosen
BATCH = 256  # points linked at a time


class Links(NamedTuple):
    to: np.ndarray  # (N, LINKS) or (N, FEWER) int32 rows
    degree: np.ndarray  # (N,) int32, how many of them a point has

    @classmethod
    def empty(cls, room: int, most: int) -> "Links":
        return cls(np.zeros((room, most), np.int32), np.zeros(room, np.int32))


def landmarks(rows: np.ndarray) -> np.ndarray:
    return rows[:: max(1, isqrt(len(rows)))]


def link(points: np.ndarray, polar: np.ndarray, links: Links, old: int, new: int, threads: int | None) -> None:
    """Link rows old, …, new − 1 with one another and with the rows before them."""
    order = np.arange(new, dtype=np.int32)
    np.random.default_rng(0).shuffle(order[old:])
    seen: dict[int, np.ndarray] = {}
    own = links.to.shape[1] // 3  # of a point's links, its own choice
    for start in range(old, new, BATCH):
        batch, begin = order[start : min(start + BATCH, new)], landmarks(order[:start])

        def choose(low: int, high: int, batch: np.ndarray = batch, begin: np.ndarray = begin) -> None:
            visited = seen.setdefault(low, np.full(new, -1, np.int32))
            _choose(batch, low, high, points, polar, *links, begin, visited, BUILD, own)

        shared(len(batch), choose, threads)
        chosen = Links(links.to[batch, :own], links.degree[batch])  # as they are now: answers add to them

        def answer(low: int, high: int, batch: np.ndarray = batch, chosen: Links = chosen) -> None:
            _answer(batch, low, high, points, polar, *chosen, *links)

        shared(len(batch), answer, threads)
    _adopt(*links, new)


def walk(
    x: np.ndarray,
    x_polar: np.ndarray,
    points: np.ndarray,
    polar: np.ndarray,
    links: Links,
    count: int,
    near: np.ndarray,
    rows: np.ndarray,
) -> None:
    """For each query the nearest rows that a walk finds, ascending, into near and rows (Q, how many are in view)."""
    _walk_all(x, x_polar, points, polar, *links, landmarks(np.arange(count, dtype=np.int32)), near, rows)


def without(points: np.ndarray, polar: np.ndarray, links: Links, alive: np.ndarray, threads: int | None) -> Links:
    """The links among the rows that are alive, by their numbers among these."""
    if not len(links.degree):
        return Links.empty(0, links.to.shape[1])
    left = np.flatnonzero(alive).astype(np.int32)
    number = np.cumsum(alive, dtype=np.int32) - 1
    mended = Links.empty(len(left), links.to.shape[1])
    shared(len(left), lambda a, b: _mend(left, a, b, points, polar, *links, alive, number, *mended), threads)
    _adopt(*mended, len(left))
    return mended


@compiled
def _kept(to):
    """How many links stay where there are too many: the places after these are for whoever else needs one."""
    return 2 * to.shape[1] // 3


@compiled
def _walk(x, x_polar, points, polar, to, degree, begin, visited, mark, near, rows, fresh):
    """How many it found. `visited` has `mark` where this walk has been, `fresh` whose links are yet to be followed."""
    best, first = np.inf, -1
    for row in begin:
        here = spread(x, x_polar, points, polar, row)
        if here < best or first < 0:
            best, first = here, row
    if first < 0:
        return 0
    near[0], rows[0], visited[first] = best, first, mark
    size, at = 1, 0
    fresh[0] = True
    while at < size:
        if not fresh[at]:
            at += 1
            continue
        fresh[at] = False
        row, lowest = rows[at], at + 1
        for j in range(degree[row]):
            other = to[row, j]
            if visited[other] == mark:
                continue
            visited[other] = mark
            place = insert(near, rows, size, spread(x, x_polar, points, polar, other), other)
            if place >= 0:
                for k in range(min(size, near.shape[0] - 1), place, -1):
                    fresh[k] = fresh[k - 1]
                fresh[place] = True
                size = min(size + 1, near.shape[0])
                lowest = min(lowest, place)
        at = lowest
    return size


@compiled
def _walk_all(x, x_polar, points, polar, to, degree, begin, near, rows):
    visited, fresh = np.full(len(points), -1, np.int32), np.empty(near.shape[1], np.bool_)
    for i in range(len(x)):
        size = _walk(x[i], x_polar[i], points, polar, to, degree, begin, visited, i, near[i], rows[i], fresh)
        near[i, size:], rows[i, size:] = np.inf, -1


@compiled
def _prune(points, polar, near, rows, size, most, out):
    """Of ascending rows those that no kept one is nearer to, into `out`; then the nearest others, up to `most`."""
    kept, others, hidden = 0, 0, np.empty(most, np.int32)
    for i in range(size):
        clear = True
        for j in range(kept):
            if between(points, polar, rows[i], out[j]) <= near[i]:
                clear = False
                break
        if clear:
            out[kept] = rows[i]
            kept += 1
            if kept == most:
                return kept
        elif others < most:
            hidden[others] = rows[i]
            others += 1
    for j in range(min(others, most - kept)):
        out[kept + j] = hidden[j]
    return kept + min(others, most - kept)


@compiled
def _choose(batch, low, high, points, polar, to, degree, begin, visited, view, most):
    """The links of the batch's points low, …, high − 1: they alone are written, and nobody reads them yet."""
    room = view + len(batch)
    near, rows, fresh, x = np.empty(room), np.empty(room, np.int32), np.empty(view, np.bool_), np.empty(points.shape[1])
    for i in range(low, high):
        row = batch[i]
        for k in range(len(x)):
            x[k] = points[row, k] * inverse_length(polar, row)
        size = _walk(x, polar[row], points, polar, to, degree, begin, visited, row, near[:view], rows[:view], fresh)
        for j in range(len(batch)):
            if j != i:
                insert(near, rows, size, between(points, polar, row, batch[j]), batch[j])
                size += 1
        degree[row] = _prune(points, polar, near, rows, size, most, to[row])


@compiled
def _answer(batch, low, high, points, polar, chosen, chosen_degree, to, degree):
    """The links back to the batch, of rows that are low, …, high − 1 by remainder: no two threads write to one row."""
    room, kept = to.shape[1], _kept(to)
    near, rows, out = np.empty(room + 1), np.empty(room + 1, np.int32), np.zeros(kept, np.int32)
    for i in range(len(batch)):
        row = batch[i]
        for j in range(chosen_degree[i]):
            other = chosen[i, j]
            if not low <= other % len(batch) < high:
                continue
            there = False
            for k in range(degree[other]):
                there = there or to[other, k] == row
            if there:
                continue
            if degree[other] < room:
                to[other, degree[other]] = row
                degree[other] += 1
                continue
            for k in range(room):
                insert(near, rows, k, between(points, polar, other, to[other, k]), to[other, k])
            insert(near, rows, room, between(points, polar, other, row), row)
            degree[other] = _prune(points, polar, near, rows, room + 1, kept, out)
            to[other, :kept] = out


@compiled
def _mend(left, low, high, points, polar, to, degree, alive, number, new_to, new_degree):
    """The links of rows left[low], …, left[high − 1], those of removed rows in place of the links to them."""
    most = to.shape[1] * (to.shape[1] + 1)
    near, rows, out = np.empty(most), np.empty(most, np.int32), np.empty(_kept(to), np.int32)
    for i in range(low, high):
        row, size = left[i], 0
        for j in range(degree[row]):
            other = to[row, j]
            for k in range(-1, 0 if alive[other] else degree[other]):
                third = other if k < 0 else to[other, k]
                known = third == row or not alive[third]
                for m in range(size):
                    known = known or rows[m] == third
                if not known:
                    insert(near, rows, size, between(points, polar, row, third), third)
                    size += 1
        kept = _prune(points, polar, near, rows, size, len(out), out)
        new_degree[i] = kept
        for j in range(kept):
            new_to[i, j] = number[out[j]]


@compiled
def _adopt(to, degree, size):
    """A link to each row that has none, from one of those that it links to, in a place not kept for the nearest."""
    known = np.zeros(size, np.int32)
    for row in range(size):
        for j in range(degree[row]):
            known[to[row, j]] += 1
    for row in range(size):
        for j in range(degree[row]):
            if known[row]:
                break
            other = to[row, j]
            if degree[other] < to.shape[1]:
                to[other, degree[other]] = row
                degree[other] += 1
                known[row] += 1
                continue
            for k in range(degree[other] - 1, _kept(to) - 1, -1):
                if known[to[other, k]] > 1:
                    known[to[other, k]] -= 1
                    to[other, k] = row
                    known[row] += 1
                    break
