"""Entropic optimal transport."""

import warnings
from typing import Any, Literal, NamedTuple, get_args

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor

from geomdml._core import checks
from geomdml._core.autograd import operator
from geomdml.transport.gradients import by_implicit_rule, enveloped, implicit, optimum, refusing, unrolled
from geomdml.transport.problem import (
    MET,
    Penalty,
    Problem,
    Solution,
    marginals,
    penalties,
    potential,
    regularisation,
)
from geomdml.transport.solve import solve

__all__ = ["Grad", "Transport", "sinkhorn", "warned"]

_IN_CACHE = 2**18  # entries

Grad = Literal["envelope", "implicit", "unroll", "none"]


class Transport(NamedTuple):
    """A transport plan, what it costs, and how far it is the one asked for.

    plan: T. value: the minimum. linear: ⟨T, C⟩. f, g: the dual potentials. iterations: products with the kernel and
    its transpose. marginal_error: L1 distance of T's marginals from what they should be, as a share of the mass.
    converged: whether that is within the tolerance. Leading dimensions are those of the cost.
    """

    plan: Any  # a tensor (..., n, m); a `Plan` of `sinkhorn_points`
    value: Float[Tensor, "*batch"]
    linear: Float[Tensor, "*batch"]
    f: Float[Tensor, "*batch n"]
    g: Float[Tensor, "*batch m"]
    iterations: Integer[Tensor, "*batch"]
    marginal_error: Float[Tensor, "*batch"]
    converged: Bool[Tensor, "*batch"]


def sinkhorn(
    cost: Float[Tensor, "*batch n m"],
    reg: float | Float[Tensor, "*#batch"],
    a: Float[Tensor, "*#batch n"] | None = None,
    b: Float[Tensor, "*#batch m"] | None = None,
    *,
    max_iter: int = 10_000,
    tol: float | None = None,
    grad: Grad = "envelope",
    marginal_penalty: Penalty = None,
    f: Float[Tensor, "*#batch n"] | None = None,
    g: Float[Tensor, "*#batch m"] | None = None,
) -> Transport:
    """Entropic optimal transport: the plan T ≥ 0 that minimises ⟨T, C⟩ + reg·Σ T(log T − 1), with T1 = a and Tᵀ1 = b.

    Gradients, by `grad`; reg, tol, and where to start are constants in each of them:

    - "envelope": `value` has ∂/∂cost = T, ∂/∂a = f, ∂/∂b = g (exact for changes that keep the sums of a and b equal;
      what a single entry gets beyond that depends on the gauge of f and g). All else raises in a backward pass.
    - "implicit": plan, linear, f and g too, by the implicit function theorem: one factorisation in the backward pass.
    - "unroll": plan, linear, f and g through every iteration in the log domain, from `g` or 0 and without acceleration:
      a matrix each is kept, so limit `max_iter`; `value` as under "envelope".
    - "none": all is constant.

    The slope of `value` at a weight of 0 is −∞; the gradient is 0 there. `value` has second derivatives too, by the
    implicit rule: a Hessian-vector product costs one factorisation. All by torch.autograd, not under transforms of
    `torch.func`; first derivatives also in `torch.compile`, where "unroll" alone breaks the graph.

    Args:
        cost: (..., n, m) ground costs C; infinite where no mass may move.
        reg: weight of the entropy, > 0, in the unit of the costs; a tensor (...) gives each problem its own.
        a, b: (..., n) and (..., m) weights ≥ 0 of equal sums, zeros allowed; None is uniform, of the other's mass or 1.
        max_iter: stop after so many iterations of the slowest problem.
        tol: L1 error of the marginals, as a share of the mass, at which to stop; None is 1e-9 in float64, 1e-5 in
            float32.
        grad: see above.
        marginal_penalty: ρ, or (ρ_a, ρ_b), for unbalanced transport: instead of meeting the marginals, the minimum has
            ρ_a·KL(T1 | a) + ρ_b·KL(Tᵀ1 | b) added, KL(p | q) = Σ p log(p/q) − p + q. None or infinity: to be met.
        f, g: potentials to start from, such as an earlier result's (g is used where both are given).

    Returns:
        Transport, at least float32. f and g are −∞ where a weight is 0; with both marginals met they are determined up
        to (+k, −k), and have ⟨f, a⟩ = ⟨g, b⟩.

    Raises:
        ValueError, TypeError: shapes that do not match; costs or weights that are NaN, costs of −∞, weights that are
            infinite or below 0, sums that differ, a weight that can go nowhere, reg, tol or a penalty not above 0.
        NotImplementedError: under a transform of `torch.func` or in forward mode; in a backward pass that asks for a
            gradient which `grad` does not offer.

    Warns:
        RuntimeWarning: a problem did not converge.

    Source: Cuturi, "Sinkhorn distances" (2013); Peyré & Cuturi, "Computational optimal transport" (2019), section 4;
    Schmitzer, "Stabilized sparse scaling algorithms" (2019), for absorption and scaling of ε; Brauer et al., "A
    Sinkhorn-Newton method" (2017).

    >>> cost = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    >>> result = sinkhorn(cost, reg=0.1)
    >>> result.plan
    tensor([[4.9998e-01, 2.2699e-05],
            [2.2699e-05, 4.9998e-01]])
    >>> bool(result.converged)
    True
    """
    if grad not in get_args(Grad):
        raise ValueError(f"grad = {grad!r}; expected one of {', '.join(map(repr, get_args(Grad)))}")
    max_iter = checks.integer(1, max_iter=max_iter)
    penalty = penalties(marginal_penalty)
    cost, a, b = marginals(cost, a, b, equal_sums=penalty == MET)
    if tol is None:
        tol = 1e-9 if a.dtype == torch.float64 else 1e-5
    checks.positive(tol=tol)
    *batch, n, m = cost.shape
    cost, a, b = cost.reshape(-1, n, m), a.reshape(-1, 1, n), b.reshape(-1, 1, m)
    given = Problem(cost, a, b, regularisation(reg, torch.Size(batch), cost), penalty)
    problem = given._replace(cost=cost.detach(), a=a.detach(), b=b.detach())
    start = potential("f", f, problem.a, batch), potential("g", g, problem.b, batch)

    if grad == "unroll":
        found = _warned(unrolled(given, tol, max_iter, start), tol, max_iter)
    elif torch.compiler.is_compiling():
        found = Solution(*_solve(*problem[:4], *penalty, tol, max_iter, *start))
    else:
        found = _warned(solve(problem, tol, max_iter, start), tol, max_iter)
    if grad == "implicit":
        found = implicit(given, found)
    flowing = given if grad in ("implicit", "unroll") else problem
    f, g, value = optimum(flowing, found)
    if grad != "none":
        value = enveloped(given, value, found.plan, f, g, second=by_implicit_rule(given))
    if grad == "envelope":
        found = refusing(given, found._replace(f=f, g=g), "plan, linear, f and g", 'grad="implicit", grad="unroll"')
        f, g = found.f, found.g

    def per_problem(numbers: Tensor, dtype: torch.dtype) -> Tensor:
        return numbers.to(cost.device, dtype).reshape(batch)

    return Transport(
        plan=found.plan.reshape(*batch, n, m),
        value=value.reshape(batch),
        linear=_inner(found.plan, flowing.cost).reshape(batch),
        f=f.reshape(*batch, n),
        g=g.reshape(*batch, m),
        iterations=per_problem(found.iterations, torch.int64),
        marginal_error=per_problem(found.error, a.dtype),
        converged=per_problem(found.error <= tol, torch.bool),
    )


