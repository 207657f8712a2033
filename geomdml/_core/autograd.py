"""Functions with a gradient of their own, for eager torch, `torch.compile` and the transforms of `torch.func`."""

from collections.abc import Callable
from typing import Any

import torch
import torch.autograd.forward_ad as forward_ad
from torch import Tensor

Second = Callable[..., tuple[Tensor, ...]]  # of the gradient's inputs and of the gradients by its outputs


def in_forward_mode() -> bool:
    """Whether derivatives are taken forward: in `torch.func.jvp`, `jacfwd` and `hessian`, and in a dual level."""
    return forward_ad._current_level >= 0


class Function(torch.autograd.Function):
    """As torch's, mapped by `vmap`; what has no forward mode says so, and what there is instead.

    torch.compile calls a function of torch's without looking at this `apply`.
    """

    generate_vmap_rule = True
    forward_mode: type["Function"] | None = None  # the same function with a `jvp`, which torch.compile would refuse

    @classmethod
    def apply(cls, *inputs: Any) -> Any:
        if cls.forward_mode is not None and cls.forward_mode is not cls and in_forward_mode():
            return cls.forward_mode.apply(*inputs)
        try:
            return super().apply(*inputs)
        except NotImplementedError as error:
            if "jvp function" not in str(error):
                raise
        raise NotImplementedError(
            "forward-mode derivatives (jvp, jacfwd, hessian) are not offered; expected torch.func.grad, vjp or jacrev"
        )


class FirstDerivative(Function):
    """gradient(*inputs) for a function `gradient` of tensors; its own derivatives are `second`, refused where None.

    A gradient in closed form is made of what it takes for constants: differentiated again, it would silently leave
    terms out.
    """

    @staticmethod
    def forward(gradient: Callable[..., Any], second: Second | None, *inputs: Any) -> Any:
        return gradient(*inputs)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.second, ctx.kept = inputs[1], len(inputs) - 3 - len(output)
        ctx.save_for_backward(*inputs[2 : 3 + len(output)])  # the gradient, and what the derivatives are by

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        if ctx.second is None:
            raise NotImplementedError("no further derivative here: the last that is exact is this one")
        return (None, None, *ctx.second(*ctx.saved_tensors, grads), *(None,) * ctx.kept)


def second_of(formula: Callable[..., Tensor]) -> Second:
    """The derivatives of the gradient of a formula that is made of torch's own functions."""

    def second(grad: Tensor, *inputs: Any) -> tuple[Tensor, ...]:
        *points, cotangents = inputs

        def first(grad: Tensor, *points: Tensor) -> tuple[Tensor, ...]:
            return torch.func.vjp(formula, *points)[1](grad)

        return torch.func.vjp(first, grad, *points)[1](cotangents)

    return second


def outside_transforms(
    values: Callable[[Tensor, Tensor, Tensor, bool], tuple[Tensor, ...]],
    gradients: Callable[..., tuple[Tensor, ...]],
    second: Second,
) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """values(x, y, c, keep)[0], differentiable, for tensors that neither torch's compiler nor a transform has wrapped.

    `gradients` takes the gradient, x, y, c, the other values, and whether c has one. A `Function` has more to call.
    """

    class Plain(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, y: Tensor, c: Tensor, keep: bool) -> Tensor:
            result, *kept = values(x, y, c, keep)
            if keep:
                ctx.save_for_backward(x, y, c, *kept)
            return result

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Any:
            inputs = [grad, *ctx.saved_tensors, ctx.needs_input_grad[2]]
            if torch.is_grad_enabled():
                return (*FirstDerivative.apply(gradients, second, *inputs), None)
            return (*gradients(*inputs), None)

    def function(x: Tensor, y: Tensor, c: Tensor) -> Tensor:
        return Plain.apply(x.contiguous(), y.contiguous(), c, torch.is_grad_enabled())

    return function


class Differentiable(Function):
    """value(*inputs), whose derivatives by the inputs are gradient(grad, *inputs); only the inputs are kept for it.

    The derivatives of that are `second`, refused where None.
    """

    @staticmethod
    def forward(value: Callable[..., Any], gradient: Callable[..., Any], second: Second | None, *inputs: Tensor) -> Any:
        return value(*inputs)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.gradient, ctx.second, ctx.form = inputs[1], inputs[2], (output.shape, output.dtype, output.device)
        ctx.save_for_backward(*inputs[3:])
        ctx.save_for_forward(*inputs[3:])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        if torch.is_grad_enabled():  # the gradient is to be differentiated again
            return (None, None, None, *FirstDerivative.apply(ctx.gradient, ctx.second, grad, *ctx.saved_tensors))
        return (None, None, None, *ctx.gradient(grad, *ctx.saved_tensors))


class _Smooth(Differentiable):
    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return (None, None, None, *ctx.gradient(grad, *ctx.saved_tensors))


class _Forward:
    """The forward mode of `Differentiable`."""

    @staticmethod
    def jvp(ctx: Any, _value: None, _gradient: None, _second: None, *tangents: Tensor | None) -> Tensor:
        """J t from the gradient Jᵀ g, which is linear in g: the derivative of ⟨Jᵀ g, t⟩ by g."""
        shape, dtype, device = ctx.form
        inputs = ctx.saved_tensors
        zero = torch.zeros(shape, dtype=dtype, device=device)
        every = ctx.gradient(zero, *inputs)
        moved = [i for i, step in enumerate(tangents) if step is not None and every[i] is not None]

        def gradients(g: Tensor) -> tuple[Tensor, ...]:
            every = ctx.gradient(g, *inputs)
            return tuple(every[i] for i in moved)

        return torch.func.vjp(gradients, zero)[1](tuple(tangents[i] for i in moved))[0]


class _DifferentiableForward(_Forward, Differentiable):
    pass


class _SmoothForward(_Forward, _Smooth):
    pass


Differentiable.forward_mode, _Smooth.forward_mode = _DifferentiableForward, _SmoothForward


def differentiable(
    value: Callable[..., Any], gradient: Callable[..., Any], formula: Callable[..., Tensor], *inputs: Tensor
) -> Tensor:
    """value(*inputs), with a gradient in closed form; forward mode and further derivatives are those of the formula.

    The formula is the same function, made of torch's own: slower, and right wherever the derivatives exist.
    """
    if in_forward_mode():
        return formula(*inputs)
    return Differentiable.apply(value, gradient, second_of(formula), *inputs)


def smooth(value: Callable[..., Any], gradient: Callable[..., Any], *inputs: Tensor) -> Tensor:
    """value(*inputs), with a gradient in closed form that is made of differentiable functions: it has derivatives."""
    return _Smooth.apply(value, gradient, None, *inputs)


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
