"""Losses of deep metric learning, one a file; `functional` has the formulas."""

from geomdml.losses import functional
from geomdml.losses.chest import CHESTLoss, CHESTTerms
from geomdml.losses.hyphc import HypHCLoss
from geomdml.losses.soft_triple import SoftTripleLoss

__all__ = ["CHESTLoss", "CHESTTerms", "HypHCLoss", "SoftTripleLoss", "functional"]
