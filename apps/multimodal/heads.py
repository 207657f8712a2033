"""Heads: what an embedding is taken for, and the loss of that under labels or soft targets."""

from typing import Literal

from jaxtyping import Float, Int
from torch import Tensor, nn

from geomdml.losses import SoftTripleLoss
from geomdml.spaces import Space

Name = Literal["linear", "soft_triple"]


class LinearHead(nn.Module):
    """Softmax regression: `logits(embeddings)`, and called with targets too its cross-entropy.

    >>> import torch
    >>> head = LinearHead(4, 3)
    >>> head(torch.randn(2, 4), torch.tensor([0, 2])).shape, head.logits(torch.randn(2, 4)).shape
    (torch.Size([]), torch.Size([2, 3]))
    """

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__()
        linear = nn.Linear(in_features, num_classes)
        self.weight, self.bias = linear.weight, linear.bias

    def logits(self, embeddings: Float[Tensor, "B D"]) -> Float[Tensor, "B C"]:
        return nn.functional.linear(embeddings, self.weight, self.bias)

    def forward(self, embeddings: Float[Tensor, "B D"], targets: Int[Tensor, " B"] | Float[Tensor, "B C"]) -> Tensor:
        return nn.functional.cross_entropy(self.logits(embeddings), targets)


Head = LinearHead | SoftTripleLoss


def head(name: Name, num_classes: int, in_features: int, space: Space) -> Head:
    """A linear head, or SoftTriple's proxies in a space; both take labels or soft targets.

    Raises:
        ValueError: another name.
    """
    if name == "linear":
        return LinearHead(in_features, num_classes)
    if name == "soft_triple":
        return SoftTripleLoss(num_classes, in_features, space=space)
    raise ValueError(f"head {name!r}; expected 'linear' or 'soft_triple'")
