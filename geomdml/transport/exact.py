"""Optimal transport without entropy, by SciPy: for tests and small problems."""

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from geomdml._core.autograd import operator
from geomdml.transport.compiled import assignment_potentials
from geomdml.transport.gradients import enveloped, refusing
from geomdml.transport.problem import MET, Array, Problem, Solution, barred, finite_range, marginals
from geomdml.transport.simplex import transport_simplex
from geomdml.transport.sinkhorn import Transport

__all__ = ["exact"]


def exact(
    cost: Float[Tensor, "*batch n m"],
    a: Float[Tensor, "*#batch n"] | None = None,
    b: Float[Tensor, "*#batch m"] | None = None,
) -> Transport:
    """Optimal transport: a plan T ≥ 0 that minimises ⟨T, C⟩, with T1 = a and Tᵀ1 = b.

    On the CPU in float64: by the Hungarian method for as many uniform weights on either side, else by the transport
    simplex, in many problems at once; weights of 0, such as those of padding, take next to no time. In `torch.compile`
    it is one operation of the graph.

    Args:
        cost: (..., n, m) ground costs C; infinite where no mass may move.
        a, b: (..., n) and (..., m) weights ≥ 0 of equal sums; None is uniform, of the other's mass or 1.

    Returns:
        Transport with value = linear = ⟨T, C⟩ and dual potentials f_i + g_j ≤ C_ij, equal where T is not 0. The
        gradient of `value` and `linear` is T by cost, f by a, g by b: a subgradient where plan or potentials are not
        unique. `plan`, `f` and `g` raise in a backward pass.

    Raises:
        ValueError, TypeError: as `geomdml.transport.sinkhorn`.

    Source: Peyré & Cuturi, "Computational optimal transport" (2019), section 3.

    >>> result = exact(torch.tensor([[0.0, 1.0], [2.0, 0.5]]))
    >>> result.plan
    tensor([[0.5000, 0.0000],
            [0.0000, 0.5000]])
    >>> float(result.value)
    0.25
    """
    uniform = a is None and b is None
    cost, a, b = marginals(cost, a, b, equal_sums=True)
    *batch, n, m = cost.shape
    inputs = cost.reshape(-1, n, m), a.reshape(-1, 1, n), b.reshape(-1, 1, m)
    least, *found = _solve(*(x.detach() for x in inputs), uniform)
    problem, solution = Problem(*inputs, least, MET), Solution(*found)
    value = enveloped(problem, least, *solution[:3]).reshape(batch)
    plan, f, g, iterations, error = refusing(problem, solution, "plan, f and g", 'sinkhorn with grad="implicit"')
    return Transport(
        plan=plan.reshape(cost.shape),
        value=value,
        linear=value,
        f=f.reshape(*batch, n),
        g=g.reshape(*batch, m),
        iterations=iterations.to(a.device, torch.int64).reshape(batch),
        marginal_error=error.to(a).reshape(batch),
        converged=torch.ones(batch, dtype=torch.bool, device=a.device),
    )


def _empty(cost: Tensor, a: Tensor, b: Tensor, uniform: bool) -> tuple[Tensor, ...]:
    number = cost.new_empty(cost.shape[:1], dtype=torch.float64, device="cpu")
    return *map(a.new_empty, (cost.shape[:1], cost.shape, a.shape, b.shape)), number, torch.empty_like(number)


@operator(
    "exact(Tensor cost, Tensor a, Tensor b, bool uniform) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)", _empty
)
def _solve(cost: Tensor, a: Tensor, b: Tensor, uniform: bool) -> tuple[Tensor, ...]:
    """The minimum of ⟨T, C⟩ and all of a `Solution`, as one operation for torch.compile."""
    (low, high), closed = finite_range(cost), barred(cost)
    if bool(closed.any()):  # so dear that a plan which can do without does
        dear = sum(cost.shape[1:]) * (high - low).double() + high.abs() + 1
        cost = torch.where(closed, dear[:, None, None], cost.double())
    C, A, B = (x.cpu().double().numpy() for x in (cost, a.squeeze(1), b.squeeze(1)))
    plan, f, g, pivots = _assignments(C) if uniform and C.shape[1] == C.shape[2] else transport_simplex(C, A, B)
    if (plan[closed.cpu().numpy()] > 0).any():
        raise ValueError("there is no plan within the finite costs; expected fewer infinite ones")
    off = (np.abs(plan.sum(2) - A).sum(1) + np.abs(plan.sum(1) - B).sum(1)) / A.sum(1)
    least, *found = (torch.from_numpy(x).to(a) for x in ((plan * C).sum((1, 2)), plan, f[:, None], g[:, None]))
    return least, *found, torch.from_numpy(pivots.astype(float)), torch.from_numpy(off)


def _assignments(C: Array) -> tuple[Array, Array, Array, Array]:
    """Plans and potentials of all, and no iterations."""
    B, n, _ = C.shape
    partner = np.stack([linear_sum_assignment(one)[1] for one in C])
    own, plan = np.take_along_axis(C, partner[:, :, None], 2)[:, :, 0], np.zeros_like(C)
    np.put_along_axis(plan, partner[:, :, None], 1 / n, 2)
    g = assignment_potentials(C, partner)
    if g is None:
        g = np.stack([_potentials(*problem) for problem in zip(C, partner, own, strict=True)])
    return plan, own - np.take_along_axis(g, partner, 1), g, np.zeros(B, dtype=np.int64)


def _potentials(C: Array, partner: Array, own: Array) -> Array:
    """g_j is a shortest path by g_σ(i) + C_ij − C_iσ(i), σ(i) the row's partner."""
    g, longer = np.zeros(len(C)), C - own[:, None]
    for _ in C:
        shorter = (g[partner][:, None] + longer).min(0)
        if not (shorter < g).any():
            break
        g = np.minimum(g, shorter)
    return g
