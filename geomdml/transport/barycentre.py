"""The measure on given points that is nearest to several measures, by entropic transport."""

import warnings
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from geomdml._core import checks
from geomdml.transport.problem import log_weight, marginals

__all__ = ["Barycentre", "barycentre"]


_NOWHERE = -1e30  # in place of log 0, of a point from which a measure is out of reach: it may be in no barycentre


class Barycentre(NamedTuple):
    """weights: of the points. plans: from there to each measure, which they miss by `marginal_error`, as a share."""

    weights: Float[Tensor, " n"]
    plans: Float[Tensor, "K n m"]
    marginal_error: float
    converged: bool


@torch.no_grad()
def barycentre(
    cost: Float[Tensor, "*#K n m"],
    measures: Float[Tensor, "K m"],
    reg: float,
    shares: Float[Tensor, " K"] | None = None,
    *,
    max_iter: int = 10_000,
    tol: float | None = None,
) -> Barycentre:
    """Weights a of n points with the least Σ_k s_k·OT_reg(a, b_k), b_k the measures and s_k their shares.

    Sinkhorn's iteration in the log domain, of the K problems together: the weights are where the potentials cancel,
    Σ s_k f_k = 0. Without gradient.

    Args:
        cost: (n, m) or (K, n, m) ground costs from the points to those of each measure; infinite where no mass may
            move.
        measures: (K, m) weights b_k ≥ 0 of equal sums.
        reg: weight of the entropy, > 0, in the unit of the costs: it blurs the barycentre by about √reg.
        shares: (K,) ≥ 0; None is equal.
        max_iter, tol: as in `geomdml.transport.sinkhorn`.

    Raises:
        ValueError, TypeError: as `geomdml.transport.sinkhorn`; shares that are not K numbers ≥ 0 with a sum above 0.

    Warns:
        RuntimeWarning: it did not converge.

    Source: Benamou, Carlier, Cuturi, Nenna & Peyré, "Iterative Bregman projections for regularized transportation
    problems" (2015), section 3.2.

    >>> places = torch.arange(5.0)
    >>> ends = torch.tensor([[1.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 1.0]])
    >>> barycentre((places[:, None] - places) ** 2, ends, reg=0.1).weights.round(decimals=3)  # half way
    tensor([0., 0., 1., 0., 0.])
    """
    checks.floating(cost=cost, measures=measures)
    max_iter = checks.integer(1, max_iter=max_iter)
    if measures.ndim != 2 or cost.ndim not in (2, 3) or not len(measures):
        raise ValueError(
            f"cost has shape {tuple(cost.shape)}, measures {tuple(measures.shape)}; expected ([K,] n, m) and (K, m)"
        )
    count = len(measures)
    shares = measures.new_ones(count) if shares is None else shares
    checks.floating(shares=shares)
    checks.finite(shares=shares)
    if shares.shape != (count,) or bool((shares < 0).any()) or not bool((shares > 0).any()):
        raise ValueError(f"shares = {shares.tolist()}; expected {count} numbers ≥ 0, not all of them 0")
    cost = cost.expand(count, *cost.shape[-2:])
    cost, a, b = marginals(cost, None, measures, equal_sums=True, all_move=False)
    mass = b.sum(-1)
    if bool((mass - mass[0]).abs().max() > 1e-6 * mass[0]):
        raise ValueError(f"measures sum to {mass.tolist()}; expected equal sums")
    tol = tol or (1e-9 if a.dtype == torch.float64 else 1e-5)
    share, log_b, g = (shares / shares.sum()).to(a), log_weight(b), torch.zeros_like(b)
    for _ in range(max_iter):
        rows = ((g.unsqueeze(-2) - cost) / reg).logsumexp(-1).clamp(min=_NOWHERE)
        log_a = share @ rows
        f = reg * (log_a - rows)  # all plans have the rows a; Σ s_k f_k = 0
        columns = ((f.unsqueeze(-1) - cost) / reg).logsumexp(-2)
        error = float(((g / reg + columns).exp() - b).abs().sum(-1).amax() / mass[0])
        if error <= tol:
            break
        g = reg * (log_b - columns)
    else:
        warnings.warn(
            f"barycentre: its plans miss the measures by {error:.1e} after {max_iter} iterations, tol = {tol:.1e}; "
            "expected a larger max_iter, tol or reg",
            RuntimeWarning,
            stacklevel=2,
        )
    plans = ((f.unsqueeze(-1) + g.unsqueeze(-2) - cost) / reg).exp()
    return Barycentre(log_a.exp(), plans, error, error <= tol)
