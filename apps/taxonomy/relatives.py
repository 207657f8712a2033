"""Hard negatives of a node: nodes that share an ancestor with it, such as siblings and cousins."""

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor


class Relatives:
    """Draws one of a node's ancestors, and then one of the nodes below that ancestor, both uniformly.

    Close relatives, of which there are few, come most often; drawn from among all nodes they would almost never come.

    Args:
        ancestors: (P, 2) pairs (node, ancestor), sorted.
        count: nodes there are.

    >>> relatives = Relatives(torch.tensor([[1, 0], [2, 0], [3, 0], [3, 2]]), 4)
    >>> others = torch.full((1, 20), -1)
    >>> sorted(set(relatives.draw(torch.tensor([1]), others, np.random.default_rng(0))[0].tolist()))
    [-1, 2, 3]
    """

    def __init__(self, ancestors: Int64[Tensor, "P 2"], count: int) -> None:
        pairs = ancestors.numpy()
        self.above, self.keys, self.count = pairs[:, 1], pairs @ [count, 1], count
        self.first = np.searchsorted(pairs[:, 0], np.arange(count + 1))
        order = np.argsort(self.above, kind="stable")
        self.below = pairs[order, 0]
        self.first_below = np.searchsorted(self.above[order], np.arange(count + 1))

    def draw(
        self, nodes: Int64[Tensor, " B"], others: Int64[Tensor, "B N"], rng: np.random.Generator
    ) -> Int64[Tensor, "B N"]:
        """As many draws as there are others; where one is the node itself or an ancestor of it, the other stays.

        Each of the nodes must have an ancestor.
        """
        u, shape = nodes.numpy()[:, None], others.shape
        above = self.above[self.first[u] + _below(self.first[u + 1] - self.first[u], shape, rng)]
        start = self.first_below[above]
        drawn = self.below[start + _below(self.first_below[above + 1] - start, shape, rng)]
        keys = u * self.count + drawn
        place = np.searchsorted(self.keys, keys).clip(max=len(self.keys) - 1)
        barred = (self.keys[place] == keys) | (drawn == u)
        return torch.where(torch.from_numpy(barred), others, torch.from_numpy(drawn))


def _below(counts: np.ndarray, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Whole numbers from 0 to below each count."""
    return (rng.random(shape) * counts).astype(np.int64)
