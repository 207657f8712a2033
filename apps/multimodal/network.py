"""Two encoders, late fusion, a head on each embedding and one on both."""

from collections.abc import Callable, Sequence
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from apps.multimodal import heads
from apps.multimodal.data import ViewPointBatch
from apps.multimodal.encoders import of_points, of_views
from apps.multimodal.fusion import Fusion, Kind
from apps.networks.view_backbone import ViewBackbone
from geomdml.spaces import Space

MODALITIES = ("views", "points")


class Network(nn.Module):
    """What shapes are taken for, by each modality and by both.

    Args:
        modalities: "views", "points", or both.
        num_classes: how many.
        space: where embeddings live; hyperbolic ones are tangent vectors at the origin.
        backbone, weights: the network that makes features of the views, and stays as it is; see
            `apps.networks.pretrained.backbone`.
        point_widths, hidden, dim, dropout: of the encoders, see `apps.multimodal.encoders`.
        head, fusion: see `apps.multimodal.heads` and `apps.multimodal.fusion`.
    """

    def __init__(
        self,
        modalities: Sequence[str],
        num_classes: int,
        *,
        space: Space,
        backbone: str,
        weights: str,
        point_widths: tuple[int, ...],
        hidden: int,
        dim: int,
        dropout: float,
        head: heads.Name,
        fusion: Kind,
    ) -> None:
        super().__init__()
        self.modalities = tuple(modalities)
        self.backbone = ViewBackbone(backbone, weights, frozen=-1)
        made: dict[str, Callable[[], nn.Module]] = {
            "views": lambda: of_views(self.backbone.features, hidden, dim, dropout=dropout, space=space),
            "points": lambda: of_points(point_widths, hidden, dim, dropout=dropout, space=space),
        }
        self.encoders = nn.ModuleDict({name: made[name]() for name in modalities})
        self.heads = nn.ModuleDict({name: heads.head(head, num_classes, dim, space) for name in modalities})
        self.fusion = Fusion(fusion, dim, len(modalities))
        both = len(modalities) > 1
        self.fused_head = heads.head(head, num_classes, self.fusion.features, space) if both else None
        self.memory: dict[int, Tensor] = {}

    def head(self, modality: str) -> heads.Head:
        """A modality's own head."""
        return cast(heads.Head, self.heads[modality])

    def trained(self) -> list[nn.Parameter]:
        """The parameters outside the backbone."""
        return [p for name, p in self.named_parameters() if not name.startswith("backbone.")]

    def inputs(self, batch: ViewPointBatch) -> list[Float[Tensor, "B ..."]]:
        """What the encoder of each modality is given: the mean features of the views, and the points."""
        given = {
            "views": lambda: self.backbone.maps(batch.rows, batch.images, batch.seen, self.memory).mean(1),
            "points": lambda: batch.points,
        }
        return [given[name]() for name in self.modalities]

    def encode(self, inputs: Sequence[Float[Tensor, "B ..."]]) -> list[Float[Tensor, "B D"]]:
        """The embedding of each modality, from what its encoder is given."""
        return [self.encoders[name](given) for name, given in zip(self.modalities, inputs, strict=True)]

    def embed(self, batch: ViewPointBatch) -> list[Float[Tensor, "B D"]]:
        """The embedding of each modality."""
        return self.encode(self.inputs(batch))

    def forward(self, batch: ViewPointBatch) -> dict[str, Tensor]:
        """Embeddings, "views" and so on, and what their heads take them for, "views/logits" and so on.

        The fused ones are "fused" and "fused/logits"; with one modality alone they are its own.
        """
        embeddings = self.embed(batch)
        found = dict(zip(self.modalities, embeddings, strict=True))
        found |= {f"{name}/logits": self.head(name).logits(found[name]) for name in self.modalities}
        only = self.modalities[0]
        if self.fused_head is None:
            return found | {"fused": found[only], "fused/logits": found[f"{only}/logits"]}
        fused = self.fusion(embeddings)
        return found | {"fused": fused, "fused/logits": self.fused_head.logits(fused)}

    @torch.no_grad()
    def contributions(self, embeddings: Sequence[Float[Tensor, "B D"]]) -> Float[Tensor, "M B C"]:
        """What each modality gives to the logits of a linear fused head, the bias divided evenly: they sum to these."""
        assert isinstance(self.fused_head, heads.LinearHead)
        parts = self.fusion.parts(embeddings)
        return nn.functional.linear(parts, self.fused_head.weight, self.fused_head.bias / len(parts))
