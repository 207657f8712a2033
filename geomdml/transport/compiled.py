"""Transport by the kernels in C: NumPy's numbers without its calls, for every pivot and for every product."""

from collections.abc import Callable
from functools import partial

import numpy as np

from geomdml import _native
from geomdml.transport.problem import Array

__all__ = ["assignment_potentials", "pivoted", "sweeps_of"]

_simplex = _native.declare("transport_simplex", "iiipppppppp", "i")
_potentials = _native.declare("assignment_potentials", "iippp", "i")
_sweeps = {
    np.dtype(np.float64): _native.declare("sinkhorn_sweeps", "ppppppiii"),
    np.dtype(np.float32): _native.declare("sinkhorn_sweeps_float", "ppppppiii"),
}
_IN_C = 2**13  # entries of a kernel, beyond which the products of NumPy's BLAS are faster


def pivoted(priced: Array, a: Array, b: Array, tolerance: Array) -> tuple[Array, ...] | None:
    """As `simplex._pivoted`; None without kernels."""
    if not _native.take():
        return None
    B, n, m = priced.shape
    parent, mass = np.empty((2, B, n + m), dtype=np.int64)
    potential, pivots = np.empty((B, n + m)), np.empty(B, dtype=np.int64)
    if _simplex(B, n, m, *_addresses(priced, a, b, tolerance, parent, mass, potential, pivots)):
        raise MemoryError(f"exact transport of {n} × {m}")
    node = np.delete(np.arange(n + m), n - 1)  # the root has no arc
    parent, mass = parent[:, node], mass[:, node]
    row, column = np.where(node < n, node, parent), np.where(node < n, parent, node) - n
    return row, column, mass, potential[:, :n], potential[:, n:], pivots


def assignment_potentials(C: Array, partner: Array) -> Array | None:
    """The g of assignments, (B, n), that gives each row its `partner` (B, n); None without kernels."""
    if not _native.take():
        return None
    g = np.empty(partner.shape)
    if _potentials(*partner.shape, *_addresses(C, partner, g)):
        raise MemoryError(f"exact transport of {partner.shape[1]} × {partner.shape[1]}")
    return g


def sweeps_of(K: Array, a: Array, b: Array, x: Array, y: Array, s: Array) -> Callable[[int], None]:
    """So many times x = a/s, y = b/(Kᵀx), s = Ky, in place, from the s that is there when it is called."""
    if K.size <= _IN_C and K.flags.c_contiguous and _native.take():
        return partial(_sweeps[K.dtype], *_addresses(K, a, b, x, y, s), *K.shape)

    def sweeps(count: int) -> None:
        for _ in range(count):
            np.divide(a, s, out=x)
            np.divide(b, x @ K, out=y)
            np.matmul(K, y, out=s)

    return sweeps


def _addresses(*arrays: Array) -> list[int]:
    assert all(x.flags.c_contiguous for x in arrays)
    return [x.ctypes.data for x in arrays]
