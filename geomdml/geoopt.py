"""geoopt's hyperbolic manifolds with the numbers of this library: change the import, keep the rest (extra `geoopt`).

    from geomdml.geoopt import Lorentz, PoincareBall  # in place of geoopt's

Parameters, optimisers and layers of geoopt work as before. Distances, maps, translations and transport are those of
`geomdml.poincare` and `geomdml.lorentz`, at every radius that floats have: points of the ball go to the last float
inside, where geoopt stops at 1 − 4·10⁻³ in float32. What these modules have no function for is geoopt's own.
"""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from geomdml import lorentz, poincare

with warnings.catch_warnings(action="ignore", category=FutureWarning):  # of torch, for its torch.jit.script
    import geoopt

__all__ = ["Lorentz", "PoincareBall"]


def __dir__() -> list[str]:
    return __all__


def _along(dim: int, function: Callable[..., Tensor], *vectors: Tensor, **options: Any) -> Tensor:
    """A function of vectors in the last dimension, of vectors in another, whose result are vectors too."""
    return function(*(x.movedim(dim, -1) for x in vectors), **options).movedim(-1, dim)


def _reduced(dim: int, keepdim: bool, function: Callable[..., Tensor], *vectors: Tensor, **options: Any) -> Tensor:
    """As `_along`, where the result is a number for each vector."""
    result = function(*(x.movedim(dim, -1) for x in vectors), **options)
    return result.unsqueeze(-1).movedim(-1, dim) if keepdim else result


