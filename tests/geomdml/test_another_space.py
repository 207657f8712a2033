"""A space that is neither Euclidean nor hyperbolic, the sphere: whatever is written against `Space` works with it."""

import pytest
import torch
from torch import Tensor

from geomdml import metrics, search
from geomdml.losses import BatchTransportLoss, MultiProxyAnchorLoss, PairwiseCrossEntropyLoss, SoftTripleLoss
from geomdml.pml import SpaceDistance
from geomdml.spaces import Space


class Sphere:
    """The unit sphere, with a point of it for every vector but 0: distances are angles."""

    def dist(self, x: Tensor, y: Tensor) -> Tensor:
        x, y = (torch.nn.functional.normalize(z, dim=-1) for z in (x, y))
        return 2 * torch.atan2((x - y).norm(dim=-1), (x + y).norm(dim=-1))

    def pairwise_dist(self, x: Tensor, y: Tensor) -> Tensor:
        return self.dist(x.unsqueeze(1), y)


SPHERE = Sphere()
LABELS = torch.tensor([0, 0, 1, 1, 2, 2, 2])


def points(count=7):
    return torch.randn(count, 3, generator=torch.Generator().manual_seed(0))


def test_it_is_a_space():
    assert isinstance(SPHERE, Space)


@pytest.mark.parametrize(
    "loss",
    [
        SoftTripleLoss(3, 3, space=SPHERE),
        MultiProxyAnchorLoss(3, 3, space=SPHERE),
        PairwiseCrossEntropyLoss(space=SPHERE),
        BatchTransportLoss(space=SPHERE),
    ],
    ids=lambda loss: type(loss).__name__,
)
def test_losses_have_a_gradient_along_the_sphere(loss):
    x = points().requires_grad_()
    loss(x, LABELS).backward()
    assert x.grad is not None and x.grad.isfinite().all() and x.grad.any()
    across = (x.grad * x.detach()).sum(-1)
    torch.testing.assert_close(across, torch.zeros(7), rtol=0, atol=1e-5)


def test_scores_are_those_of_all_distances_sorted():
    x = points()
    scores = metrics.retrieval(x, LABELS, space=SPHERE)
    first = SPHERE.pairwise_dist(x, x).fill_diagonal_(torch.inf).argmin(1)
    assert scores.recall[1] == pytest.approx(float((LABELS[first] == LABELS).double().mean()))
    assert metrics.shrec(x, LABELS, space=SPHERE).nn == pytest.approx(scores.recall[1])


def test_neighbours_are_those_of_all_distances_sorted():
    x, gallery = points(4), points(30)
    found = search.knn(x, gallery, k=5, space=SPHERE)
    assert torch.equal(found.indices, SPHERE.pairwise_dist(x, gallery).argsort(dim=1, stable=True)[:, :5])


def test_losses_and_miners_of_pytorch_metric_learning_measure_in_it():
    x = points()
    torch.testing.assert_close(SpaceDistance(SPHERE)(x, x), SPHERE.pairwise_dist(x, x))
