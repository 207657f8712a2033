"""geomdml.euclidean against fifty digits."""

import types

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geomdml import euclidean
from geomdml.testing import laws
from geomdml.testing.strategies import tangent_pairs

ids = {"ids": lambda x: getattr(x, "name", str(x).removeprefix("torch."))}
FUNCTIONS = list(laws.EUCLIDEAN.values())
EUCLIDEAN = types.SimpleNamespace(  # the laws hand a curvature to every function
    dist=lambda x, y, *, c: euclidean.dist(x, y),
    pairwise_dist=lambda x, y, *, c: euclidean.pairwise_dist(x, y),
)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], **ids)
@pytest.mark.parametrize("f", FUNCTIONS, **ids)
@given(data=st.data())
def test_distances_are_exact(f, dtype, data):
    pair = data.draw(tangent_pairs(dtype, nearest=1e-15, c=st.just(1.0)))
    laws.is_exact(EUCLIDEAN, f, pair.x, pair.y, c=1.0)
    laws.is_symmetric(EUCLIDEAN, f, pair.x, pair.y, c=1.0)


@pytest.mark.parametrize("f", FUNCTIONS, **ids)
@given(pair=tangent_pairs(c=st.just(1.0)))
def test_gradients_are_finite_and_zero_at_duplicates(f, pair):
    x, y = pair.x.clone().requires_grad_(), pair.y.clone().requires_grad_()
    f(EUCLIDEAN, x, y, c=1.0).backward()
    assert torch.isfinite(x.grad).all() and torch.isfinite(y.grad).all()
    if torch.equal(pair.x, pair.y):
        assert not x.grad.any() and not y.grad.any()
    elif float((pair.x - pair.y).norm()) > 1e-10:
        assert x.grad.norm().item() == pytest.approx(1, rel=1e-5)


@settings(max_examples=20)
@given(st.integers(0, 2**31), st.booleans())
def test_gradcheck_and_squares(seed, squared):
    generator = torch.Generator().manual_seed(seed)
    x, y = (torch.randn(n, 3, dtype=torch.float64, generator=generator).requires_grad_() for n in (2, 4))
    assert torch.autograd.gradcheck(lambda x, y: euclidean.pairwise_dist(x, y, squared=squared), (x, y))
    torch.testing.assert_close(euclidean.pairwise_dist(x, y, squared=True), torch.cdist(x, y) ** 2)


@pytest.mark.parametrize("f", [euclidean.dist, euclidean.pairwise_dist])
def test_what_cannot_be_right_is_refused_by_name(f):
    good = torch.zeros(2, 3)
    with pytest.raises(ValueError, match=r"x \(2, 3\), y \(2, 4\)"):
        f(good, torch.zeros(2, 4))
    with pytest.raises(TypeError, match=r"y has dtype torch\.int64"):
        f(good, good.long())
    with pytest.raises(TypeError, match="x is a list"):
        f([0.0], good)
