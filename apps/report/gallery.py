"""The retrieval gallery of a report: queries drawn by a rule, and what an output finds for them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor

from apps.report.figures import image_address
from geomdml.spaces import Space

NEIGHBOURS = 8
QUERIES = 12
CANDIDATES = 5_000
CHUNK = 256


@dataclass(frozen=True)
class Thumbnail:
    """An image of the gallery, its class, its distance from the query and whether it is of the query's class."""

    image: str
    name: str
    distance: float
    hit: bool


@dataclass(frozen=True)
class Row:
    """A query, its nearest neighbours in order, and how many images of its class are among all others."""

    query: Thumbnail
    neighbours: Sequence[Thumbnail]
    relevant: int

    @property
    def hits(self) -> int:
        return sum(neighbour.hit for neighbour in self.neighbours)


@dataclass(frozen=True)
class Gallery:
    """Some queries drawn from all the `asked`, and some from those that failed, `failures` in number."""

    drawn: Sequence[Row]
    failed: Sequence[Row]
    asked: int
    failures: int


def nearest(
    embeddings: Float[Tensor, "n d"], queries: Integer[Tensor, " q"], k: int, space: Space, *, first: int = 0
) -> tuple[Float[Tensor, "q k"], Integer[Tensor, "q k"]]:
    """Distances and indices of the k nearest of the other embeddings; equal distances in the order of the index.

    The query itself is left out by its index: its duplicates are not. Only embeddings from `first` on are searched.

    >>> from geomdml.spaces import Euclidean
    >>> line = torch.tensor([[0.0], [1.0], [0.0]])
    >>> nearest(line, torch.tensor([0]), 2, Euclidean())
    (tensor([[0., 1.]]), tensor([[2, 1]]))
    """
    found = []
    for some in queries.split(CHUNK):
        distance = space.pairwise_dist(embeddings[some], embeddings)
        distance.scatter_(1, some[:, None], torch.inf)
        distance[:, :first] = torch.inf
        found.append([part[:, :k] for part in distance.sort(dim=1, stable=True)])
    distances, indices = zip(*found, strict=True)
    return torch.cat(distances), torch.cat(indices)


def draw(
    candidates: Integer[Tensor, " q"], failed: Bool[Tensor, " q"]
) -> tuple[Integer[Tensor, " a"], Integer[Tensor, " b"]]:
    """Positions of the first half of the queries, and of the first failures after them.

    >>> draw(torch.arange(9), torch.tensor([1, 1, 1, 0, 0, 0, 0, 0, 1]).bool())
    (tensor([0, 1, 2, 3, 4, 5]), tensor([8]))
    """
    half = min(QUERIES // 2, len(candidates))
    later = failed.nonzero()[:, 0]
    return torch.arange(half), later[later >= half][: QUERIES - QUERIES // 2]


@torch.no_grad()
def gallery(
    embeddings: Float[Tensor, "n d"],
    labels: Integer[Tensor, " n"],
    classes: Sequence[str],
    space: Space,
    image: Callable[[int], Tensor],
    *,
    seed: int,
    queries: int | None = None,
) -> Gallery:
    """Half of the queries at random, half among the failures: the nearest neighbour is of another class.

    The first `queries` images search the others; None has each search all others. Images without another of their
    class to find are not asked, and of a large test set only `CANDIDATES`, drawn with the seed.
    """
    first = queries or 0
    relevant = torch.bincount(labels[first:], minlength=len(classes))[labels] - int(queries is None)
    order = torch.randperm(len(labels) if queries is None else queries, generator=torch.Generator().manual_seed(seed))
    asked = order[relevant[order] > 0][:CANDIDATES]
    if not len(asked):
        return Gallery([], [], 0, 0)
    searched = len(labels) - first - int(queries is None)
    distances, indices = nearest(embeddings, asked, min(NEIGHBOURS, searched), space, first=first)
    failed = labels[indices[:, 0]] != labels[asked]

    def thumbnail(i: int, distance: float = 0.0, hit: bool = False) -> Thumbnail:
        return Thumbnail(image_address(image(i)), classes[int(labels[i])], distance, hit)

    def row(position: int) -> Row:
        query = int(asked[position])
        neighbours = [
            thumbnail(i, distance, bool(labels[i] == labels[query]))
            for distance, i in zip(distances[position].tolist(), indices[position].tolist(), strict=True)
        ]
        return Row(thumbnail(query), neighbours, int(relevant[query]))

    drawn, failures = draw(asked, failed)
    return Gallery(
        [row(i) for i in drawn.tolist()],
        [row(i) for i in failures.tolist()],
        len(asked),
        int(failed.sum()),
    )
