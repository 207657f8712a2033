"""The transport simplex, for many problems at once.

A basis of a problem is a tree that spans its rows and columns: N = n + m nodes and N − 1 arcs that carry the plan. A
pivot adds an arc whose reduced cost C − f − g is below 0, moves mass around the cycle that this closes, and drops the
arc that is emptied first. NumPy's calls cost more than what they compute for one small problem, so a pivot is made in
all problems together; with the paths from every node to the root kept as bits, it takes no walks through the trees.

Weights are integers here, and each row has a little more than its weight, so that no arc of a basis is empty. Then
every pivot lowers the cost, and none comes back. Source: Ahuja, Magnanti and Orlin, "Network flows" (1993), chapter 11.
"""

import numpy as np

from geomdml.transport.compiled import pivoted
from geomdml.transport.problem import Array

__all__ = ["transport_simplex"]

_TOGETHER = 2**18  # entries of the costs of problems that are solved together: they stay in the cache
_BITS = 61  # of the integers that the weights become, with what the rows have more


def transport_simplex(C: Array, a: Array, b: Array) -> tuple[Array, Array, Array, Array]:
    """Plans (B, n, m), potentials f (B, n) and g (B, m), and pivots (B,), for float64 weights ≥ 0 of equal sums."""
    weighted = (a > 0)[:, :, None] & (b > 0)[:, None]
    low = C.min((1, 2), where=weighted, initial=np.inf)[:, None]
    C = C - low[:, :, None]
    tolerance = 8 * np.finfo(float).eps * sum(C.shape[1:]) * C.max((1, 2), where=weighted, initial=0.0)
    priced = np.where(weighted, C, np.inf)  # what has no weight is left aside, whatever its costs
    supply, demand, factor = _whole(a, b)
    found = pivoted(priced, supply, demand, tolerance) or _in_groups(priced, supply, demand, tolerance)
    row, column, mass, f, g, pivots = found
    # A node without weight has the largest potential that no reduced cost forbids
    f = np.where(a > 0, f, (C - g[:, None]).min(2, where=(b > 0)[:, None], initial=np.inf))
    g = np.where(b > 0, g, (C - f[:, :, None]).min(1))
    plan = np.zeros(C.shape)
    plan[np.arange(len(C))[:, None], row, column] = mass // factor / (2**_BITS // factor) * a.sum(1, keepdims=True)
    return plan, f + low, g, pivots


