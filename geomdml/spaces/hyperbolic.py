"""Hyperbolic space in one of its charts, and the way from one chart to another."""

from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from geomdml import lorentz, poincare, tangent
from geomdml._core import checks

__all__ = ["Chart", "GEOMETRY", "Hyperbolic", "in_tangent_chart", "in_unbounded_chart"]


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


class Hyperbolic(nn.Module):
    """Hyperbolic space of curvature −c, its points kept in one chart, with the geometry of that chart.

    The same vector leads to the same point in every chart: exp_0(v) is 2‖v‖ from the origin.

    Args:
        c: absolute curvature, > 0: a number, or a tensor of several that broadcasts to the points, such as (H, 1, 1),
            one for each head, for points (..., H, N, D).
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

    def __init__(self, c: float | Tensor = 0.5, *, chart: Chart = "tangent", learnable: bool = False) -> None:
        super().__init__()
        self.chart: Chart = _check_chart(chart)
        self.learnable = learnable
        self._c = _curvature(c)
        if learnable:
            self.log_c = nn.Parameter(torch.as_tensor(self._c).to(torch.get_default_dtype()).log())

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Hyperbolic":
        """Several curvatures move with the module, and stay in float64."""
        if isinstance(self._c, Tensor):
            self._c = self._c.to(fn(self._c).device)
        return super()._apply(fn, recurse)

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if not self.learnable:
            destination[prefix + "c"] = torch.as_tensor(self._c, dtype=torch.float64)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Takes c from a space that learned it and from one that did not; without either, c stays as it is."""
        c, log_c = state_dict.pop(prefix + "c", None), state_dict.pop(prefix + "log_c", None)
        if log_c is not None and (self.learnable or c is None):
            c = log_c.exp()
        if c is not None:
            found = _curvature(torch.as_tensor(c, dtype=torch.float64).cpu())
            if self.learnable:
                log_c = torch.as_tensor(found, dtype=torch.float64).log() if log_c is None else log_c
                state_dict[prefix + "log_c"] = log_c.to(self.log_c.dtype)
            else:
                self._c = (
                    found.to(self._c.device) if isinstance(found, Tensor) and isinstance(self._c, Tensor) else found
                )
        super()._load_from_state_dict(state_dict, prefix, *args)

    @property
    def c(self) -> float | Tensor:
        """The absolute curvature: a number; a tensor where there are several, or it is learned (then with gradient)."""
        return self.log_c.exp() if self.learnable else self._c

    @property
    def curvature(self) -> float:
        """c as a number, without gradient; refused where there are several."""
        c = _curvature(self.log_c.detach().exp()) if self.learnable else self._c
        if isinstance(c, Tensor):
            raise ValueError(f"{self} has curvatures of shape {tuple(c.shape)}; expected a space of one")
        return c

    def dist(self, x: Float[Tensor, "*#batch D"], y: Float[Tensor, "*#batch D"]) -> Float[Tensor, "*#batch"]:
        """See `dist` in `geomdml.tangent`, `geomdml.poincare` and `geomdml.lorentz`."""
        return GEOMETRY[self.chart].dist(x, y, c=self.c)

    def dist0(self, x: Float[Tensor, "*#batch D"]) -> Float[Tensor, "*#batch"]:
        """Distance from the origin."""
        return self.dist(x, torch.zeros_like(x))

    def pairwise_dist(
        self, x: Float[Tensor, "*#batch B D"], y: Float[Tensor, "*#batch P D"]
    ) -> Float[Tensor, "*#batch B P"]:
        """See `pairwise_dist` in `geomdml.tangent`, `geomdml.poincare` and `geomdml.lorentz`."""
        return GEOMETRY[self.chart].pairwise_dist(x, y, c=self.c)

    def origin(self, dim: int, *, dtype: torch.dtype | None = None, device: Any = None) -> Float[Tensor, " D"]:
        """The origin of `dim`-dimensional space: 0 in every chart.

        >>> Hyperbolic(c=0.5).origin(3)
        tensor([0., 0., 0.])
        """
        return torch.zeros(dim, dtype=dtype, device=device)

    def expmap0(self, v: Float[Tensor, "*#batch D"]) -> Float[Tensor, "*#batch D"]:
        """The point reached from the origin along the tangent vector v, 2‖v‖ away; in the tangent chart a copy of v.

        >>> Hyperbolic(c=1.0, chart="ball").expmap0(torch.tensor([0.5, 0.0]))
        tensor([0.4621, 0.0000])
        """
        return v.clone() if self.chart == "tangent" else _MOVES["tangent", self.chart](v, c=self.c)

    def logmap0(self, x: Float[Tensor, "*#batch D"]) -> Float[Tensor, "*#batch D"]:
        """The tangent vector at the origin that leads to x: the inverse of `expmap0`.

        >>> Hyperbolic(c=1.0, chart="ball").logmap0(torch.tensor([0.4621, 0.0]))
        tensor([0.5000, 0.0000])
        """
        return self.to("tangent", x)

    def expmap(self, x: Float[Tensor, "*#batch D"], v: Float[Tensor, "*#batch D"]) -> Float[Tensor, "*#batch D"]:
        """The point reached from x along the tangent vector v at x.

        A vector at x is given in the ball by its coordinates, in the other charts by the vector at the origin that is
        carried to it; see `expmap` in `geomdml.tangent`, `geomdml.poincare` and `geomdml.lorentz`.

        >>> space = Hyperbolic(c=1.0)
        >>> space.expmap(torch.tensor([3.0, 4.0]), torch.tensor([-3.0, -4.0]))
        tensor([0., 0.])
        """
        return GEOMETRY[self.chart].expmap(x, v, c=self.c)

    def logmap(self, x: Float[Tensor, "*#batch D"], y: Float[Tensor, "*#batch D"]) -> Float[Tensor, "*#batch D"]:
        """The tangent vector at x that leads to y: the inverse of `expmap`.

        >>> Hyperbolic(c=1.0).logmap(torch.tensor([3.0, 4.0]), torch.zeros(2))
        tensor([-3., -4.])
        """
        return GEOMETRY[self.chart].logmap(x, y, c=self.c)

    def project(self, x: Float[Tensor, "*#batch D"]) -> Float[Tensor, "*#batch D"]:
        """x as a point of the chart: in the ball pulled back inside, in the others a copy, for they have no end.

        >>> Hyperbolic(c=1.0, chart="ball").project(torch.tensor([3.0, 4.0]))
        tensor([0.6000, 0.8000])
        """
        return poincare.project(x, c=self.c) if self.chart == "ball" else x.clone()

    def mobius_add(self, x: Float[Tensor, "*#batch D"], y: Float[Tensor, "*#batch D"]) -> Float[Tensor, "*#batch D"]:
        """x ⊕ y: the point y carried along by the translation that takes the origin to x.

        >>> Hyperbolic(c=1.0).mobius_add(torch.tensor([3.0, 4.0]), torch.tensor([3.0, 4.0]))
        tensor([6., 8.])
        """
        return GEOMETRY[self.chart].mobius_add(x, y, c=self.c)

    def geodesic(
        self, x: Float[Tensor, "*#batch D"], y: Float[Tensor, "*#batch D"], t: float | Float[Tensor, "*#batch"]
    ) -> Float[Tensor, "*#batch D"]:
        """The point at t·d(x, y) from x on the geodesic through x, at t = 0, and y, at t = 1.

        >>> Hyperbolic(c=1.0).geodesic(torch.tensor([3.0, 4.0]), torch.zeros(2), 0.5)
        tensor([1.5000, 2.0000])
        """
        return GEOMETRY[self.chart].geodesic(x, y, t, c=self.c)

    def midpoint(
        self, x: Float[Tensor, "*#batch N D"], weights: Float[Tensor, "*#batch N"] | None = None
    ) -> Float[Tensor, "*#batch D"]:
        """Einstein midpoint of N points with weights, equal by default.

        >>> Hyperbolic(c=1.0).midpoint(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
        tensor([1.5000, 2.0000])
        """
        return GEOMETRY[self.chart].midpoint(x, weights, c=self.c)

    def to(self, *args: Any, **kwargs: Any) -> Any:
        """`to(chart, x)` moves embeddings x from this space's chart to another; else as `torch.nn.Module.to`."""
        if len(args) != 2 or not isinstance(args[0], str) or not isinstance(args[1], Tensor):
            return super().to(*args, **kwargs)
        chart, x = _check_chart(args[0]), args[1]
        return x.clone() if chart == self.chart else _MOVES[self.chart, chart](x, c=self.c)

    def extra_repr(self) -> str:
        c = _curvature(self.log_c.detach().exp()) if self.learnable else self._c
        shown = f"c={c:g}" if isinstance(c, float) else f"c of shape {tuple(c.shape)}"
        return f"{shown}, chart={self.chart!r}" + (", learnable=True" if self.learnable else "")


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


def _curvature(c: float | Tensor) -> float | Tensor:
    """One curvature as a number, several as a tensor in float64; refused where they are not finite and above 0."""
    if not isinstance(c, Tensor) or c.ndim == 0:
        checks.positive(c=c)
        return float(c)
    checks.floating(c=c)
    if not bool(((c > 0) & c.isfinite()).all()):
        raise ValueError("c has values that are not finite and above 0")
    return c.detach().to(torch.float64, copy=True)


def _check_chart(chart: str) -> Chart:
    for known in get_args(Chart):
        if chart == known:
            return known
    raise ValueError(f"chart = {chart!r}; expected one of {', '.join(map(repr, get_args(Chart)))}")
