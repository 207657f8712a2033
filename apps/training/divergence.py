"""The check that a training has not diverged."""

from torch import Tensor


class Diverged(ValueError):
    """A step has no finite loss, so there is nothing to learn from."""


def check_finite(values: Tensor, name: str, *, step: int) -> None:
    """Stop a step whose values, called `name` in the message, are not all finite.

    Args:
        step: the number of the step, from 1.

    Raises:
        Diverged: NaN or an infinite value.
    """
    if not bool(values.isfinite().all()):
        what = f"{name} is {float(values.detach())}" if values.ndim == 0 else f"{name} has NaN or infinite values"
        raise Diverged(
            f"training diverged before step {step}: {what}; lower --model.lr, or set --trainer.gradient_clip_val"
        )