def _in_groups(priced: Array, *others: Array) -> tuple[Array, ...]:
    group = max(1, _TOGETHER // priced[0].size)
    parts = [_pivoted(*(x[i : i + group] for x in (priced, *others))) for i in range(0, len(priced), group)]
    return tuple(np.concatenate(part) for part in zip(*parts, strict=True))


def _pivoted(priced: Array, a: Array, b: Array, tolerance: Array) -> tuple[Array, ...]:
    """Rows, columns and masses of the arcs of the best bases, (B, n + m − 1), f, g and pivots.

    No problem's pivots depend on the others: the columns of a problem that still has some to enter stay as they are.
    """
    trees = _Trees(priced, a, b)
    column = np.zeros(a.shape, dtype=int)
    reduced = np.empty_like(priced)  # fresh memory of its size takes longer than the subtraction
    pivots, fresh, going = np.zeros(len(priced), dtype=np.int64), False, np.zeros(len(priced), dtype=bool)
    while going.any() or not fresh:
        fresh = not going.any()
        if fresh:
            trees.refresh()
        f, g = trees.potentials()
        best = np.subtract(priced, g[:, None], out=reduced).argmin(2)  # of each row, good for some pivots
        column = np.where(going[:, None], column, best)
        cost = np.take_along_axis(priced, column[:, :, None], 2)[:, :, 0]
        at_first = 0
        while True:
            f, g = trees.potentials()
            best = cost - f - np.take_along_axis(g, column, 1)
            row = best.argmin(1)
            change = best[trees.each, row]
            going = change < -tolerance
            at_first = at_first or going.sum()
            if not going.any() or 2 * going.sum() < at_first:
                break
            trees.pivot(row, column[trees.each, row], np.where(going, change, 0.0), going)
            pivots, fresh = pivots + going, False
    return trees.row, trees.column, trees.mass, *trees.potentials(), pivots


def _whole(a: Array, b: Array) -> tuple[Array, Array, int]:
    """Weights as integers of equal sums, times the last result; with one unit more for each row that has weight.

    The heaviest column takes what the rows have more. So the mass of an arc, which is a sum of weights of rows less one
    of columns, is never 0: it leaves a rest when divided by the factor, or is that of a single column.
    """
    factor = a.shape[1] + 1
    total = 2**_BITS // factor
    p, q = (np.where(w > 0, np.maximum(np.rint(w / w.sum(1, keepdims=True) * total), 1), 0).astype(int) for w in (a, b))
    each, heaviest = np.arange(len(q)), q.argmax(1)
    q[each, heaviest] += p.sum(1) - q.sum(1)
    p, q = p * factor + (a > 0), q * factor
    q[each, heaviest] += (a > 0).sum(1)
    return p, q, factor


class _Trees:
    """A basis of each problem: arc k goes from `row` to `column`, with `mass`; rows are the first n of the nodes.

    paths: (B, N, ·) for each node the arcs from it to the root, as bits. from_row: (B, K) whether the row is the end
    of the arc that is farther from the root. potential: (B, N), f and g.
    """

    def __init__(self, priced: Array, a: Array, b: Array) -> None:
        """Each row in turn to the columns that are left, first where the cost is least above the column's minimum."""
        (B, n, m), self.each = priced.shape, np.arange(len(priced))
        self.rows, arcs, barred = n, n + m - 1, np.isinf(priced)
        self.cost = np.where(barred, 0.0, priced)  # that of an arc without weight does not matter
        least = priced.min(1, keepdims=True)
        order = np.where(barred, np.finfo(float).max, self.cost - np.where(np.isinf(least), 0.0, least))
        self.row, self.column, self.mass = (np.zeros((B, arcs), dtype=int) for _ in range(3))
        self.from_row = np.zeros((B, arcs), dtype=bool)
        a, b, open_, i = a.copy(), b.copy(), np.ones(b.shape, dtype=bool), np.zeros(B, dtype=int)
        for k in range(arcs):
            j = np.where(open_, order[self.each, i], np.inf).argmin(1)
            left, room = a[self.each, i], b[self.each, j]
            done = (left <= room) & (i < n - 1)  # the last row is the root
            mass = np.where(done, left, room)
            a[self.each, i] -= mass
            b[self.each, j] -= mass
            open_[self.each, j] = done
            self.row[:, k], self.column[:, k], self.mass[:, k], self.from_row[:, k] = i, j, mass, done
            i = i + done
        self.paths = np.zeros((B, n + m, -(-arcs // 8)), dtype=np.uint8)
        self.potential = np.zeros((B, n + m))
        for k in reversed(range(arcs)):  # an arc's farther end is the one that was done with
            ends = self.row[:, k], n + self.column[:, k]
            child, parent = np.where(self.from_row[:, k], ends, ends[::-1])
            path = self.paths[self.each, parent]
            path[:, k // 8] |= 128 >> k % 8
            self.paths[self.each, child] = path

    def potentials(self) -> tuple[Array, Array]:
        return self.potential[:, : self.rows], self.potential[:, self.rows :]

    def refresh(self) -> None:
        """The potentials from the costs, without what rounding has added up in them."""
        cost = self.cost[self.each[:, None], self.row, self.column]
        cost = np.where(self.from_row, cost, -cost)
        for i, paths in enumerate(self.paths):
            self.potential[i] = np.unpackbits(paths, axis=1, count=cost.shape[1]) @ cost[i]
        self.potential[:, self.rows :] *= -1

    def pivot(self, row: Array, column: Array, change: Array, going: Array) -> None:
        """Arcs from `row` to `column`, of reduced costs `change` < 0, enter the trees of problems that are `going`."""
        each, arcs = self.each, self.mass.shape[1]
        row_path, column_path = self.paths[each, row], self.paths[each, self.rows + column]
        cycle = row_path ^ column_path
        on_cycle, by_row = (np.unpackbits(x, axis=1, count=arcs).view(bool) for x in (cycle, row_path))
        emptied = on_cycle & (by_row == self.from_row)
        k = np.where(emptied, self.mass, np.iinfo(int).max).argmin(1)
        mass, from_row = np.where(going, self.mass[each, k], 0)[:, None], by_row[each, k]
        self.mass += np.where(on_cycle, np.where(emptied, -mass, mass), 0)

        byte, bit = k // 8, (128 >> k % 8).astype(np.uint8)
        cut = (self.paths[each, :, byte] & bit[:, None] > 0) & going[:, None]  # nodes that the arc held
        shift = np.where(from_row, change, -change)[:, None] * cut
        self.potential[:, : self.rows] += shift[:, : self.rows]
        self.potential[:, self.rows :] -= shift[:, self.rows :]

        stays = np.where(self.from_row[each, k], self.rows + self.column[each, k], self.row[each, k])
        turned = np.where(from_row[:, None], row_path, column_path) & ~self.paths[each, stays]
        self.from_row ^= np.unpackbits(turned, axis=1, count=arcs).view(bool) & going[:, None]
        cycle[each, byte] &= ~bit
        self.paths ^= cut[:, :, None].view(np.uint8) * cycle[:, None]
        each, k = each[going], k[going]
        self.row[each, k], self.column[each, k], self.mass[each, k] = row[going], column[going], mass[going, 0]
        self.from_row[each, k] = from_row[going]
