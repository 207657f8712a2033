"""Optimal transport without entropy, by SciPy: for tests and small problems."""

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from geomdml.transport.gradients import enveloped, refusing
from geomdml.transport.problem import MET, Array, Problem, Solution, marginals
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
    simplex, in many problems at once; weights of 0, such as those of padding, take next to no time.

    Args:
        cost: (..., n, m) ground costs C, finite.
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
    uniform = a is None and b is None and cost.ndim >= 2 and cost.shape[-2] == cost.shape[-1]
    a, b = marginals(cost, a, b, equal_sums=True)
    *batch, n, m = cost.shape
    C, A, B = (x.detach().cpu().double().numpy() for x in (cost.reshape(-1, n, m), a.reshape(-1, n), b.reshape(-1, m)))
    found = _assignments(C) if uniform else transport_simplex(C, A, B)
    plan, f, g = (torch.from_numpy(x).to(a) for x in found[:3])
    off = np.abs(found[0].sum(2) - A).sum(1) + np.abs(found[0].sum(1) - B).sum(1)
    least = torch.from_numpy((found[0] * C).sum((1, 2))).to(a)
    problem = Problem(cost.to(a).reshape(plan.shape), a.reshape(-1, 1, n), b.reshape(-1, 1, m), least, MET)
    solution = Solution(plan, f.unsqueeze(-2), g.unsqueeze(-2), found[3], off / A.sum(-1))
    value = enveloped(problem, least, *solution[:3]).reshape(batch)
    plan, f, g, iterations, error = refusing(problem, solution, "plan, f and g", 'sinkhorn with grad="implicit"')
    return Transport(
        plan=plan.reshape(cost.shape),
        value=value,
        linear=value,
        f=f.reshape(*batch, n),
        g=g.reshape(*batch, m),
        iterations=torch.from_numpy(iterations).to(a.device).reshape(batch),
        marginal_error=torch.from_numpy(error).to(a).reshape(batch),
        converged=torch.ones(batch, dtype=torch.bool, device=a.device),
    )


def _assignments(C: Array) -> tuple[Array, Array, Array, Array]:
    """Plans and potentials of all, and no iterations."""
    plan, f, g = (np.stack(part) for part in zip(*map(_assignment, C), strict=True))
    return plan, f, g, np.zeros(len(C), dtype=np.int64)


def _assignment(C: Array) -> tuple[Array, Array, Array]:
    """Plan and potentials; g_j is a shortest path by g_σ(i) + C_ij − C_iσ(i), σ(i) the row's partner."""
    n = len(C)
    rows, partner = linear_sum_assignment(C)
    plan, g, longer = np.zeros_like(C), np.zeros(n), C - C[rows, partner][:, None]
    plan[rows, partner] = 1 / n
    for _ in range(n):
        shorter = (g[partner][:, None] + longer).min(0)
        if not (shorter < g).any():
            break
        g = np.minimum(g, shorter)
    return plan, C[rows, partner] - g[partner], g
