"""The hyperbolic distance between stored points, compiled (extra `search`): what scan and graph go by.

With A = 2√c‖u‖ and B the distances of two points from the origin at unit curvature, and δ their distance,

    sinh²(δ/2) = sinh²((A − B)/2) + sinh A sinh B ‖û − v̂‖²/4,

which grows as δ does. Of each point are kept its float32 coordinates, in any chart, for no chart changes a direction,
and in float64 what the formula needs of its radius, so that a distance takes neither a division nor a transcendental
function. With e = expm1 A, sinh((A − B)/2)² = (e_A − e_B)²/(4 e^A e^B) loses no digit, be the radii tiny or large; and
directions are subtracted in float64, not multiplied: near neighbours far out cancel nothing. All is scaled by e^−350:
points as far out as A = 370 have come out of training, and e^740 is no float64.

What float64 cannot tell is whether two points beyond A ≈ 38 lie on exactly one ray: they may seem apart by e^A/10¹⁶.

By direction alone, `polar` is one number for each point: 1/‖p‖. The squared chord ‖û − v̂‖² is then what goes for the
distance; Numba compiles the two cases apart, by the number of dimensions.

No multiplication is fused with an addition ("contract"): a point's distance from itself would not be 0, and e^A beyond
A = 40 makes that large.
"""

import inspect
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numba import njit

FARTHEST = 500.0  # A up to which e^(2A − 350) is a float64
SCALE = math.exp(175)  # the root of what is taken from sinh²(δ/2)
_FLAGS: Any = {"nogil": True, "fastmath": {"reassoc", "nsz", "arcp"}, "error_model": "numpy", "cache": True}


def compiled(function: Callable) -> Any:
    """Numba's, of the function itself: what checks shapes in tests wraps it."""
    return njit(**_FLAGS)(inspect.unwrap(function))


def polar(points: np.ndarray, A: np.ndarray) -> np.ndarray:
    """(N, 4) float64: 1/‖p‖, expm1 A, and e^−A/2 and sinh(A)/2 over SCALE, of (N, D) points at A (N,)."""
    length = np.linalg.norm(points.astype(np.float64), axis=1)
    e = np.expm1(A)
    return np.stack(
        [1 / np.where(length > 0, length, 1.0), e, 0.5 / (1 + e) / SCALE, (e + e / (1 + e)) / 4 / SCALE], axis=1
    )


@njit(cache=True)  # in this order alone: the square of `apart` would overflow
def _radial(apart, a, b):
    return (apart * a) * (apart * b)


@compiled
def inverse_length(polar, row):
    """1/‖p‖ of a stored point, from (N, 4) or (N,)."""
    if polar.ndim == 1:
        return polar[row]
    return polar[row, 0]


@compiled
def spread(x, x_polar, points, polar, row):
    """sinh²(δ/2)/SCALE² between direction x (D,) in float64 with its polar row, and a stored point."""
    scale, square = inverse_length(polar, row), 0.0
    for i in range(x.shape[0]):
        apart = x[i] - points[row, i] * scale
        square += apart * apart
    if polar.ndim == 1:
        return square
    return _radial(x_polar[1] - polar[row, 1], x_polar[2], polar[row, 2]) + x_polar[3] * polar[row, 3] * square


@compiled
def between(points, polar, a, b):
    """sinh²(δ/2)/SCALE² between two stored points."""
    scale, other, square = inverse_length(polar, a), inverse_length(polar, b), 0.0
    for i in range(points.shape[1]):
        apart = points[a, i] * scale - points[b, i] * other
        square += apart * apart
    if polar.ndim == 1:
        return square
    return _radial(polar[a, 1] - polar[b, 1], polar[a, 2], polar[b, 2]) + polar[a, 3] * polar[b, 3] * square


@compiled
def insert(near, rows, size, value, row):
    """Put a row into lists of `size` that ascend by (near, row): at which place, or −1 where it is too far for them."""
    at = size
    if size == near.shape[0]:
        if value > near[size - 1] or (value == near[size - 1] and row > rows[size - 1]):
            return -1
        at = size - 1
    while at > 0 and (near[at - 1] > value or (near[at - 1] == value and rows[at - 1] > row)):
        near[at], rows[at] = near[at - 1], rows[at - 1]
        at -= 1
    near[at], rows[at] = value, row
    return at


@compiled
def scan(x, x_polar, points, polar, wanted, near, rows):
    """For each query the nearest of the wanted rows, ascending, into near and rows (Q, k); −1 where there are none."""
    sizes = np.zeros(len(x), np.int64)
    near[:], rows[:] = np.inf, -1
    for start in range(0, len(wanted), 128):  # rows that stay in the cache for all queries
        for i in range(len(x)):
            for row in wanted[start : start + 128]:
                at = insert(near[i], rows[i], sizes[i], spread(x[i], x_polar[i], points, polar, row), row)
                if at >= 0 and sizes[i] < near.shape[1]:
                    sizes[i] += 1


@compiled
def merge(x, x_polar, points, polar, others, near, rows):
    """Put other rows (Q, M), of which those below 0 are none, into the ascending lists of each query, once each."""
    for i in range(len(x)):
        size = 0
        while size < rows.shape[1] and rows[i, size] >= 0:
            size += 1
        for other in others[i]:
            known = other < 0
            for j in range(size):
                known = known or rows[i, j] == other
            if not known:
                at = insert(near[i], rows[i], size, spread(x[i], x_polar[i], points, polar, other), other)
                if at >= 0 and size < rows.shape[1]:
                    size += 1


def shared(count: int, work: Callable[[int, int], None], threads: int | None) -> None:
    """Call work(start, stop) on as many stretches of `count` as there are threads; those of torch where None."""
    threads = min(threads or torch.get_num_threads(), count)
    if threads <= 1:
        work(0, count)
        return
    cuts = [count * i // threads for i in range(threads + 1)]
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(work, *ends) for ends in pairwise(cuts)]:
            done.result()
