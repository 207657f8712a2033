"""A pretend accelerator: a device of its own for torch, whose tensors hold CPU data.

Like a GPU it refuses operations between its tensors and the CPU's, but for what torch allows everywhere: copies,
numbers (tensors of no dimension) in pointwise operations, and indices. Where a program would wait for a GPU, that is
counted, with the function of ours that asks.

    with Accelerator() as device:
        x = torch.randn(3, 4).to(device.name)
    device.waits  # {"search/knn.py _nearest"}
"""

import sys
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

NAME = "pretend"
LIBRARY = Path(__file__).parents[1]
COPIES = {"_to_copy", "copy_"}
INDEXED = {"index", "index_put", "index_put_", "_unsafe_index", "_index_put_impl_"}  # may take indices from the CPU
# Their results have sizes, or are numbers, that only the values tell.
WAITS = {
    "_local_scalar_dense", "nonzero", "masked_select", "unique_consecutive", "unique_dim", "_unique2", "_unique",
    "unique_dim_consecutive", "bincount", "equal", "is_nonzero", "allclose", "_linalg_check_errors",
}  # fmt: skip


class _Module(_DummyBackendModule):
    @staticmethod
    def get_amp_supported_dtype() -> list[torch.dtype]:
        return [torch.float16, torch.bfloat16]


_setup_privateuseone_for_python_backend(NAME, backend_module=_Module())


class PretendTensor(torch.Tensor):
    """A tensor on the device; `data_on_cpu` is where its numbers are."""

    data_on_cpu: torch.Tensor

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> "PretendTensor":
        result = torch.Tensor._make_wrapper_subclass(
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=torch.device(NAME, 0),
        )
        result.data_on_cpu = inner
        return result

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError(f"{func} reached a pretend tensor outside of `with Accelerator()`")


class _Made(TorchFunctionMode):
    """Tensors of Python's numbers, and Python's numbers of tensors, are copied; torch does so where no mode sees it."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        device = kwargs.get("device")
        if func in (torch.tensor, torch.as_tensor) and device is not None and torch.device(device).type == NAME:
            return func(*args, **{**kwargs, "device": None}).to(device)
        if func is torch.Tensor.tolist and isinstance(args[0], PretendTensor):
            return args[0].cpu().tolist()
        if func is torch.Tensor.new_tensor and isinstance(args[0], PretendTensor):
            return torch.tensor(args[1], dtype=kwargs.get("dtype", args[0].dtype)).to(NAME)
        if func in (torch.Tensor.__getitem__, torch.Tensor.__setitem__) and isinstance(args[0], PretendTensor):
            index = args[1] if isinstance(args[1], tuple) else (args[1],)
            args = (
                args[0],
                tuple(torch.tensor(i).to(NAME) if isinstance(i, list | tuple) else i for i in index),
                *args[2:],
            )
        return func(*args, **kwargs)


class Accelerator(TorchDispatchMode):
    """Within the block, tensors can be on the device `name`; `waits` says where a program would wait for a GPU."""

    name = NAME

    def __init__(self) -> None:
        super().__init__()
        self.waits: set[str] = set()
        self._made = _Made()

    def __enter__(self) -> "Accelerator":
        self._made.__enter__()
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._made.__exit__(*error)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        leaves = tree_leaves((args, kwargs))
        here = [leaf for leaf in leaves if isinstance(leaf, PretendTensor)]
        devices = [leaf.type for leaf in leaves if isinstance(leaf, torch.device)]
        if not here and NAME not in devices:
            return func(*args, **kwargs)
        parts = _parts(func)
        if parts is not None:
            with self:
                return parts(*args, **kwargs)
        operation = func.overloadpacket.__name__
        to_here = NAME in devices if devices else bool(here)
        if operation not in COPIES:
            _refuse_mixed(func, operation, args, [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)])
        if operation in COPIES and _crosses(operation, args, kwargs, to_here):
            self._waits_for(operation)
        if here and (operation in WAITS or _by_mask(operation, args)):
            self._waits_for(operation)
        result = func(*_inner(args), **_inner(kwargs))
        return _same_or_wrapped(result, here, to_here)

    def _waits_for(self, operation: str) -> None:
        frame: FrameType | None = sys._getframe()
        while frame is not None:
            file = Path(frame.f_code.co_filename)
            if LIBRARY / "geomdml" in file.parents:
                self.waits.add(f"{file.relative_to(LIBRARY / 'geomdml')} {frame.f_code.co_name}")
                return
            frame = frame.f_back
        self.waits.add(f"elsewhere: {operation}")


def on_cpu(value: Any) -> Any:
    """Every tensor of the device in a nest, on the CPU, without asking the device."""
    return tree_map_only(PretendTensor, lambda tensor: tensor.data_on_cpu.detach().clone(), value)


def _parts(func: Any) -> Any:
    """What an operation is made of: one of ours, or of torch's that have no kernels; None for all others."""
    if func.namespace == "geomdml":
        return torch._library.custom_ops.OPDEFS[f"geomdml::{func.overloadpacket.__name__}"]._init_fn
    composite = torch._C.DispatchKey.CompositeImplicitAutograd
    if not torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), composite):
        return None

    def decomposed(*args: Any, **kwargs: Any) -> Any:
        with torch._C.DisableTorchFunction():  # or a mode for functions would call the whole operation again
            return func.decompose(*args, **kwargs)

    return decomposed


def _refuse_mixed(func: Any, operation: str, args: Any, tensors: list[torch.Tensor]) -> None:
    asked = args[:1] if operation in INDEXED else tensors
    for tensor in asked:
        if isinstance(tensor, PretendTensor) or (tensor.ndim == 0 and _takes_numbers(func, operation)):
            continue
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but {operation} got one on {NAME} and one of shape "
            f"{tuple(tensor.shape)} on the CPU"
        )


def _takes_numbers(func: Any, operation: str) -> bool:
    return torch.Tag.pointwise in func.tags or operation in {"fill_", "masked_fill", "masked_fill_"}


def _crosses(operation: str, args: Any, kwargs: Any, to_here: bool) -> bool:
    """Whether a copy takes numbers to the device or off it: torch then waits for all that the device has to do."""
    source, is_here = (args[1], isinstance(args[0], PretendTensor)) if operation == "copy_" else (args[0], to_here)
    return isinstance(source, PretendTensor) != is_here and not kwargs.get("non_blocking", False)


def _by_mask(operation: str, args: Any) -> bool:
    """Whether an index is a mask: how many entries it chooses is not known before."""
    if operation not in INDEXED:
        return False
    return any(isinstance(index, torch.Tensor) and index.dtype in (torch.bool, torch.uint8) for index in args[1])


def _inner(nest: Any) -> Any:
    nest = tree_map_only(PretendTensor, lambda tensor: tensor.data_on_cpu, nest)
    return tree_map_only(torch.device, lambda device: torch.device("cpu") if device.type == NAME else device, nest)


def _same_or_wrapped(result: Any, here: list[PretendTensor], to_here: bool) -> Any:
    """Results on the device; what was changed in place is the tensor that was given."""
    given = {id(tensor.data_on_cpu): tensor for tensor in here}

    def place(tensor: torch.Tensor) -> torch.Tensor:
        if id(tensor) in given:
            return given[id(tensor)]
        return PretendTensor(tensor) if to_here else tensor

    return tree_map_only(torch.Tensor, place, result)
