"""Functions with a gradient of their own, for eager torch, `torch.compile` and the transforms of `torch.func`."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class Function(torch.autograd.Function):
    """As torch's, mapped by `vmap`; what asks for forward mode learns that there is none, and what there is.

    torch.compile calls a function of torch's without looking at this `apply`.
    """

    generate_vmap_rule = True

    @classmethod
    def apply(cls, *inputs: Any) -> Any:
        try:
            return super().apply(*inputs)
        except NotImplementedError as error:
            if "jvp function" not in str(error):
                raise
        raise NotImplementedError(
            "forward-mode derivatives (jvp, jacfwd, hessian) are not offered; expected torch.func.grad, vjp or jacrev"
        )


class FirstDerivative(Function):
    """gradient(*inputs) for a function `gradient` of tensors, which refuses to be differentiated.

    A gradient in closed form is made of what it takes for constants: differentiated again, it would silently leave
    terms out.
    """

    @staticmethod
    def forward(gradient: Callable[..., Any], *inputs: Any) -> Any:
        return gradient(*inputs)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> None:
        raise NotImplementedError("no second derivative here: only the first is exact")


class Differentiable(Function):
    """value(*inputs), whose derivatives by the inputs are gradient(grad, *inputs); only the inputs are kept for it."""

    @staticmethod
    def forward(value: Callable[..., Any], gradient: Callable[..., Any], *inputs: Tensor) -> Tensor:
        return value(*inputs)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.gradient = inputs[1]
        ctx.save_for_backward(*inputs[2:])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return (None, None, *FirstDerivative.apply(ctx.gradient, grad, *ctx.saved_tensors))


class Smooth(Differentiable):
    """As `Differentiable`, where `gradient` is made of differentiable functions, so that it has derivatives too."""

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return (None, None, *ctx.gradient(grad, *ctx.saved_tensors))


def tell_apart(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """x and y, a view of it where they are one tensor: torch.compile takes no function of the same tensor twice."""
    return x, y.view_as(y) if y is x else y


def one_after_the_other(op: Callable[..., Any], info: Any, dims: tuple[int | None, ...], *inputs: Any) -> Any:
    """vmap of an operator, item by item."""
    results = [
        op(*(x if dim is None else x.select(dim, i) for x, dim in zip(inputs, dims, strict=True)))
        for i in range(info.batch_size)
    ]
    if isinstance(results[0], Tensor):
        return torch.stack(results), 0
    return tuple(map(torch.stack, zip(*results, strict=True))), (0,) * len(results[0])


def operator(
    schema: str, shapes: Callable[..., Any], vmap: Callable[..., Any] = one_after_the_other
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorates a function of tensors, so that torch.compile takes it as one operation and never looks inside.

    For what depends on the values of its inputs. `shapes` makes empty results; `vmap`, of the operator, torch's own
    account of the mapping and the inputs, maps it.
    """
    name, signature = schema.split("(", 1)

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        whole = torch.library.custom_op(f"geomdml::{name}", function, mutates_args=(), schema="(" + signature)
        whole.register_fake(shapes)
        op = getattr(torch.ops.geomdml, name).default
        whole.register_vmap(lambda info, dims, *inputs: vmap(op, info, dims, *inputs))
        return op

    return decorate
