"""Retrieval problems given by tables of distances, with as many ties as one likes."""

from itertools import groupby
from typing import Any, NamedTuple

import torch
from hypothesis import strategies as st
from torch import Tensor


class Table:
    """A space whose points are the numbers of rows and columns, their distances read from a table."""

    def __init__(self, table: Tensor) -> None:
        self.table = table
        self.largest_block = 0

    def pairwise_dist(self, x: Tensor, y: Tensor) -> Tensor:
        self.largest_block = max(self.largest_block, len(x) * len(y))
        return self.table[x.long(), y.long().T]

    def dist(self, x: Tensor, y: Tensor) -> Tensor:
        raise NotImplementedError


class Problem(NamedTuple):
    """Distances from queries to a gallery, and the labels of both; leave-one-out where these are the same items."""

    table: Tensor
    labels: list[int]
    gallery_labels: list[int] | None

    def arguments(self) -> dict[str, Any]:
        """What a score is called with: the numbers of the items for embeddings, and the table for a space."""
        queries, items = (torch.arange(float(n)).unsqueeze(1) for n in self.table.shape)
        found = {"query": queries, "labels": torch.tensor(self.labels), "space": Table(self.table)}
        if self.gallery_labels is not None:
            found |= {"gallery": items, "gallery_labels": torch.tensor(self.gallery_labels)}
        return found

    def blocks(self) -> list[list[list[bool]]]:
        """For each query with a relevant item, the relevance of the gallery by distance, ties in blocks."""
        leave_one_out = self.gallery_labels is None
        gallery_labels = self.labels if leave_one_out else self.gallery_labels
        queries = []
        for i, (label, row) in enumerate(zip(self.labels, self.table.tolist(), strict=True)):
            items = [j for j in range(len(row)) if not (leave_one_out and j == i)]
            ranked = sorted(items, key=row.__getitem__)  # stable: equal distances stay in the order of storage
            blocks = [[gallery_labels[j] == label for j in block] for _, block in groupby(ranked, row.__getitem__)]
            if any(map(any, blocks)):
                queries.append(blocks)
        return queries


@st.composite
def problems(draw: st.DrawFn, most: int) -> Problem:
    size = draw(st.integers(2, most))
    queries = draw(st.none() | st.integers(1, 3))
    label = st.integers(0, 2)
    gallery_labels = draw(st.lists(label, min_size=size, max_size=size))
    if queries is None:
        rows, labels = size, gallery_labels
        labels[0] = labels[1]
    else:
        rows, labels = queries, draw(st.lists(label, min_size=queries, max_size=queries))
        gallery_labels[0] = labels[0]
    distance = st.integers(0, draw(st.integers(0, 6))).map(float)
    table = draw(st.lists(st.lists(distance, min_size=size, max_size=size), min_size=rows, max_size=rows))
    return Problem(torch.tensor(table), labels, None if queries is None else gallery_labels)


def random_problem(size: int, classes: int, distances: int, *, leave_one_out: bool = True) -> Problem:
    draw = torch.Generator().manual_seed(size)
    rows = size if leave_one_out else 20
    labels = torch.randint(classes, (size,), generator=draw).tolist()
    table = torch.randint(distances, (rows, size), generator=draw).float()
    return Problem(table, labels[:rows], None if leave_one_out else labels)
