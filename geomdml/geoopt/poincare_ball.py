"""geoopt's Poincaré ball, by `geomdml.poincare`."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from geomdml import lorentz, poincare
from geomdml._core.checks import Numbers, values_are_checked
from geomdml._core.exact import boundary_gap, round_inside
from geomdml._core.numerics import curvature, direction, norm, result_form, wide
from geomdml._core.series import asinh_ratio
from geomdml.geoopt._axes import along, number, reduced

with warnings.catch_warnings(action="ignore", category=FutureWarning):  # of torch, for its torch.jit.script
    import geoopt

__all__ = ["PoincareBall"]

_FLAT = 1e-30  # the curvature that 0 is taken for: geoopt's flat ball ends at 1e15 too


class PoincareBall(geoopt.PoincareBall):
    """geoopt's Poincaré ball of curvature −c, by `geomdml.poincare`.

    Points outside, which geoopt takes, count as the last floats inside, on their rays. Results lie inside without
    geoopt's `project`, which changes nothing here. Optimisers follow the exponential map, as with geoopt's
    PoincareBallExact: a step to x + u leads out of the ball, to its last floats and hardly ever back from there. c is
    as exact as its dtype, and of any size.

    Args:
        c: absolute curvature, ≥ 0, or several that broadcast to points with 1 in the dimension of the vectors.
        learnable: learn it.

    Raises:
        ValueError: c < 0 or not finite. From its functions, as those of `geomdml.poincare`: NaN, lengths that differ.

    Source: Kochurov et al., "Geoopt: Riemannian optimization in PyTorch" (2020), whose interface it is.

    >>> ball = PoincareBall(c=1.0)
    >>> x = ball.expmap0(torch.tensor([[6.0, 8.0], [-6.0, -8.0]], dtype=torch.float64))
    >>> float(ball.dist(x[0], x[1]).round(decimals=3))  # 40, twice as far as from the origin to either
    40.0
    """

    reversible = True

    def __init__(self, c: float | Tensor = 1.0, learnable: bool = False) -> None:
        super().__init__(learnable=learnable)
        c = torch.as_tensor(c).detach()
        c = c if c.is_floating_point() else c.to(torch.get_default_dtype())
        if not bool(((c >= 0) & c.isfinite()).all()):
            raise ValueError(f"c = {c.tolist()}; expected finite numbers, 0 or above")
        c64 = c.double()  # geoopt's log(exp(c) − 1) is 2e-5 off at c = 1e-3 in float32, and infinite from c = 89
        self.isp_c = torch.nn.Parameter((c64 + torch.log(-torch.expm1(-c64))).to(c.dtype), requires_grad=learnable)

    @property
    def _curvature(self) -> Tensor:
        return self.c.clamp(min=_FLAT)

    def _inside(self, x: Tensor, dim: int) -> Tensor:
        c = self._curvature
        if values_are_checked(x, c) and bool((c * x.detach().square().sum(dim, keepdim=True) < 0.99).all()):
            return x  # inside, whatever the rounding
        return along(poincare.project, dim, [x], c)

    def _vectors(
        self, function: Callable[..., Tensor], dim: int, points: Sequence[Tensor], *others: Tensor, **options: Any
    ) -> Tensor:
        return along(function, dim, [*(self._inside(x, dim) for x in points), *others], self._curvature, **options)

    def _numbers(
        self, function: Callable[..., Tensor], dim: int, keepdim: bool, points: Sequence[Tensor], *others: Tensor
    ) -> Tensor:
        return reduced(function, dim, keepdim, [*(self._inside(x, dim) for x in points), *others], self._curvature)

    def _check_point_on_manifold(
        self, x: Tensor, *, atol: float = 1e-5, rtol: float = 1e-5, dim: int = -1
    ) -> tuple[bool, str | None]:
        ok = torch.allclose(x, self._inside(x, dim).to(x), atol=atol, rtol=rtol)
        return ok, None if ok else "'x' is outside the ball"

    def dist(self, x: Tensor, y: Tensor, *, keepdim: bool = False, dim: int = -1) -> Tensor:
        return self._numbers(poincare.dist, dim, keepdim, [x, y])

    def dist2(self, x: Tensor, y: Tensor, *, keepdim: bool = False, dim: int = -1) -> Tensor:
        return self.dist(x, y, keepdim=keepdim, dim=dim) ** 2

    def dist0(self, x: Tensor, *, dim: int = -1, keepdim: bool = False) -> Tensor:
        return self._numbers(poincare.dist0, dim, keepdim, [x])

    def cdist(self, x: Tensor, y: Tensor) -> Tensor:
        """(B, D) and (P, D) to (B, P): all distances in O(B·P) memory, which geoopt's ball does not offer."""
        return self._vectors(poincare.pairwise_dist, -1, [x, y])

    def projx(self, x: Tensor, *, dim: int = -1) -> Tensor:
        return self._inside(x, dim)

    def expmap(self, x: Tensor, u: Tensor, *, project: bool = True, dim: int = -1) -> Tensor:
        return self._vectors(poincare.expmap, dim, [x], u)

    retr = expmap
    retr_transp = geoopt.PoincareBall.expmap_transp
    transp_follow_retr = geoopt.PoincareBall.transp_follow_expmap

    def logmap(self, x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
        return self._vectors(poincare.logmap, dim, [x, y])

    def expmap0(self, u: Tensor, *, dim: int = -1, project: bool = True) -> Tensor:
        return self._vectors(poincare.expmap0, dim, [], u)

    def logmap0(self, x: Tensor, *, dim: int = -1) -> Tensor:
        return self._vectors(poincare.logmap0, dim, [x])

    def geodesic(self, t: Tensor, x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
        return self._vectors(poincare.geodesic, dim, [x, y], t=number(t, dim))

    def geodesic_unit(self, t: Tensor, x: Tensor, u: Tensor, *, dim: int = -1, project: bool = True) -> Tensor:
        return self._vectors(_walk, dim, [x], u, t=number(t, dim))

    def transp(self, x: Tensor, y: Tensor, v: Tensor, *, dim: int = -1) -> Tensor:
        return self._vectors(poincare.parallel_transport, dim, [x, y], v)

    def transp0(self, y: Tensor, u: Tensor, *, dim: int = -1) -> Tensor:
        return self._vectors(_scaled, dim, [y], u, by=-1)

    def transp0back(self, y: Tensor, u: Tensor, *, dim: int = -1) -> Tensor:
        return self._vectors(_scaled, dim, [y], u, by=1)

    def egrad2rgrad(self, x: Tensor, u: Tensor, *, dim: int = -1) -> Tensor:
        return self._vectors(_scaled, dim, [x], u / 4, by=-2)

    def inner(self, x: Tensor, u: Tensor, v: Tensor | None = None, *, keepdim: bool = False, dim: int = -1) -> Tensor:
        return self._numbers(_inner, dim, keepdim, [x], u, u if v is None else v)

    def norm(self, x: Tensor, u: Tensor, *, keepdim: bool = False, dim: int = -1) -> Tensor:
        return self._numbers(_length, dim, keepdim, [x], u)

    def lambda_x(self, x: Tensor, *, dim: int = -1, keepdim: bool = False) -> Tensor:
        return self._numbers(poincare.conformal_factor, dim, keepdim, [x])

    def gyration(self, x: Tensor, y: Tensor, z: Tensor, *, dim: int = -1) -> Tensor:
        return self._vectors(poincare.gyration, dim, [x, y], z)

    def antipode(self, x: Tensor, *, dim: int = -1) -> Tensor:
        return -x

    def mobius_add(self, x: Tensor, y: Tensor, *, dim: int = -1, project: bool = True) -> Tensor:
        return self._vectors(poincare.mobius_add, dim, [x, y])

    def mobius_sub(self, x: Tensor, y: Tensor, *, dim: int = -1, project: bool = True) -> Tensor:
        return self.mobius_add(x, -y, dim=dim)

    def mobius_coadd(self, x: Tensor, y: Tensor, *, dim: int = -1, project: bool = True) -> Tensor:
        return self._vectors(_coadd, dim, [x, y])

    def mobius_cosub(self, x: Tensor, y: Tensor, *, dim: int = -1, project: bool = True) -> Tensor:
        return self.mobius_coadd(x, -y, dim=dim)

    def mobius_scalar_mul(self, r: Numbers, x: Tensor, *, dim: int = -1, project: bool = True) -> Tensor:
        return self._vectors(_times, dim, [x], by=_last(r, dim))

    def mobius_pointwise_mul(self, w: Tensor, x: Tensor, *, dim: int = -1, project: bool = True) -> Tensor:
        return self._vectors(_times, dim, [x], by=_last(w, dim))

    def mobius_matvec(self, m: Tensor, x: Tensor, *, dim: int = -1, project: bool = True) -> Tensor:
        return self._vectors(_matrix_times, dim, [x], M=m)

    def mobius_fn_apply(
        self, fn: Callable[..., Tensor], x: Tensor, *args: Any, dim: int = -1, project: bool = True, **kwargs: Any
    ) -> Tensor:
        return self.expmap0(fn(self.logmap0(x, dim=dim), *args, **kwargs), dim=dim)

    def mobius_fn_apply_chain(
        self, x: Tensor, *fns: Callable[[Tensor], Tensor], project: bool = True, dim: int = -1
    ) -> Tensor:
        if not fns:
            return x
        v = self.logmap0(x, dim=dim)
        for fn in fns:
            v = fn(v)
        return self.expmap0(v, dim=dim)

    def dist2plane(
        self,
        x: Tensor,
        p: Tensor,
        a: Tensor,
        *,
        dim: int = -1,
        keepdim: bool = False,
        signed: bool = False,
        scaled: bool = False,
    ) -> Tensor:
        distance = self._numbers(_dist_to_plane, dim, keepdim, [x, p], a)
        distance = distance if signed else distance.abs()
        return distance * a.norm(dim=dim, keepdim=keepdim) if scaled else distance

    def weighted_midpoint(
        self,
        xs: Tensor,
        weights: Tensor | None = None,
        *,
        reducedim: Sequence[int] | None = None,
        dim: int = -1,
        keepdim: bool = False,
        lincomb: bool = False,
        posweight: bool = False,
        project: bool = True,
    ) -> Tensor:
        """The midpoint over the dimensions `reducedim`; the origin where all weights are 0.

        Raises:
            ValueError: several curvatures; weights below 0, unless `posweight` turns their points about.
        """
        if self.c.numel() != 1:
            raise ValueError(f"c has shape {tuple(self.c.shape)}; expected one curvature for a midpoint")
        dim = dim % xs.ndim
        over = sorted(d % xs.ndim for d in (reducedim if reducedim is not None else range(xs.ndim)))
        over = [d for d in over if d != dim]
        w = (xs.new_ones(()) if weights is None else weights.unsqueeze(dim)).expand_as(xs.narrow(dim, 0, 1))
        if posweight:
            xs, w = torch.where(w < 0, -xs, xs), w.abs()
        last = tuple(range(-len(over) - 1, 0))
        points, shares = (z.movedim((*over, dim), last).flatten(-len(over) - 1, -2) for z in (xs, w))
        total = shares.sum(-2)  # (..., 1)
        shares = torch.where((shares == 0).all(-2, keepdim=True), 1.0, shares).squeeze(-1)
        c = self._curvature.reshape(())
        middle = poincare.midpoint(self._inside(points, -1), shares, c=c)
        middle = torch.where(total == 0, torch.zeros_like(middle), middle)
        if lincomb:
            middle = poincare.mobius_scalar_mul(total.squeeze(-1), middle, c=c)
        kept = xs.ndim - len(over) - 1
        middle = middle.movedim(-1, dim - sum(d < dim for d in over)) if kept else middle
        for d in over if keepdim else ():
            middle = middle.unsqueeze(d)
        return middle

    def sproj(self, x: Tensor, *, dim: int = -1) -> Tensor:
        return along(lorentz.to_ball, dim, [x.narrow(dim, 0, x.shape[dim] - 1)], self._curvature)

    def inv_sproj(self, x: Tensor, *, dim: int = -1) -> Tensor:
        return self._vectors(_on_hyperboloid, dim, [x])


def _gap(x: Tensor, c: Tensor) -> Tensor:
    """1 − c‖x‖², kept."""
    return boundary_gap(wide(x), curvature(c, x))


def _scaled(x: Tensor, u: Tensor, *, c: Tensor, by: int) -> Tensor:
    """u times (1 − c‖x‖²) to the power −`by`."""
    return (wide(u) * _gap(x, c) ** -by).to(**result_form(x, u))


def _inner(x: Tensor, u: Tensor, v: Tensor, *, c: Tensor) -> Tensor:
    """λ_x²⟨u, v⟩."""
    lengths = 2 / _gap(x, c)
    return (lengths * wide(u) * (lengths * wide(v))).sum(-1).to(**result_form(x, u, v))


def _length(x: Tensor, u: Tensor, *, c: Tensor) -> Tensor:
    """λ_x‖u‖."""
    return (2 / _gap(x, c) * norm(wide(u))).squeeze(-1).to(**result_form(x, u))


def _walk(x: Tensor, u: Tensor, *, c: Tensor, t: Numbers) -> Tensor:
    """The point at the distance t from x in the direction u."""
    length = torch.as_tensor(t, dtype=torch.float64, device=x.device).unsqueeze(-1)
    v = length * _gap(x, c) / 2 * direction(wide(u))[0]
    return round_inside(poincare.expmap(wide(x), v, c=c), curvature(c, x), result_form(x, u))


def _coadd(x: Tensor, y: Tensor, *, c: Tensor) -> Tensor:
    """x ⊞ y = (λ_x x + λ_y y)/(λ_x + λ_y − 2) and so on, over the gaps: symmetric in x and y."""
    gap_x, gap_y = _gap(x, c), _gap(y, c)
    value = (gap_y * wide(x) + gap_x * wide(y)) / (gap_x + gap_y - gap_x * gap_y)
    return round_inside(value, curvature(c, x), result_form(x, y))


def _last(r: Numbers, dim: int) -> Numbers:
    return r.movedim(dim, -1) if isinstance(r, Tensor) and r.ndim else r


def _times(x: Tensor, *, c: Tensor, by: Numbers) -> Tensor:
    """exp_0(r log_0(x)), entry by entry where r is a vector; in float64 between."""
    return round_inside(poincare.expmap0(by * poincare.logmap0(wide(x), c=c), c=c), curvature(c, x), result_form(x))


def _matrix_times(x: Tensor, *, c: Tensor, M: Tensor) -> Tensor:
    """exp_0(M log_0(x)), for one matrix or one for each point."""
    v = (wide(M) @ poincare.logmap0(wide(x), c=c).unsqueeze(-1)).squeeze(-1)
    return round_inside(poincare.expmap0(v, c=c), curvature(c, x), result_form(x))


def _dist_to_plane(x: Tensor, p: Tensor, a: Tensor, *, c: Tensor) -> Tensor:
    """The signed distance of x from the hyperplane through p with the normal a.

    asinh(2√c⟨−p ⊕ x, â⟩/(1 − c‖−p ⊕ x‖²))/√c, without the Möbius sum: with w = x − p it is the sinh of
    2√c⟨(1 − c‖p‖²)w − c‖w‖²p, â⟩/((1 − c‖p‖²)(1 − c‖x‖²)).
    """
    gap_x, gap_p, c64 = _gap(x, c), _gap(p, c), curvature(c, x)
    w = wide(x) - wide(p)
    way = gap_p * w - c64 * (w * w).sum(-1, keepdim=True) * wide(p)
    along_normal = 2 * (way * direction(wide(a))[0]).sum(-1, keepdim=True) / (gap_p * gap_x)
    return (asinh_ratio(c64.sqrt() * along_normal) * along_normal).squeeze(-1).to(**result_form(x, p, a))


def _on_hyperboloid(x: Tensor, *, c: Tensor) -> Tensor:
    """The point of the hyperboloid, its time component last."""
    X = lorentz.from_ball(wide(x), c=c)
    return torch.cat([X, torch.hypot(curvature(c, x).rsqrt().expand_as(X[..., :1]), norm(X))], -1).to(**result_form(x))
