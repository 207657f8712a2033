"""How hard the labels are for each modality, and the least mixing that makes them equally hard.

Q_m(c) is the mean distribution that modality m predicts for samples of class c, R(c) their normalised geometric mean
over the modalities, L_α(c) = (1 − α)·e_c + α·R(c) the reshaped label, and the difficulty of m is

    D_m(α) = mean_c KL(L_α(c) ‖ Q_m(c)).

The construction is ours, made from the abstract of "Balancing Multimodal Learning through Label Space Reshaping"
(arXiv 2605.28869); it is not the paper's, whose text we do not have.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from geomdml._core import checks
from geomdml._core.numerics import wide
from geomdml.reshaping.curves import Curves, crossing

__all__ = ["Balance", "balance", "check_max_alpha", "class_relation", "difficulty", "reshaped_labels"]


def __dir__() -> list[str]:
    return __all__


class Balance(NamedTuple):
    """How M modalities stand over C classes, and what balances them; float64, without gradient.

    alpha: (M,) the share of each modality's label that is moved to the class relation; 0 for the strongest.
    relation: (C, C) class relation R, one distribution a row.
    before, after: (M,) difficulties D_m(0) and D_m(α_m), in nats.
    target: D*, the least of `before`.
    reached: (M,) whether `after` equals the target; where not, α is where D_m is least in [0, max_alpha].
    """

    alpha: Float[Tensor, " M"]
    relation: Float[Tensor, "C C"]
    before: Float[Tensor, " M"]
    after: Float[Tensor, " M"]
    target: Float[Tensor, ""]
    reached: Bool[Tensor, " M"]


def class_relation(predictions: Float[Tensor, "M C C"]) -> Float[Tensor, "C C"]:
    """Which classes the modalities together take a class for: R(c) ∝ Π_m Q_m(c)^(1/M).

    Args:
        predictions: (M, C, C) class-wise predictions Q, strictly positive; Q[m, c] sums to 1.

    Returns:
        (C, C) relation in float64, without gradient; R[c] sums to 1.

    Raises:
        ValueError, TypeError: another shape, fewer than 2 classes, entries ≤ 0, rows that do not sum to 1.

    Source: our construction, see docs/guides/reshaping.md.

    >>> sure, unsure = torch.tensor([[0.8, 0.2], [0.2, 0.8]]), torch.tensor([[0.5, 0.5], [0.5, 0.5]])
    >>> class_relation(torch.stack([sure, unsure]))  # 2 to 1, the root of 4 to 1
    tensor([[0.6667, 0.3333],
            [0.3333, 0.6667]], dtype=torch.float64)
    """
    _class_wise(predictions)
    return _log_relation(_logs(predictions)).exp()


def difficulty(
    alpha: Float[Tensor, " M"], relation: Float[Tensor, "C C"], predictions: Float[Tensor, "M C C"]
) -> Float[Tensor, " M"]:
    """How far each modality's predictions are from its labels: D_m(α_m) = mean_c KL(L_{α_m}(c) ‖ Q_m(c)), in nats.

    Convex in α, with slope −∞ at 0, where it is the mean of −log Q_m(c)_c.

    Args:
        alpha: (M,) one share in [0, 1] a modality.
        relation: (C, C) class relation R, one distribution a row.
        predictions: (M, C, C) class-wise predictions Q, as of `class_relation`.

    Returns:
        (M,) difficulties ≥ 0 in float64, without gradient.

    Raises:
        ValueError, TypeError: shapes that do not match, α outside [0, 1], a relation or predictions that are not
            distributions with nothing at 0.

    Source: our construction, see docs/guides/reshaping.md.

    >>> predictions = torch.tensor([[[0.8, 0.2], [0.2, 0.8]], [[0.5, 0.5], [0.5, 0.5]]])
    >>> difficulty(torch.zeros(2), class_relation(predictions), predictions)  # −log 0.8 and log 2
    tensor([0.2231, 0.6931], dtype=torch.float64)
    """
    modalities, classes, _ = _class_wise(predictions)
    _mixing(alpha, relation, modalities, classes)
    return Curves.of(_logs(relation), _logs(predictions)).value(wide(alpha.detach()))


def balance(predictions: Float[Tensor, "M C C"], *, max_alpha: float = 0.5) -> Balance:
    """The least α_m with D_m(α_m) = D* = min_j D_j(0): every modality as hard off as the one that is best off.

    The smallest root is sought in [0, min(argmin D_m, max_alpha)]; without one, α_m is the upper end, so that
    D* < D_m(α_m) ≤ D_m(α) for all α ≤ max_alpha. The strongest modality gets 0, equal ones all get 0, and α depends
    continuously on the predictions. Since max_alpha ≤ ½, 1 − α ≥ α > α·(R_k − R_c): whatever the relation, each class
    stays on top of its own label.

    Args:
        predictions: (M, C, C) class-wise predictions Q, as of `class_relation`.
        max_alpha: ᾱ in (0, ½], the most of a label that may be moved.

    Returns:
        `Balance`: α, the relation, the difficulties before and after, the target, and whether it was reached.

    Raises:
        ValueError, TypeError: predictions that `class_relation` refuses, max_alpha outside (0, ½].

    Source: our construction, see docs/guides/reshaping.md.

    >>> result = balance(torch.tensor([[[0.7, 0.3], [0.3, 0.7]], [[0.6, 0.4], [0.4, 0.6]]]))
    >>> result.alpha, result.before, result.after  # doctest: +NORMALIZE_WHITESPACE
    (tensor([0.0000, 0.1174], dtype=torch.float64),
     tensor([0.3567, 0.5108], dtype=torch.float64),
     tensor([0.3567, 0.3567], dtype=torch.float64))
    """
    check_max_alpha(max_alpha)
    _class_wise(predictions)
    log_q = _logs(predictions)
    log_relation = _log_relation(log_q)
    curves = Curves.of(log_relation, log_q)
    zero = log_q.new_zeros(len(log_q))
    before = curves.value(zero)
    target = before.min()
    upper = crossing(lambda alpha: -curves.slope(alpha), zero + max_alpha)
    root = crossing(lambda alpha: curves.value(alpha) - target, upper)
    alpha = torch.where(before > target, root, 0.0)
    return Balance(
        alpha=alpha,
        relation=log_relation.exp(),
        before=before,
        after=curves.value(alpha),
        target=target,
        reached=(before == target) | (curves.value(upper) <= target),
    )


def reshaped_labels(
    labels: Int[Tensor, " B"], alpha: Float[Tensor, " M"], relation: Float[Tensor, "C C"]
) -> Float[Tensor, "M B C"]:
    """L_m(c) = (1 − α_m)·e_c + α_m·R(c), for each modality and label: soft targets for the modality's loss.

    Args:
        labels: (B,) class indices.
        alpha: (M,) one share in [0, 1] a modality.
        relation: (C, C) class relation R, one distribution a row.

    Returns:
        (M, B, C) distributions in float64, without gradient.

    Raises:
        ValueError, TypeError: shapes that do not match, labels outside 0…C−1, α outside [0, 1], a relation whose rows
            are not distributions with nothing at 0.

    Source: our construction, see docs/guides/reshaping.md.

    >>> relation = torch.tensor([[0.75, 0.25], [0.25, 0.75]])
    >>> reshaped_labels(torch.tensor([1]), torch.tensor([0.0, 0.4]), relation)
    tensor([[[0.0000, 1.0000]],
    <BLANKLINE>
            [[0.1000, 0.9000]]], dtype=torch.float64)
    """
    checks.floating(relation=relation)
    classes = relation.shape[-1] if relation.ndim else 0
    _mixing(alpha, relation, len(alpha) if alpha.ndim else 0, classes)
    labels = checks.labels(None, classes, device=relation.device, labels=labels)
    relation = wide(relation.detach())
    share = wide(alpha.detach())[:, None, None]
    own = torch.nn.functional.one_hot(labels, classes)
    return (1 - share) * own + share * relation[labels]


def _logs(distributions: Tensor) -> Tensor:
    return wide(distributions.detach()).log()


def _log_relation(log_q: Tensor) -> Tensor:
    return log_q.mean(0).log_softmax(-1)


def check_max_alpha(max_alpha: float) -> None:
    """Refuse a largest share outside (0, ½]: with more, a class need not stay on top of its own label."""
    checks.positive(max_alpha=max_alpha)
    if max_alpha > 0.5:
        raise ValueError(
            f"max_alpha = {max_alpha}; expected at most 0.5, which keeps each class on top of its own label"
        )


def _class_wise(predictions: Tensor) -> torch.Size:
    checks.floating(predictions=predictions)
    shape = tuple(predictions.shape)
    if len(shape) != 3 or shape[0] < 1 or shape[1] != shape[2] or shape[1] < 2:
        raise ValueError(f"predictions has shape {shape}; expected (M, C, C), M ≥ 1 modalities by C ≥ 2 classes twice")
    _distributions(predictions=predictions)
    return predictions.shape


def _mixing(alpha: Tensor, relation: Tensor, modalities: int, classes: int) -> None:
    checks.floating(alpha=alpha, relation=relation)
    if relation.shape != (classes, classes) or classes < 2:
        wanted = f"({classes}, {classes})" if classes > 1 else "(C, C) with C ≥ 2"
        raise ValueError(f"relation has shape {tuple(relation.shape)}; expected {wanted}")
    if alpha.shape != (modalities,) or modalities < 1:
        raise ValueError(f"alpha has shape {tuple(alpha.shape)}; expected ({modalities or 'M'},), one a modality")
    if checks.values_are_checked(alpha) and not bool(((alpha >= 0) & (alpha <= 1)).all()):
        raise ValueError(f"alpha = {alpha.detach().tolist()}; expected shares from 0 to 1")
    _distributions(relation=relation)


def _distributions(**tensors: Tensor) -> None:
    for name, rows in tensors.items():
        if not checks.values_are_checked(rows):
            continue
        if not bool((rows > 0).all()):  # NaN as well
            raise ValueError(f"{name} has entries that are not above 0; mix in a little of the uniform distribution")
        error = float((rows.detach().sum(-1) - 1).abs().max())
        if not error <= 1e-2:
            raise ValueError(f"{name} has rows that miss the sum 1 by up to {error:.3g}; expected distributions")
