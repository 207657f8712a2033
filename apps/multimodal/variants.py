"""Two variants of label-space reshaping that were tried beside it, see docs/reports/multimodal.md."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from geomdml._core.numerics import result_form
from geomdml.reshaping import Balance, LabelReshaper, reshaped_labels
from geomdml.reshaping.curves import Curves, crossing


class ByClass(LabelReshaper):
    """The difficulty is balanced class by class: α_m(c) is the least share with D_m,c(α) = min_j D_j,c(0).

    A modality that is the stronger one on the whole has its labels reshaped too, for the classes that it finds harder.
    `balance()` has the means over the classes.

    >>> reshaper = ByClass(num_classes=2, modalities=2)
    >>> first, second = torch.tensor([[9.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0], [0.0, 9.0]])
    >>> targets = reshaper([first, second], torch.tensor([0, 1]))
    >>> (targets[:, [0, 1], [0, 1]] < 1).tolist()  # whether the own class gave something away
    [[False, True], [True, False]]
    """

    def forward(self, logits, labels: Int[Tensor, " B"]) -> Float[Tensor, "M B C"]:
        if self.training:
            self.observe(logits, labels)
        alpha, _, now = self._class_wise()
        plain, whole = (reshaped_labels(labels, torch.full_like(now.alpha, a), now.relation) for a in (0.0, 1.0))
        share = alpha[:, labels, None]
        return ((1 - share) * plain + share * whole).to(**result_form(*logits))

    def balance(self) -> Balance:
        return self._class_wise()[2]

    @torch.no_grad()
    def _class_wise(self) -> tuple[Float[Tensor, "M C"], Float[Tensor, "M C"], Balance]:
        """α and the difficulty under it of each modality and class, and the means of all."""
        log_q = self.predictions().log()
        log_relation = log_q.mean(0).log_softmax(-1)
        together = Curves.of(log_relation, log_q)
        shape = together.surprise.shape
        curves = Curves(*(part.expand(shape).reshape(-1, 1) for part in together))  # each class a problem of its own
        zero = log_q.new_zeros(shape.numel())
        before = curves.value(zero).view(shape)
        target = before.amin(0).expand(shape)
        upper = crossing(lambda alpha: -curves.slope(alpha), zero + self.max_alpha)
        root = crossing(lambda alpha: curves.value(alpha) - target.flatten(), upper)
        alpha = torch.where(before > target, root.view(shape), 0.0)
        after = curves.value(alpha.flatten()).view(shape)
        reached = (before == target) | (curves.value(upper).view(shape) <= target)
        means = Balance(
            alpha.mean(-1), log_relation.exp(), before.mean(-1), after.mean(-1), target[0].mean(), reached.all(-1)
        )
        return alpha, after, means


class FromStrongest(LabelReshaper):
    """The class relation is what the strongest modality alone takes a class for: the others learn it from that one.

    >>> reshaper = FromStrongest(num_classes=2, modalities=2)
    >>> _ = reshaper([torch.tensor([[3.0, 0.0], [0.0, 3.0]]), torch.zeros(2, 2)], torch.tensor([0, 1]))
    >>> bool(torch.equal(reshaper.balance().relation, reshaper.predictions()[0]))
    True
    """

    @torch.no_grad()
    def balance(self) -> Balance:
        log_q = self.predictions().log()
        zero = log_q.new_zeros(self.modalities)
        strongest = int(log_q.diagonal(dim1=1, dim2=2).mean(-1).argmax())
        curves = Curves.of(log_q[strongest], log_q)
        before = curves.value(zero)
        target = before.min()
        upper = crossing(lambda alpha: -curves.slope(alpha), zero + self.max_alpha)
        root = crossing(lambda alpha: curves.value(alpha) - target, upper)
        alpha = torch.where(before > target, root, 0.0)
        reached = (before == target) | (curves.value(upper) <= target)
        return Balance(alpha, log_q[strongest].exp(), before, curves.value(alpha), target, reached)
