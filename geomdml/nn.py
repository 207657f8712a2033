"""Layers that end a network: metric networks, and heads into hyperbolic space."""

import math
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from geomdml._core import checks
from geomdml.euclidean import clip_norm
from geomdml.spaces import Hyperbolic, in_tangent_chart

__all__ = ["HyperbolicHead", "MetricNetwork"]


def __dir__() -> list[str]:
    return __all__


_START = 0.8  # √c‖u‖ of the points before training


class MetricNetwork(nn.Sequential):
    """Fully connected layers, rectified in between, from a network's features to the embedding of metric learning.

    Args:
        in_features: dimension of the features.
        *widths: dimensions of the layers; the last is the embedding's, and is not rectified.

    Raises:
        ValueError: no layer, or a dimension below 1.

    Source: the metric networks of arXiv 1903.08923: 512-256 behind LeNet-5, 4096-2048-512-128 for shapes and sketches.

    >>> import torch
    >>> MetricNetwork(400, 512, 256)(torch.zeros(2, 400)).shape
    torch.Size([2, 256])
    """

    def __init__(self, in_features: int, *widths: int) -> None:
        if not widths:
            raise ValueError("widths is empty; expected the dimension of at least one layer")
        sizes = [checks.integer(1, **{f"layer {index}": size}) for index, size in enumerate((in_features, *widths))]
        layers: list[nn.Module] = []
        for before, after in pairwise(sizes):
            layers += [nn.Linear(before, after), nn.ReLU()]
        super().__init__(*layers[:-1])


class HyperbolicHead(nn.Module):
    """A fully connected layer onto the tangent space at the origin, its vectors clipped at a radius.

    `norm="layer"` brings the features to a common scale first (LayerNorm), and the weights start so that √c‖u‖ is about
    0.8, or half the clipping radius if that is less: whatever the backbone, the points start where the space is curved
    and well inside the clipping radius, free to take different radii. With `norm="none"` this is the layer of the CHEST
    text: features of norm 30 then start far beyond r = 2.3, and every point sits on one shell.

    Args:
        in_features, out_features: dimensions of the backbone's features and of the tangent vectors.
        space: the hyperbolic space, in the "tangent" chart.
        norm: "layer" or "none".
        clip: the clipping radius r; `math.inf` clips nothing. A clipped vector has no radial gradient, so that every
            step lengthens it and it stays clipped: for free radii take r well beyond those that training needs. On
            images one shell retrieved better than free radii (docs/study.md).

    Raises:
        ValueError: a space in another chart, an unknown norm, clip ≤ 0.

    Source: CHEST (arXiv 2510.05643) section 3.2.

    >>> import torch
    >>> head = HyperbolicHead(8, 4, space=Hyperbolic(c=0.5))
    >>> u = head(30 * torch.randn(16, 8))
    >>> u.shape, bool((u.norm(dim=-1) <= 2.3001).all())
    (torch.Size([16, 4]), True)
    """

    def __init__(
        self, in_features: int, out_features: int, *, space: Hyperbolic, norm: str = "layer", clip: float = 2.3
    ) -> None:
        super().__init__()
        if norm not in ("layer", "none"):
            raise ValueError(f"norm = {norm!r}; expected 'layer' or 'none'")
        if not clip > 0:
            raise ValueError(f"clip = {clip}; expected a radius above 0")
        in_features = checks.integer(1, in_features=in_features)
        out_features = checks.integer(1, out_features=out_features)
        self.space, self.clip = in_tangent_chart(space), float(clip)
        self.norm = nn.LayerNorm(in_features) if norm == "layer" else nn.Identity()
        self.linear = nn.Linear(in_features, out_features)
        if norm == "layer":
            radius = min(clip / 2, _START / math.sqrt(space.curvature))
            nn.init.normal_(self.linear.weight, std=radius / math.sqrt(in_features * out_features))
            nn.init.zeros_(self.linear.bias)

    def tangent(self, features: Float[Tensor, "*#batch D"]) -> Float[Tensor, "*#batch T"]:
        """The tangent vectors before clipping: their norms say how much is clipped."""
        return self.linear(self.norm(features))

    def forward(self, features: Float[Tensor, "*#batch D"]) -> Float[Tensor, "*#batch T"]:
        return clip_norm(self.tangent(features), self.clip)

    def extra_repr(self) -> str:
        return f"clip={self.clip:g}"
