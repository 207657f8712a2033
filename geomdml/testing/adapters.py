"""Other libraries' conventions under the names of `geomdml.poincare` and `geomdml.lorentz`, for the laws to be run on.

    python -m geomdml.testing --implementation my_module:Lorentz --convention geoopt

- geomdml: a module or object with functions f(x, y, *, c), or one such function; points as in our module of the chart.
- geoopt: a class of manifolds, called with c for a ball, and with k = 1/c for a hyperboloid, whose points are (x₀, x)
  and whose tangent vectors are tangent in Minkowski space, as long as the way.
- hypercore: as geoopt's `Lorentz`, of which HyperCore's is one; it calls c what is 1/c.
- hypll: a module with functions f(x, y, c), such as HypLL's of the ball.
- meru: a module with functions f(x, y, curv) of space components, whose `exp_map0` takes vectors as long as the way.

A function that is not offered is not asked for.
"""

import inspect
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from geomdml._core import minkowski
from geomdml.testing.primitives import Primitive

__all__ = ["CONVENTIONS", "Misfit", "ball_of", "hyperboloid_of", "hypll", "meru", "plain"]

Make = Callable[[Any], Any]  # c to a manifold
Functions = dict[str, tuple[str, Callable[[Any, Tensor], Callable[..., Tensor]]]]  # our name, theirs, and the call


class Misfit(Exception):
    """An object that cannot be asked; the message is a line that says what is expected."""


def ball_of(make: Make) -> Any:
    """A class of Poincaré balls with geoopt's methods."""
    manifold = make(torch.tensor(1.0))
    named: dict[str, Callable[[Any], Callable[..., Tensor]]] = {
        "dist": lambda m: m.dist,
        "pairwise_dist": lambda m: lambda x, y: m.dist(x.unsqueeze(-2), y.unsqueeze(-3)),
        "dist0": lambda m: m.dist0,
        "conformal_factor": lambda m: m.lambda_x,
        "project": lambda m: m.projx,
        "expmap0": lambda m: m.expmap0,
        "logmap0": lambda m: m.logmap0,
        "expmap": lambda m: m.expmap,
        "logmap": lambda m: m.logmap,
        "mobius_add": lambda m: m.mobius_add,
        "mobius_scalar_mul": lambda m: lambda r, x: m.mobius_scalar_mul(_column(r, x), x),
        "mobius_matvec": lambda m: m.mobius_matvec,
        "gyration": lambda m: m.gyration,
        "parallel_transport": lambda m: m.transp,
        "geodesic": lambda m: lambda x, y, t: m.geodesic(_column(t, x), x, y),
        "midpoint": lambda m: lambda x, weights=None: m.weighted_midpoint(x, weights, reducedim=[-2]),
    }
    needs = {
        "pairwise_dist": "dist",
        "conformal_factor": "lambda_x",
        "project": "projx",
        "parallel_transport": "transp",
        "midpoint": "weighted_midpoint",
    }
    return _offered(make, named, lambda name: hasattr(manifold, needs.get(name, name)))


def hyperboloid_of(make: Make) -> Any:
    """A class of hyperboloids with geoopt's methods, of points (x₀, x) and their tangent vectors in Minkowski space."""
    manifold = make(torch.tensor(1.0))
    named: dict[str, Callable[[Any], Callable[..., Tensor]]] = {
        "dist": lambda m: lambda X, Y: m.dist(_point(X, m), _point(Y, m)),
        "pairwise_dist": lambda m: lambda X, Y: m.dist(_point(X, m).unsqueeze(-2), _point(Y, m).unsqueeze(-3)),
        "from_tangent": lambda m: lambda u: m.expmap0(torch.cat([torch.zeros_like(u[..., :1]), 2 * u], -1))[..., 1:],
        "to_tangent": lambda m: lambda X: m.logmap0(_point(X, m))[..., 1:] / 2,
        "expmap": lambda m: lambda X, v: m.expmap(_point(X, m), _vector(X, v, m))[..., 1:],
        "logmap": lambda m: lambda X, Y: _frame(X, m.logmap(_point(X, m), _point(Y, m)), m),
        "midpoint": lambda m: lambda X, weights=None: _centroid(m, _point(X, m), weights),
    }
    needs = {
        "pairwise_dist": "dist",
        "from_tangent": "expmap0",
        "to_tangent": "logmap0",
        "midpoint": "lorentzian_centroid",
    }
    return _offered(make, named, lambda name: hasattr(manifold, needs.get(name, name)))


def hypll(module: Any) -> Any:
    """A module with functions as HypLL's of the ball: dist(x, y, c), cdist, expmap, midpoint and others."""
    direct = ["dist", "mobius_add", "gyration", "expmap", "logmap", "expmap0", "logmap0", "project"]
    named: Functions = {name: (name, lambda f, c: lambda *vectors: f(*vectors, c)) for name in direct}
    named |= {
        "pairwise_dist": ("cdist", lambda f, c: lambda x, y: f(x.unsqueeze(0), y.unsqueeze(0), c).squeeze(0)),
        "parallel_transport": ("transp", lambda f, c: lambda x, y, v: f(x, y, v, c)),
        "midpoint": (
            "midpoint",
            lambda f, c: (
                lambda x, weights=None: f(x, c, batch_dim=-2, w=None if weights is None else weights.unsqueeze(-1))
            ),
        ),
    }
    return _of_module(module, named, "HypLL")


