"""What an implementation offers, what each function should return, and how an error is measured."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from mpmath import mp, mpf
from torch import Tensor

from geomdml.testing import great_circles, oracle

__all__ = ["BALL", "EUCLIDEAN", "LORENTZ", "Primitive", "SPHERE", "TANGENT", "relative_error"]


class Primitive(NamedTuple):
    """A function of an implementation, by its name, and what it should compute."""

    name: str
    reference: oracle.Reference
    float32: float = 1e-6  # largest relative error
    float64: float = 1e-12
    vectors: int = 2
    degree: int = 1  # f at curvature c/s² of s·x is s**degree times f at c of x
    flat: Callable[..., Tensor] | None = None  # the limit c → 0
    sums: bool = False  # the result is a sum in which points may cancel
    farthest: float = math.inf  # the radius √c‖u‖ up to which it is held to its bars

    @property
    def kinds(self) -> tuple[str, ...]:
        """What each argument is; see `oracle.Reference`."""
        return self.reference.kinds or ("point" if self.reference.chart == "ball" else "vector",) * self.vectors

    @property
    def _summed(self) -> tuple[str, ...]:
        return ("point", "points") if self.reference.chart == "ball" else ("vector", "vectors")

    def __call__(self, implementation: Any, *vectors: Tensor, c: Any) -> Tensor:
        """The value for single vectors, of a pairwise function too."""
        function = getattr(implementation, self.name)
        if self.name.startswith("pairwise"):
            return function(*(x.unsqueeze(0) for x in vectors), c=c)[0, 0]
        return function(*vectors, c=c)

    def bar(self, *vectors: Tensor) -> float:
        """The largest relative error that the dtype of the inputs allows."""
        return self.float64 if all(x.dtype == torch.float64 for x in vectors) else self.float32

    def cancelled(self, *vectors: Tensor) -> float:
        """The length of the error that evaluation in float64 leaves where the points that it sums cancel."""
        return 2e-14 * self.largest(*vectors)

    def largest(self, *vectors: Tensor) -> float:
        """Norm of the longest of the points that are summed, 0 where none are."""
        points = (x for x, kind in zip(vectors, self.kinds, strict=True) if kind in self._summed)
        return max(float(x.double().norm(dim=-1).max()) for x in points) if self.sums else 0.0


def relative_error(value: Tensor, exact: Any, forgiven: float = 0.0) -> float:
    """‖value − exact‖/‖exact‖, 0 where both are 0; infinite for what is not a number.

    The length `forgiven` is taken off the difference first: what is left of points that cancel has no relative error.

    >>> relative_error(torch.tensor([3.0, 4.0]), torch.tensor([3.0, 0.0])) == 4 / 3
    True
    >>> relative_error(torch.tensor([1e-17, 0.0]), torch.zeros(2), forgiven=1e-16)
    0.0
    """
    if isinstance(exact, Tensor):
        exact = oracle.exact(exact.detach().double().flatten())
    expected = exact if isinstance(exact, list) else [exact]
    found = oracle.exact(value.detach().double().flatten())
    with mp.workdps(60):
        difference, size = oracle.norm(a - b for a, b in zip(found, expected, strict=True)), oracle.norm(expected)
        if not mp.isfinite(difference):
            return math.inf
        difference = max(difference - forgiven, mpf(0))
        return float(difference / size) if size else float(mpf("inf") if difference else 0)


def _named(*primitives: Primitive) -> dict[str, Primitive]:
    return {primitive.name: primitive for primitive in primitives}


def _twice_apart(x: Tensor, y: Tensor) -> Tensor:
    return 2 * (x - y).norm()


def _apart(x: Tensor, y: Tensor) -> Tensor:
    return (x - y).norm()


def _twice(x: Tensor) -> Tensor:
    return 2 * x


def _half(x: Tensor) -> Tensor:
    return x / 2


def _difference(x: Tensor, y: Tensor) -> Tensor:
    return y - x


def _half_difference(x: Tensor, y: Tensor) -> Tensor:
    return (y - x) / 2


def _and_twice(x: Tensor, v: Tensor) -> Tensor:
    return x + 2 * v


def _itself(x: Tensor) -> Tensor:
    return x


def _weighted_mean(x: Tensor, weights: Tensor) -> Tensor:
    return weights @ x / weights.sum()


def _last(*vectors: Tensor) -> Tensor:
    return vectors[-1]


BALL = _named(
    Primitive("dist", oracle.dist, 2.4e-7, 4e-15, flat=_twice_apart),
    Primitive("pairwise_dist", oracle.dist, 2.4e-7, 4e-15, flat=_twice_apart),
    Primitive("dist0", oracle.dist0, 2.4e-7, 4e-15, vectors=1, flat=lambda x: 2 * x.norm()),
    Primitive("mobius_add", oracle.mobius_add, 2.4e-7, 4e-15, flat=torch.add),
    Primitive("expmap0", oracle.expmap0, vectors=1, flat=_itself),
    Primitive("logmap0", oracle.logmap0, vectors=1, flat=_itself),
    Primitive("conformal_factor", oracle.conformal_factor, vectors=1, degree=0, flat=lambda x: 0 * x[0] + 2),
    Primitive("expmap", oracle.expmap, flat=torch.add, sums=True),
    Primitive("logmap", oracle.logmap, flat=_difference),
    Primitive("mobius_scalar_mul", oracle.mobius_scalar_mul, flat=torch.mul),
    Primitive("mobius_matvec", oracle.mobius_matvec, flat=torch.mv),
    Primitive("gyration", oracle.gyration, vectors=3, flat=_last),
    Primitive("parallel_transport", oracle.parallel_transport, vectors=3, flat=_last),
    Primitive("geodesic", oracle.geodesic, vectors=3, flat=torch.lerp, sums=True),
    Primitive("midpoint", oracle.midpoint, flat=_weighted_mean, sums=True),
)
TANGENT = _named(
    Primitive("dist", oracle.tangent_dist, 2.4e-7, flat=_twice_apart),
    Primitive("pairwise_dist", oracle.tangent_dist, 2.4e-7, flat=_twice_apart),
    Primitive("lca_depth", oracle.lca_depth),
    Primitive("mobius_add", oracle.tangent_mobius_add, flat=torch.add),
    Primitive("expmap", oracle.tangent_expmap, flat=torch.add),
    Primitive("logmap", oracle.tangent_logmap, flat=_difference),
    Primitive("geodesic", oracle.tangent_geodesic, vectors=3, flat=torch.lerp, sums=True),
    Primitive("midpoint", oracle.tangent_midpoint, flat=_weighted_mean, sums=True),
    Primitive("to_ball", oracle.expmap0, vectors=1, flat=_itself),
    Primitive("from_ball", oracle.logmap0, vectors=1, flat=_itself),
)
LORENTZ = _named(
    Primitive("dist", oracle.hyperboloid_dist, 2.4e-7, flat=_apart),
    Primitive("pairwise_dist", oracle.hyperboloid_dist, 2.4e-7, flat=_apart),
    Primitive("inner", oracle.hyperboloid_inner, degree=2, farthest=10.0),
    Primitive("pairwise_inner", oracle.hyperboloid_inner, degree=2, farthest=2.0),
    Primitive("mobius_add", oracle.hyperboloid_add, flat=torch.add, farthest=17.0),
    Primitive("expmap", oracle.hyperboloid_expmap, flat=_and_twice, sums=True, farthest=17.0),
    Primitive("logmap", oracle.hyperboloid_logmap, flat=_half_difference),
    Primitive("geodesic", oracle.hyperboloid_geodesic, vectors=3, flat=torch.lerp, sums=True, farthest=6.0),
    Primitive("midpoint", oracle.hyperboloid_midpoint, flat=_weighted_mean, sums=True),
    Primitive("from_tangent", oracle.tangent_to_hyperboloid, vectors=1, flat=_twice, farthest=35.0),
    Primitive("to_tangent", oracle.hyperboloid_to_tangent, vectors=1, flat=_half),
    Primitive("from_ball", oracle.ball_to_hyperboloid, vectors=1, flat=_twice),
    Primitive("to_ball", oracle.hyperboloid_to_ball, vectors=1, flat=_half),
)
EUCLIDEAN = _named(
    Primitive("dist", oracle.euclidean_dist, 2.4e-7, 4e-15),
    Primitive("pairwise_dist", oracle.euclidean_dist, 2.4e-7, 4e-15),
)
SPHERE = _named(
    Primitive("dist", great_circles.dist, 2.4e-7, 4e-15),
    Primitive("pairwise_dist", great_circles.dist, 2.4e-7),
    Primitive("project", great_circles.project, vectors=1),
    Primitive("expmap", great_circles.expmap),
    Primitive("logmap", great_circles.logmap),
    Primitive("geodesic", great_circles.geodesic, vectors=3),
    Primitive("midpoint", great_circles.midpoint),
)
