"""How far labels are from plain ones, and plain labels smoothed as far."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from geomdml.reshaping import Balance


def strength(now: Balance) -> Float[Tensor, " M"]:
    """The share of a label that reshaping takes off the own class, mean over the classes: α_m·(1 − mean_c R(c)_c).

    >>> from geomdml.reshaping import balance
    >>> strength(balance(torch.tensor([[[0.7, 0.3], [0.3, 0.7]], [[0.6, 0.4], [0.4, 0.6]]])))
    tensor([0.0000, 0.0409], dtype=torch.float64)
    """
    return now.alpha * (1 - now.relation.diagonal().mean())


def smoothed(labels: Int[Tensor, " B"], num_classes: int, share: float) -> Float[Tensor, "B C"]:
    """Labels of which the own class loses `share`, which the others divide evenly.

    >>> smoothed(torch.tensor([1]), 3, 0.2)
    tensor([[0.1000, 0.8000, 0.1000]])
    """
    own = torch.nn.functional.one_hot(labels, num_classes).float()
    return (1 - share) * own + share * (1 - own) / (num_classes - 1)
