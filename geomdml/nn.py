"""Layers that end a network: metric networks, heads into hyperbolic space, and a classifier there."""

import math
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from geomdml._core import checks
from geomdml.euclidean import clip_norm
from geomdml.hyperplanes import signed_dist
from geomdml.spaces import Euclidean, Hyperbolic, in_tangent_chart

__all__ = ["HyperbolicHead", "HyperplaneClassifier", "MetricNetwork"]


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
            images one shell retrieved better than free radii (docs/reports/study.md).

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


class HyperplaneClassifier(nn.Module):
    """Multinomial logistic regression: the logit of a class is a multiple of the signed distance from its hyperplane.

    logit_k = 2‖z_k‖ · d(u; z_k, r_k), with learned normals z_k and offsets r_k. Its limit for c → 0 is the linear layer
    4⟨u, z_k⟩ − 4r_k‖z_k‖, which is what it is in Euclidean space, the control.

    Args:
        in_features: dimension of the points.
        num_classes: classes, each with a hyperplane.
        space: hyperbolic space, in any chart, or `Euclidean()`. A learned curvature has its gradient.

    Raises:
        ValueError: dimensions below 1; another space.

    Source: Ganea et al. (2018), section 3.1, and Shimizu et al. (2021), section 3.1; see `geomdml.hyperplanes`.

    >>> classifier = HyperplaneClassifier(16, 10, space=Hyperbolic(c=0.5))
    >>> classifier(torch.randn(4, 16)).shape
    torch.Size([4, 10])
    """

    def __init__(self, in_features: int, num_classes: int, *, space: Hyperbolic | Euclidean) -> None:
        super().__init__()
        checks.positive(in_features=in_features, num_classes=num_classes)
        if not isinstance(space, Hyperbolic | Euclidean):
            raise ValueError(f"space = {space}; expected Hyperbolic(...) or Euclidean()")
        self.space = space
        self.normals = nn.Parameter(torch.empty(num_classes, in_features))
        self.offsets = nn.Parameter(torch.zeros(num_classes))
        nn.init.normal_(self.normals, std=in_features**-0.5 / 4)

    def forward(self, points: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch K"]:
        """(..., D) points to (..., K) logits."""
        length = self.normals.norm(dim=1)
        if isinstance(self.space, Euclidean):
            return 4 * (points @ self.normals.T - self.offsets * length)
        tangent = self.space.logmap0(points)
        return 2 * length * signed_dist(tangent, self.normals, self.offsets, c=self.space.c)

    def extra_repr(self) -> str:
        return f"in_features={self.normals.shape[1]}, num_classes={len(self.normals)}"
