"""CHEST: combined hyperbolic and Euclidean soft triple loss."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from geomdml._core import checks
from geomdml._core.processes import Group
from geomdml.losses._class_sampling import Others
from geomdml.losses._over_shards import in_mean_units, soft_triple
from geomdml.losses.hyphc import HypHCLoss
from geomdml.losses.proxies import Picked
from geomdml.losses.sharded_proxies import make_proxies
from geomdml.nn import HyperbolicHead
from geomdml.spaces import Euclidean, Hyperbolic, Space

__all__ = ["CHESTLoss", "CHESTTerms"]


class CHESTTerms(NamedTuple):
    """The parts of the loss: total = η_H·hyperbolic + η_E·euclidean + τ·regulariser; None where its weight is 0."""

    total: Tensor
    hyperbolic: Tensor | None
    euclidean: Tensor | None
    regulariser: Tensor | None


class CHESTLoss(nn.Module):
    """SoftTriple in hyperbolic and in Euclidean space at once, with proxies shared by both and kept apart by HypHC.

    The proxies live in the Euclidean space of the backbone's features and reach hyperbolic space through the same head
    as the data. With η_H = 0 the Euclidean loss is taken on the head's output (before clipping), as in the paper's
    ablation; with both, on the backbone's.

    Either half, and the regulariser, can be another loss: a module called with (embeddings, labels). The proxies are
    those of the SoftTriple halves; where both are replaced there are none, and HypHC has nothing to keep apart.

    Args:
        num_classes, in_features: number of classes C, dimension of the backbone's features.
        centers_per_class: proxies a class, K; at least 2 where τ > 0.
        eta_h, eta_e, tau: weights η_H, η_E, τ ≥ 0 of the three terms.
        gamma_h, gamma_e, scale_h, scale_e, margin_h, margin_e: γ, λ and δ in either space, in units of distance.
        relative: measure the distances of each space in units of their mean over the batch. The paper takes them raw;
            its settings (γ = 5, λ = 20, δ of 1 to 20) then saturate on a backbone with features of norm 30.
        gamma_hyp, triplets, hyphc_form, hyphc_live: see `HypHCLoss`; triplets=None draws C of them.
        proxy_radius: the norm at which random proxies start, before `proxies.start_at` puts them among the features.
        hyperbolic, euclidean: losses in place of SoftTriple, of tangent vectors and of Euclidean embeddings.
        regulariser: a loss of tangent vectors in place of HypHC, such as `HIERLoss`.
        sample, others, shards: as for `SoftTripleLoss`. Both halves compare with the same classes, and HypHC's triplets
            are of these, one for each where `triplets` is None.

    Raises:
        ValueError: HypHC (τ > 0) with K = 1, one class or no SoftTriple half, no η above 0, a negative weight, labels
            outside 0…C−1.

    Source: arXiv 2510.05643, equations (5) to (10), with the corrections in docs/guides/chest.md.

    >>> import torch
    >>> from geomdml.spaces import Hyperbolic
    >>> head = HyperbolicHead(16, 8, space=Hyperbolic(c=0.5))
    >>> loss = CHESTLoss(5, 16, centers_per_class=2)
    >>> loss(torch.randn(4, 16), torch.tensor([0, 1, 2, 3]), head=head).shape
    torch.Size([])
    """

    def __init__(
        self,
        num_classes: int,
        in_features: int,
        *,
        centers_per_class: int = 2,
        eta_h: float = 1.0,
        eta_e: float = 1.0,
        tau: float = 0.5,
        gamma_h: float = 0.2,
        gamma_e: float = 0.2,
        scale_h: float = 20.0,
        scale_e: float = 20.0,
        margin_h: float = 0.1,
        margin_e: float = 0.1,
        relative: bool = True,
        gamma_hyp: float = 1.0,
        triplets: int | None = None,
        hyphc_form: Literal["depth", "distance"] = "depth",
        hyphc_live: bool = False,
        proxy_radius: float = 1.0,
        hyperbolic: nn.Module | None = None,
        euclidean: nn.Module | None = None,
        regulariser: nn.Module | None = None,
        sample: float = 1.0,
        others: Others = "random",
        shards: Group | bool = False,
    ) -> None:
        super().__init__()
        if min(eta_h, eta_e, tau) < 0 or max(eta_h, eta_e) == 0:
            raise ValueError(
                f"weights η_H = {eta_h}, η_E = {eta_e}, τ = {tau}; expected none below 0, and η_H or η_E above 0"
            )
        soft_triple_halves = (eta_h > 0 and hyperbolic is None) or (eta_e > 0 and euclidean is None)
        if tau > 0 and regulariser is None:
            if not soft_triple_halves:
                raise ValueError(
                    f"τ = {tau} and neither half is SoftTriple: HypHC keeps its proxies apart, and there are none; set "
                    "τ = 0, or another regulariser"
                )
            if centers_per_class < 2 or num_classes < 2:
                raise ValueError(
                    f"τ = {tau} with centers_per_class = {centers_per_class} and num_classes = {num_classes}: HypHC "
                    "needs two proxies of one class and a second class; set centers_per_class ≥ 2, or τ = 0"
                )
        sizes = {"num_classes": num_classes, "in_features": in_features, "centers_per_class": centers_per_class}
        self.proxies = (
            make_proxies(**sizes, radius=proxy_radius, sample=sample, others=others, shards=shards)
            if soft_triple_halves
            else None
        )
        if self.proxies is None and (sample != 1 or shards):
            raise ValueError(
                f"sample = {sample}, shards = {shards}, and neither half is SoftTriple: there are no proxies to choose"
            )
        self.hyperbolic, self.euclidean, self.regulariser = hyperbolic, euclidean, regulariser
        self.eta_h, self.eta_e, self.tau, self.relative = eta_h, eta_e, tau, relative
        self.settings_h = {"gamma": gamma_h, "scale": scale_h, "margin": margin_h}
        self.settings_e = {"gamma": gamma_e, "scale": scale_e, "margin": margin_e}
        self.hyphc = HypHCLoss(triplets=triplets, gamma=gamma_hyp, form=hyphc_form, live=hyphc_live)

    def terms(
        self,
        features: Float[Tensor, "B D"],
        labels: Int[Tensor, " B"] | Float[Tensor, "B C"],
        *,
        head: HyperbolicHead,
    ) -> CHESTTerms:
        """The weighted sum and its parts; arguments as of the call."""
        checks.batch(features=features)
        hyperbolic = euclidean = regulariser = None
        total = torch.zeros((), device=features.device)
        picked = None if self.proxies is None else self.proxies.pick(labels)
        if self.eta_h > 0 or self.tau > 0:
            vectors, proxies = head(features), _mapped(picked, head)
        if self.eta_h > 0:
            hyperbolic = (
                self._soft_triple(vectors, proxies, head.space, self.settings_h)
                if self.hyperbolic is None
                else self.hyperbolic(vectors, labels)
            )
            total = total + self.eta_h * hyperbolic
        if self.eta_e > 0:
            place = nn.Identity() if self.eta_h > 0 else head.tangent
            euclidean = (
                self._soft_triple(place(features), _mapped(picked, place), Euclidean(), self.settings_e)
                if self.euclidean is None
                else self.euclidean(place(features), labels)
            )
            total = total + self.eta_e * euclidean
        if self.tau > 0:
            regulariser = (
                self._keep_apart(proxies, head.space) if self.regulariser is None else self.regulariser(vectors, labels)
            )
            total = total + self.tau * regulariser
        return CHESTTerms(total, hyperbolic, euclidean, regulariser)

    def forward(
        self,
        features: Float[Tensor, "B D"],
        labels: Int[Tensor, " B"] | Float[Tensor, "B C"],
        *,
        head: HyperbolicHead,
    ) -> Float[Tensor, ""]:
        """The loss of a batch: backbone features (B, D) with labels (B,) or targets (B, C), mapped by `head`."""
        return self.terms(features, labels, head=head).total

    def parameter_groups(self, lr: float, proxy_lr: float) -> list[dict[str, Any]]:
        """Groups for the optimiser: proxies, of whatever loss, have a learning rate of their own and no weight decay.

        Proxies are what has two dimensions or more; all else that a replaced half learns has `lr`. A learned curvature
        is the head's.
        """
        curvature = {id(p) for module in self.modules() if isinstance(module, Hyperbolic) for p in module.parameters()}
        own = [p for p in self.parameters() if id(p) not in curvature]
        groups: list[dict[str, Any]] = [
            {"params": [p for p in own if p.ndim > 1], "lr": proxy_lr, "weight_decay": 0.0},
            {"params": [p for p in own if p.ndim < 2], "lr": lr},
        ]
        return [group for group in groups if group["params"]]

    def _keep_apart(self, proxies: Picked | None, space: Hyperbolic) -> Tensor:
        assert proxies is not None  # the constructor made them where HypHC needs them
        return self.hyphc(proxies.vectors, space=space, group=self._group)

    @property
    def _group(self) -> Group | None:
        return None if self.proxies is None else self.proxies.group

    def _soft_triple(self, points: Tensor, proxies: Picked | None, space: Space, settings: dict[str, float]) -> Tensor:
        assert self.proxies is not None and proxies is not None  # the constructor made them where a half needs them
        dist = self.proxies.distances(points, space, mapped=proxies.vectors)
        dist = in_mean_units(dist, self._group) if self.relative else dist
        return soft_triple(dist, proxies.labels, reduction="mean", group=self._group, **settings)


def _mapped(picked: Picked | None, place: Callable[[Tensor], Tensor]) -> Picked | None:
    """The picked proxies (S, K, ·) in the space that a map leads to; None where there are none."""
    return None if picked is None else picked._replace(vectors=place(picked.vectors))
