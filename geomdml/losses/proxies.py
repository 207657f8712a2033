"""The learned points that stand for classes."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from geomdml._core import checks
from geomdml.spaces import Space

__all__ = ["Proxies"]


class Proxies(nn.Module):
    """K learned proxies for each of C classes, as vectors of the space that the embeddings live in.

    Args:
        num_classes, in_features, centers_per_class: C, D and K, all ≥ 1.
        radius: the norm at which random proxies start. `start_at` is the better start: it needs no guess.

    >>> Proxies(3, 8, centers_per_class=2, radius=1.0).vectors.shape
    torch.Size([3, 2, 8])
    """

    def __init__(self, num_classes: int, in_features: int, *, centers_per_class: int, radius: float) -> None:
        super().__init__()
        sizes = {"num_classes": num_classes, "centers_per_class": centers_per_class, "in_features": in_features}
        shape = [checks.integer(1, **{name: size}) for name, size in sizes.items()]
        self.vectors = nn.Parameter(torch.randn(shape) * (float(radius) / in_features**0.5))

    @torch.no_grad()
    def start_at(self, features: Float[Tensor, "N D"], labels: Int[Tensor, " N"], *, spread: float = 0.1) -> None:
        """Put the proxies of each class at the mean of its features, `spread` of their standard deviation apart.

        A class without features starts at the mean of all. Random numbers come from torch's global generator.

        Raises:
            ValueError: features of another dimension, labels outside 0…C−1, no features.
        """
        classes, _, dimension = self.vectors.shape
        if features.ndim != 2 or features.shape[1] != dimension or len(features) == 0:
            raise ValueError(f"features has shape {tuple(features.shape)}; expected (N, {dimension}) with N ≥ 1")
        features = features.to(self.vectors)
        labels = checks.labels(len(features), classes, device=features.device, labels=labels)
        counts = torch.bincount(labels, minlength=classes).unsqueeze(1)
        sums = torch.zeros_like(self.vectors[:, 0]).index_add_(0, labels, features)
        means = torch.where(counts > 0, sums / counts.clamp_min(1), features.mean(0))
        noise = torch.randn_like(self.vectors) * features.std(0, correction=0)
        self.vectors.copy_(means.unsqueeze(1) + spread * noise)

    def distances(
        self, embeddings: Float[Tensor, "B T"], space: Space, *, mapped: Float[Tensor, "C K T"] | None = None
    ) -> Float[Tensor, "B C K"]:
        """Distances from the embeddings to the proxies, or to where a map such as a head has taken the proxies."""
        points = self.vectors if mapped is None else mapped
        return space.pairwise_dist(embeddings, points.flatten(0, 1)).view(len(embeddings), *points.shape[:2])
