"""On-the-fly gradient modulation with generalisation enhancement (OGM-GE): the leading modality is slowed down.

Source: Peng, Wei, Deng, Wang and Hu, "Balanced multimodal learning via on-the-fly gradient modulation" (CVPR 2022,
arXiv 2203.15332). Equation (8) has the scores and (10) the coefficients; so do the authors number them in public. The
discrepancy ratio and the noise have numbers too, which we have not seen.
"""

from collections.abc import Iterable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


def discrepancy(contributions: Float[Tensor, "2 B C"], labels: Int[Tensor, " B"]) -> Float[Tensor, "2"]:
    """ρ of each of two modalities: the sum of its scores over that of the other's.

    The score of a sample is the softmax, at its own class, of what the modality alone gives to the fused logits:
    W_m φ_m + b/2 (equation 8).

    Raises:
        ValueError: not two modalities.

    >>> sure, unsure = torch.tensor([[50.0, 0.0]]), torch.tensor([[0.0, 0.0]])
    >>> discrepancy(torch.stack([sure, unsure]), torch.tensor([0]))
    tensor([2.0000, 0.5000])
    """
    if len(contributions) != 2:
        raise ValueError(f"OGM-GE is defined for 2 modalities; there are {len(contributions)}")
    scores = contributions.softmax(-1)[:, torch.arange(len(labels)), labels].sum(-1)
    return scores / scores.flip(0)


def coefficients(ratio: Float[Tensor, "2"], alpha: float) -> Float[Tensor, "2"]:
    """k = 1 − tanh(α·ρ) where ρ > 1, else 1 (equation 10).

    >>> coefficients(torch.tensor([2.0, 0.5]), alpha=0.1)
    tensor([0.8026, 1.0000])
    """
    return torch.where(ratio > 1, 1 - torch.tanh(alpha * ratio), 1.0)


@torch.no_grad()
def modulate(parameters: Iterable[nn.Parameter], coefficient: Float[Tensor, ""]) -> None:
    """g ← k·g + ε in each weight of an encoder, ε ~ N(0, s²) with s the deviation of the entries of its g.

    As in the published code the covariance of the gradient is that of a tensor's entries, and weights of layers are
    modulated while biases and norms are not. Random numbers come from torch's global generator.
    """
    for weight in parameters:
        if weight.grad is not None and weight.ndim > 1:
            noise = torch.randn_like(weight.grad) * weight.grad.std()
            weight.grad.mul_(coefficient).add_(noise)
