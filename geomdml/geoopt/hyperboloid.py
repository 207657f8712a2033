"""geoopt's Lorentz model, by `geomdml.lorentz`."""

import warnings
from typing import Any

import torch
from torch import Tensor

from geomdml import lorentz
from geomdml._core import minkowski
from geomdml._core.checks import Numbers
from geomdml._core.numerics import direction, norm, result_form, wide
from geomdml.geoopt._axes import along, number, reduced

with warnings.catch_warnings(action="ignore", category=FutureWarning):  # of torch, for its torch.jit.script
    import geoopt

__all__ = ["Lorentz"]


class Lorentz(geoopt.Lorentz):
    """geoopt's Lorentz model of curvature −1/k, by `geomdml.lorentz`.

    Points are (x₀, x), as geoopt has them, and tangent vectors (u₀, u). Of a point only the space components x count,
    and so of a vector that is tangent but for its rounding: the time component follows. Other vectors are projected
    where geoopt projects them. `project` changes nothing: all results lie on the hyperboloid.

    Args:
        k: the inverse of the absolute curvature, > 0, or several, with 1 in the dimension of the vectors.
        learnable: learn it.

    Raises:
        ValueError: k ≤ 0 or not finite. From its functions, as those of `geomdml.lorentz`: NaN, lengths that differ.

    Source: Kochurov et al., "Geoopt: Riemannian optimization in PyTorch" (2020), whose interface it is.

    >>> manifold = Lorentz(k=1.0)
    >>> x = manifold.expmap0(torch.tensor([[0.0, 6.0, 8.0], [0.0, -6.0, -8.0]]))
    >>> float(manifold.dist(x[0], x[1]))  # geoopt's float32 has lost it: inf
    20.0
    """

    def __init__(self, k: float | Tensor = 1.0, learnable: bool = False) -> None:
        k = torch.as_tensor(k).detach().clone()
        if not bool(((k > 0) & k.isfinite()).all()):
            raise ValueError(f"k = {k.tolist()}; expected finite numbers above 0")
        super().__init__(k=k, learnable=learnable)

    @property
    def _curvature(self) -> Tensor:
        return 1 / self.k.double()

    def _check_point_on_manifold(
        self, x: Tensor, *, atol: float = 1e-5, rtol: float = 1e-5, dim: int = -1
    ) -> tuple[bool, str | None]:
        ok = torch.allclose(x, self.projx(x, dim=dim).to(x), atol=atol, rtol=rtol)
        return ok, None if ok else "'x' is not on the hyperboloid: x₀² ≠ k + Σ xᵢ²"

    def _check_vector_on_tangent(
        self, x: Tensor, u: Tensor, *, atol: float = 1e-5, rtol: float = 1e-5, dim: int = -1
    ) -> tuple[bool, str | None]:
        time = along(_time_of_tangent, dim, [x, u], self._curvature)
        ok = torch.allclose(u.narrow(dim, 0, 1), time.to(u), atol=atol, rtol=rtol)
        return ok, None if ok else "'u' is not tangent at 'x': ⟨x, u⟩ ≠ 0"

    def dist(self, x: Tensor, y: Tensor, *, keepdim: bool = False, dim: int = -1) -> Tensor:
        return reduced(_dist, dim, keepdim, [x, y], self._curvature)

    def dist0(self, x: Tensor, *, dim: int = -1, keepdim: bool = False) -> Tensor:
        return self.dist(x, torch.zeros_like(x), keepdim=keepdim, dim=dim)

    def cdist(self, x: Tensor, y: Tensor) -> Tensor:
        """(B, 1 + D) and (P, 1 + D) to (B, P): all distances in O(B·P) memory."""
        return lorentz.pairwise_dist(x[..., 1:], y[..., 1:], c=self._curvature.reshape(()))

    def projx(self, x: Tensor, *, dim: int = -1) -> Tensor:
        return along(_on_hyperboloid, dim, [x], self._curvature)

    def proju(self, x: Tensor, v: Tensor, *, dim: int = -1) -> Tensor:
        return along(_project, dim, [x, v], self._curvature)

    def egrad2rgrad(self, x: Tensor, u: Tensor, *, dim: int = -1) -> Tensor:
        return along(_to_riemannian, dim, [x, u], self._curvature)

    def expmap(self, x: Tensor, u: Tensor, *, norm_tan: bool = True, project: bool = True, dim: int = -1) -> Tensor:
        return along(_expmap if norm_tan else _expmap_of_space, dim, [x, u], self._curvature)

    def retr(self, x: Tensor, u: Tensor, *, norm_tan: bool = True, project: bool = True, dim: int = -1) -> Tensor:
        return self.expmap(x, u, norm_tan=norm_tan, dim=dim)

    def logmap(self, x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
        return along(_logmap, dim, [x, y], self._curvature)

    def expmap0(self, u: Tensor, *, project: bool = True, dim: int = -1) -> Tensor:
        return along(_expmap0, dim, [u], self._curvature)

    def logmap0(self, y: Tensor, *, dim: int = -1) -> Tensor:
        return along(_logmap0, dim, [y], self._curvature)

    def logmap0back(self, x: Tensor, *, dim: int = -1) -> Tensor:
        return self.logmap(x, torch.zeros_like(x), dim=dim)

    def geodesic_unit(self, t: Tensor, x: Tensor, u: Tensor, *, dim: int = -1, project: bool = True) -> Tensor:
        return along(_walk, dim, [x, u], self._curvature, t=number(t, dim))

    def norm(self, u: Tensor, *, keepdim: bool = False, dim: int = -1) -> Tensor:
        """√⟨u, u⟩ of the vector alone: far out its rounding hides its length, which `inner` still tells."""
        return reduced(_norm, dim, keepdim, [u], self._curvature)

    def inner(
        self, x: Tensor | None, u: Tensor, v: Tensor | None = None, *, keepdim: bool = False, dim: int = -1
    ) -> Tensor:
        """⟨u, v⟩; of vectors that are tangent at x by what they are in its frame, which keeps their digits."""
        v = u if v is None else v
        if x is None:
            return reduced(_product, dim, keepdim, [u, v], self._curvature)
        return reduced(_inner, dim, keepdim, [x, u, v], self._curvature)

    def inner0(self, v: Tensor, *, keepdim: bool = False, dim: int = -1) -> Tensor:
        return reduced(_inner0, dim, keepdim, [v], self._curvature)

    def transp(self, x: Tensor, y: Tensor, v: Tensor, *, dim: int = -1) -> Tensor:
        return along(_transport, dim, [x, y, v], self._curvature)

    def transp0(self, y: Tensor, u: Tensor, *, dim: int = -1) -> Tensor:
        return self.transp(torch.zeros_like(y), y, u, dim=dim)

    def transp0back(self, x: Tensor, u: Tensor, *, dim: int = -1) -> Tensor:
        return self.transp(x, torch.zeros_like(x), u, dim=dim)

    def random_normal(
        self,
        *size: Any,
        mean: float | Tensor = 0.0,
        std: float | Tensor = 1.0,
        dtype: torch.dtype | None = None,
        device: torch.device | None = None,
    ) -> "geoopt.ManifoldTensor":
        """exp₀(v) of vectors v that are normal in the tangent space at the origin; the last of `size` is 1 + D.

        geoopt makes every v as long as 1, whatever `std` is, and lets it leave the tangent space. Here `std` is the
        root mean square of the length of v − mean, so that the points of its default are where geoopt's are.
        """
        shape = geoopt.utils.size2shape(*size)
        self._assert_check_shape(shape, "x")
        v = torch.randn(shape, dtype=dtype or self.k.dtype, device=device or self.k.device)
        v = v * (std / max(shape[-1] - 1, 1) ** 0.5) + mean
        return geoopt.ManifoldTensor(self.expmap0(v), manifold=self)

    random = random_normal


def _space(x: Tensor) -> Tensor:
    return wide(x[..., 1:])


def _point(X: Tensor, c: Tensor, *inputs: Tensor) -> Tensor:
    """(x₀, x) in the dtype of the inputs; what that cannot hold stops where `geomdml.lorentz` does, on its ray."""
    form = result_form(*inputs)
    farthest = torch.finfo(form["dtype"]).max ** 0.9 / c.detach().sqrt().clamp(min=1.0)
    X = X * (farthest / norm(X).clamp(min=farthest))
    return torch.cat([minkowski.time(X, c), X], -1).to(**form)


def _vector(X: Tensor, u: Tensor, c: Tensor, *inputs: Tensor) -> Tensor:
    """(u₀, u) at X in the dtype of the inputs; what that cannot hold is as long as it can be."""
    form = result_form(*inputs)
    longest = torch.finfo(form["dtype"]).max / 2
    u = u * (longest / norm(u).clamp(min=longest))
    return torch.cat([minkowski.time_of_tangent(X, u, c), u], -1).to(**form)


def _tangent(x: Tensor, u: Tensor, c: Tensor) -> Tensor:
    """Space components of the part of u that is tangent at x."""
    return minkowski.project(_space(x), wide(u), c, torch.finfo(u.dtype).eps)


def _dist(x: Tensor, y: Tensor, *, c: Tensor) -> Tensor:
    return lorentz.dist(x[..., 1:], y[..., 1:], c=c)


def _on_hyperboloid(x: Tensor, *, c: Tensor) -> Tensor:
    return _point(_space(x), c, x)


def _project(x: Tensor, u: Tensor, *, c: Tensor) -> Tensor:
    return _vector(_space(x), _tangent(x, u, c), c, x, u)


def _time_of_tangent(x: Tensor, u: Tensor, *, c: Tensor) -> Tensor:
    return minkowski.time_of_tangent(_space(x), _space(u), c)


def _to_riemannian(x: Tensor, grad: Tensor, *, c: Tensor) -> Tensor:
    """The gradient h = (−g₀, g) in Minkowski space, and of that what is tangent: h + c⟨x, h⟩x."""
    X, h = _space(x), torch.cat([-wide(grad[..., :1]), wide(grad[..., 1:])], -1)
    at_X = c * minkowski.product(torch.cat([minkowski.time(X, c), X], -1), h)
    return _vector(X, h[..., 1:] + at_X * X, c, x, grad)


def _expmap(x: Tensor, u: Tensor, *, c: Tensor) -> Tensor:
    return _exp(x, minkowski.to_origin(_space(x), _tangent(x, u, c), c), c, u)


def _expmap_of_space(x: Tensor, u: Tensor, *, c: Tensor) -> Tensor:
    return _exp(x, minkowski.to_origin(_space(x), _space(u), c), c, u)


def _exp(x: Tensor, w: Tensor, c: Tensor, u: Tensor) -> Tensor:
    """The point reached along a vector that is w at the origin; geoopt's is as long as the way, ours half as long."""
    return _point(lorentz.expmap(_space(x), w / 2, c=c), c, x, u)


def _logmap(x: Tensor, y: Tensor, *, c: Tensor) -> Tensor:
    X = _space(x)
    return _vector(X, minkowski.from_origin(X, 2 * lorentz.logmap(X, _space(y), c=c), c), c, x, y)


def _expmap0(u: Tensor, *, c: Tensor) -> Tensor:
    return _point(lorentz.from_tangent(_space(u) / 2, c=c), c, u)


def _logmap0(y: Tensor, *, c: Tensor) -> Tensor:
    v = 2 * lorentz.to_tangent(y[..., 1:], c=c)
    return torch.cat([torch.zeros_like(v[..., :1]), v], -1)


def _walk(x: Tensor, u: Tensor, *, c: Tensor, t: Numbers) -> Tensor:
    length = torch.as_tensor(t, dtype=torch.float64, device=x.device).unsqueeze(-1)
    w = direction(minkowski.to_origin(_space(x), _tangent(x, u, c), c))[0]
    return _exp(x, length * w, c, u)


def _product(u: Tensor, v: Tensor, *, c: Tensor) -> Tensor:
    return minkowski.product(wide(u), wide(v)).squeeze(-1).to(**result_form(u, v))


def _norm(u: Tensor, *, c: Tensor) -> Tensor:
    square = minkowski.product(wide(u), wide(u)).squeeze(-1)
    there = square > 0
    return torch.where(there, torch.where(there, square, 1.0).sqrt(), 0.0).to(**result_form(u))


def _inner(x: Tensor, u: Tensor, v: Tensor, *, c: Tensor) -> Tensor:
    X = _space(x)
    tangent = [minkowski.is_tangent(X, wide(w), c, torch.finfo(w.dtype).eps) for w in (u, v)]
    a, b = (minkowski.to_origin(X, _space(w), c) for w in (u, v))
    at_x, anywhere = (a * b).sum(-1), minkowski.product(wide(u), wide(v)).squeeze(-1)
    return torch.where((tangent[0] & tangent[1]).squeeze(-1), at_x, anywhere).to(**result_form(x, u, v))


def _inner0(v: Tensor, *, c: Tensor) -> Tensor:
    return (-wide(v[..., :1]) * c.rsqrt()).squeeze(-1).to(**result_form(v))


def _transport(x: Tensor, y: Tensor, v: Tensor, *, c: Tensor) -> Tensor:
    X, Y = _space(x), _space(y)
    w = minkowski.turn(X, Y, minkowski.to_origin(X, _tangent(x, v, c), c), c)
    return _vector(Y, minkowski.from_origin(Y, w, c), c, x, y, v)
