"""Adam for points of the tangent chart, in steps of hyperbolic length."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from geomdml.optim import RowAdam
from geomdml.spaces import Hyperbolic

_MOST = 80.0  # up to here sinh is a float32


class PolarAdam(RowAdam):
    """Row-wise Adam that turns a point the less, the farther out the point is.

    What is nearer to a point at radius r than to the origin lies within an angle of about e^(−r/2) round it. A plain
    step turns all points far out by lr/‖v‖, and so takes apart what lies that close. Here the sideways part of a step
    is measured as hyperbolic length at half the point's radius: a step of length lr turns the point by lr/sinh(r/2),
    with lengths in units of 1/√c. The radial part is Adam's.

    Args:
        points: (N, D) tangent vectors at the origin.
        others: parameters that are stepped by Adam as it is.
        space: whose curvature, read at each step, gives lengths.
        lr, betas, eps: as in `RowAdam`.
    """

    def __init__(
        self,
        points: Tensor,
        others: Iterable[Tensor] = (),
        *,
        space: Hyperbolic,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.99),
        eps: float = 1e-8,
    ) -> None:
        super().__init__([points, *others], lr, betas, eps)
        self.points, self.space = points, space

    def preconditioner(self, parameter: Tensor, rows: Tensor) -> Callable[[Tensor], Tensor]:
        if parameter is not self.points:
            return super().preconditioner(parameter, rows)
        length = rows.norm(dim=-1, keepdim=True)
        half = (length * float(self.space.c) ** 0.5).clamp(max=_MOST)
        across = torch.where(half > 0, half / torch.sinh(half), 1.0)
        radial = rows / length.clamp(min=torch.finfo(rows.dtype).tiny)

        def measured(values: Tensor) -> Tensor:
            along = (values * radial).sum(-1, keepdim=True) * radial
            return torch.lerp(along, values, across)

        return measured
