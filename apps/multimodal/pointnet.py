"""A small PointNet: the features of a set of points."""

from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn


class PointNet(nn.Module):
    """One network on every point, then the maximum over the points: no order of the points matters.

    The two alignment networks of the paper are left out: meshes of furniture stand upright and have a front.

    Args:
        *widths: dimensions of the layers on a point; the last is that of the features.

    Raises:
        ValueError: no layer, or a dimension below 1.

    Source: Qi, Su, Mo and Guibas, "PointNet" (2017), equation (1).

    >>> import torch
    >>> PointNet(16, 32)(torch.randn(4, 100, 3)).shape
    torch.Size([4, 32])
    """

    def __init__(self, *widths: int) -> None:
        super().__init__()
        if not widths or min(widths) < 1:
            raise ValueError(f"--model.point_widths = {list(widths)}; expected the dimensions of one layer at least")
        layers: list[nn.Module] = []
        for before, after in pairwise((3, *widths)):
            layers += [nn.Linear(before, after, bias=False), nn.BatchNorm1d(after), nn.ReLU()]
        self.on_points = nn.Sequential(*layers)

    def forward(self, points: Float[Tensor, "B N 3"]) -> Float[Tensor, "B F"]:
        return self.on_points(points.flatten(0, 1)).unflatten(0, points.shape[:2]).amax(1)
