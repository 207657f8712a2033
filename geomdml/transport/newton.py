"""Newton's step on the semi-dual, where Sinkhorn's iteration is slow.

With the columns kept at their optimum, the dual is a concave function of the row scalings alone. For a change d of
log x its gradient is a' − r, the target marginal less that of the plan, and minus its Hessian is

    H = diag(r + (ε/ρ_a) a') − λ_b T diag(1/c) Tᵀ,      λ_b = ρ_b/(ρ_b + ε),

c the column marginal; without penalties diag(r) − T diag(1/c) Tᵀ, singular along constants. H d = a' − r is solved by
conjugate gradients, at two products with K an iteration. Where these would take more than about min(n, m)/4, which is
where near-permutations leave H ill-conditioned, it is cheaper to factorise H.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from geomdml._core.numerics import wide
from geomdml.transport.scaling import Scaling, Side, product

__all__ = ["newton_step", "schur"]

_REDUCTION = 0.1  # of the residual by conjugate gradients: far from the solution, more is wasted
_LONGEST = 5.0  # change of a log x in one step: the second-order model is good for little more
_TRIALS = 10  # of halving a step, and of doubling it
_MOST = 24  # iterations where H cannot be factorised: a rough direction is one, too
_SMALL = 128  # up to this size a factorisation costs less than some ten iterations


def newton_step(state: Scaling, s: Tensor, which: Tensor, tol: Tensor) -> int:
    """Move x by Newton for the problems `which`, return the iterations this took; s = K y, tol (B,) their tolerance."""
    all_ = bool(which.all())
    rows, columns = (side if all_ else side.part(which) for side in (state.rows, state.columns))
    K, x, y, s, t, f0, eps, tol = (
        v if all_ else v[which]
        for v in (state.K, state.x, state.y, s, state.t, state.f0, state.eps, tol[:, None, None])
    )
    r, target, c = x * s, rows.target(x, f0, eps), y * t
    rhs, diagonal = target - r, rows.fill(r + target * (eps / rows.penalty), 1.0)
    damped = 1 / (1 + eps / columns.penalty)  # λ_b
    back = damped * y / t

    def hessian(d: Tensor) -> Tensor:
        return diagonal * d - x * product(back * product(x * d, K), K.mT)

    size, whole, singular = (
        min(K.shape[-2:]),
        isinstance(K, Tensor),
        math.isinf(rows.penalty) and math.isinf(columns.penalty),
    )
    error = rhs.abs().sum(-1, keepdim=True)
    enough = torch.maximum((error / target.sum(-1, keepdim=True)).clamp(max=_REDUCTION), 0.1 * tol / error)
    solved, iterations = False, 0
    if not whole:
        d, _, iterations = _conjugate_gradients(hessian, rhs, diagonal, enough, _MOST)
    elif not (state.hard or size <= _SMALL):
        d, solved, iterations = _conjugate_gradients(hessian, rhs, diagonal, enough, size // 4)
    if whole and not solved:
        state.hard, plan = True, K * y * x.mT
        d, iterations = schur(plan, diagonal, c / damped, rhs, singular=singular).to(x), iterations + 1
        d = torch.where(d.isfinite(), d, 0.0)
    if singular:
        d = d - (diagonal * d).sum(-1, keepdim=True) / diagonal.sum(-1, keepdim=True)
    d = rows.fill(d, 0.0)
    noise = 4 * torch.finfo(d.dtype).eps * target.sum(-1, keepdim=True)
    slope, longest = (rhs * d).sum(-1, keepdim=True), d.abs().amax(-1, keepdim=True).clamp(min=1e-30)

    def gain(step: Tensor) -> Tensor:
        """Of the dual, over ε."""
        t_new = columns.sums(x * (step * d).exp(), K)
        return _row_gain(rows, target, step * d, eps) + _column_gain(columns, c, t_new, t, eps)

    step = (_LONGEST / longest).clamp(max=1.0)
    reached = gain(step)
    for _ in range(_TRIALS):
        good = reached >= 1e-4 * step * slope - noise
        if bool(good.all()):
            break
        step = torch.where(good, step, step / 2)
        reached = gain(step)
    step = torch.where(good, step, 0.0)
    for _ in range(_TRIALS):  # where the plan has to be linked by entries that are far too small, or large, as yet
        further = gain(2 * step)
        better = (further > reached) & (2 * step * longest < state.reach)
        if not bool(better.any()):
            break
        step, reached = torch.where(better, 2 * step, step), torch.where(better, further, reached)
    moved = x * (step * d).exp()
    result = state.x.clone()
    result[which] = moved
    state.move(result)
    return iterations


def _row_gain(rows: Side, target: Tensor, d: Tensor, eps: Tensor) -> Tensor:
    """The change of the rows' part of the dual, over ε."""
    if math.isinf(rows.penalty):
        return (target * d).sum(-1, keepdim=True)
    return -(rows.penalty / eps) * (target * torch.expm1(-eps * d / rows.penalty)).sum(-1, keepdim=True)


