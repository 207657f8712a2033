"""The ranks of every query, by counting where its relevant items are few and the space is known, else by sorting."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from geomdml._core.numerics import result_dtype
from geomdml.metrics.ranking import counting as by_counting
from geomdml.metrics.ranking.counting import ByCounting
from geomdml.metrics.ranking.ranks import Items, Ranks, Ties
from geomdml.metrics.ranking.screening import Products
from geomdml.metrics.ranking.sorting import BySorting
from geomdml.search._unique_rows import distinct
from geomdml.spaces import Euclidean, Space

__all__ = ["MEMORY", "rank"]

MEMORY = 2**29  # bytes


def rank(
    items: Items,
    space: Space | None,
    ties: Ties,
    depth: Callable[[int], int],
    *,
    nearest: bool = False,
    memory_limit: int | float = MEMORY,
) -> Iterator[tuple[Tensor, Ranks]]:
    """Rows of queries and where their relevant items stand, one block after another; queries without any are left out.

    Ranks beyond depth(R) are left open, and items other than the `nearest` if only that is asked for. No block depends
    on what else is asked, and no ranks on its block.

    Raises:
        ValueError: no query has a relevant item; memory that is too little for one query.
    """
    space, device, dtype = space or Euclidean(), items.query.device, result_dtype(items.query, items.gallery)
    if not memory_limit > 0:
        raise ValueError(f"memory_limit = {memory_limit}; expected a number of bytes above 0")
    query, gallery = items.query.to(dtype), items.gallery.to(device, dtype)
    items = items._replace(query=query, gallery=query if items.leave_one_out else gallery)

    relevant = items.relevant.number
    first, which = distinct(items.gallery)
    # In an order that does not depend on how the items are stored
    rows = which.argsort(stable=True) if items.leave_one_out else torch.arange(len(query), device=device)
    rows = rows[relevant[rows] > 0]
    if not len(rows):
        raise ValueError("no query has a relevant item; expected one beside itself for at least one of them")
    rows = rows[relevant[rows].argsort(stable=True)]  # small classes do not wait for the large

    few = rows[relevant[rows] <= by_counting.FEW]
    products = Products.of(space, items.gallery) if len(few) else None
    left = rows
    if products is not None:
        left, counting = rows[len(few) :], ByCounting(items, which, products, ties, depth, memory_limit)
        for block in few.split(by_counting.QUERIES):
            found = counting.rank(block, relevant[block], nearest)
            if found is None:
                left = torch.cat([left, block])
            else:
                yield block, found
    if len(left):
        left = left[relevant[left].argsort(stable=True)]
        yield from BySorting(items, first, which, space, ties, depth, memory_limit).rank(left, relevant)
