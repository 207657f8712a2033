"""Labels, targets and masks on the CPU serve embeddings on another device.

The other device is torch's "meta": it has shapes and no values, and operations between it and the CPU fail, as they do
between a GPU and the CPU. What asks for values cannot be run there: HypHC, which looks for near-duplicates, the choice
of pairs by a mask, and the counts of `start_at`. Those three say so themselves, after the labels have arrived.
"""

import pytest
import torch

from geomdml import losses
from geomdml.losses import functional
from geomdml.losses.proxies import Proxies
from geomdml.metric_matrix import importance_weights, metric_matrix, same_class
from geomdml.spaces import Euclidean, Hyperbolic

LABELS = torch.tensor([0, 1, 1, 0, 2, 2])
TARGETS = torch.eye(3)[LABELS]
DIST = torch.empty(6, 6, device="meta")
X = torch.empty(6, 4, device="meta", requires_grad=True)


def on_meta(module):
    return module.to("meta")


CASES = {
    "batch transport": lambda: losses.BatchTransportLoss()(X, LABELS),
    "batch transport, hyperbolic": lambda: on_meta(losses.BatchTransportLoss(space=Hyperbolic(c=0.5)))(X, LABELS),
    "batch transport, two batches": lambda: losses.BatchTransportLoss()(X, LABELS, None, X[:5], LABELS[:5]),
    "batch transport, uniform": lambda: losses.BatchTransportLoss(plan="uniform")(X, LABELS.to(torch.uint8)),
    "soft triple": lambda: on_meta(losses.SoftTripleLoss(3, 4))(X, LABELS),
    "soft triple, targets": lambda: on_meta(losses.SoftTripleLoss(3, 4, space=Hyperbolic(c=0.5)))(X, TARGETS),
    "multi-proxy anchor": lambda: on_meta(losses.MultiProxyAnchorLoss(3, 4))(X, LABELS),
    "soft_triple": lambda: functional.soft_triple(DIST.view(6, 3, 2), TARGETS.double(), gamma=1.0, scale=1.0, margin=0),
    "proxy_anchor": lambda: functional.proxy_anchor(DIST[:, :3], LABELS, scale=1.0, margin=0.1),
    "metric_matrix": lambda: metric_matrix(DIST, same_class(LABELS, LABELS), margin=1.0),
    "metric_matrix, margin": lambda: metric_matrix(DIST, same_class(LABELS, LABELS), margin=1.0, form="margin"),
    "importance_weights": lambda: importance_weights(DIST, exclude=torch.eye(6, dtype=torch.bool)).plan,
    "same_class": lambda: same_class(LABELS.to("meta"), LABELS),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_result_is_on_the_device_of_the_embeddings(case):
    assert case().device.type == "meta"


NEEDS_VALUES = {
    "pairwise cross-entropy": (lambda: losses.PairwiseCrossEntropyLoss(space=Euclidean())(X, LABELS), "nonzero"),
    "reference set": (lambda: losses.PairwiseCrossEntropyLoss()(X, LABELS, None, X, LABELS), "nonzero"),
    "start_at": (lambda: on_meta(Proxies(3, 4, centers_per_class=2, radius=1.0)).start_at(X, LABELS), "bincount"),
}


@pytest.mark.parametrize("case, operation", NEEDS_VALUES.values(), ids=NEEDS_VALUES.keys())
def test_labels_arrive_before_values_are_asked_for(case, operation):
    """Only the operation that needs values stops it; labels on the wrong device would have stopped it before."""
    with pytest.raises(NotImplementedError, match=operation):
        case()
