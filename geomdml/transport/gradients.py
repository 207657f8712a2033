"""How gradients flow through a transport problem.

The implicit rule differentiates the two fixed-point equations that the relative potentials satisfy,

    f̃_i = −λ_a ε log Σ_j b_j exp((g̃_j − C_ij)/ε) − (1 − λ_a) ε log a_i,      and its twin for g̃,

λ = ρ/(ρ + ε), which is 1 where a marginal is to be met. With P = T/r and Q = T/c, the plan over its row and its column
sums, gradients φ, γ by f̃, g̃ become gradients p, q by the right-hand sides through

    p + λ_b Q q = φ,   λ_a Pᵀp + q = γ,      that is      (diag r − λ_a λ_b T diag(1/c) Tᵀ)(p/r) = φ − λ_b Q γ.

Relative potentials are finite where a weight is zero, and so are these equations: no 0·∞ arises.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from geomdml._core.autograd import Differentiable, FirstDerivative, Second, operator
from geomdml._core.numerics import wide
from geomdml.transport.newton import schur
from geomdml.transport.problem import Problem, Solution, first, log_weight

__all__ = ["by_implicit_rule", "enveloped", "implicit", "last", "optimum", "refusing", "unrolled"]


def optimum(problem: Problem, found: Solution) -> tuple[Tensor, Tensor, Tensor]:
    """(f, g, value): the potentials, in the gauge ⟨f, a⟩ = ⟨g, b⟩ where the marginals leave one open.

    The value is the dual one, ⟨f, a⟩ + ⟨g, b⟩ − reg·ΣT, and under penalties with the slopes in place of f and g.
    """
    f, g, a, b = found.f, found.g, problem.a, problem.b
    if not problem.balanced:
        f, g = (_slope(u, w, rho) for u, w, rho in zip((f, g), (a, b), problem.penalty, strict=True))
    fa, gb = (torch.bmm(u.nan_to_num(nan=math.nan, neginf=0.0), w.mT) for u, w in ((f, a), (g, b)))  # no 0·∞
    value = ((fa + gb).detach() - problem.reg * found.plan.detach().sum((-1, -2), keepdim=True)).flatten()
    if not problem.balanced:
        return found.f, found.g, value
    shift = (fa - gb) / (2 * b.sum(-1, keepdim=True))
    return f - shift, g + shift, value


def _slope(potential: Tensor, w: Tensor, rho: float) -> Tensor:
    """The derivative of the value by a weight: f, or ρ(1 − exp(−f/ρ)) under a penalty; 0 where there is no weight."""
    potential = torch.where(w > 0, potential, 0.0)
    return potential if math.isinf(rho) else -rho * torch.expm1(-potential / rho)


def enveloped(
    problem: Problem, value: Tensor, plan: Tensor, f: Tensor, g: Tensor, second: Second | None = None
) -> Tensor:
    """The value, whose derivatives by the problem's cost, a and b are the plan and the two slopes.

    Those of these are `second`: `by_implicit_rule`, or None.
    """
    if not any(x.requires_grad for x in (problem.cost, problem.a, problem.b)):
        return value

    def gradient(grad: Tensor, *inputs: Tensor) -> tuple[Tensor | None, ...]:
        return *_scaled(grad, inputs[4:7], inputs[1:3], problem.penalty), *[None] * 5

    held = (x.detach() for x in (problem.reg, plan, f, g))
    return Differentiable.apply(last, gradient, second, *problem[:3], *held, value)


def by_implicit_rule(problem: Problem) -> Second:
    """The derivatives of the gradient of the value: plan and potentials follow cost, a and b by the implicit rule."""

    def derivatives(grad: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
        reg, plan, f, g, *cotangents = inputs[3:]
        with torch.enable_grad():
            leaves = [x.detach().requires_grad_() for x in (grad, *inputs[:3])]
            at = problem._replace(cost=leaves[1], a=leaves[2], b=leaves[3], reg=reg)
            moved = implicit(at, Solution(plan, f, g, grad, grad))
            potentials = optimum(at, moved)[:2]
            gradient = _scaled(leaves[0], (moved.plan, *potentials), leaves[2:], problem.penalty)
            return torch.autograd.grad(gradient, leaves, cotangents)

    def second(grad: Tensor, *inputs: Any) -> Any:
        *known, _, cotangents = inputs
        return *FirstDerivative.apply(derivatives, None, grad, *known, *cotangents[:3]), *[None] * 5

    return second


def last(*inputs: Tensor) -> Tensor:
    """What is known already, as a function of the inputs."""
    return inputs[-1].view_as(inputs[-1])


def _scaled(
    grad: Tensor, found: Sequence[Tensor], marginals: Sequence[Tensor], penalty: tuple[float, float]
) -> list[Tensor]:
    """The derivatives of the value by cost, a and b, from plan and potentials."""
    plan, *potentials = found
    slopes = (_slope(u, w, rho) for u, w, rho in zip(potentials, marginals, penalty, strict=True))
    return [grad.view(-1, 1, 1) * derivative for derivative in (plan, *slopes)]


def refusing(problem: Problem, found: Solution, what: str, instead: str) -> Solution:
    """The solution, whose plan and potentials raise where a gradient by the problem's cost, a or b is asked of them.

    Were they constant, a loss made of them and of something else would train without what they were to give.
    """
    if not any(x.requires_grad for x in problem[:3]):
        return found
    message = f"{what} have no gradient here; expected {instead} or their .detach()"

    def gradient(grad: Tensor, *inputs: Tensor) -> tuple[Tensor | None, ...]:
        return *_refuse(grad, *inputs[:3], message), None

    plan, f, g = (Differentiable.apply(last, gradient, None, *problem[:3], held) for held in found[:3])
    return found._replace(plan=plan, f=f, g=g)


@operator(
    "refuse_gradient(Tensor grad, Tensor cost, Tensor a, Tensor b, str message) -> (Tensor, Tensor, Tensor)",
    lambda grad, cost, a, b, message: tuple(map(torch.empty_like, (cost, a, b))),
)
def _refuse(grad: Tensor, cost: Tensor, a: Tensor, b: Tensor, message: str) -> tuple[Tensor, ...]:
    """The gradient 0 of 0, which torch.compile asks for where a result is not used, and an error for any other."""
    if bool(grad.any()):
        raise NotImplementedError(message)
    return tuple(map(torch.zeros_like, (cost, a, b)))


def implicit(problem: Problem, found: Solution) -> Solution:
    """The solution with a gradient by the problem's cost, a and b."""
    cost, a, b, eps, _ = problem
    if not any(x.requires_grad for x in (cost, a, b)):
        return found
    if cost.shape[-2] > cost.shape[-1]:
        return implicit(problem.flipped(), found.flipped()).flipped()
    potentials = torch.cat(_relative(problem, found), -1)

    def gradient(grad: Tensor, *inputs: Tensor) -> tuple[Tensor | None, ...]:
        return *_implicit_gradient(grad, *inputs, *problem.penalty), None, None

    f, g = Differentiable.apply(last, gradient, None, cost, a, b, eps, potentials).split(cost.shape[-2:], -1)
    plan = a.mT * _density(problem, f, g) * b
    plan = found.plan + (plan - plan.detach())  # to the last bit the plan found
    return found._replace(plan=plan, f=f + eps * log_weight(a), g=g + eps * log_weight(b))


