"""The sphere of the library: closed forms, both ends of the distance, and its place among the spaces."""

import math

import pytest
import torch

from geomdml import sphere
from geomdml.losses import ClosureLoss, PairwiseCrossEntropyLoss, SoftTripleLoss
from geomdml.metrics import retrieval
from geomdml.search import knn
from geomdml.spaces import Euclidean, Hyperbolic, Product, Space, Sphere


def vectors(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def test_distances_are_angles_over_the_root_of_the_curvature():
    x = torch.tensor([[2.0, 0.0], [0.0, 0.1], [-7.0, 0.0], [1.0, 1.0]])
    expected = torch.tensor([0, math.pi / 2, math.pi, math.pi / 4])
    torch.testing.assert_close(sphere.dist(x, x[0], c=0.25), 2 * expected)
    torch.testing.assert_close(sphere.pairwise_dist(x, x[:1], c=0.25).squeeze(1), 2 * expected)


@pytest.mark.parametrize("angle", [1e-12, 1e-6, 1.0, math.pi - 1e-6, math.pi - 1e-12])
def test_both_ends_keep_their_digits(angle):
    """Where the arc cosine of a float64 is 1e-8 off."""
    x = torch.tensor([1.0, 0.0], dtype=torch.float64)
    y = torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64)
    assert float(sphere.dist(x, y, c=1.0)) == pytest.approx(angle, rel=1e-12, abs=0)
    assert float(sphere.pairwise_dist(x[None], y[None], c=1.0)) == pytest.approx(angle, rel=1e-12, abs=0)


def test_second_derivatives_are_right():
    x, y, v = vectors(3, 4).requires_grad_(), vectors(3, 4, seed=1).requires_grad_(), vectors(3, 4, seed=2)
    c = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    for function in (sphere.dist, sphere.pairwise_dist):
        assert torch.autograd.gradcheck(lambda x, y, c, f=function: f(x, y, c=c), (x, y, c))
        assert torch.autograd.gradgradcheck(lambda x, y, f=function: f(x, y, c=0.7), (x, y))
    assert torch.autograd.gradcheck(lambda x, v: sphere.expmap(x, v, c=0.7), (x, v.requires_grad_()))


def test_gradients_at_both_ends_are_zero():
    x = vectors(2, 3).requires_grad_()
    for y in (x.detach(), -x.detach(), 2 * x.detach(), -4 * x.detach()):
        (slope,) = torch.autograd.grad(sphere.pairwise_dist(x, y, c=1.0).diagonal().sum(), x)
        assert float(slope.abs().max()) < 1e-12
        (slope,) = torch.autograd.grad(sphere.dist(x, y, c=1.0).sum(), x)
        assert float(slope.abs().max()) < 1e-12


def test_maps_lead_where_they_should():
    x, y, space = vectors(5, 4), vectors(5, 4, seed=1), Sphere(c=0.5)
    v = space.logmap(x, y)
    torch.testing.assert_close(v.norm(dim=1), space.dist(x, y))
    torch.testing.assert_close((v * x).sum(1), torch.zeros(5, dtype=torch.float64), atol=1e-14, rtol=0)
    torch.testing.assert_close(space.expmap(x, v), space.project(y))
    torch.testing.assert_close(space.geodesic(x, y, 1.0), space.project(y))
    torch.testing.assert_close(space.midpoint(torch.stack([x, y], 1)), space.geodesic(x, y, 0.5))
    around = 2 * math.pi / math.sqrt(0.5) * v / v.norm(dim=1, keepdim=True)
    torch.testing.assert_close(space.expmap(x, around), space.project(x))


def test_losses_scores_search_and_products_take_it():
    space, x, labels = Sphere(c=2.0), vectors(12, 6, dtype=torch.float32), torch.arange(12) % 3
    product = Product([space, Hyperbolic(c=1.0), Euclidean()], [3, 2, 1])
    for either in (space, product):
        assert isinstance(either, Space) and either.dist(x, x).eq(0).all()
        for loss in (SoftTripleLoss(3, 6, centers_per_class=2, space=either), PairwiseCrossEntropyLoss(space=either)):
            embeddings = x.clone().requires_grad_()
            loss(embeddings, labels).backward()
            assert embeddings.grad.isfinite().all() and embeddings.grad.any()
        ClosureLoss(space=either)(x, x.flip(0).unsqueeze(1)).isfinite()
        found = knn(x, x, 3, space=either)
        assert torch.equal(found.indices[:, 0], torch.arange(12))
        assert 0 <= retrieval(x, labels, space=either, ks=(1,)).recall[1] <= 1
    assert repr(product).startswith("Product(Sphere(c=2)^3 × ")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: sphere.dist(x, 0 * x, c=1.0), "y has vectors that are 0"),
        (lambda x: sphere.pairwise_dist(0 * x, x, c=1.0), "x has vectors that are 0"),
        (lambda x: sphere.logmap(x, -x, c=1.0), "y is at the antipode of x"),
        (lambda x: sphere.midpoint(torch.stack([x, -x], 1), c=1.0), "sum is 0"),
        (lambda x: sphere.dist(x, x, c=-1.0), "c = -1.0"),
        (lambda x: sphere.dist(x, x * torch.nan, c=1.0), "y has .* NaN"),
        (lambda x: Sphere(c=0.0), "c = 0.0"),
    ],
)
def test_what_cannot_be_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call(vectors(2, 3))
