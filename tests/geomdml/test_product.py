"""Products of spaces: d² = Σ dᵢ², in losses, scores and search as any space."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geomdml.losses import ClosureLoss, PairwiseCrossEntropyLoss, SoftTripleLoss
from geomdml.metrics import retrieval
from geomdml.search import knn
from geomdml.spaces import Chart, Euclidean, Hyperbolic, Product, Space

FACTORS = [Hyperbolic(c=1.0), Hyperbolic(c=0.3, chart="lorentz"), Euclidean()]


def vectors(count, *, seed=0, dtype=torch.float64, scale=1.0):
    return scale * torch.randn(count, 6, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def product(dims=(3, 2, 1)):
    return Product(FACTORS, dims)


@given(st.integers(0, 100), st.sampled_from([1e-8, 1.0, 30.0]), st.sampled_from([torch.float32, torch.float64]))
def test_squares_of_distances_add_up(seed, scale, dtype):
    space, x, y = product(), vectors(4, seed=seed, scale=scale, dtype=dtype), vectors(3, seed=seed + 1, dtype=dtype)
    parts = zip(FACTORS, x.split([3, 2, 1], -1), y.split([3, 2, 1], -1), strict=True)
    expected = sum(factor.pairwise_dist(a, b).double() ** 2 for factor, a, b in parts).sqrt()
    torch.testing.assert_close(space.pairwise_dist(x, y).double(), expected, rtol=4 * torch.finfo(dtype).eps, atol=0)
    torch.testing.assert_close(space.dist(x[:, None], y), space.pairwise_dist(x, y), rtol=1e-6, atol=0)


@settings(max_examples=15)
@given(st.sampled_from(["tangent", "ball", "lorentz"]), st.floats(0.1, 4.0))
def test_one_factor_is_that_space(chart: Chart, c: float):
    factor = Hyperbolic(c=c, chart=chart)
    x = vectors(5, scale=0.1)
    torch.testing.assert_close(
        Product([factor], [6]).pairwise_dist(x, x), factor.pairwise_dist(x, x), rtol=1e-15, atol=0
    )


def test_gradients_are_right_and_zero_between_equal_points():
    space, x, y = product(), vectors(3).requires_grad_(), vectors(3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(space.dist, (x, y))
    assert torch.autograd.gradcheck(space.pairwise_dist, (x, y))
    same = x.detach().requires_grad_()
    y = x.detach().clone()
    y[1, :3] += 1  # equal in two factors of three
    space.dist(same, y).sum().backward()
    assert (same.grad[[0, 2]] == 0).all() and (same.grad[1, 3:] == 0).all() and same.grad[1].norm() > 1


def test_losses_scores_and_search_take_it():
    space, x = product(), vectors(12, dtype=torch.float32)
    labels = torch.arange(12) % 3
    assert space.dist(x, x).eq(0).all() and isinstance(space, Space)
    ClosureLoss(space=space)(x, x.flip(0).unsqueeze(1)).isfinite()
    for loss in (SoftTripleLoss(3, 6, centers_per_class=2, space=space), PairwiseCrossEntropyLoss(space=space)):
        embeddings = x.clone().requires_grad_()
        loss(embeddings, labels).backward()
        assert embeddings.grad.isfinite().all() and embeddings.grad.norm() > 0
    dist = space.pairwise_dist(x, x).fill_diagonal_(torch.inf)
    nearest = dist.argsort(1)[:, :3]
    assert torch.equal(knn(x, x, 4, space=space).indices[:, 1:], nearest)
    recall = float((labels[nearest[:, 0]] == labels).double().mean())
    assert retrieval(x, labels, ks=(1,), space=space).recall[1] == pytest.approx(recall)


def test_a_learned_curvature_is_a_parameter_of_the_product():
    learned = Hyperbolic(c=2.0, learnable=True)
    space = Product([learned, Euclidean(), Hyperbolic(c=0.5)], [2, 2, 2])
    space.dist(vectors(2), vectors(2, seed=1)).sum().backward()
    assert [name for name, _ in space.named_parameters()] == ["0.log_c"] and learned.log_c.grad != 0
    other = Product([Hyperbolic(c=1.0, learnable=True), Euclidean(), Hyperbolic(c=0.1)], [2, 2, 2])
    other.load_state_dict(space.state_dict())
    assert other.dist(vectors(2), vectors(2, seed=1)).equal(space.dist(vectors(2), vectors(2, seed=1)))
    assert repr(Product(FACTORS[1:], [1, 2])) == "Product(Hyperbolic(c=0.3, chart='lorentz')^1 × Euclidean()^2)"


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r"2 spaces and 3 dims; expected one for each"):
        Product(FACTORS[:2], [1, 2, 3])
    with pytest.raises(ValueError, match=r"0 spaces and 0 dims"):
        Product([], [])
    with pytest.raises(ValueError, match=r"dims = \(2, 0, 1\); expected at least 1"):
        product((2, 0, 1))
    with pytest.raises(ValueError, match=r"embeddings have 5 dimensions; expected 3 \+ 2 \+ 1"):
        product().dist(torch.zeros(5), torch.zeros(5))
    with pytest.raises(ValueError):
        product().dist(torch.zeros(6), torch.zeros(5))
    with pytest.raises(ValueError):
        product().pairwise_dist(torch.zeros(6), torch.zeros(2, 6))