def _column_gain(columns: Side, c: Tensor, t_new: Tensor, t: Tensor, eps: Tensor) -> Tensor:
    """The change of the columns' part and of the mass, y renewed, over ε."""
    log_ratio = (t_new / t).log()
    if math.isinf(columns.penalty):
        return -(c * log_ratio).sum(-1, keepdim=True)
    # y ~ t^−λ, so that c = y·t ~ t^(1 − λ), 1 − λ = ε/(ρ + ε)
    share = eps / (columns.penalty + eps)
    return -(c * torch.expm1(share * log_ratio)).sum(-1, keepdim=True) / share


def _conjugate_gradients(
    matrix: Callable[[Tensor], Tensor], rhs: Tensor, diagonal: Tensor, reduction: Tensor, most: int
) -> tuple[Tensor, bool, int]:
    """(d, solved, iterations): `matrix` d = rhs, by conjugate gradients until each problem has its reduction."""
    every = 1 if rhs.device.type == "cpu" else 8  # iterations between two looks, each of which a GPU has to wait for
    tiny = torch.finfo(rhs.dtype).tiny  # a problem solved to the last bit stays where it is
    z = rhs / diagonal
    d, p, residual, rz = torch.zeros_like(rhs), z, rhs, (rhs * z).sum(-1, keepdim=True)
    goal = rz * reduction.square()
    for k in range(1, most + 1):
        Hp = matrix(p)
        alpha = rz / (p * Hp).sum(-1, keepdim=True).clamp_(min=tiny)
        d, residual = d + alpha * p, residual - alpha * Hp
        z = residual / diagonal
        rz, before = (residual * z).sum(-1, keepdim=True), rz
        if k % every == 0 and bool((rz <= goal).all()):
            return d, True, k
        p = z + rz / before.clamp(min=tiny) * p
    return d, False, most


def schur(T: Tensor, diagonal: Tensor, c: Tensor, rhs: Tensor, *, singular: bool) -> Tensor:
    """w with (diag(diagonal) − T diag(1/c) Tᵀ) w = rhs in float64, by Cholesky; vectors (B, 1, n).

    `singular`: constants are the null space, rhs sums to 0, and the solution with ⟨diagonal, w⟩ = 0 is taken.
    """
    T, diagonal, c, rhs = map(wide, (T, diagonal, c, rhs))
    root = diagonal.sqrt()
    P = T / root.mT / torch.where(c > 0, c, 1.0).sqrt()
    null = root / root.norm(dim=-1, keepdim=True) if singular else torch.zeros_like(root)
    matrix = torch.baddbmm(null.mT @ null, P, P.mT, alpha=-1.0)
    for ridge in (1e-14 * T.shape[-2] ** 0.5, 1e-11, 1e-8):  # rounding may leave it not quite positive
        shifted = matrix + (1 + ridge) * torch.eye(T.shape[-2], dtype=T.dtype, device=T.device)
        factor, failed = torch.linalg.cholesky_ex(shifted)
        if not bool(failed.any()):
            break
    return torch.cholesky_solve((rhs / root).mT, factor).mT / root
