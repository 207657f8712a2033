"""Embeddings of a whole split, collected batch by batch, and what is measured of them."""

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor

from geomdml.metrics import retrieval, shrec
from geomdml.spaces import Space


class Collector:
    """Tensors gathered over batches, by name.

    >>> collector = Collector()
    >>> collector.add(x=torch.zeros(2), y=torch.ones(2))
    >>> collector.add(x=torch.zeros(3), y=torch.ones(3))
    >>> {name: len(values) for name, values in collector.take().items()}
    {'x': 5, 'y': 5}
    """

    def __init__(self) -> None:
        self.parts: dict[str, list[Tensor]] = defaultdict(list)

    def add(self, **batch: Tensor) -> None:
        for name, tensor in batch.items():
            self.parts[name].append(tensor.detach())

    def take(self) -> dict[str, Tensor]:
        """All that was added since the last call, joined."""
        joined = {name: torch.cat(parts) for name, parts in self.parts.items()}
        self.parts.clear()
        return joined


def scores(
    embeddings: Tensor, labels: Tensor, space: Space, *, ks: Sequence[int] = (1, 2, 4, 8), queries: int | None = None
) -> dict[str, float]:
    """Retrieval scores in percent, by name: Recall@k for each k, MAP@R and R-precision.

    The first `queries` embeddings search the others; None has each search all others (leave-one-out).
    """
    found = retrieval(
        embeddings[:queries],
        labels[:queries],
        None if queries is None else embeddings[queries:],
        None if queries is None else labels[queries:],
        space=space,
        ks=tuple(ks),
        scores=("recall", "map_at_r", "r_precision"),
    )
    assert found.recall and found.map_at_r is not None and found.r_precision is not None  # all were asked for
    named = {f"Recall@{k}": value for k, value in found.recall.items()}
    named |= {"MAP@R": found.map_at_r, "R-precision": found.r_precision}
    return {name: 100 * value for name, value in named.items()}


def pair_scores(embeddings: Tensor, labels: Tensor, space: Space, *gallery: Tensor) -> dict[str, float]:
    """mAP and Recall@1 in percent, of queries in a gallery, or of each embedding in all the others.

    Args:
        gallery: the gallery's embeddings and labels, or nothing.
    """
    result = retrieval(embeddings, labels, *gallery, space=space, ks=(1,), scores=("recall", "mean_ap"))
    assert result.recall and result.mean_ap is not None  # both were asked for
    return {"mAP": 100 * result.mean_ap, "Recall@1": 100 * result.recall[1]}


def shrec_scores(embeddings: Tensor, labels: Tensor, space: Space, *gallery: Tensor) -> dict[str, float]:
    """The SHREC scores in percent, as `pair_scores` has its own; NN is called Recall@1."""
    found = shrec(embeddings, labels, *gallery, space=space)
    names = {"Recall@1": "nn", "FT": "ft", "ST": "st", "E": "e", "DCG": "dcg", "mAP": "mean_ap"}
    return {name: 100 * getattr(found, field) for name, field in names.items()}


def radius_spread(norms: Tensor, clip: float) -> dict[str, float]:
    """Quantiles of the tangent vectors' norms before clipping, and the share that is clipped."""
    low, median, high = torch.quantile(norms.float(), torch.tensor([0.05, 0.5, 0.95], device=norms.device)).tolist()
    return {"p05": low, "median": median, "p95": high, "clipped": float((norms > clip).float().mean())}
