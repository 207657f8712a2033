"""The pairs that a loss is asked to keep to, in the form of pytorch-metric-learning's miners.

A loss is called as those of that library: (embeddings, labels, indices_tuple, ref_emb, ref_labels). The tuple holds
indices of the embeddings for anchors and of the second batch (or the same one) for the others: (anchors, positives,
negatives) for triplets, or (anchors, positives, anchors, negatives) for pairs.
"""

from collections.abc import Callable
from functools import wraps

import torch
from jaxtyping import Bool, Integer
from torch import Tensor, nn

from geomdml._core import checks

Indices = tuple[Integer[Tensor, " M"], ...]


def chosen_pairs(indices_tuple: Indices, like: Tensor) -> tuple[Bool[Tensor, "B P"], Bool[Tensor, "B P"]]:
    """Which pairs of a (B, P) matrix are named as positive and which as negative, each once however often it is named.

    >>> positive, negative = chosen_pairs((torch.tensor([0]), torch.tensor([1]), torch.tensor([2])), torch.zeros(1, 3))
    >>> positive, negative
    (tensor([[False,  True, False]]), tensor([[False, False,  True]]))
    """
    *pairs, last = indices_tuple
    kinds = {"positives": pairs[:2], "negatives": (pairs[2] if len(pairs) == 3 else pairs[0], last)}
    found = []
    for name, (anchors, items) in kinds.items():
        row = checks.labels(None, like.shape[0], device=like.device, anchors=anchors)
        column = checks.labels(len(row), like.shape[1], device=like.device, **{name: items})
        mask = torch.zeros(like.shape, dtype=torch.bool, device=like.device)
        found.append(mask.index_put((row, column), mask.new_ones(())))
    return found[0], found[1]


def check_arguments(indices_tuple: object, ref_emb: object, ref_labels: object) -> None:
    """Refuse a tuple that is none, and one part of a second batch without the other."""
    if indices_tuple is not None and (not isinstance(indices_tuple, tuple | list) or len(indices_tuple) not in (3, 4)):
        parts = f" of {len(indices_tuple)}" if isinstance(indices_tuple, tuple | list) else ""
        raise TypeError(
            f"indices_tuple is a {type(indices_tuple).__name__}{parts}; expected a miner's tuple of 3 or 4 index "
            "tensors (a second batch is given by name, as ref_emb= and ref_labels=)"
        )
    if (ref_emb is None) != (ref_labels is None):
        raise ValueError("ref_emb and ref_labels go together; expected both or neither")


def compares_with_proxies(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Let forward(self, embeddings, labels), of a loss without pairs, be called with pairs, to refuse them by name."""

    @wraps(forward)
    def call(
        self: nn.Module,
        embeddings: Tensor,
        labels: Tensor,
        indices_tuple: Indices | None = None,
        ref_emb: Tensor | None = None,
        ref_labels: Tensor | None = None,
    ) -> Tensor:
        for name, value in {"indices_tuple": indices_tuple, "ref_emb": ref_emb, "ref_labels": ref_labels}.items():
            if value is not None:
                raise ValueError(
                    f"{name} is given to {type(self).__name__}, which compares with proxies; expected None"
                )
        checks.batch(embeddings=embeddings)
        return forward(self, embeddings, labels)

    return call
