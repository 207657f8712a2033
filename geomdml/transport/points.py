"""Entropic optimal transport of two clouds of points, without a matrix of their costs."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from geomdml._core import checks
from geomdml._core.autograd import Differentiable
from geomdml._core.numerics import wide
from geomdml.spaces import Space
from geomdml.transport.gradients import last
from geomdml.transport.ground import Clouds, ground_cost
from geomdml.transport.problem import MET, Problem, first, refuse_transforms, spread_weights
from geomdml.transport.scaling import Side
from geomdml.transport.sinkhorn import Transport, warned
from geomdml.transport.solve import iterate, reach, solve
from geomdml.transport.tiles import TiledScaling, Tiles

__all__ = ["Plan", "sinkhorn_points"]

_WHOLE = 2**20  # entries of a matrix of costs that may be held
_PART = 4  # the potentials of a cloud are begun from those of this part of its points
_FEWEST = 512  # points of a part
_ROUGH, _FLOAT32 = 1e-2, 1e-3  # errors of the marginals to which a part is solved, and all of it in float32


class Plan:
    """The plan T_ij = exp((f_i + g_j − d(x_i, y_j)^p)/reg) of two clouds, of which no more than a tile is ever held."""

    def __init__(self, clouds: Clouds, f: Tensor, g: Tensor, reg: float, dtype: torch.dtype) -> None:
        self._clouds, self._f, self._g, self._reg, self.dtype = clouds, f, g, reg, dtype

    @property
    def shape(self) -> torch.Size:
        return torch.Size([len(self._f), len(self._g)])

    @property
    def mT(self) -> "Plan":
        """The plan from y to x."""
        flipped = self._clouds._replace(x=self._clouds.y, y=self._clouds.x)
        return Plan(flipped, self._g, self._f, self._reg, self.dtype)

    def __matmul__(self, other: Float[Tensor, "M *K"]) -> Float[Tensor, "N *K"]:
        """T v, such as where each x_i goes on the average: plan @ y / a[:, None]."""
        columns = wide(other.detach()).reshape(len(other), -1)
        return self.tiles().times(columns).reshape(-1, *other.shape[1:]).to(self.dtype)

    def rows(self, which: slice | Tensor) -> Float[Tensor, "K M"]:
        """Some of its rows."""
        clouds = self._clouds._replace(x=self._clouds.x[which])
        whole = slice(None)
        return clouds.exponents(self._f[which], self._g, self._reg).tile(whole, whole).exp().to(self.dtype)

    def dense(self) -> Float[Tensor, "N M"]:
        return self.rows(slice(None))

    def tiles(self) -> Tiles:
        return Tiles(self._clouds, self._f, self._g, self._reg)


@torch._disable_dynamo  # the tiles and iterations would be unrolled
def sinkhorn_points(
    x: Float[Tensor, "n D"],
    y: Float[Tensor, "m D"],
    reg: float,
    a: Float[Tensor, " n"] | None = None,
    b: Float[Tensor, " m"] | None = None,
    *,
    p: float = 2.0,
    space: Space | None = None,
    max_iter: int = 10_000,
    tol: float | None = None,
) -> Transport:
    """Entropic optimal transport with the cost d(x_i, y_j)^p, in O((n + m)·D) memory.

    As `geomdml.transport.sinkhorn` of the matrix of costs, which is made again, tile by tile, in each product: first in
    float32 for a part of the points, then for all, at last in float64 to the tolerance. Of costs that fit into a few
    megabytes the matrix is held.

    Args:
        x, y: (n, D) and (m, D) points, as the space stores them.
        reg: weight of the entropy, > 0, in the unit of d^p.
        a, b: (n,) and (m,) weights ≥ 0 of equal sums, zeros allowed; None is uniform, of the other's mass or 1.
        p: power of the distance, > 0.
        space: whose `pairwise_dist` is the distance; None is Euclidean.
        max_iter, tol: as in `geomdml.transport.sinkhorn`, by the dtype of the result.

    Returns:
        Transport, whose plan is a `Plan`: `plan @ v`, `plan.mT @ v`, `plan.rows(…)` and `plan.dense()`. `value` has
        first derivatives by x, y, a, b and a learned curvature, by the envelope theorem; all else is constant, and f
        and g raise in a backward pass.

    Raises:
        ValueError, TypeError: as `geomdml.transport.sinkhorn` and the space's `pairwise_dist`; p ≤ 0.
        NotImplementedError: under a transform of `torch.func` or in forward mode.

    Warns:
        RuntimeWarning: it did not converge.

    Source: Feydy, "Geometric data analysis, beyond convolutions" (2020), section 3.3, for costs that are made again
    and for potentials that are begun from fewer points.

    >>> x = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    >>> result = sinkhorn_points(x, x + 3.0, reg=0.1)
    >>> result.plan @ (x + 3.0) / 0.5  # where the points go
    tensor([[3.0000, 3.0000],
            [4.0000, 3.0000]])
    """
    checks.rows(x=x, y=y)
    refuse_transforms(x, y, a, b)
    if not (len(x) and len(y)):
        raise ValueError(f"x has {len(x)} points, y has {len(y)}; expected at least one each")
    checks.finite(x=x, y=y)
    max_iter = checks.integer(1, max_iter=max_iter)
    checks.positive(p=p, reg=reg)
    both = x.new_empty(0, dtype=torch.promote_types(x.dtype, y.dtype))
    a, b = spread_weights(both, torch.Size([len(x), len(y)]), a, b, equal_sums=True)
    if tol is None:
        tol = 1e-9 if a.dtype == torch.float64 else 1e-5
    checks.positive(tol=tol)
    reg = float(reg)
    with torch.no_grad():
        clouds = Clouds(wide(x.detach()), wide(y.detach()), p, space)
        rows, columns = (wide(w.detach())[None, None] for w in (a, b))
        f, g, iterations, error = _solve(clouds, rows, columns, reg, tol, max_iter)
        warned(iterations, error, tol, max_iter)
        f, g = f[0, 0], g[0, 0]
        plan = Plan(clouds, f, g, reg, a.dtype)
        fa, gb = (torch.where(w > 0, u, 0.0) @ w[0, 0] for u, w in ((f, rows), (g, columns)))
        mass = columns.sum()
        value = (fa + gb).squeeze() - reg * mass
        sums, entropy = plan.tiles().moments()  # log T = (f + g − C)/reg, and the columns of the plan are met
        linear = torch.where(sums > 0, f * sums, 0.0).sum() + gb.squeeze() - reg * entropy
        shift = ((fa - gb) / (2 * mass)).squeeze()
        f, g = f - shift, g + shift
    value, f, g = _differentiable(x, y, a, b, p, space, reg, plan, value, f, g)
    return Transport(
        plan=plan,
        value=value,
        linear=linear.to(a.dtype),
        f=f,
        g=g,
        iterations=iterations.to(x.device, torch.int64).squeeze(),
        marginal_error=error.to(a).squeeze(),
        converged=(error <= tol).to(x.device).squeeze(),
    )


def _solve(
    clouds: Clouds, a: Tensor, b: Tensor, reg: float, tol: float, max_iter: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """f, g (1, 1, ·), iterations and error, of clouds in float64."""
    eps = a.new_full((1, 1, 1), reg)
    if len(clouds.x) * len(clouds.y) <= _WHOLE:
        problem = Problem(clouds.cost(slice(None), slice(None))[None], a, b, eps, MET)
        found = solve(problem, tol, max_iter, (None, None))
        return found.f, found.g, found.iterations, found.error
    narrow = clouds._replace(x=clouds.x.float(), y=clouds.y.float())
    f, g, tried = _begun(narrow, a.float(), b.float(), reg, max(tol, _FLOAT32), max_iter)
    sides = Side.of(a, math.inf), Side.of(b, math.inf)
    f = f.double() - eps * sides[0].log_weight
    state = TiledScaling(clouds, sides, eps, g.double(), f.where(f.isfinite(), 0.0))
    error, count = iterate(state, tol, max_iter - tried)
    f, g = state.absolute()
    return f, g, torch.from_numpy(count + tried), torch.from_numpy(error)


def _begun(clouds: Clouds, a: Tensor, b: Tensor, reg: float, tol: float, max_iter: int) -> tuple[Tensor, Tensor, float]:
    """f, g̃ (1, 1, ·) near those of the solution, and the iterations taken with all of the points."""
    eps = a.new_full((1, 1, 1), reg)
    if len(clouds.x) * len(clouds.y) <= _WHOLE:
        problem = Problem(clouds.cost(slice(None), slice(None))[None], a, b, eps, MET)
        found = solve(problem, tol, max_iter, (None, None))
        return found.f, first(problem, None, found.g), 0.0
    rows, columns = (_part(w[0, 0]) for w in (a, b))
    some = clouds._replace(x=clouds.x[rows], y=clouds.y[columns])
    few_a, few_b = (w[..., which] * (w.sum() / w[..., which].sum()) for w, which in ((a, rows), (b, columns)))
    f = _begun(some, few_a, few_b, reg, _ROUGH, max_iter)[0]
    g = _extended(clouds._replace(x=some.x), f[0, 0], reg)[None, None]
    state = TiledScaling(clouds, (Side.of(a, math.inf), Side.of(b, math.inf)), eps, g)
    _, count = reach(state, a.new_tensor([clouds.range()]), tol, max_iter)
    return state.absolute()[0], state.relative(), float(count.max())


def _part(weights: Tensor) -> Tensor:
    """Some of the points that have weight, by a draw of their own."""
    there = weights.nonzero()[:, 0]
    draw = torch.randperm(len(there), generator=torch.Generator().manual_seed(0)).to(there.device)
    return there[draw[: max(min(_FEWEST, len(there)), len(there) // _PART)]]


def _extended(clouds: Clouds, f: Tensor, reg: float) -> Tensor:
    """g̃_j = −ε log Σ_i exp((f_i − C_ij)/ε) of potentials f of other points."""
    zero = f.new_zeros(len(clouds.y))
    peaks = Tiles(clouds, f, zero, reg).peaks(0)
    sums = Tiles(clouds, f, -reg * peaks, reg).transposed_times(torch.ones_like(f)[:, None])
    return -reg * (peaks + sums[:, 0].log())


def _differentiable(
    x: Tensor,
    y: Tensor,
    a: Tensor,
    b: Tensor,
    p: float,
    space: Space | None,
    reg: float,
    plan: Plan,
    value: Tensor,
    f: Tensor,
    g: Tensor,
) -> tuple[Tensor, ...]:
    """The value with its gradients by x, y, a, b and what the space learns; f and g, which refuse theirs."""
    learned: list[Tensor] = []
    if isinstance(space, nn.Module):
        learned = [w for w in space.parameters() if w.requires_grad]
    inputs, results = (x, y, a, b, *learned), tuple(u.to(a.dtype) for u in (value, f, g))
    if not any(u.requires_grad for u in inputs):
        return results

    def envelope(grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        slopes = (torch.where(w > 0, u, 0.0).to(w) for u, w in ((f, a), (g, b)))
        points = _point_gradients(Clouds(x.detach(), y.detach(), p, space), plan, learned)
        from_points, from_space = points[:2], points[2:]
        return *(grad * u for u in (*from_points, *slopes, *from_space)), None

    def refuse(grad: Tensor, *rest: Tensor) -> tuple[Tensor | None, ...]:
        if bool(grad.any()):
            raise NotImplementedError('f and g have no gradient here; expected sinkhorn with grad="implicit"')
        return *(torch.zeros_like(u) for u in inputs), None

    gradients: tuple[Callable[..., tuple[Tensor | None, ...]], ...] = (envelope, refuse, refuse)
    return tuple(
        Differentiable.apply(last, gradient, None, *inputs, result)
        for gradient, result in zip(gradients, results, strict=True)
    )


def _point_gradients(clouds: Clouds, plan: Plan, learned: list[Tensor]) -> list[Tensor]:
    """Σ_ij T_ij ∂C_ij by x, y and what the space learns, tile by tile."""
    x, y, p, space = clouds
    totals = [torch.zeros_like(wide(u)) for u in (x, y, *learned)]
    for rows, columns, tile in plan.tiles().tiles():
        with torch.enable_grad():
            some_x, some_y = x[rows].detach().requires_grad_(), y[columns].detach().requires_grad_()
            cost = ground_cost(some_x, some_y, p, space)
        by_x, by_y, *others = torch.autograd.grad(cost, [some_x, some_y, *learned], tile.exp_().to(cost))
        totals[0][rows] += by_x
        totals[1][columns] += by_y
        for total, part in zip(totals[2:], others, strict=True):
            total += part
    return [total.to(u) for total, u in zip(totals, (x, y, *learned), strict=True)]
