"""The spaces as distance classes of pytorch-metric-learning (extra `pml`), so that its losses and miners work in them.

And the other way round: the losses of `geomdml.losses` are called as those of that library are, with the tuples of its
miners, and `CrossBatchMemory` takes them.

Every loss and miner that takes a distance, rather than one certain distance class, takes `SpaceDistance`. The others
refuse it by themselves: `SoftTripleLoss` and those built on angles want a similarity (`geomdml.losses.SoftTripleLoss`
is for any space), `FastAPLoss`, `DynamicSoftMarginLoss` and `DistanceWeightedMiner` the unit sphere. The testers and
`InferenceModel` put embeddings on the unit sphere unless they are told `normalize_embeddings=False`.
"""

from jaxtyping import Float
from pytorch_metric_learning import losses
from pytorch_metric_learning.distances import BaseDistance
from torch import Tensor

from geomdml.spaces import Space

__all__ = ["CrossBatchMemory", "SpaceDistance"]


def __dir__() -> list[str]:
    return __all__


class SpaceDistance(BaseDistance):
    """The distance of a space, as `distance=` of a loss or miner or in `CustomKNN`; embeddings are taken as they are.

    The curvature of a `Hyperbolic(..., learnable=True)` is among the parameters of a loss with this distance. Distances
    are at least float32, but hand a loss float32 embeddings, under autocast too (`embeddings.float()`): some losses of
    that library round their sums or their proxies to the embeddings' dtype. Margins and temperatures are in the unit of
    the space, and hyperbolic distances tend to 2‖x − y‖ for short vectors. Losses that learn proxies (`ProxyNCALoss`,
    `ProxyAnchorLoss`) want the tangent or Lorentz chart: a step carries proxies out of the ball.

    Args:
        space: whose `pairwise_dist` and `dist` are used, on embeddings in its chart.
        power: the losses see distances to this power, ≥ 1 (below that, the slope at duplicates is infinite).
        collect_stats: keep the mean norms of the embeddings, as all distances of that library do; None is its default.

    Raises:
        TypeError: something that is no space.
        ValueError: power < 1; from a call, as the space's `pairwise_dist`.

    Source: Musgrave, Belongie and Lim, "PyTorch Metric Learning" (2020).

    >>> import torch
    >>> from pytorch_metric_learning import losses, miners
    >>> from geomdml.spaces import Hyperbolic
    >>> distance = SpaceDistance(Hyperbolic(c=0.5))
    >>> miner = miners.TripletMarginMiner(margin=1.0, distance=distance)
    >>> loss = losses.TripletMarginLoss(margin=1.0, distance=distance)
    >>> u, labels = torch.tensor([[0.0, 0.0], [1.5, 0.0], [-1.0, 0.0]]), torch.tensor([0, 0, 1])
    >>> loss(u, labels, miner(u, labels))  # 2·1.5 − 2·1 + margin; the other triplet keeps the margin
    tensor(2.)
    """

    def __init__(self, space: Space, *, power: float = 1, collect_stats: bool | None = None) -> None:
        if not isinstance(space, Space):
            raise TypeError(f"space is a {type(space).__name__}; expected one with dist and pairwise_dist")
        if not power >= 1:
            raise ValueError(f"power = {power}; expected a number ≥ 1")
        super().__init__(normalize_embeddings=False, power=power, is_inverted=False, collect_stats=collect_stats)
        self.space = space

    def compute_mat(self, query_emb: Float[Tensor, "B D"], ref_emb: Float[Tensor, "P D"]) -> Float[Tensor, "B P"]:
        """All pairs; calling the distance gives these to its power."""
        return self.space.pairwise_dist(query_emb, ref_emb)

    def pairwise_distance(self, query_emb: Float[Tensor, "B D"], ref_emb: Float[Tensor, "B D"]) -> Float[Tensor, " B"]:
        """One to one, without the power, as everywhere in that library."""
        return self.space.dist(query_emb, ref_emb)


class CrossBatchMemory(losses.CrossBatchMemory):
    """That library's memory of earlier batches, for `BatchTransportLoss` and `PairwiseCrossEntropyLoss` too.

    Its own refuses by name what it does not know. Our other losses compare embeddings with proxies, not with each
    other, and have no use for a memory.

    Args:
        loss: called with (embeddings, labels, indices_tuple, ref_emb, ref_labels), the memory as second batch.
        embedding_size, memory_size, miner: as in that library.

    Source: Wang et al., "Cross-batch memory for embedding learning" (2020).

    >>> import torch
    >>> from geomdml.losses import PairwiseCrossEntropyLoss
    >>> from geomdml.spaces import Hyperbolic
    >>> memory = CrossBatchMemory(PairwiseCrossEntropyLoss(space=Hyperbolic(c=0.1)), embedding_size=8, memory_size=32)
    >>> [memory(torch.randn(6, 8), torch.tensor([0, 0, 1, 1, 2, 2])).shape for _ in range(2)]
    [torch.Size([]), torch.Size([])]
    """

    @staticmethod
    def supported_losses() -> list[str]:
        return [*losses.CrossBatchMemory.supported_losses(), "BatchTransportLoss", "PairwiseCrossEntropyLoss"]
