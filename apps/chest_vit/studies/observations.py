"""What a training of CHEST shows beside its scores: gradients of its halves, and what the radii go with."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor

from geomdml.losses.chest import CHESTTerms


def gradient_norms(terms: CHESTTerms, features: Tensor) -> dict[str, float]:
    """Norms of what either half asks of the backbone's features (B, D), and the cosine between the two.

    >>> x = torch.tensor([[3.0, 4.0]], requires_grad=True)
    >>> gradient_norms(CHESTTerms(x.sum(), x[0, 0], 2 * x[0, 0], None), x)
    {'gradient, H': 1.0, 'gradient, E': 2.0, 'gradient, cosine': 1.0}
    """
    halves = {"H": terms.hyperbolic, "E": terms.euclidean}
    found = {
        name: torch.autograd.grad(term, features, retain_graph=True)[0].double().flatten()
        for name, term in halves.items()
        if term is not None
    }
    norms = {f"gradient, {name}": float(gradient.norm()) for name, gradient in found.items()}
    if len(found) < 2:
        return norms
    return norms | {"gradient, cosine": float(found["H"] @ found["E"]) / (norms["gradient, H"] * norms["gradient, E"])}


def means(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """The mean of each value over the rows.

    >>> means([{"a": 1.0}, {"a": 2.0}])
    {'a': 1.5}
    """
    return {name: sum(row[name] for row in rows) / len(rows) for name in (rows[0] if rows else ())}


def ambiguity(embeddings: Tensor, labels: Tensor) -> Tensor:
    """How much nearer an image is to another class than to its own, by the cosine; NaN where its class has no other.

    The distance to the nearest of its class over the distance to the nearest of another: above 1 it is mistaken.

    >>> ambiguity(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]), torch.tensor([0, 0, 1]))
    tensor([0.7071, 1.0000,    nan])
    """
    x = torch.nn.functional.normalize(embeddings)
    place = torch.arange(len(x), device=x.device)
    found: list[Tensor] = []
    for some, own, rows in zip(x.split(1024), labels.split(1024), place.split(1024), strict=True):
        distance = (2 - 2 * some @ x.mT).clamp(min=0).sqrt()
        same = own[:, None] == labels
        to_own = distance.masked_fill(~same | (rows[:, None] == place), math.inf).amin(1)
        to_other = distance.masked_fill(same, math.inf).amin(1)
        found.append((to_own / to_other).masked_fill(to_own.isinf(), math.nan))
    return torch.cat(found)


def correlation(a: Tensor, b: Tensor) -> float:
    """Spearman's rank correlation over the pairs that are finite.

    >>> correlation(torch.tensor([1.0, 2.0, 3.0, float("nan")]), torch.tensor([1.0, 4.0, 9.0, 0.0]))
    1.0
    """
    pairs = torch.stack([a.double(), b.double()]).cpu().numpy()
    pairs = pairs[:, np.isfinite(pairs).all(0)]
    if pairs.shape[1] < 2 or (pairs == pairs[:, :1]).all(1).any():  # no order to compare
        return math.nan
    return float(spearmanr(*pairs).statistic)
