"""Transport of a part of the mass: a row and a column that cost nothing take the rest."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from geomdml._core import checks
from geomdml.transport.exact import exact
from geomdml.transport.problem import finite_range, marginals
from geomdml.transport.sinkhorn import Transport, sinkhorn

__all__ = ["partial"]


def partial(
    cost: Float[Tensor, "*batch n m"],
    mass: float,
    a: Float[Tensor, "*#batch n"] | None = None,
    b: Float[Tensor, "*#batch m"] | None = None,
    *,
    reg: float | None = None,
    max_iter: int = 10_000,
    tol: float | None = None,
) -> Transport:
    """Partial transport: a plan T ≥ 0 that minimises ⟨T, C⟩, with T1 ≤ a, Tᵀ1 ≤ b and a given mass in all.

    Args:
        cost: (..., n, m) ground costs C; infinite where no mass may move.
        mass: to be transported, > 0, at most the sum of a and that of b.
        a, b: (..., n) and (..., m) weights ≥ 0, whose sums may differ; None is uniform, of the other's mass or 1.
        reg: weight of the entropy, that of what stays behind included; None solves exactly.
        max_iter, tol: as in `geomdml.transport.sinkhorn`, for the entropic problem.

    Returns:
        Transport: `plan` and `linear` are those of the mass that moves; `value` is the minimum, and has gradients as in
        `geomdml.transport.exact`, or `geomdml.transport.sinkhorn`. Potentials are ≤ 0 but for what they share of the
        least cost.

    Raises:
        ValueError, TypeError: as those two; a mass that is too large.

    Source: Chapel, Alaya & Gasso, "Partial optimal transport with applications on positive-unlabeled learning" (2020),
    section 3.

    >>> partial(torch.tensor([[0.0, 3.0], [4.0, 9.0]]), 0.5).plan  # the dearer half stays
    tensor([[0.5000, 0.0000],
            [0.0000, 0.0000]])
    """
    cost, a, b = marginals(cost, a, b, equal_sums=False, all_move=False)
    checks.positive(mass=mass)
    sums = a.sum(-1, keepdim=True), b.sum(-1, keepdim=True)
    most = min(float(total.detach().min()) for total in sums)
    if mass > most * (1 + 8 * torch.finfo(a.dtype).eps):
        raise ValueError(f"mass = {mass}; expected at most the sums of a and b, of which the least is {most:.9g}")
    low, high = finite_range(cost.detach())
    least = low[..., None, None]
    whole = pad(cost - least, (0, 1, 0, 1))
    whole[..., -1, -1] = 2 * (high - low) + 1  # what stays behind does not meet what is not reached
    a, b = (torch.cat([w, (other - mass).clamp(min=0.0)], -1) for w, other in ((a, sums[1]), (b, sums[0])))
    found = exact(whole, a, b) if reg is None else sinkhorn(whole, reg, a, b, max_iter=max_iter, tol=tol)
    extra = least[..., 0, 0] * mass
    plan, low = found.plan[..., :-1, :-1], least[..., 0]
    return found._replace(
        plan=plan,
        value=found.value + extra,
        linear=(plan * cost).sum((-1, -2)),
        f=found.f[..., :-1] + low,
        g=found.g[..., :-1],
    )