class PoincareBall(geoopt.PoincareBall):
    """geoopt's Poincaré ball of curvature −c, by `geomdml.poincare`.

    Args:
        c: absolute curvature, > 0.
        learnable: learn it.

    Raises:
        ValueError, TypeError: from its functions, as those of `geomdml.poincare`: points outside the ball, NaN.

    Source: Kochurov et al., "Geoopt: Riemannian optimization in PyTorch" (2020), whose interface it is.

    >>> ball = PoincareBall(c=1.0)
    >>> x = ball.expmap0(torch.tensor([[6.0, 8.0], [-6.0, -8.0]], dtype=torch.float64))
    >>> float(ball.dist(x[0], x[1]).round(decimals=3))  # 40, twice as far as from the origin to either
    40.0
    """

    def _curvature(self) -> Tensor:
        return self.c.reshape(())

    def dist(self, x: Tensor, y: Tensor, *, keepdim: bool = False, dim: int = -1) -> Tensor:
        return _reduced(dim, keepdim, poincare.dist, x, y, c=self._curvature())

    def dist2(self, x: Tensor, y: Tensor, *, keepdim: bool = False, dim: int = -1) -> Tensor:
        return self.dist(x, y, keepdim=keepdim, dim=dim) ** 2

    def dist0(self, x: Tensor, *, dim: int = -1, keepdim: bool = False) -> Tensor:
        return _reduced(dim, keepdim, poincare.dist0, x, c=self._curvature())

    def cdist(self, x: Tensor, y: Tensor) -> Tensor:
        """(B, D) and (P, D) to (B, P): all distances in O(B·P) memory, which geoopt's ball does not offer."""
        return poincare.pairwise_dist(x, y, c=self._curvature())

    def projx(self, x: Tensor, *, dim: int = -1) -> Tensor:
        return _along(dim, poincare.project, x, c=self._curvature())

    def expmap(self, x: Tensor, u: Tensor, *, project: bool = True, dim: int = -1) -> Tensor:
        return _along(dim, poincare.expmap, x, u, c=self._curvature())

    def logmap(self, x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
        return _along(dim, poincare.logmap, x, y, c=self._curvature())

    def expmap0(self, u: Tensor, *, dim: int = -1, project: bool = True) -> Tensor:
        return _along(dim, poincare.expmap0, u, c=self._curvature())

    def logmap0(self, x: Tensor, *, dim: int = -1) -> Tensor:
        return _along(dim, poincare.logmap0, x, c=self._curvature())

    def transp(self, x: Tensor, y: Tensor, v: Tensor, *, dim: int = -1) -> Tensor:
        return _along(dim, poincare.parallel_transport, x, y, v, c=self._curvature())

    def gyration(self, x: Tensor, y: Tensor, z: Tensor, *, dim: int = -1) -> Tensor:
        return _along(dim, poincare.gyration, x, y, z, c=self._curvature())

    def mobius_add(self, x: Tensor, y: Tensor, *, dim: int = -1, project: bool = True) -> Tensor:
        return _along(dim, poincare.mobius_add, x, y, c=self._curvature())

    def mobius_sub(self, x: Tensor, y: Tensor, *, dim: int = -1, project: bool = True) -> Tensor:
        return self.mobius_add(x, -y, dim=dim)

    def lambda_x(self, x: Tensor, *, dim: int = -1, keepdim: bool = False) -> Tensor:
        return _reduced(dim, keepdim, poincare.conformal_factor, x, c=self._curvature())


class Lorentz(geoopt.Lorentz):
    """geoopt's Lorentz model of curvature −1/k, its distances and maps at the origin by `geomdml.lorentz`.

    Points are (x₀, x), as geoopt has them. Of a point only the space components x count: x₀ follows from them.

    Args:
        k: the inverse of the absolute curvature, > 0.
        learnable: learn it.

    Raises:
        ValueError, TypeError: from its functions, as those of `geomdml.lorentz`.

    Source: as `PoincareBall`.

    >>> manifold = Lorentz(k=1.0)
    >>> x = manifold.expmap0(torch.tensor([[0.0, 6.0, 8.0], [0.0, -6.0, -8.0]]))
    >>> float(manifold.dist(x[0], x[1]))  # geoopt's float32 has lost it: inf
    20.0
    """

    def _curvature(self) -> Tensor:
        return 1 / self.k.reshape(())

    def _on_hyperboloid(self, space: Tensor) -> Tensor:
        time = (self.k + space.square().sum(-1, keepdim=True)).sqrt()
        return torch.cat([time.to(space), space], -1)

    def dist(self, x: Tensor, y: Tensor, *, keepdim: bool = False, dim: int = -1) -> Tensor:
        def of_space(x: Tensor, y: Tensor) -> Tensor:
            return lorentz.dist(x[..., 1:], y[..., 1:], c=self._curvature())

        return _reduced(dim, keepdim, of_space, x, y)

    def dist0(self, x: Tensor, *, dim: int = -1, keepdim: bool = False) -> Tensor:
        return self.dist(x, torch.zeros_like(x), keepdim=keepdim, dim=dim)

    def cdist(self, x: Tensor, y: Tensor) -> Tensor:
        """(B, 1 + D) and (P, 1 + D) to (B, P): all distances in O(B·P) memory."""
        return lorentz.pairwise_dist(x[:, 1:], y[:, 1:], c=self._curvature())

    def projx(self, x: Tensor, *, dim: int = -1) -> Tensor:
        return _along(dim, lambda x: self._on_hyperboloid(x[..., 1:]), x)

    def expmap0(self, u: Tensor, *, project: bool = True, dim: int = -1) -> Tensor:
        def of_space(u: Tensor) -> Tensor:  # geoopt's vector is as long as the way, ours half as long
            return self._on_hyperboloid(lorentz.from_tangent(u[..., 1:] / 2, c=self._curvature()))

        return _along(dim, of_space, u)

    def logmap0(self, y: Tensor, *, dim: int = -1) -> Tensor:
        def of_space(y: Tensor) -> Tensor:
            v = 2 * lorentz.to_tangent(y[..., 1:], c=self._curvature())
            return torch.cat([torch.zeros_like(v[..., :1]), v], -1)

        return _along(dim, of_space, y)
