"""The sphere."""

from jaxtyping import Float
from torch import Tensor

from geomdml import sphere
from geomdml._core import checks

__all__ = ["Sphere"]


class Sphere:
    """The sphere of curvature c and radius 1/√c; points are vectors of any length but 0, by their direction.

    Args:
        c: curvature, > 0.

    Raises:
        ValueError: c ≤ 0 or not finite.

    >>> import torch
    >>> space = Sphere(c=1.0)
    >>> space.dist(torch.tensor([3.0, 0.0]), torch.tensor([0.0, 4.0]))
    tensor(1.5708)
    """

    def __init__(self, c: float = 1.0) -> None:
        checks.positive(c=c)
        self.c = float(c)

    def dist(self, x: Float[Tensor, "*#batch D"], y: Float[Tensor, "*#batch D"]) -> Float[Tensor, "*#batch"]:
        """See `geomdml.sphere.dist`."""
        return sphere.dist(x, y, c=self.c)

    def pairwise_dist(
        self, x: Float[Tensor, "*#batch B D"], y: Float[Tensor, "*#batch P D"]
    ) -> Float[Tensor, "*#batch B P"]:
        """See `geomdml.sphere.pairwise_dist`."""
        return sphere.pairwise_dist(x, y, c=self.c)

    def expmap(self, x: Float[Tensor, "*#batch D"], v: Float[Tensor, "*#batch D"]) -> Float[Tensor, "*#batch D"]:
        """See `geomdml.sphere.expmap`."""
        return sphere.expmap(x, v, c=self.c)

    def logmap(self, x: Float[Tensor, "*#batch D"], y: Float[Tensor, "*#batch D"]) -> Float[Tensor, "*#batch D"]:
        """See `geomdml.sphere.logmap`."""
        return sphere.logmap(x, y, c=self.c)

    def geodesic(
        self, x: Float[Tensor, "*#batch D"], y: Float[Tensor, "*#batch D"], t: float | Float[Tensor, "*#batch"]
    ) -> Float[Tensor, "*#batch D"]:
        """See `geomdml.sphere.geodesic`."""
        return sphere.geodesic(x, y, t, c=self.c)

    def midpoint(
        self, x: Float[Tensor, "*#batch N D"], weights: Float[Tensor, "*#batch N"] | None = None
    ) -> Float[Tensor, "*#batch D"]:
        """See `geomdml.sphere.midpoint`."""
        return sphere.midpoint(x, weights, c=self.c)

    def project(self, x: Float[Tensor, "*#batch D"]) -> Float[Tensor, "*#batch D"]:
        """See `geomdml.sphere.project`."""
        return sphere.project(x, c=self.c)

    def __repr__(self) -> str:
        return f"Sphere(c={self.c:g})"
