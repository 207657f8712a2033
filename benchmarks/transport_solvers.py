"""The entropic transport solvers that are set side by side, each stopped by its own rule at the same marginal error.

Each takes a (B, n, n) float64 array of costs, B = 1 but for the batch, and reg; weights are uniform. It gives plans,
and iterations where it tells them. POT's rules are on the L2 norm, hence the √n; OTT and geomdml stop by L1; geomloss
has no such rule, and is given the fewest iterations, by doubling, with which it is there.
"""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

TOL = 1e-6  # L1 of the marginals
LIMIT = 10_000_000  # iterations: the time limit is what ends a solver that does not get there

Array = np.ndarray[Any, Any]
Step = Callable[[], tuple[Array, float | None]]


def uniform(costs: Array) -> Array:
    return np.full(costs.shape[-1], 1 / costs.shape[-1])


def geomdml(costs: Array, reg: Array) -> Step:
    from geomdml.transport import sinkhorn

    cost, each = torch.from_numpy(costs), torch.from_numpy(reg)
    if len(costs) == 1:
        cost, each = cost[0], float(reg[0])

    def step() -> tuple[Array, float]:
        result = sinkhorn(cost, each, tol=TOL, max_iter=LIMIT, grad="none")
        return result.plan.numpy().reshape(costs.shape), float(result.iterations.max())

    return step


def pot(method: str) -> Callable[[Array, Array], Step]:
    def make(costs: Array, reg: Array) -> Step:
        import ot

        a, threshold = uniform(costs), TOL / costs.shape[-1] ** 0.5

        def step() -> tuple[Array, float]:
            found = [
                ot.sinkhorn(a, a, c, r, method=method, stopThr=threshold, numItermax=LIMIT, log=True)
                for c, r in zip(costs, reg, strict=True)
            ]
            return np.stack([plan for plan, _ in found]), max(
                log.get("niter", log.get("n_iter", 0)) for _, log in found
            )

        return step

    return make


def pot_batch(costs: Array, reg: Array) -> Step:
    """POT's own batched solver, which takes one reg for all: costs are brought to it."""
    import ot

    unit, threshold = costs / reg[:, None, None], TOL / costs.shape[-1] ** 0.5

    def step() -> tuple[Array, None]:
        return ot.batch.solve_batch(unit, 1.0, max_iter=LIMIT, tol=threshold, method="log_sinkhorn").plan, None

    return step


def ott(lse_mode: bool) -> Callable[[Array, Array], Step]:
    def make(costs: Array, reg: Array) -> Step:
        import jax

        jax.config.update("jax_enable_x64", True)
        from ott.geometry import geometry
        from ott.problems.linear import linear_problem
        from ott.solvers.linear import sinkhorn

        solver = sinkhorn.Sinkhorn(threshold=TOL, max_iterations=1_000_000, lse_mode=lse_mode)

        def solve(cost: Any, reg: Any) -> tuple[Any, Any]:
            out = solver(linear_problem.LinearProblem(geometry.Geometry(cost_matrix=cost, epsilon=reg)))
            return out.matrix, out.n_iters

        run, inputs = jax.jit(jax.vmap(solve) if len(costs) > 1 else solve), (jax.numpy.asarray(costs), reg)
        if len(costs) == 1:
            inputs = (inputs[0][0], float(reg[0]))

        def step() -> tuple[Array, float]:
            plan, iterations = run(*inputs)
            return np.asarray(plan).reshape(costs.shape), float(np.max(iterations))

        return step

    return make


def geomloss(costs: Array, reg: Array) -> Step:
    from geomloss import ot

    unit = torch.from_numpy(costs / reg[:, None, None])

    def plan(iterations: int) -> Array:
        return ot.solve_batch(C=unit, reg=1.0, max_iter=iterations).plan.numpy()

    iterations = 8
    while not error(plan(iterations)) <= TOL:
        iterations *= 2
    return lambda: (plan(iterations), iterations)


def error(plans: Array) -> float:
    """The largest L1 distance of the marginals from the uniform ones, rows and columns."""
    with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
        off = sum(np.abs(plans.sum(axis) - 1 / plans.shape[-1]).sum(-1) for axis in (1, 2))
    return float(np.max(off))


OURS, PLAIN = "geomdml", "POT sinkhorn"
SOLVERS: dict[str, Callable[[Array, Array], Step]] = {
    OURS: geomdml,
    PLAIN: pot("sinkhorn"),
    "POT sinkhorn_stabilized": pot("sinkhorn_stabilized"),
    "POT sinkhorn_log": pot("sinkhorn_log"),
    "POT solve_batch": pot_batch,
    "OTT kernel": ott(lse_mode=False),
    "OTT log": ott(lse_mode=True),
    "geomloss": geomloss,
}