def _inner(x: Tensor, y: Tensor) -> Tensor:
    """(B,) ⟨x, y⟩ of (B, n, m) matrices."""
    if x.numel() < _IN_CACHE:
        return (x * y).sum((-1, -2))
    return (x.unsqueeze(-2) @ y.unsqueeze(-1)).sum((-1, -2, -3))  # without a third matrix, which takes longer to fill


def _empty(cost: Tensor, a: Tensor, b: Tensor, *others: object) -> tuple[Tensor, ...]:
    number = cost.new_empty(cost.shape[:1], dtype=torch.float64, device="cpu")
    return *map(torch.empty_like, (cost, a, b)), number, torch.empty_like(number)


@operator(
    "sinkhorn(Tensor cost, Tensor a, Tensor b, Tensor reg, float rows, float columns, float tol, int max_iter, "
    "Tensor? f, Tensor? g) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    _empty,
)
def _solve(
    cost: Tensor,
    a: Tensor,
    b: Tensor,
    reg: Tensor,
    rows: float,
    columns: float,
    tol: float,
    max_iter: int,
    f: Tensor | None,
    g: Tensor | None,
) -> tuple[Tensor, ...]:
    """`solve` as one operation for torch.compile; rows and columns are the penalties."""
    found = solve(Problem(cost, a, b, reg, (rows, columns)), tol, max_iter, (f, g))
    return tuple(x.contiguous() for x in _warned(found, tol, max_iter))


def warned(iterations: Tensor, error: Tensor, tol: float, max_iter: int, *, stacklevel: int = 3) -> None:
    """Warn where there is no solution."""
    unmet = ~(error <= tol)
    if unmet.any():
        advice = (
            "expected a larger max_iter, tol or reg"
            if iterations.max() >= max_iter
            else "more do not help; expected a larger tol or reg"
        )
        warnings.warn(
            f"sinkhorn: {int(unmet.sum())} of {len(unmet)} problems did not converge; their marginals are off by up to "
            f"{error.max():.1e} after {iterations.max():.0f} iterations, tol = {tol:.1e}; {advice}",
            RuntimeWarning,
            stacklevel=stacklevel,
        )


def _warned(found: Solution, tol: float, max_iter: int) -> Solution:
    warned(found.iterations, found.error, tol, max_iter, stacklevel=4)
    return found
