"""What is searched in: embeddings with names, classes and images; by exact distances, or by an index."""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from geomdml.search import HyperbolicIndex, knn
from geomdml.spaces import Hyperbolic, Space

Index = Literal["exact", "auto", "flat", "graph"]

SUGGESTED = 20


class Found(NamedTuple):
    """An item by its place among all, and its distance from the query."""

    row: int
    distance: float


class Gallery:
    """Items to search in.

    Args:
        embeddings: (N, D), in `space`.
        names: of the items, each once.
        classes: the class of each item.
        space: in which they are compared.
        image: item i in colours, uint8 (3, H, W), raising ValueError where it is gone; None where items have none.
        detail: a line more on item i.
        find: the place of an item by another name than its own, raising ValueError.
        index: "exact" compares with all; the others are kinds of `geomdml.search.HyperbolicIndex`.

    Raises:
        ValueError: nothing to search in; an index in a space that is not hyperbolic; k below 1 or a class or name that
            there is not, in the methods.

    >>> from geomdml.spaces import Euclidean
    >>> shelf = Gallery(torch.tensor([[0.0], [1.0], [3.0]]), ["a", "b", "c"], ["x", "y", "x"], Euclidean())
    >>> [shelf.names[row] for row, _ in shelf.nearest(torch.tensor([2.9]), 2, of_class="x")]
    ['c', 'a']
    """

    def __init__(
        self,
        embeddings: Float[Tensor, "N D"],
        names: Sequence[str],
        classes: Sequence[str],
        space: Space,
        *,
        image: Callable[[int], UInt8[Tensor, "3 H W"]] | None = None,
        detail: Callable[[int], str] = lambda row: "",
        find: Callable[[str], int] | None = None,
        index: Index = "exact",
    ) -> None:
        if not len(names) == len(classes) == len(embeddings) > 0:
            raise ValueError(f"{len(embeddings)} embeddings, {len(names)} names, {len(classes)} classes to search in")
        self.embeddings, self.names, self.classes, self.space = embeddings, list(names), list(classes), space
        self.image, self.detail, self._find = image, detail, find
        self._rows = {name: row for row, name in reversed(list(enumerate(names)))}
        order = sorted(set(classes))
        numbers = torch.tensor([{name: k for k, name in enumerate(order)}[each] for each in classes])
        self._of_class = {name: (numbers == k).nonzero()[:, 0] for k, name in enumerate(order)}
        self._index: HyperbolicIndex | None = None
        if index != "exact":
            if not isinstance(space, Hyperbolic):
                raise ValueError(f"--index {index} is of hyperbolic space, and these embeddings are in {space}")
            self._index = HyperbolicIndex(space, embeddings.shape[1], kind=index)
            self._index.add(embeddings)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def class_names(self) -> list[str]:
        return list(self._of_class)

    def row(self, name: str) -> int:
        """The place of an item by its name."""
        if name not in self._rows:
            if self._find is not None:
                return self._find(name)
            similar = ", ".join(self.suggest(name)[:3])
            raise ValueError(f"there is no {name[:80]!r}" + (f"; there are {similar}" if similar else ""))
        return self._rows[name]

    def suggest(self, part: str) -> list[str]:
        """Some names that have a text in them; those that begin with it first, the shortest first."""
        part = part.lower()
        found = [name for name in self.names if part in name.lower()]
        return sorted(found, key=lambda name: (not name.lower().startswith(part), len(name)))[:SUGGESTED]

    @torch.no_grad()
    def nearest(
        self, query: Float[Tensor, " D"], k: int, *, of_class: str | None = None, without: int | None = None
    ) -> list[Found]:
        """The k nearest items, nearest first; of one class alone, where it is given, and without the one at a place."""
        if k < 1:
            raise ValueError(f"k = {k}; expected at least 1")
        if of_class is not None and of_class not in self._of_class:
            raise ValueError(f"there is no class {of_class[:80]!r}")
        wanted = k + (without is not None)
        if self._index is not None and of_class is None:
            distances, rows = self._index.search(query[None], min(wanted, len(self)))
        else:
            among = torch.arange(len(self)) if of_class is None else self._of_class[of_class]
            distances, places = knn(query[None], self.embeddings[among], min(wanted, len(among)), space=self.space)
            rows = among[places]
        found = [Found(row, distance) for row, distance in zip(rows[0].tolist(), distances[0].tolist(), strict=True)]
        return [each for each in found if each.row != without and each.row >= 0][:k]
