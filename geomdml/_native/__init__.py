"""Kernels in C, compiled when the package was installed (`build`), for plain float32 tensors on the CPU.

They do what the torch code beside which they stand does, in one pass over the memory and few calls. Where there is no
compiled library, or the inputs are none that it takes, that code runs.
"""

import ctypes
import os
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from itertools import pairwise
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import _get_current_dispatch_mode

from geomdml._native.build import FOLDER, LIBRARY, mark_of_sources

CHARTS = {"tangent": 0, "ball": 1, "lorentz": 2}  # as in hyperbolic.h
LANES = 16  # likewise
FACTS = 9  # numbers of a point, likewise
UNTABLED = 64  # dimensions, likewise, up to which points in one pair need no table
NOT_ORDINARY, NO_MEMORY = -1, -2  # what functions say, likewise
HARD = -2.0  # in place of s, likewise: a pair that is left to the chart

SHARED = 2**15  # pairs that are worth a further thread
NOTHING = torch.empty((0, 0), device="cpu")  # its address is 0

T = TypeVar("T")
_enabled = True


def _load() -> ctypes.CDLL | None:
    try:
        found = ctypes.CDLL(str(FOLDER / LIBRARY))
    except OSError:  # none was compiled, or for another machine
        return None
    found.geomdml_sources.restype = ctypes.c_int64
    if found.geomdml_sources() == mark_of_sources():
        return found
    warnings.warn(f"{FOLDER / LIBRARY} is not of its sources; python {FOLDER / 'build.py'} compiles them", stacklevel=2)
    return None


library = _load()


@contextmanager
def kernels(enabled: bool) -> Iterator[None]:
    """Within the block, use the kernels in C where they apply (True, as always), or torch alone (False)."""
    global _enabled
    before, _enabled = _enabled, enabled
    try:
        yield
    finally:
        _enabled = before


_PLAIN = (Tensor, torch.nn.Parameter)


def at_hand(x: Tensor) -> bool:
    """Whether the values of a tensor can be read, and without a wait: eager, on the CPU, not mapped, not traced."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or _get_current_dispatch_mode() is not None:
        return False
    mapped = torch._C._functorch.is_functorch_wrapped_tensor(x) or torch._C._functorch.is_legacy_batchedtensor(x)
    return x.device.type == "cpu" and type(x) in _PLAIN and not mapped


def take(*tensors: Tensor) -> bool:
    """Whether the kernels take these inputs: float32 at hand, outside of the transforms of `torch.func`."""
    if library is None or not _enabled or torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        return False
    return all(x.dtype == torch.float32 and at_hand(x) for x in tensors)


def declare(name: str, arguments: str, result: Any = None) -> Any:
    """A function of the library, of pointers (p), whole numbers (i) and float64 (d); None without a library."""
    if library is None:
        return None
    types = {"p": ctypes.c_void_p, "i": ctypes.c_int64, "d": ctypes.c_double}
    function = getattr(library, f"geomdml_{name}")
    function.argtypes = [types[kind] for kind in arguments]
    function.restype = types.get(result)
    return function


def shared(work: Callable[[int, int], T], rows: int, columns: int) -> list[T]:
    """Work on rows from a first to a last, in as many threads as torch has and the size is worth."""
    count = min(torch.get_num_threads(), rows, 1 + rows * columns // SHARED)
    if count == 1:
        return [work(0, rows)]
    shares = list(pairwise(rows * k // count for k in range(count + 1)))
    others = [_pool().submit(work, *share) for share in shares[1:]]
    return [work(*shares[0]), *(other.result() for other in others)]


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(thread_name_prefix="geomdml")


if hasattr(os, "register_at_fork"):  # the threads of a pool stay behind in the parent
    os.register_at_fork(after_in_child=_pool.cache_clear)
