"""Negatives of a node: draws among the nodes that are neither itself nor ancestors of it, exact and without retries."""

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

UNIT = 1000  # the weight of the rarest node: weights are integers, so that sums of them are exact


class Negatives:
    """Draws nodes with weights degree^power from all that are neither a node nor ancestors of it.

    All weights laid end to end are a line on which a uniform number is a node. The stretches of a node's ancestors are
    cut out of its line; where a number lies on the line that is left, tells how much was cut out before it.

    Args:
        ancestors: (P, 2) pairs (node, ancestor), sorted.
        count: nodes there are.
        power: 0 draws uniformly, 1 by degree: the number of pairs that a node is in.

    >>> negatives = Negatives(torch.tensor([[1, 0], [2, 0], [2, 1]]), 4, power=0.0)
    >>> negatives.draw(torch.tensor([2]), 5, np.random.default_rng(0)).tolist()
    [[3, 3, 3, 3, 3]]
    """

    def __init__(self, ancestors: Int64[Tensor, "P 2"], count: int, *, power: float) -> None:
        pairs = ancestors.numpy()
        degree = np.bincount(pairs.ravel(), minlength=count) + 1
        weight = np.rint(UNIT * degree.astype(float) ** power).astype(np.int64) if power else np.ones(count, np.int64)
        self.uniform = not power
        self.ends = np.concatenate([[0], weight.cumsum()])
        node, cut = np.concatenate([pairs, np.repeat(np.arange(count), 2).reshape(-1, 2)]).T
        order = np.lexsort((cut, node))
        node, cut = node[order], cut[order]
        self.first = np.searchsorted(node, np.arange(count))
        # what is removed before each stretch that is cut out, over all nodes
        self.removed = np.concatenate([[0], weight[cut].cumsum()])
        before = self.removed[:-1] - self.removed[self.first][node]
        self.line = self.ends[-1] + 1  # the length of a node's line among those of all nodes
        self.cuts = node * self.line + self.ends[cut] - before
        last = np.append(self.first[1:], len(node))
        self.left = self.ends[-1] - (self.removed[last] - self.removed[self.first])
        # the node at every UNIT of the line; no node is shorter, so that at most one begins before the next
        self.node_at = np.empty(0) if self.uniform else np.repeat(np.arange(count), np.diff(-(-self.ends // UNIT)))

    def draw(self, nodes: Int64[Tensor, " B"], count: int, rng: np.random.Generator) -> Int64[Tensor, "B count"]:
        """`count` draws for each node, with replacement and in order; each must have a node to draw (`left` > 0)."""
        u = nodes.numpy()[:, None]
        # sorted, for numbers in order are found several times faster
        place = (np.sort(rng.random((len(u), count)), axis=1) * self.left[u]).astype(np.int64)
        before = np.searchsorted(self.cuts, u * self.line + place, side="right")
        place += self.removed[before] - self.removed[self.first[u]]
        if self.uniform:
            return torch.from_numpy(place)
        drawn = self.node_at[place // UNIT]
        return torch.from_numpy(drawn + (place >= self.ends[drawn + 1]))
