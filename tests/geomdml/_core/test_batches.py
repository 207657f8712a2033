"""All pairs of batches of lists: the numbers of each list alone, and leading dimensions that broadcast."""

import pytest
import torch

from geomdml import euclidean, lorentz, poincare, tangent
from geomdml.spaces import Euclidean, Hyperbolic, Product

EACH = {
    "tangent": lambda x, y: tangent.pairwise_dist(x, y, c=0.7),
    "ball": lambda x, y: poincare.pairwise_dist(x, y, c=0.7),
    "lorentz": lambda x, y: lorentz.pairwise_dist(x, y, c=0.7),
    "inner": lambda x, y: lorentz.pairwise_inner(x, y, c=0.7),
    "euclidean": euclidean.pairwise_dist,
    "squared": lambda x, y: euclidean.pairwise_dist(x, y, squared=True),
    "product": Product([Hyperbolic(0.7), Euclidean()], dims=[2, 1]).pairwise_dist,
}
PAIRWISE = pytest.mark.parametrize("f", EACH.values(), ids=EACH)


def points(*shape, seed=0, dtype=torch.float32):
    return 0.2 * torch.randn(*shape, 3, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@PAIRWISE
def test_a_list_has_the_same_numbers_in_a_batch(f):
    x, y = points(2, 3, 4), points(3, 5, seed=1)
    found = f(x, y)
    assert found.shape == (2, 3, 4, 5)
    for i in range(2):
        for j in range(3):
            assert torch.equal(found[i, j], f(x[i, j], y[j]))
    assert torch.equal(f(x[0, 0], y), torch.stack([f(x[0, 0], each) for each in y]))
    assert f(points(0, 4), points(0, 5)).shape == (0, 4, 5) and f(points(2, 0), points(5)).shape == (2, 0, 5)


@PAIRWISE
def test_gradients_of_batches_are_exact(f):
    x, y = points(2, 3, dtype=torch.float64).requires_grad_(), points(4, seed=1, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(f, (x, y))


def test_what_does_not_broadcast_is_refused():
    with pytest.raises(ValueError, match=r"\(2, 4, 3\) and \(3, 5, 3\) do not broadcast"):
        tangent.pairwise_dist(points(2, 4), points(3, 5), c=1.0)
    with pytest.raises(ValueError, match="last dimensions differ"):
        tangent.pairwise_dist(points(2, 4), points(2, 5)[..., :2], c=1.0)
    with pytest.raises(ValueError, match="expected a list of vectors"):
        tangent.pairwise_dist(points(), points(2, 5), c=1.0)
    assert tangent.pairwise_dist(u=points(2), v=points(3), c=1.0).shape == (2, 3)
