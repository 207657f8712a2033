"""Losses of deep metric learning, one a file; `functional` has the formulas."""

from geomdml.losses import functional
from geomdml.losses.batch_transport import BatchTransportLoss, BatchTransportTerms
from geomdml.losses.chest import CHESTLoss, CHESTTerms
from geomdml.losses.hyphc import HypHCLoss
from geomdml.losses.soft_triple import SoftTripleLoss

__all__ = [
    "BatchTransportLoss",
    "BatchTransportTerms",
    "CHESTLoss",
    "CHESTTerms",
    "HypHCLoss",
    "SoftTripleLoss",
    "functional",
]
