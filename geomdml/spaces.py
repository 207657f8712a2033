"""The spaces that losses, heads, scores and search are written against.

A space knows the distance between embeddings as they are stored (`dist`, one to one, and `pairwise_dist`, all pairs),
the chart they are stored in, and how to move them to another chart.
"""

from typing import Any, Literal, Protocol, get_args, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from geomdml import euclidean, lorentz, poincare, tangent
from geomdml._core import checks

__all__ = ["Chart", "Euclidean", "GEOMETRY", "Hyperbolic", "Space", "in_tangent_chart", "in_unbounded_chart"]


def __dir__() -> list[str]:
    return __all__


Chart = Literal["tangent", "ball", "lorentz"]
GEOMETRY: dict[Chart, Any] = {"tangent": tangent, "ball": poincare, "lorentz": lorentz}
_MOVES = {
    ("tangent", "ball"): tangent.to_ball,
    ("tangent", "lorentz"): lorentz.from_tangent,
    ("ball", "tangent"): tangent.from_ball,
    ("ball", "lorentz"): lorentz.from_ball,
    ("lorentz", "tangent"): lorentz.to_tangent,
    ("lorentz", "ball"): lorentz.to_ball,
}


@runtime_checkable
class Space(Protocol):
    """What the rest of the library asks of a space."""

    def dist(self, x: Tensor, y: Tensor) -> Tensor:
        """(..., D), (..., D) to (...): distances one to one."""

    def pairwise_dist(self, x: Tensor, y: Tensor) -> Tensor:
        """(B, D), (P, D) to (B, P): distances of all pairs."""


class Euclidean:
    """Euclidean space.

    >>> Euclidean().dist(torch.zeros(2), torch.tensor([3.0, 4.0]))
    tensor(5.)
    """

    def dist(self, x: Float[Tensor, "*#batch D"], y: Float[Tensor, "*#batch D"]) -> Float[Tensor, "*#batch"]:
        """See `geomdml.euclidean.dist`."""
        return euclidean.dist(x, y)

    def pairwise_dist(self, x: Float[Tensor, "B D"], y: Float[Tensor, "P D"]) -> Float[Tensor, "B P"]:
        """See `geomdml.euclidean.pairwise_dist`."""
        return euclidean.pairwise_dist(x, y)

    def __repr__(self) -> str:
        return "Euclidean()"


class Hyperbolic(nn.Module):
    """Hyperbolic space of curvature −c, its points kept in one chart.

    Args:
        c: absolute curvature, > 0.
        chart: "tangent" (tangent vectors at the origin; the default, to train in), "ball" (the Poincaré ball) or
            "lorentz" (space components in the Lorentz model).
        learnable: make c a parameter, positive by construction (its logarithm is learned).

    Raises:
        ValueError: c ≤ 0 or not finite; an unknown chart.

    >>> space = Hyperbolic(c=1.0)
    >>> u = torch.tensor([3.0, 4.0])
    >>> float(space.dist(u, torch.zeros(2)))
    10.0
    >>> ball = Hyperbolic(c=1.0, chart="ball")
    >>> float(ball.dist0(space.to("ball", u / 10)))  # 2‖u‖/10
    1.0
    """

    def __init__(self, c: float = 0.5, *, chart: Chart = "tangent", learnable: bool = False) -> None:
        super().__init__()
        checks.positive(c=c)
        self.chart: Chart = _known(chart)
        self.learnable = learnable
        self._c = float(c)
        if learnable:
            self.log_c = nn.Parameter(torch.tensor(self._c).log())

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if not self.learnable:
            destination[prefix + "c"] = torch.tensor(self._c, dtype=torch.float64)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Takes c from a space that learned it and from one that did not; without either, c stays as it is."""
        c, log_c = state_dict.pop(prefix + "c", None), state_dict.pop(prefix + "log_c", None)
        if c is not None and self.learnable:
            log_c = c.log()
        elif log_c is not None and not self.learnable:
            c = log_c.exp()
        if self.learnable and log_c is not None:
            state_dict[prefix + "log_c"] = log_c
        elif not self.learnable and c is not None:
            checks.positive(c=c)
            self._c = float(c)
        super()._load_from_state_dict(state_dict, prefix, *args)

    @property
    def c(self) -> float | Tensor:
        """The absolute curvature: a number, or a 0-d tensor with gradient where it is learned."""
        return self.log_c.exp() if self.learnable else self._c

    @property
    def curvature(self) -> float:
        """c as a number, without gradient."""
        return float(self.log_c.detach().exp()) if self.learnable else self._c

    def dist(self, x: Float[Tensor, "*#batch D"], y: Float[Tensor, "*#batch D"]) -> Float[Tensor, "*#batch"]:
        """See `dist` in `geomdml.tangent`, `geomdml.poincare` and `geomdml.lorentz`."""
        return GEOMETRY[self.chart].dist(x, y, c=self.c)

    def dist0(self, x: Float[Tensor, "*#batch D"]) -> Float[Tensor, "*#batch"]:
        """Distance from the origin."""
        return self.dist(x, torch.zeros_like(x))

    def pairwise_dist(self, x: Float[Tensor, "B D"], y: Float[Tensor, "P D"]) -> Float[Tensor, "B P"]:
        """See `pairwise_dist` in `geomdml.tangent`, `geomdml.poincare` and `geomdml.lorentz`."""
        return GEOMETRY[self.chart].pairwise_dist(x, y, c=self.c)

    def to(self, *args: Any, **kwargs: Any) -> Any:
        """`to(chart, x)` moves embeddings x from this space's chart to another; else as `torch.nn.Module.to`."""
        if len(args) != 2 or not isinstance(args[0], str) or not isinstance(args[1], Tensor):
            return super().to(*args, **kwargs)
        chart, x = _known(args[0]), args[1]
        return x if chart == self.chart else _MOVES[self.chart, chart](x, c=self.c)

    def extra_repr(self) -> str:
        return f"c={self.curvature:g}, chart={self.chart!r}" + (", learnable=True" if self.learnable else "")


def in_tangent_chart(space: Any) -> Hyperbolic:
    """The space itself; refused where it is not hyperbolic or keeps its points in another chart.

    >>> in_tangent_chart(Hyperbolic(c=0.5))
    Hyperbolic(c=0.5, chart='tangent')
    """
    if not isinstance(space, Hyperbolic) or space.chart != "tangent":
        raise ValueError(f'space = {space}; expected Hyperbolic(..., chart="tangent")')
    return space


def in_unbounded_chart(space: Any) -> Any:
    """The space itself; refused where a step of an optimiser can carry its points outside: the ball has a boundary.

    >>> in_unbounded_chart(Hyperbolic(c=0.5))
    Hyperbolic(c=0.5, chart='tangent')
    """
    if isinstance(space, Hyperbolic) and space.chart == "ball":
        raise ValueError(f'space = {space} has a boundary that learned points cross; expected chart="tangent"')
    return space


def _known(chart: str) -> Chart:
    if chart not in get_args(Chart):
        raise ValueError(f"chart = {chart!r}; expected one of {', '.join(map(repr, get_args(Chart)))}")
    return chart  # type: ignore[return-value]
