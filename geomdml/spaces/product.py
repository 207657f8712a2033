"""Products of spaces."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from geomdml import euclidean
from geomdml._core import checks
from geomdml.spaces.space import Space

__all__ = ["Product"]


class Product(nn.Module):
    """The product of spaces: a point is one point of each, their coordinates one after the other; d² = Σ dᵢ².

    Args:
        spaces: the factors.
        dims: dimensions of each, ≥ 1; an embedding has their sum.

    Raises:
        ValueError: no factors, another number of dimensions than factors, a dimension below 1; from `dist` and
            `pairwise_dist` also embeddings of another length, and what the factors refuse.

    Source: Gu, Sala, Gunel and Ré, "Learning mixed-curvature representations in product spaces" (2019), section 3.

    >>> from geomdml.spaces import Euclidean, Hyperbolic
    >>> space = Product([Hyperbolic(c=1.0), Euclidean()], dims=[2, 1])
    >>> float(space.dist(torch.tensor([3.0, 4.0, 24.0]), torch.zeros(3)))  # √(10² + 24²)
    26.0
    """

    def __init__(self, spaces: Sequence[Space], dims: Sequence[int]) -> None:
        super().__init__()
        if not spaces or len(spaces) != len(dims):
            raise ValueError(f"{len(spaces)} spaces and {len(dims)} dims; expected one for each, and at least one")
        if any(dim < 1 for dim in dims):
            raise ValueError(f"dims = {tuple(dims)}; expected at least 1 for each space")
        self.spaces, self.dims = tuple(spaces), tuple(dims)
        for index, space in enumerate(spaces):
            if isinstance(space, nn.Module):
                self.add_module(str(index), space)  # a learned curvature is a parameter of the product

    def split(self, x: Float[Tensor, "*batch D"]) -> tuple[Tensor, ...]:
        """The point of each factor, (..., Dᵢ)."""
        if x.shape[-1] != sum(self.dims):
            raise ValueError(f"embeddings have {x.shape[-1]} dimensions; expected {' + '.join(map(str, self.dims))}")
        return x.split(self.dims, dim=-1)

    def dist(self, x: Float[Tensor, "*#batch D"], y: Float[Tensor, "*#batch D"]) -> Float[Tensor, "*#batch"]:
        """√(Σ dᵢ²), one to one."""
        checks.vectors(x=x, y=y)
        parts = zip(self.spaces, self.split(x), self.split(y), strict=True)
        return _root_of_squares([space.dist(a, b) for space, a, b in parts])

    def pairwise_dist(
        self, x: Float[Tensor, "*#batch B D"], y: Float[Tensor, "*#batch P D"]
    ) -> Float[Tensor, "*#batch B P"]:
        """√(Σ dᵢ²) of all pairs; memory O(B·P) for each factor."""
        checks.same_length(x=x, y=y)
        parts = zip(self.spaces, self.split(x), self.split(y), strict=True)
        return _root_of_squares([space.pairwise_dist(a, b) for space, a, b in parts])

    def __repr__(self) -> str:
        factors = (f"{space}^{dim}" for space, dim in zip(self.spaces, self.dims, strict=True))
        return f"Product({' × '.join(factors)})"


def _root_of_squares(distances: list[Tensor]) -> Tensor:
    together = torch.stack(distances, -1)
    return euclidean.dist(together, torch.zeros_like(together))  # has a gradient at 0, and no overflow
