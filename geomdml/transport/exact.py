"""Optimal transport without entropy, by SciPy: for tests and small problems."""

import numpy as np
import torch
from jaxtyping import Float
from scipy import sparse
from scipy.optimize import linear_sum_assignment, linprog
from torch import Tensor

from geomdml.transport.gradients import enveloped
from geomdml.transport.problem import MET, Array, Problem, marginals
from geomdml.transport.sinkhorn import Transport

__all__ = ["exact"]


def exact(
    cost: Float[Tensor, "*batch n m"],
    a: Float[Tensor, "*#batch n"] | None = None,
    b: Float[Tensor, "*#batch m"] | None = None,
) -> Transport:
    """Optimal transport: a plan T ≥ 0 that minimises ⟨T, C⟩, with T1 = a and Tᵀ1 = b.

    On the CPU in float64: by the Hungarian method for as many uniform weights on either side, else as a linear program
    of n·m unknowns, one problem after the other.

    Args:
        cost: (..., n, m) ground costs C, finite.
        a, b: (..., n) and (..., m) weights ≥ 0 of equal sums; None is uniform, of the other's mass or 1.

    Returns:
        Transport with value = linear = ⟨T, C⟩ and dual potentials f_i + g_j ≤ C_ij, equal where T is not 0. The
        gradient of `value` and `linear` is T by cost, f by a, g by b: a subgradient where plan or potentials are not
        unique. The rest is constant.

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
    found = [_assignment(c) if uniform else _linear_program(c, p, q) for c, p, q in zip(C, A, B, strict=True)]
    plan, f, g = (torch.from_numpy(np.stack(part)).to(a) for part in zip(*(each[:3] for each in found), strict=True))
    off = [np.abs(T.sum(1) - p).sum() + np.abs(T.sum(0) - q).sum() for (T, *_), p, q in zip(found, A, B, strict=True)]
    least = torch.from_numpy(np.array([(T * c).sum() for (T, *_), c in zip(found, C, strict=True)])).to(a)
    problem = Problem(cost.to(a).reshape(plan.shape), a.reshape(-1, 1, n), b.reshape(-1, 1, m), least, MET)
    value = enveloped(problem, least, plan, f.unsqueeze(-2), g.unsqueeze(-2)).reshape(batch)
    return Transport(
        plan=plan.reshape(cost.shape),
        value=value,
        linear=value,
        f=f.reshape(*batch, n),
        g=g.reshape(*batch, m),
        iterations=torch.tensor([each[3] for each in found], device=a.device).reshape(batch),
        marginal_error=torch.tensor(np.array(off) / A.sum(-1)).to(a).reshape(batch),
        converged=torch.ones(batch, dtype=torch.bool, device=a.device),
    )


def _assignment(C: Array) -> tuple[Array, Array, Array, int]:
    """Plan, potentials and no iterations; g_j is a shortest path by g_σ(i) + C_ij − C_iσ(i), σ(i) the row's partner."""
    n = len(C)
    rows, partner = linear_sum_assignment(C)
    plan, g, longer = np.zeros_like(C), np.zeros(n), C - C[rows, partner][:, None]
    plan[rows, partner] = 1 / n
    for _ in range(n):
        shorter = (g[partner][:, None] + longer).min(0)
        if not (shorter < g).any():
            break
        g = np.minimum(g, shorter)
    return plan, C[rows, partner] - g[partner], g, 0


def _linear_program(C: Array, a: Array, b: Array) -> tuple[Array, Array, Array, int]:
    """Plan, potentials and iterations of the solver."""
    n, m = C.shape
    marginal = sparse.vstack([sparse.kron(sparse.eye(n), np.ones((1, m))), sparse.kron(np.ones((1, n)), sparse.eye(m))])
    scale = max(np.abs(C).max(), np.finfo(float).tiny)  # HiGHS has absolute tolerances
    mass = a.sum()
    target = np.concatenate([a / mass, b / b.sum()])
    solved = linprog(C.ravel() / scale, A_eq=marginal.tocsr(), b_eq=target, method="highs")
    if not solved.success:
        raise ValueError(f"the linear program was not solved: {solved.message}")
    dual = solved.eqlin.marginals * scale
    return solved.x.reshape(n, m) * mass, dual[:n], dual[n:], int(solved.nit)