def _relative(problem: Problem, found: Solution) -> tuple[Tensor, Tensor]:
    """f̃ = f − ε log a and g̃; where there is no weight, by the equations at the top."""
    with torch.no_grad():
        (damp_a, damp_b), (cost, a, b, eps, _) = _damping(problem), problem
        f = -eps * damp_a * ((found.g - cost) / eps).logsumexp(-1).unsqueeze(-2)
        g = -eps * damp_b * ((found.f.mT - cost) / eps).logsumexp(-2, keepdim=True)
        return (found.f - eps * log_weight(a)).where(a > 0, f), (found.g - eps * log_weight(b)).where(b > 0, g)


def _damping(problem: Problem) -> tuple[Tensor, Tensor]:
    """λ of the rows and of the columns."""
    damp_a, damp_b = (1 / (1 + problem.reg / rho) for rho in problem.penalty)
    return damp_a, damp_b


def _density(problem: Problem, f: Tensor, g: Tensor) -> Tensor:
    """T/(a⊗b); 0 where neither the row nor the column has weight, for there it may overflow."""
    exponent = (f.mT + g - problem.cost) / problem.reg
    return exponent.masked_fill((problem.a == 0).mT & (problem.b == 0), -math.inf).exp()


@operator(
    "implicit_gradient(Tensor grad, Tensor cost, Tensor a, Tensor b, Tensor reg, Tensor potentials, float rows, "
    "float columns) -> (Tensor, Tensor, Tensor)",
    lambda grad, cost, a, b, *others: tuple(map(grad.new_empty, (cost.shape, a.shape, b.shape))),
)
def _implicit_gradient(
    grad: Tensor, cost: Tensor, a: Tensor, b: Tensor, reg: Tensor, potentials: Tensor, rows: float, columns: float
) -> tuple[Tensor, ...]:
    """Gradients by cost, a and b, given those by f̃ and g̃, one after the other; rows and columns are the penalties."""
    n_and_m = cost.shape[-2:]
    cost, a, b, eps = map(wide, (cost, a, b, reg))
    problem = Problem(cost, a, b, eps, (rows, columns))
    (f, g), (phi, gamma) = wide(potentials).split(n_and_m, -1), wide(grad).split(n_and_m, -1)
    damp_a, damp_b = _damping(problem)
    K = _density(problem, f, g)
    per_row, per_column = K / (K @ b.mT), K / (a @ K)
    P, Q, T = b * per_row, a.mT * per_column, a.mT * K * b
    r, c = T.sum(-1, keepdim=True).mT, T.sum(-2, keepdim=True)

    h = phi - damp_b * (gamma @ Q.mT)
    alone = h.masked_fill(a > 0, 0.0)  # the equation of a row without weight holds its p alone
    h = (h + damp_a * damp_b * (alone @ P) @ Q.mT).masked_fill(a == 0, 0.0)
    if problem.balanced:
        h = h - r * (h.sum(-1, keepdim=True) / r.sum(-1, keepdim=True))
    diagonal, between = r + (a == 0), c / (damp_a * damp_b)
    p = alone + r * schur(T, diagonal, between, h, singular=problem.balanced)
    q = gamma - damp_a * (p @ P)

    grad_cost = damp_a * p.mT * P + damp_b * q * Q
    grad_a = -eps * (damp_b * (q @ per_column.mT) + (1 - damp_a) * p / (a + (a == 0)))
    grad_b = -eps * (damp_a * (p @ per_row) + (1 - damp_b) * q / (b + (b == 0)))
    return tuple(x.to(grad).contiguous() for x in (grad_cost, grad_a, grad_b))


