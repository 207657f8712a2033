"""Kernels and plans of two clouds, made again tile by tile for every product: O((n + m)·D) memory."""

from collections.abc import Iterator

import torch
from torch import Tensor

from geomdml.transport.ground import Clouds
from geomdml.transport.scaling import Scaling, Side

__all__ = ["TiledScaling", "Tiles", "blocks"]

_ROWS, _COLUMNS = 512, 2048  # of a tile, which stays in the caches


def blocks(count: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


class Tiles:
    """The (n, m) matrix exp((f_i + g_j − C_ij)/ε) of two clouds."""

    def __init__(self, clouds: Clouds, f: Tensor, g: Tensor, eps: float) -> None:
        self.exponents, self.shape, self.like = clouds.exponents(f, g, eps), torch.Size([len(f), len(g)]), f

    def tiles(self) -> Iterator[tuple[slice, slice, Tensor]]:
        """Rows, columns, and the exponents there."""
        for rows in blocks(self.shape[0], _ROWS):
            for columns in blocks(self.shape[1], _COLUMNS):
                yield rows, columns, self.exponents.tile(rows, columns)

    def times(self, right: Tensor) -> Tensor:
        """(n, m) (m, k)."""
        out = self.like.new_zeros(self.shape[0], right.shape[1])
        for rows, columns, tile in self.tiles():
            out[rows] += tile.exp_() @ right[columns]
        return out

    def transposed_times(self, left: Tensor) -> Tensor:
        """(m, n) (n, k)."""
        out = self.like.new_zeros(self.shape[1], left.shape[1])
        for rows, columns, tile in self.tiles():
            out[columns] += tile.exp_().mT @ left[rows]
        return out

    def peaks(self, dim: int) -> Tensor:
        """The largest exponents of the columns (dim 0) or of the rows (dim 1)."""
        out = self.like.new_full((self.shape[1 - dim],), -torch.inf)
        for rows, columns, tile in self.tiles():
            part = out[columns] if dim == 0 else out[rows]
            torch.maximum(part, tile.amax(dim), out=part)
        return out

    def moments(self) -> tuple[Tensor, Tensor]:
        """The sums of the rows, (n,), and Σ K log K."""
        sums, total = self.like.new_zeros(self.shape[0]), self.like.new_zeros(())
        for rows, _, tile in self.tiles():
            K = tile.exp()
            sums[rows] += K.sum(1)
            total += K.mul_(tile.masked_fill_(tile == -torch.inf, 0.0)).sum()
        return sums, total


class _Kernel:
    """Tiles as the (1, n, m) kernel of a `Scaling`, for rows (1, 1, n) from the left."""

    def __init__(self, tiles: Tiles, flipped: bool = False) -> None:
        self.whole, self.flipped = tiles, flipped
        self.shape = torch.Size([1, *(reversed(tiles.shape) if flipped else tiles.shape)])
        self.device = tiles.like.device

    @property
    def mT(self) -> "_Kernel":
        return _Kernel(self.whole, not self.flipped)

    def numel(self) -> int:
        return self.shape.numel()

    def __rmatmul__(self, x: Tensor) -> Tensor:
        product = self.whole.times if self.flipped else self.whole.transposed_times
        return product(x[0].mT).mT[None]


class TiledScaling(Scaling):
    """The state of one problem of two clouds, whose kernel is never whole.

    Near the solution, f̃ of which is given, no entry of T/(a⊗b) is large, and K may begin as that: with no search for
    the largest entries, which takes as long as an iteration.
    """

    def __init__(
        self, clouds: Clouds, sides: tuple[Side, Side], eps: Tensor, g: Tensor, f: Tensor | None = None
    ) -> None:
        self.clouds, self.near = clouds, f
        super().__init__(clouds.x, sides, eps, g)

    def build(self, g: Tensor) -> Tensor:
        eps, rows, columns = float(self.eps), self.rows, self.columns
        if self.near is not None:
            self.f0, self.near = self.near, None
            ends = rows.fill(self.f0, -torch.inf)[0, 0], columns.fill(g, -torch.inf)[0, 0]
            self.K = _Kernel(Tiles(self.clouds, *ends, eps))
            return torch.zeros_like(g)
        there = columns.fill(g, -torch.inf)[0, 0]
        f = -eps * Tiles(self.clouds, torch.zeros_like(self.rows.weight[0, 0]), there, eps).peaks(1)
        self.f0 = f[None, None]
        f = rows.fill(self.f0, -torch.inf)[0, 0]
        below = columns.fill(eps * Tiles(self.clouds, f, there, eps).peaks(0)[None, None], 0.0)
        self.K = _Kernel(Tiles(self.clouds, f, there - below[0, 0], eps))
        return below
