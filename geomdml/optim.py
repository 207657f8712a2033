"""Adam on the rows that a step uses: the others, and their moments, are not touched."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

__all__ = ["RowAdam"]


class RowAdam(torch.optim.Optimizer):
    """Adam for parameters with sparse gradients, whose rows it steps alone, and for those with dense ones.

    Args:
        lr: Learning rate.
        betas: Decay of the mean of gradients and of their squares, at the steps that use a row.
        eps: Added to the root of the second.
        weight_decay: Share of a parameter, or of a row that a step uses, that lr takes off beside the step (AdamW).

    Source: Kingma and Ba, "Adam" (2015); Loshchilov and Hutter (2019) for the decay; that rows wait is
    `torch.optim.SparseAdam`, which refuses dense gradients.

    >>> table = torch.nn.Embedding(4, 2, sparse=True)
    >>> before, optimizer = table.weight.detach().clone(), RowAdam(table.parameters(), lr=0.1)
    >>> table(torch.tensor([1])).sum().backward()
    >>> optimizer.step()
    >>> (table.weight != before).any(1)
    tensor([False,  True, False, False])
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure=None):
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._step(parameter, group)
        return loss

    def preconditioner(self, parameter: Tensor, rows: Tensor) -> Callable[[Tensor], Tensor]:
        """The symmetric linear map that the gradients of these rows go through before Adam, and its steps after it."""
        return lambda values: values

    def _step(self, parameter: Tensor, group: dict) -> None:
        state = self.state[parameter]
        if not state:
            state |= {"step": 0, "mean": torch.zeros_like(parameter), "square": torch.zeros_like(parameter)}
        state["step"] += 1
        grad = parameter.grad
        assert grad is not None
        if grad.is_sparse:
            grad = grad.coalesce()
            rows, values = grad.indices()[0], grad.values()
            mean, square = (state[name].index_select(0, rows) for name in ("mean", "square"))
        else:
            rows, values, mean, square = None, grad, state["mean"], state["square"]
        scaled = self.preconditioner(parameter, parameter if rows is None else parameter.index_select(0, rows))
        values = scaled(values)
        first, second = group["betas"]
        mean.lerp_(values, 1 - first)
        square.mul_(second).addcmul_(values, values, value=1 - second)
        corrected = (square / (1 - second ** state["step"])).sqrt_().add_(group["eps"])
        change = scaled(mean / corrected * (-group["lr"] / (1 - first ** state["step"])))
        kept = 1 - group["lr"] * group["weight_decay"]
        if rows is None:
            parameter.mul_(kept).add_(change)
            return
        # by index_select and index_copy_: several times faster than by [rows] where the rows lie far apart
        for table, values in ((state["mean"], mean), (state["square"], square)):
            table.index_copy_(0, rows, values)
        parameter.index_copy_(0, rows, parameter.index_select(0, rows).mul_(kept).add_(change))