@torch._disable_dynamo  # as torch.compiler.disable, but for its import of all of dynamo at once
def unrolled(problem: Problem, tol: float, max_iter: int, start: tuple[Tensor | None, Tensor | None]) -> Solution:
    """Sinkhorn's iteration in the log domain, all of it kept for the backward pass."""
    cost, a, b, eps, penalty = problem
    (damp_a, damp_b), log_a, log_b = _damping(problem), log_weight(a), log_weight(b)
    own_a = (1 - damp_a) * torch.where(a > 0, a, 1.0).log()
    own_b = (1 - damp_b) * torch.where(b > 0, b, 1.0).log()

    def rows(g: Tensor) -> Tensor:
        return -eps * (damp_a * (log_b + (g - cost) / eps).logsumexp(-1).unsqueeze(-2) + own_a)

    def columns(f: Tensor) -> Tensor:
        return -eps * (damp_b * (log_a.mT + (f.mT - cost) / eps).logsumexp(-2, keepdim=True) + own_b)

    def error(f: Tensor, renewed: Tensor) -> Tensor:
        """T1 is its target times exp((f̃ − f̃')/(λε)), f̃' the potential that meets it."""
        with torch.no_grad():
            target = a * (-(f + eps * torch.where(a > 0, a, 1.0).log()) / penalty[0]).exp()
            off = (target * torch.expm1((f - renewed) / (damp_a * eps))).abs().sum((-1, -2)) / a.sum((-1, -2))
            return off.cpu().double()

    renewed = rows(first(problem, *start))
    iterations = torch.zeros(len(cost), dtype=torch.float64)
    for _ in range(max_iter):
        iterations += 1
        f, g = renewed, columns(renewed)
        renewed = rows(g)
        off = error(f, renewed)
        if (off <= tol).all():
            break
    plan = (log_a.mT + (f.mT + g - cost) / eps + log_b).exp()
    return Solution(plan, f + eps * log_a, g + eps * log_b, iterations, off)
