"""The metric matrix of two batches, and the optimal transport that says which of its pairs matter.

    M = same ∘ M⁺ + (1 − same) ∘ M⁻      large for the hard pairs: one class and far apart, two classes and close
    G = exp(−s·M)                        the ground cost, s the sharpness: small for the hard pairs
    T = argmin ⟨T, G⟩ + reg·Σ T(log T − 1) over the plans with uniform marginals: much mass for the hard pairs

Source: Xu et al., "Batch-wise optimal transport loss" (arXiv 1903.08923), corrected as in
docs/guides/batch-transport.md.
"""

from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor

from geomdml._core import checks
from geomdml._core.autograd import operator
from geomdml._core.numerics import result_dtype
from geomdml.transport import Transport, sinkhorn

__all__ = [
    "Form",
    "TooFewPairs",
    "check_margins",
    "check_sharpness",
    "importance_weights",
    "metric_matrix",
    "same_class",
]


def __dir__() -> list[str]:
    return __all__


Form = Literal["squared_distance", "margin"]


class TooFewPairs(ValueError):
    """The pairs that are not excluded have no plan with uniform marginals.

    >>> issubclass(TooFewPairs, ValueError)
    True
    """


def same_class(labels: Integer[Tensor, " B"], ref_labels: Integer[Tensor, " P"]) -> Bool[Tensor, "B P"]:
    """Which pairs of two batches are of one class.

    Args:
        labels, ref_labels: (B,) and (P,) classes, integers of any size and dtype.

    Returns:
        (B, P) true where the classes are equal, on the device of `labels`.

    Raises:
        TypeError, ValueError: labels that are not integers, or not in a row.

    >>> same_class(torch.tensor([0, 1]), torch.tensor([1, 1, 0]))
    tensor([[False, False,  True],
            [ True,  True, False]])
    """
    labels = checks.labels(labels=labels)
    return labels.unsqueeze(1) == checks.labels(device=labels.device, ref_labels=ref_labels)


def metric_matrix(
    dist: Float[Tensor, "*batch B P"],
    same: Bool[Tensor, "*batch B P"],
    *,
    margin: float,
    positive_margin: float = 0.0,
    form: Form = "squared_distance",
) -> Float[Tensor, "*batch B P"]:
    """How badly each pair stands: too far apart for one class, or too close for two.

    | form | one class, M⁺ | two classes, M⁻ |
    |---|---|---|
    | "squared_distance" | d² | relu(ε − d²) |
    | "margin" | relu(d − α)² | relu(ε − d)² |

    Args:
        dist: (..., B, P) distances d between two batches.
        same: (..., B, P) true where a pair is of one class.
        margin: ε > 0, in the unit of what it is compared with: a squared distance, or a distance.
        positive_margin: α ≥ 0, for "margin" only: pairs of one class that are closer cost nothing.
        form: "squared_distance" or "margin".

    Returns:
        (..., B, P) entries ≥ 0.

    Raises:
        ValueError, TypeError: shapes that differ, a margin ≤ 0, α < 0, α with "squared_distance", an unknown form.

    Source: arXiv 1903.08923; α from its published code for ModelNet.

    >>> dist, same = torch.tensor([[3.0, 1.0]]), torch.tensor([[True, False]])
    >>> metric_matrix(dist, same, margin=5.0)
    tensor([[9., 4.]])
    >>> metric_matrix(dist, same, margin=5.0, positive_margin=1.0, form="margin")
    tensor([[ 4., 16.]])
    """
    checks.floating(dist=dist)
    if not isinstance(same, Tensor) or same.dtype != torch.bool:
        raise TypeError(f"same is {getattr(same, 'dtype', type(same).__name__)}; expected a torch.Tensor of torch.bool")
    if dist.ndim < 2 or dist.shape != same.shape:
        raise ValueError(f"dist has shape {tuple(dist.shape)}, same {tuple(same.shape)}; expected (..., B, P) for both")
    check_margins(margin, positive_margin, form)
    dist, same = dist.to(result_dtype(dist)), same.to(dist.device)
    if form == "squared_distance":
        return torch.where(same, dist**2, (margin - dist**2).relu())
    return torch.where(same, dist - positive_margin, margin - dist).relu() ** 2


