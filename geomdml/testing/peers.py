"""Other libraries under the names of `geomdml.poincare` and `geomdml.lorentz`, for the laws to be run on.

They compute in the dtype of the points, and so take c in it. Those of the ball are judged by the functions below their
manifold classes, which project into the ball where the classes do, at exactly that c: `geoopt.PoincareBall(c=1e-3)`
itself keeps c through a softplus, to 2e-5. What a library does not offer is not here.
"""

import math
import warnings
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from geomdml.testing import adapters

__all__ = ["Geoopt", "geoopt_lorentz", "hypercore", "hypll", "meru"]


class Geoopt:
    """geoopt 0.5.1; its curvature is k = −c."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its torch.jit.script is deprecated
            from geoopt.manifolds.stereographic import math
        self._math = math

    def conformal_factor(self, x: Tensor, *, c: Any) -> Tensor:
        return self._math.lambda_x(x, k=-_like(x, c))

    def project(self, x: Tensor, *, c: Any) -> Tensor:
        return self._math.project(x, k=-_like(x, c))

    def expmap0(self, v: Tensor, *, c: Any) -> Tensor:
        return self.project(self._math.expmap0(v, k=-_like(v, c)), c=c)

    def logmap0(self, y: Tensor, *, c: Any) -> Tensor:
        return self._math.logmap0(y, k=-_like(y, c))

    def expmap(self, x: Tensor, v: Tensor, *, c: Any) -> Tensor:
        return self.project(self._math.expmap(x, v, k=-_like(x, c)), c=c)

    def logmap(self, x: Tensor, y: Tensor, *, c: Any) -> Tensor:
        return self._math.logmap(x, y, k=-_like(x, c))

    def mobius_add(self, x: Tensor, y: Tensor, *, c: Any) -> Tensor:
        return self.project(self._math.mobius_add(x, y, k=-_like(x, c)), c=c)

    def mobius_scalar_mul(self, r: Any, x: Tensor, *, c: Any) -> Tensor:
        return self.project(self._math.mobius_scalar_mul(_like(x, r).unsqueeze(-1), x, k=-_like(x, c)), c=c)

    def mobius_matvec(self, M: Tensor, x: Tensor, *, c: Any) -> Tensor:
        return self.project(self._math.mobius_matvec(M, x, k=-_like(x, c)), c=c)

    def gyration(self, x: Tensor, y: Tensor, v: Tensor, *, c: Any) -> Tensor:
        return self._math.gyration(x, y, v, k=-_like(x, c))

    def dist0(self, x: Tensor, *, c: Any) -> Tensor:
        return self._math.dist0(x, k=-_like(x, c))

    def dist(self, x: Tensor, y: Tensor, *, c: Any) -> Tensor:
        return self._math.dist(x, y, k=-_like(x, c))

    def pairwise_dist(self, x: Tensor, y: Tensor, *, c: Any) -> Tensor:
        return self.dist(x.unsqueeze(1), y.unsqueeze(0), c=c)

    def geodesic(self, x: Tensor, y: Tensor, t: Any, *, c: Any) -> Tensor:
        return self._math.geodesic(_like(x, t).unsqueeze(-1), x, y, k=-_like(x, c))

    def parallel_transport(self, x: Tensor, y: Tensor, v: Tensor, *, c: Any) -> Tensor:
        return self._math.parallel_transport(x, y, v, k=-_like(x, c))

    def midpoint(self, x: Tensor, weights: Tensor | None = None, *, c: Any) -> Tensor:
        return self.project(self._math.weighted_midpoint(x, weights, k=-_like(x, c), reducedim=[-2]), c=c)


def hypll() -> Any:
    """HypLL 0.1.1."""
    from hypll.manifolds.poincare_ball.math import diffgeom, stats

    return adapters.hypll(SimpleNamespace(**vars(diffgeom) | {"midpoint": stats.midpoint}))


def geoopt_lorentz() -> Any:
    """geoopt 0.5.1, its `Lorentz` of curvature −1/k."""
    return adapters.hyperboloid_of(lambda c: _geoopt().Lorentz(k=1 / c))


def hypercore() -> Any:
    """HyperCore's `Lorentz` is geoopt's with a centroid of its own: the sum over its length, that at least √ε."""

    def lorentz(c: Tensor) -> Any:
        manifold = _geoopt().Lorentz(k=1 / c)

        def lorentzian_centroid(x: Tensor, weights: Tensor) -> Tensor:
            mean = weights @ x
            floor = 1e-6 if x.dtype == torch.float32 else 1e-8
            square = (-manifold.inner(None, mean, keepdim=True)).abs().clamp(min=floor)
            return manifold.k.sqrt() * mean / square.sqrt()

        manifold.lorentzian_centroid = lorentzian_centroid
        return manifold

    return adapters.hyperboloid_of(lorentz)


def meru() -> Any:
    """MERU's formulas (Desai et al. 2023, section 3 and appendix A), with the clamps of the published code.

    The product by a matrix product, its arc hyperbolic cosine of at least 1 + 1e-8, sinh of at most asinh(2¹⁵).
    """

    def time(x: Tensor, c: Tensor) -> Tensor:
        return (1 / c + x.square().sum(-1, keepdim=True)).sqrt()

    def pairwise_inner(x: Tensor, y: Tensor, c: Tensor) -> Tensor:
        return x @ y.mT - time(x, c) @ time(y, c).mT

    def pairwise_dist(x: Tensor, y: Tensor, c: Tensor) -> Tensor:
        return torch.acosh((-c * pairwise_inner(x, y, c)).clamp(min=1 + 1e-8)) / c.sqrt()

    def exp_map0(v: Tensor, c: Tensor) -> Tensor:
        length = c.sqrt() * v.norm(dim=-1, keepdim=True)
        return torch.sinh(length.clamp(1e-8, math.asinh(2**15))) * v / length.clamp(min=1e-8)

    def log_map0(x: Tensor, c: Tensor) -> Tensor:
        length = c.sqrt() * x.norm(dim=-1, keepdim=True)
        return torch.acosh((c.sqrt() * time(x, c)).clamp(min=1 + 1e-8)) * x / length.clamp(min=1e-8)

    named = {f.__name__: f for f in (pairwise_inner, pairwise_dist, exp_map0, log_map0)}
    return adapters.meru(SimpleNamespace(**named))


def _geoopt() -> Any:
    with warnings.catch_warnings(action="ignore"):  # its torch.jit.script is deprecated
        import geoopt
    return geoopt


def _like(x: Tensor, number: Any) -> Tensor:
    return torch.as_tensor(number, dtype=x.dtype, device=x.device)
