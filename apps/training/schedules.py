"""How the learning rate goes."""

import math

import torch


def warm_cosine(optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LambdaLR:
    """Every rate rises over the first tenth of the steps, and falls to 0 by a cosine.

    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    >>> warm_cosine(optimizer, 20).lr_lambdas[0](0)
    0.5
    """
    rise = max(1, steps // 10)

    def factor(step: int) -> float:
        return min(1.0, (step + 1) / rise) * (0.5 + 0.5 * math.cos(math.pi * min(1.0, step / max(1, steps))))

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
