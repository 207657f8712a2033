"""The learned points that stand for classes."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from geomdml._core import checks
from geomdml._core.processes import Group, rank_and_size
from geomdml.losses._class_sampling import ClassSampler, Others
from geomdml.spaces import Space

__all__ = ["Picked", "Proxies"]

_BLOCK = 4096  # classes whose random numbers are drawn at a time


class Picked(NamedTuple):
    """The proxies that a batch is compared with (S, K, D), and where the classes of its labels are among them.

    A label whose class another process has is −1.
    """

    vectors: Float[Tensor, "S K D"]
    labels: Tensor


class Proxies(nn.Module):
    """K learned proxies for each of C classes, as vectors of the space that the embeddings live in.

    Args:
        num_classes, in_features, centers_per_class: C, D and K, all ≥ 1.
        radius: the norm at which random proxies start. `start_at` is the better start: it needs no guess.
        sample: share of the classes that a batch is compared with while training, its own among them; 1 is all. The
            gradient of `vectors` is then sparse, which `geomdml.optim.RowAdam` takes; DDP does not, and is told to
            leave it alone: every process computes the same.
        others: which classes fill the share up: "random" ones, or those whose mean proxies are "nearest" to those of
            the batch's classes, by an index that is made again every 100 batches.

    Attributes:
        first: the class of the first row of `vectors`.

    >>> Proxies(3, 8, centers_per_class=2, radius=1.0).vectors.shape
    torch.Size([3, 2, 8])
    """

    first = 0

    def __init__(
        self,
        num_classes: int,
        in_features: int,
        *,
        centers_per_class: int,
        radius: float,
        sample: float = 1.0,
        others: Others = "random",
    ) -> None:
        super().__init__()
        sizes = {"num_classes": num_classes, "centers_per_class": centers_per_class, "in_features": in_features}
        shape = [checks.integer(1, **{name: size}) for name, size in sizes.items()]
        self.num_classes = shape[0]
        self.vectors = nn.Parameter(self._draw(*shape) * (float(radius) / in_features**0.5))
        self.sampler = ClassSampler(sample, others, len(self.vectors), in_features)

    @property
    def group(self) -> Group | None:
        """The processes among which the classes are divided; None where each process has all."""
        return None

    def pick(self, labels: Int[Tensor, " B"] | Float[Tensor, "B C"]) -> Picked:
        """The proxies that this process compares a batch with, in the order of their classes.

        Raises:
            ValueError, TypeError: labels outside 0…C−1; targets (B, C), where classes are sampled or divided.
        """
        samples = self.training and self.sampler.share < 1
        if not samples and self.group is None:
            return Picked(self.vectors, labels)
        if isinstance(labels, Tensor) and labels.ndim == 2:
            raise ValueError(
                f"labels has shape {tuple(labels.shape)}; expected (B,) class indices, as only a part of the "
                "classes is here (sample below 1, or shards)"
            )
        classes = checks.labels(None, self.num_classes, device=self.vectors.device, labels=labels)
        place = classes - self.first
        here = (place >= 0) & (place < len(self.vectors))
        vectors = self.vectors if self.group is None else _Mean.apply(self.vectors, rank_and_size(self.group)[1])
        if samples:
            rows = self.sampler.choose(self.vectors.detach(), classes, self.first, self.group)
            vectors, place = _Rows.apply(vectors, rows), torch.searchsorted(rows, place)
        return Picked(vectors, torch.where(here, place, -1))

    @torch.no_grad()
    def start_at(self, features: Float[Tensor, "N D"], labels: Int[Tensor, " N"], *, spread: float = 0.1) -> None:
        """Put the proxies of each class at the mean of its features, `spread` of their standard deviation apart.

        A class without features starts at the mean of all. Random numbers come from torch's global generator.

        Raises:
            ValueError: features of another dimension, labels outside 0…C−1, no features.
        """
        classes, centers, dimension = self.vectors.shape
        if features.ndim != 2 or features.shape[1] != dimension or len(features) == 0:
            raise ValueError(f"features has shape {tuple(features.shape)}; expected (N, {dimension}) with N ≥ 1")
        features = features.to(self.vectors)
        labels = checks.labels(len(features), self.num_classes, device=features.device, labels=labels) - self.first
        here = (labels >= 0) & (labels < classes)
        counts = torch.bincount(labels[here], minlength=classes).unsqueeze(1)
        sums = torch.zeros_like(self.vectors[:, 0]).index_add_(0, labels[here], features[here])
        means = torch.where(counts > 0, sums / counts.clamp_min(1), features.mean(0))
        noise = self._draw(self.num_classes, centers, dimension).to(features) * features.std(0, correction=0)
        self.vectors.copy_(means.unsqueeze(1) + spread * noise)

    def distances(
        self, embeddings: Float[Tensor, "B T"], space: Space, *, mapped: Float[Tensor, "S K T"] | None = None
    ) -> Float[Tensor, "B S K"]:
        """Distances from the embeddings to the proxies, or to where a map such as a head has taken the proxies."""
        points = self.vectors if mapped is None else mapped
        return space.pairwise_dist(embeddings, points.flatten(0, 1)).view(len(embeddings), *points.shape[:2])

    def _draw(self, num_classes: int, centers: int, dimension: int) -> Tensor:
        """Normal numbers of the classes that are here; whoever has the others draws theirs."""
        return torch.randn(num_classes, centers, dimension)


class _Rows(torch.autograd.Function):
    """vectors[rows] of ascending rows, whose gradient is sparse."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, rows: Tensor) -> Tensor:
        ctx.save_for_backward(rows)
        ctx.shape = vectors.shape
        return vectors.index_select(0, rows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (rows,) = ctx.saved_tensors
        at, shape = rows.unsqueeze(0), ctx.shape  # rows ascend, each once
        return torch.sparse_coo_tensor(at, gradient, shape, is_coalesced=True, check_invariants=False), None


class _Mean(torch.autograd.Function):
    """A parameter that one of so many processes has: the mean over them, which DDP would take, of one gradient."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, processes: int) -> Tensor:
        ctx.processes = processes
        return vectors.view_as(vectors)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient / ctx.processes, None
