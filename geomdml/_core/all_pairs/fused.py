"""What follows the matrix product of a tile, in one pass on a GPU: the kernels of `_kernels`, and when they serve.

torch goes over a tile a dozen times, and on a GPU each time through its memory. The products themselves stay with the
maker's library. Nothing here is another formula: a tile comes out as `float64` has it.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor

_forced: bool | None = None


@contextmanager
def kernels(forced: bool) -> Iterator[None]:
    """Within the block, take the kernels on every device (True; on the CPU by Triton's interpreter) or on none."""
    global _forced
    before, _forced = _forced, forced
    try:
        yield
    finally:
        _forced = before


def serves(tile: Tensor) -> bool:
    """Whether the kernels compute such a tile: on GPUs for which Triton is installed and compiles."""
    if _forced is not None:
        return _forced
    return tile.is_cuda and _runs_on(tile.device)


@cache
def _runs_on(device: torch.device) -> bool:
    """Whether Triton finds a C compiler, and knows the GPU: a try of each kernel tells."""
    if find_spec("triton") is None:
        return False
    one = torch.ones(1, 6, dtype=torch.float64, device=device)
    try:
        distances(one[:, :1], one, one, one[0, 0], torch.empty_like(one[:, :1]), 0.0)
        weights(one, one)
        proxies = torch.ones(1, 1, 2, device=device)
        soft_minimum_gradient(soft_minimum(proxies, 1.0), proxies, 1.0)
    except Exception as error:  # of Triton, its compiler or its driver: there are too many to name
        first = (str(error).strip().splitlines() or [""])[0]
        warnings.warn(
            f"Triton cannot compile for {device} ({type(error).__name__}: {first}); distances take torch's operations",
            stacklevel=2,
        )
        return False
    return True


def distances(share: Tensor, a: Tensor, b: Tensor, c: Tensor, dist: Tensor, tolerated: float) -> Tensor:
    """Writes distances to `dist`, puts q in the place of sinh A · s, and says where s is below `tolerated`.

    a and b are the factors of `float64` of rows and columns, side by side.
    """
    from geomdml._core.all_pairs import _kernels

    near = torch.empty_like(share, dtype=torch.bool)
    _kernels.launch(_kernels.distances, share, dist, near, a, b, c, tolerated)
    return near


def weights(q: Tensor, g: Tensor) -> Tensor:
    """g ∂δ/∂q = g/√(q + q²); 0 where q is infinite."""
    from geomdml._core.all_pairs import _kernels

    t = torch.empty_like(q, memory_format=torch.contiguous_format)
    _kernels.launch(_kernels.weights, q, g, t)
    return t


def soft_minimum(dist: Tensor, gamma: float) -> Tensor:
    """Σ_k softmax_k(−d_k/γ)·d_k of float32 (B, C, K)."""
    from geomdml._core.all_pairs import _kernels

    result = dist.new_empty(dist.shape[:2])
    _kernels.launch(_kernels.soft_minimum, result, dist, gamma, dist.shape[2])
    return result


def soft_minimum_gradient(g: Tensor, dist: Tensor, gamma: float) -> Tensor:
    """Its gradient by the distances, from that by the result."""
    from geomdml._core.all_pairs import _kernels

    result = torch.empty_like(dist, memory_format=torch.contiguous_format)
    _kernels.launch(_kernels.soft_minimum_gradient, g, dist, result, gamma, dist.shape[2])
    return result
