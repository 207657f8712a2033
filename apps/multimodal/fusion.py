"""Late fusion: one embedding from those of the modalities."""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

Kind = Literal["sum", "concat", "gated"]


class Fusion(nn.Module):
    """The sum of a part from each modality: its embedding ("sum"), that in dimensions of its own ("concat"), or that
    under a gate of its own ("gated").

    The gates of an entry are a softmax over the modalities, of a linear layer on all embeddings. Of tangent vectors at
    the origin the fused embedding is one too.

    Args:
        kind: which.
        dim: dimension of each modality's embedding.
        modalities: how many.

    Raises:
        ValueError: another kind.

    Source: the gates are those of Arevalo et al., "Gated multimodal units for information fusion" (2017), which has a
        sigmoid for two modalities, on embeddings without their tanh.

    >>> Fusion("concat", 4, 2)([torch.ones(3, 4), torch.zeros(3, 4)])[0].tolist()
    [1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    """

    def __init__(self, kind: Kind, dim: int, modalities: int) -> None:
        super().__init__()
        if kind not in ("sum", "concat", "gated"):
            raise ValueError(f"fusion {kind!r}; expected 'sum', 'concat' or 'gated'")
        self.kind = kind
        self.features = dim * modalities if kind == "concat" else dim
        self.gates = nn.Linear(dim * modalities, dim * modalities) if kind == "gated" else None

    def parts(self, embeddings: Sequence[Float[Tensor, "B D"]]) -> Float[Tensor, "M B F"]:
        """What each modality gives to the fused embedding, which is their sum."""
        stacked = torch.stack(list(embeddings))
        if self.kind == "concat":
            own = torch.eye(len(stacked), dtype=stacked.dtype, device=stacked.device)
            return torch.einsum("mn,mbd->mbnd", own, stacked).flatten(2)
        if self.gates is not None:
            scores = self.gates(torch.cat(list(embeddings), -1)).unflatten(-1, (len(stacked), -1))
            return stacked * scores.softmax(-2).transpose(0, 1)
        return stacked

    def forward(self, embeddings: Sequence[Float[Tensor, "B D"]]) -> Float[Tensor, "B F"]:
        return self.parts(embeddings).sum(0)
