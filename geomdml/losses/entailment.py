"""The loss by which general things entail special ones, by hyperbolic cones."""

from jaxtyping import Float
from torch import Tensor, nn

from geomdml._core import checks
from geomdml.cones import exterior_angle, half_aperture
from geomdml.losses.functional import Reduction, entailment
from geomdml.spaces import Hyperbolic, in_tangent_chart

__all__ = ["EntailmentLoss"]


class EntailmentLoss(nn.Module):
    """Each special thing should lie in the cone of its general one: the mean of `geomdml.cones.entailment`.

    Args:
        space: hyperbolic space in the "tangent" chart. A learned curvature has its gradient.
        k: > 0, of the cones' aperture.
        reduction: "mean", "sum" or "none" over the pairs.

    Raises:
        ValueError, TypeError: another space, k ≤ 0; from `forward`, an empty batch, and as `cones.entailment`.

    Source: Desai et al., "Hyperbolic image-text representations" (MERU, 2023), equation (8): a text entails its image.

    >>> import torch
    >>> texts, images = torch.randn(8, 16), torch.randn(8, 16)
    >>> EntailmentLoss(space=Hyperbolic(c=1.0))(texts, images).shape
    torch.Size([])
    """

    def __init__(self, *, space: Hyperbolic, k: float = 0.1, reduction: Reduction = "mean") -> None:
        super().__init__()
        checks.positive(k=k)
        self.space, self.k, self.reduction = in_tangent_chart(space), k, reduction

    def forward(self, general: Float[Tensor, "N D"], special: Float[Tensor, "N D"]) -> Tensor:
        """The loss of N pairs: how far `special` lies outside the cones of `general`, in radians."""
        checks.rows(general=general, special=special)
        c = self.space.c
        angle, aperture = exterior_angle(general, special, c=c), half_aperture(general, c=c, k=self.k)
        return entailment(angle, aperture, reduction=self.reduction)
