"""The soft minimum of the distances to the K proxies of each class: in one pass on a GPU, where Triton serves.

m = Σ_k w_k d_k,    w = softmax(−d/γ),    ∂m/∂d_k = w_k (1 − (d_k − m)/γ)
"""

from functools import partial

import torch
from torch import Tensor

from geomdml._core import autograd, checks
from geomdml._core.all_pairs import fused


def soft_minimum(dist: Tensor, gamma: float | Tensor) -> Tensor:
    """Σ_k softmax_k(−d_k/γ)·d_k of (B, C, K), as (B, C)."""
    if _in_one_pass(dist, gamma):
        width = float(gamma)
        return autograd.smooth(partial(fused.soft_minimum, gamma=width), partial(_gradient, gamma=width), dist)
    return _formula(dist, gamma)


def _in_one_pass(dist: Tensor, gamma: float | Tensor) -> bool:
    if torch.compiler.is_compiling() or checks.transformed(dist) or autograd.in_forward_mode():
        return False
    return dist.dtype == torch.float32 and not isinstance(gamma, Tensor) and fused.serves(dist)


def _formula(dist: Tensor, gamma: float | Tensor) -> Tensor:
    dist = dist.transpose(1, 2).contiguous()  # over a short last dimension a softmax is several times slower
    return (torch.softmax(-dist / gamma, dim=1) * dist).sum(1)


def _gradient(g: Tensor, dist: Tensor, gamma: float) -> tuple[Tensor]:
    if not torch.is_grad_enabled():
        return (fused.soft_minimum_gradient(g, dist, gamma),)
    weights = torch.softmax(-dist / gamma, dim=-1)  # of torch's functions, for it is differentiated again
    mean = (weights * dist).sum(-1, keepdim=True)
    return (g.unsqueeze(-1) * weights * (1 - (dist - mean) / gamma),)
