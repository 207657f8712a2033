"""The layers behind the features of a network over views."""

from torch import nn

from geomdml.nn import MetricNetwork


def metric_layers(in_features: int, *hidden: int, dropout: float) -> nn.Sequential:
    """Features standardised over the training data, whatever their scale, then the metric network but its last layer.

    >>> metric_layers(8, 4, dropout=0.5)(torch.randn(3, 8)).shape
    torch.Size([3, 4])
    """
    layers: list[nn.Module] = [nn.BatchNorm1d(in_features, affine=False), nn.Dropout(dropout)]
    if hidden:
        layers += [MetricNetwork(in_features, *hidden), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers)
