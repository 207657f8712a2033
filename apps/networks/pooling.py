"""View pooling: the features of a shape's views become those of the shape."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

Pooling = Literal["max", "mean", "attention"]


class ViewPooling(nn.Module):
    """Maximum (MVCNN), mean, or a mean weighted by attention; none depends on the order of the views.

    Attention is softmax_v(⟨w, x_v⟩) with a learned w that starts at 0, where it is the mean.

    Raises:
        ValueError: another kind.

    Source: Su, Maji, Kalogerakis and Learned-Miller, "Multi-view convolutional neural networks" (2015).

    >>> import torch
    >>> ViewPooling("max", 2)(torch.tensor([[[0.0, 3.0], [1.0, 2.0]]]))
    tensor([[1., 3.]])
    """

    def __init__(self, kind: Pooling, features: int) -> None:
        super().__init__()
        if kind not in ("max", "mean", "attention"):
            raise ValueError(f"pooling = {kind!r}; expected 'max', 'mean' or 'attention'")
        self.kind = kind
        if kind == "attention":
            self.score = nn.Linear(features, 1, bias=False)
            nn.init.zeros_(self.score.weight)

    def forward(self, views: Float[Tensor, "B V F"]) -> Float[Tensor, "B F"]:
        if self.kind == "max":
            return views.amax(1)
        if self.kind == "mean":
            return views.mean(1)
        return (self.score(views).softmax(1) * views).sum(1)