def importance_weights(
    matrix: Float[Tensor, "*batch B P"],
    *,
    sharpness: float | Literal["relative"] = "relative",
    reg: float = 0.05,
    exclude: Bool[Tensor, "B P"] | None = None,
) -> Transport:
    """The transport plan that puts its mass on the hard pairs, constant in the backward pass.

    Args:
        matrix: (..., B, P) metric matrix M ≥ 0.
        sharpness: s > 0 of the ground cost G = exp(−s·M), one over the unit of M; "relative" is 1/mean M. A fixed s
            tells apart no pairs with s·M above about 5: G is 0 for all of them.
        reg: entropic regularisation > 0, against 0 ≤ G ≤ 1. The plan is uniform where it is large: to 1 % at 100, the
            published setting for MNIST and ModelNet40 (λ = 1/reg = 0.01).
        exclude: (B, P) true for pairs that shall have no mass: the diagonal of one batch against itself.

    Returns:
        The `Transport` of total mass 1 between uniform marginals; its `plan` is T, without gradient.

    Raises:
        ValueError, TypeError: a shape other than (..., B, P), entries below 0, a sharpness or reg ≤ 0, too many pairs
            excluded for uniform marginals.

    Source: arXiv 1903.08923; "relative" and the default reg are ours.

    >>> importance_weights(torch.tensor([[0.0, 2.0], [2.0, 0.0]])).plan.round(decimals=3)  # the hard pairs
    tensor([[0.0000, 0.5000],
            [0.5000, 0.0000]])
    """
    checks.floating(matrix=matrix)
    if matrix.ndim < 2 or 0 in matrix.shape:
        raise ValueError(f"matrix has shape {tuple(matrix.shape)}; expected (..., B, P), none of them 0")
    check_sharpness(sharpness)
    checks.positive(reg=reg)
    matrix = matrix.detach()
    if checks.values_are_checked(matrix) and not bool((matrix >= 0).all()):
        raise ValueError("matrix has entries that are below 0 or NaN; expected a metric matrix, M ≥ 0")
    if exclude is None:
        exclude = torch.zeros(matrix.shape[-2:], dtype=torch.bool, device=matrix.device)
    elif exclude.dtype != torch.bool or exclude.shape != matrix.shape[-2:]:
        raise ValueError(
            f"exclude is {exclude.dtype} of shape {tuple(exclude.shape)}; expected torch.bool of "
            f"{tuple(matrix.shape[-2:])}"
        )
    exclude = exclude.to(matrix.device)
    if sharpness == "relative":
        mean = matrix.masked_fill(exclude, 0.0).sum((-2, -1), keepdim=True) / (~exclude).sum()
        scaled = matrix / mean.clamp_min(torch.finfo(matrix.dtype).tiny)
    else:
        scaled = sharpness * matrix
    cost = torch.exp(-scaled).masked_fill(exclude, _forbidding_cost(reg))
    transport = Transport(*_constant_transport(cost, float(reg)))
    if checks.values_are_checked(matrix) and bool((transport.plan * exclude).sum() > 1e-6):
        raise TooFewPairs(
            "exclude leaves too few pairs for a plan with uniform marginals; expected more pairs, or none excluded"
        )
    return transport._replace(plan=transport.plan.masked_fill(exclude, 0.0))


def _shapes(cost: Tensor, reg: float) -> tuple[Tensor, ...]:
    (*batch, n, m), like = cost.shape, cost.new_empty((), dtype=result_dtype(cost))
    shapes = {"plan": (*batch, n, m), "f": (*batch, n), "g": (*batch, m)}
    dtypes = {"iterations": torch.int64, "converged": torch.bool}
    return tuple(like.new_empty(shapes.get(name, batch), dtype=dtypes.get(name)) for name in Transport._fields)


@operator(f"importance_weights(Tensor cost, float reg) -> ({', '.join(['Tensor'] * len(Transport._fields))})", _shapes)
def _constant_transport(cost: Tensor, reg: float) -> tuple[Tensor, ...]:
    """`sinkhorn` without a gradient, as one operation for torch.compile and for the transforms of `torch.func`."""
    with torch.autocast(cost.device.type, enabled=False):  # bfloat16 has no digits for the marginals
        return tuple(x.contiguous() for x in sinkhorn(cost, reg, grad="none"))


def _forbidding_cost(reg: float) -> float:
    """A ground cost that keeps all mass away, among costs from 0 to 1.

    For a pair (i, i) left out and (k, l) that is not, f_i + g_i = (f_i + g_l) + (f_k + g_i) − (f_k + g_l). Here T ≤ 1/B
    holds the first two below 1 − reg·log B each, and the mass of the heaviest (k, l), at least 1/(3B²), holds the last
    above −reg·log 3B². So the mass of (i, i) is at most 3·exp((2 − cost)/reg): 1e-17.
    """
    return 2 + 40 * reg


def check_margins(margin: float, positive_margin: float, form: Form) -> None:
    """Refuse what `metric_matrix` cannot take."""
    if form not in get_args(Form):
        raise ValueError(f"form = {form!r}; expected one of {', '.join(map(repr, get_args(Form)))}")
    checks.positive(margin=margin)
    if not positive_margin >= 0:
        raise ValueError(f"positive_margin = {positive_margin}; expected at least 0")
    if positive_margin and form == "squared_distance":
        raise ValueError(
            f'positive_margin = {positive_margin} with form="squared_distance"; expected 0, or form="margin"'
        )


def check_sharpness(sharpness: float | str) -> None:
    if isinstance(sharpness, str):
        if sharpness != "relative":
            raise ValueError(f"sharpness = {sharpness!r}; expected a number above 0, or 'relative'")
    else:
        checks.positive(sharpness=sharpness)
