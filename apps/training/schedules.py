"""Learning-rate schedules: `warm_cosine` of sketch, shape3d and multimodal, `warmup_then_cosine` of chest_vit."""

import math

import torch


def warm_cosine(optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LambdaLR:
    """Every rate rises over the first tenth of the steps, and falls to 0 by a cosine over all of them.

    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    >>> warm_cosine(optimizer, 20).lr_lambdas[0](0)
    0.5
    """
    rise = max(1, steps // 10)

    def factor(step: int) -> float:
        return min(1.0, (step + 1) / rise) * (0.5 + 0.5 * math.cos(math.pi * min(1.0, step / max(1, steps))))

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def warmup_then_cosine(
    optimizer: torch.optim.Optimizer, steps: int, *, warmup: float
) -> torch.optim.lr_scheduler.LambdaLR:
    """Every rate rises over the share `warmup` of the steps, and falls to 0 by a cosine over the others.

    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    >>> warmup_then_cosine(optimizer, 20, warmup=0.2).lr_lambdas[0](0)
    0.25
    """
    rise = max(1, round(warmup * steps))

    def factor(step: int) -> float:
        return min((step + 1) / rise, 0.5 + 0.5 * math.cos(math.pi * max(0, step - rise) / max(1, steps - rise)))

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
