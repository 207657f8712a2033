"""Losses of deep metric learning, one a file; `functional` has the formulas."""

from geomdml.losses import functional
from geomdml.losses.batch_transport import BatchTransportLoss, BatchTransportTerms
from geomdml.losses.chest import CHESTLoss, CHESTTerms
from geomdml.losses.closure import ClosureLoss
from geomdml.losses.contrastive import ContrastiveLoss
from geomdml.losses.entailment import EntailmentLoss
from geomdml.losses.hier import HIERLoss
from geomdml.losses.hyphc import HypHCLoss
from geomdml.losses.multi_proxy_anchor import MultiProxyAnchorLoss
from geomdml.losses.pairwise_cross_entropy import PairwiseCrossEntropyLoss
from geomdml.losses.soft_triple import SoftTripleLoss
from geomdml.losses.tree_proxies import TreeProxyLoss

__all__ = [
    "BatchTransportLoss",
    "BatchTransportTerms",
    "CHESTLoss",
    "CHESTTerms",
    "ClosureLoss",
    "ContrastiveLoss",
    "EntailmentLoss",
    "HypHCLoss",
    "HIERLoss",
    "MultiProxyAnchorLoss",
    "PairwiseCrossEntropyLoss",
    "SoftTripleLoss",
    "TreeProxyLoss",
    "functional",
]
