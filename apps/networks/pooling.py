"""View pooling: the features of a shape's views become those of the shape."""

from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

Pooling = Literal["max", "mean", "attention"]

MOST_VIEWS = 500  # 100 cameras in five shadings


class ViewPooling(nn.Module):
    """Maximum (MVCNN), mean, or a mean weighted by attention; none depends on the order in which the views come.

    Attention is softmax_v(⟨w, x_v⟩ + b_p(v)), with p(v) the place of a view among all of a shape: camera and shading.
    The learned w starts at 0, where it is the mean. So does b, which is left out without `positions`.

    Args:
        kind: "max", "mean" or "attention".
        features: of a view.
        positions: whether attention also goes by the places of the views.

    Raises:
        ValueError: another kind; positions without attention.

    Source: Su, Maji, Kalogerakis and Learned-Miller, "Multi-view convolutional neural networks" (2015).

    >>> import torch
    >>> ViewPooling("max", 2)(torch.tensor([[[0.0, 3.0], [1.0, 2.0]]]))
    tensor([[1., 3.]])
    """

    def __init__(self, kind: Pooling, features: int, *, positions: bool = False) -> None:
        super().__init__()
        if kind not in ("max", "mean", "attention"):
            raise ValueError(f"pooling = {kind!r}; expected 'max', 'mean' or 'attention'")
        if positions and kind != "attention":
            raise ValueError(f"positions = {positions} with pooling = {kind!r}; expected 'attention'")
        self.kind = kind
        self.place = nn.Parameter(torch.zeros(MOST_VIEWS)) if positions else None
        if kind == "attention":
            self.score = nn.Linear(features, 1, bias=False)
            nn.init.zeros_(self.score.weight)

    def forward(self, views: Float[Tensor, "B V F"], seen: Int64[Tensor, "B V"] | None = None) -> Float[Tensor, "B F"]:
        """The features of shapes; `seen` are the places of their views, by default the first ones in order."""
        if self.kind == "max":
            return views.amax(1)
        if self.kind == "mean":
            return views.mean(1)
        scores = self.score(views)
        if self.place is not None:
            places = self.place[: views.shape[1]] if seen is None else self.place[seen]
            scores = scores + places[..., None]
        return (scores.softmax(1) * views).sum(1)
