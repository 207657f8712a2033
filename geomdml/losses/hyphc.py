"""Hyperbolic hierarchical clustering of proxies, as a regulariser."""

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from geomdml._core import checks
from geomdml._core.processes import Group, total
from geomdml.losses._over_shards import class_counts, own_triplets
from geomdml.losses.functional import Reduction, hyphc
from geomdml.losses.triplets import distances_and_depths
from geomdml.spaces import Hyperbolic, in_tangent_chart

__all__ = ["HypHCLoss", "draw_triplets"]


class HypHCLoss(nn.Module):
    """HypHC triplet loss on proxies: those of one class get a deeper common ancestor than those of two classes.

    Args:
        space: hyperbolic, in the "tangent" chart; None: it comes with each call.
        triplets: triplets drawn at each call, M ≥ 1; None draws one for each class.
        gamma: temperature γ_hyp > 0 of the softmax over depths.
        form: "depth" (lowest common ancestor, as in HypHC) or "distance" (as equation (9) is printed: pushes the
            positive pair apart).
        live: let gradients flow through the similarities too (they then push every pair apart).

    Raises:
        ValueError: one proxy a class or one class (no triplet exists), a space in another chart, an unknown form.

    Source: CHEST (arXiv 2510.05643) equations (8) and (9); Chami et al. (2020).

    >>> HypHCLoss(space=Hyperbolic(c=0.5))(torch.randn(5, 2, 8)).shape
    torch.Size([])
    """

    def __init__(
        self,
        *,
        space: Hyperbolic | None = None,
        triplets: int | None = None,
        gamma: float = 1.0,
        form: Literal["depth", "distance"] = "depth",
        live: bool = False,
    ) -> None:
        super().__init__()
        if form not in ("depth", "distance"):
            raise ValueError(f"form = {form!r}; expected 'depth' or 'distance'")
        self.space = space if space is None else in_tangent_chart(space)
        self.triplets = triplets if triplets is None else checks.integer(1, triplets=triplets)
        self.gamma, self.form, self.live = gamma, form, live

    def forward(
        self,
        proxies: Float[Tensor, "C K D"],
        *,
        space: Hyperbolic | None = None,
        generator: torch.Generator | None = None,
        group: Group | None = None,
    ) -> Tensor:
        """The loss of proxies (C, K, D); with a `group` of processes, of those that each has, one after another."""
        checks.vectors(proxies=proxies)
        if proxies.ndim != 3 or not len(proxies):
            raise ValueError(f"proxies has shape {tuple(proxies.shape)}; expected (C, K, D), none of them 0")
        centers, counts = proxies.shape[1], class_counts(proxies, group)
        count = self.triplets or sum(counts)
        triplets = draw_triplets(sum(counts), centers, count, proxies.device, generator)
        points, c = proxies.flatten(0, 1), in_tangent_chart(space or self.space).c
        if group is None:
            return self._of_triplets(points, triplets, c, "mean")
        points, triplets = own_triplets(points, triplets, [centers * each for each in counts], group)
        own = self._of_triplets(points, triplets, c, "sum") if len(triplets) else 0 * points.sum()
        return total(own, group) / count

    def _of_triplets(self, points: Tensor, triplets: Tensor, c: float | Tensor, reduction: Reduction) -> Tensor:
        dist, depth = distances_and_depths(points, triplets, c=c)
        similarity = torch.exp(-dist if self.live else -dist.detach())
        return hyphc(similarity, depth if self.form == "depth" else dist, gamma=self.gamma, reduction=reduction)


def draw_triplets(
    classes: int,
    centers: int,
    count: int,
    device: torch.device | str = "cpu",
    generator: torch.Generator | None = None,
) -> Int[Tensor, "M 3"]:
    """Indices into the C·K proxies: an anchor, another proxy of its class, a proxy of another class; all uniform.

    Raises:
        ValueError: fewer than two proxies a class, or fewer than two classes.

    >>> anchor, positive, negative = (draw_triplets(4, 3, 100) // 3).T
    >>> bool((anchor == positive).all()), bool((anchor == negative).any())
    (True, False)
    """
    if centers < 2:
        raise ValueError(
            f"centers_per_class = {centers}: a triplet needs two proxies of one class; expected K ≥ 2, or τ = 0"
        )
    if classes < 2:
        raise ValueError(f"num_classes = {classes}: a triplet needs a proxy of another class; expected at least 2")

    def draw(low: int, high: int) -> Tensor:
        return torch.randint(low, high, (count,), generator=generator).to(device, non_blocking=True)

    anchor, negative_class = draw(0, classes), draw(1, classes)
    first, second, third = draw(0, centers), draw(1, centers), draw(0, centers)
    return torch.stack(
        [
            anchor * centers + first,
            anchor * centers + (first + second) % centers,
            (anchor + negative_class) % classes * centers + third,
        ],
        dim=1,
    )