def meru(module: Any) -> Any:
    """A module with MERU's functions: pairwise_dist(x, y, curv), pairwise_inner, exp_map0(v, curv), log_map0."""
    named: Functions = {
        "pairwise_dist": ("pairwise_dist", lambda f, c: lambda X, Y: f(X, Y, c)),
        "pairwise_inner": ("pairwise_inner", lambda f, c: lambda X, Y: f(X, Y, c)),
        "from_tangent": ("exp_map0", lambda f, c: lambda u: f(2 * u, c)),
        "to_tangent": ("log_map0", lambda f, c: lambda X: f(X, c) / 2),
    }
    return _of_module(module, named, "MERU")


def plain(given: Any, functions: Mapping[str, Primitive], home: str) -> Any:
    """An object with functions by the names of a module of ours, or one such function by its own name.

    Raises:
        Misfit: a class, nothing of these names, or a function that cannot be called as ours is.
    """
    if inspect.isclass(given):
        raise Misfit(f"is a class; expected an object with functions such as {home}'s, or --convention geoopt")
    if inspect.isfunction(given) and given.__name__ in functions:
        given = SimpleNamespace(**{given.__name__: given})
    offered = [name for name in functions if callable(getattr(given, name, None))]
    if not offered:
        raise Misfit(f"has none of the functions {', '.join(functions)} of {home}, which are called as f(x, y, *, c)")
    for name in offered:
        arguments = [torch.zeros(1)] * functions[name].vectors
        try:
            inspect.signature(getattr(given, name)).bind(*arguments, c=1.0)
        except TypeError as error:
            said = (
                f"{name}{inspect.signature(getattr(given, name))} cannot be called as in {home}, with {len(arguments)}"
            )
            raise Misfit(f"{said} tensors and the keyword c ({error}); --convention knows others' signatures") from None
        except ValueError:  # it has no signature to be asked for
            pass
    return given


def _manifolds(given: Any, *, inverse: bool = False) -> dict[str, Any]:
    """The adapter of a class of manifolds, by the chart that its methods are of."""
    if not inspect.isclass(given):
        raise Misfit("is no class; expected one of manifolds, which is called with its curvature")
    kind: Any = given
    if not inverse and hasattr(kind, "lambda_x"):
        return {"ball": ball_of(lambda c: kind(c=c))}
    return {"lorentz": hyperboloid_of(lambda c: kind(1 / c))}


CONVENTIONS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "geoopt": _manifolds,
    "hypercore": lambda given: _manifolds(given, inverse=True),
    "hypll": lambda given: {"ball": hypll(given)},
    "meru": lambda given: {"lorentz": meru(given)},
}


def _of_module(module: Any, named: Functions, whose: str) -> Any:
    """The functions that a module has, each called with c in the dtype of its first vector."""
    offered = {name: of for name, of in named.items() if callable(getattr(module, of[0], None))}
    if not offered:
        raise Misfit(f"has none of {whose}'s functions {', '.join(of for of, _ in named.values())}")

    def call(name: str) -> Callable[..., Tensor]:
        of, wrap = offered[name]
        return lambda *vectors, c: wrap(getattr(module, of), _like(vectors[0], c))(*vectors)

    return SimpleNamespace(**{name: call(name) for name in offered})


def _offered(
    make: Make, named: Mapping[str, Callable[[Any], Callable[..., Tensor]]], has: Callable[[str], bool]
) -> Any:
    def call(name: str) -> Callable[..., Tensor]:
        def function(*vectors: Any, c: Any) -> Tensor:
            return named[name](_at(torch.as_tensor(c, dtype=torch.float64), make))(*vectors)

        return function

    offered = {name: call(name) for name in named if has(name)}
    if not offered:
        raise Misfit("has none of the methods of geoopt's manifolds, such as dist and expmap")
    return SimpleNamespace(**offered)


def _at(c: Tensor, make: Make) -> Any:
    """The manifold of this curvature; a parameter that it keeps it in has the gradient of c."""
    manifold = make(c.detach().clone())  # geoopt's ball writes into it
    kept = {"k": lambda: 1 / c, "isp_c": lambda: c + torch.log(-torch.expm1(-c))}
    for name, value in kept.items():
        if name in getattr(manifold, "_parameters", {}):
            del manifold._parameters[name]
            setattr(manifold, name, value())
    return manifold


def _like(x: Tensor, number: Any) -> Tensor:
    return torch.as_tensor(number, dtype=x.dtype, device=x.device)


def _column(t: Any, x: Tensor) -> Tensor:
    return _like(x, t).unsqueeze(-1)


def _c(manifold: Any) -> Tensor:
    return 1 / manifold.k.double().reshape(())


def _point(X: Tensor, manifold: Any) -> Tensor:
    """(x₀, x), the time component rounded once."""
    return torch.cat([minkowski.time(X.double(), _c(manifold)), X.double()], -1).to(X.dtype)


def _vector(X: Tensor, v: Tensor, manifold: Any) -> Tensor:
    """What is carried from the origin to X as the vector of twice v."""
    u = minkowski.from_origin(X.double(), 2 * v.double(), _c(manifold))
    return torch.cat([minkowski.time_of_tangent(X.double(), u, _c(manifold)), u], -1).to(X.dtype)


def _frame(X: Tensor, u: Tensor, manifold: Any) -> Tensor:
    return (minkowski.to_origin(X.double(), u[..., 1:].double(), _c(manifold)) / 2).to(X.dtype)


def _centroid(manifold: Any, points: Tensor, weights: Tensor | None) -> Tensor:
    given = points.new_ones(points.shape[-2]) if weights is None else weights
    return manifold.lorentzian_centroid(points, given.unsqueeze(-2)).squeeze(-2)[..., 1:]
