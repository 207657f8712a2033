"""What every network over views has in common: the memory of its frozen part, and the layers behind its features."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from apps.common.shape_data import Batch
from apps.common.view_backbone import ViewBackbone
from geomdml.nn import MetricNetwork


def maps(backbone: ViewBackbone, memory: dict[int, Tensor], batch: Batch) -> Float[Tensor, "B K ..."]:
    """What the frozen part makes of the views that are seen; from `memory`, by row, where it has been seen before."""
    if not backbone.has_frozen_part:
        seen = batch.pictures[torch.arange(len(batch.rows))[:, None], batch.seen]
        return torch.stack([backbone.early(views) for views in seen])
    for row, pictures in zip(batch.rows.tolist(), batch.pictures, strict=True):
        if row not in memory:  # always all views of one shape: another batch would round differently
            memory[row] = backbone.early(pictures).half()
    chosen = zip(batch.rows.tolist(), batch.seen, strict=True)
    return torch.stack([memory[row][seen] for row, seen in chosen]).float()


def metric_layers(in_features: int, *hidden: int, dropout: float) -> nn.Sequential:
    """Features standardised over the training data, whatever their scale, then the metric network but its last layer.

    >>> metric_layers(8, 4, dropout=0.5)(torch.randn(3, 8)).shape
    torch.Size([3, 4])
    """
    layers: list[nn.Module] = [nn.BatchNorm1d(in_features, affine=False), nn.Dropout(dropout)]
    if hidden:
        layers += [MetricNetwork(in_features, *hidden), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers)
