"""The contrastive loss of two modalities, by distances in any space."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from geomdml._core import checks
from geomdml.losses.functional import Reduction, contrastive
from geomdml.spaces import Euclidean, Space

__all__ = ["ContrastiveLoss"]


class ContrastiveLoss(nn.Module):
    """Each item should be nearer to its partner than to the others' partners, and each partner to its item.

    Args:
        space: where the embeddings live; None is Euclidean. A learned curvature has its gradient.
        temperature: T > 0, in the unit of the distances.
        learnable: make T a parameter, positive by construction (its logarithm is learned).
        reduction: "mean", "sum" or "none" over the pairs.

    Raises:
        ValueError, TypeError: T ≤ 0; from `forward`, embeddings whose shapes differ, and what the space refuses.

    Source: Desai et al., "Hyperbolic image-text representations" (MERU, 2023), section 3.2, whose T
    starts at 0.07 and is kept above 0.01; here nothing keeps it.

    >>> from geomdml.spaces import Hyperbolic
    >>> images, texts = torch.randn(8, 16), torch.randn(8, 16)
    >>> ContrastiveLoss(space=Hyperbolic(c=1.0, learnable=True))(images, texts).shape
    torch.Size([])
    """

    def __init__(
        self,
        *,
        space: Space | None = None,
        temperature: float = 0.07,
        learnable: bool = True,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        checks.positive(temperature=temperature)
        self.space = Euclidean() if space is None else space
        self.reduction = reduction
        log_temperature = torch.tensor(math.log(temperature))
        if learnable:
            self.log_temperature = nn.Parameter(log_temperature)
        else:
            self.register_buffer("log_temperature", log_temperature)

    @property
    def temperature(self) -> Tensor:
        return self.log_temperature.exp()

    def forward(self, x: Float[Tensor, "N D"], y: Float[Tensor, "N D"]) -> Tensor:
        """The loss of N items x, and their partners y in the same order."""
        return contrastive(self.space.pairwise_dist(x, y), temperature=self.temperature, reduction=self.reduction)
