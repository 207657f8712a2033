"""The networks of the two modalities, from what is known of a shape to an embedding in the space of the heads."""

from collections.abc import Sequence

from torch import nn

from apps.multimodal.pointnet import PointNet
from geomdml.nn import HyperbolicHead
from geomdml.spaces import Hyperbolic, Space


def of_views(in_features: int, hidden: int, dim: int, *, dropout: float, space: Space) -> nn.Module:
    """A network on the mean features of a shape's views: (B, in_features) to (B, dim).

    >>> import torch
    >>> from geomdml.spaces import Euclidean
    >>> of_views(16, 8, 4, dropout=0.5, space=Euclidean())(torch.randn(3, 16)).shape
    torch.Size([3, 4])
    """
    # affine=False: each feature standardised over the training shapes, whatever the scale of the backbone
    standardised = nn.BatchNorm1d(in_features, affine=False)
    return nn.Sequential(standardised, nn.Dropout(dropout), *_metric(in_features, hidden, dim, dropout, space))


def of_points(widths: Sequence[int], hidden: int, dim: int, *, dropout: float, space: Space) -> nn.Module:
    """PointNet and a network on its features: (B, N, 3) to (B, dim).

    >>> import torch
    >>> from geomdml.spaces import Hyperbolic
    >>> of_points((8, 16), 8, 4, dropout=0.5, space=Hyperbolic(c=0.5))(torch.randn(3, 20, 3)).shape
    torch.Size([3, 4])
    """
    return nn.Sequential(PointNet(*widths), *_metric(widths[-1], hidden, dim, dropout, space))


def _metric(in_features: int, hidden: int, dim: int, dropout: float, space: Space) -> list[nn.Module]:
    """Two layers; in hyperbolic space the embedding is a tangent vector at the origin."""
    last = HyperbolicHead(hidden, dim, space=space) if isinstance(space, Hyperbolic) else nn.Linear(hidden, dim)
    first = nn.Linear(in_features, hidden, bias=False)
    return [first, nn.BatchNorm1d(hidden), nn.ReLU(), nn.Dropout(dropout), last]
