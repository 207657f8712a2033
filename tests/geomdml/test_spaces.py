"""The spaces: charts that agree, a curvature that trains."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geomdml import euclidean, poincare, tangent
from geomdml.spaces import Euclidean, Hyperbolic, Space
from geomdml.testing.strategies import curvatures


def vectors(seed: int, count: int = 4) -> torch.Tensor:
    return torch.randn(count, 3, generator=torch.Generator().manual_seed(seed))


@given(curvatures(1e-3, 10.0), st.integers(0, 1000))
def test_charts_agree_and_convert(c, seed):
    u, v = vectors(seed) / c**0.5, vectors(seed + 1) / c**0.5
    in_tangent, in_ball = Hyperbolic(c=c), Hyperbolic(c=c, chart="ball")
    x, y = in_tangent.to("ball", u), in_tangent.to("ball", v)
    torch.testing.assert_close(in_ball.pairwise_dist(x, y), in_tangent.pairwise_dist(u, v), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(in_ball.to("tangent", x), u, rtol=1e-3, atol=1e-4)
    assert in_tangent.to("tangent", u) is u
    assert torch.equal(in_tangent.dist(u, v), tangent.dist(u, v, c=c))
    assert torch.equal(in_ball.dist(x, y), poincare.dist(x, y, c=c))
    torch.testing.assert_close(in_tangent.dist0(u), 2 * u.norm(dim=-1))


def test_euclidean_space_is_the_functions():
    x, y = vectors(0), vectors(1)
    assert torch.equal(Euclidean().dist(x, y), euclidean.dist(x, y))
    assert torch.equal(Euclidean().pairwise_dist(x, y), euclidean.pairwise_dist(x, y))
    assert all(isinstance(space, Space) for space in (Euclidean(), Hyperbolic()))


def test_a_learned_curvature_is_positive_and_finds_its_value():
    space, truth = Hyperbolic(c=0.1, learnable=True), Hyperbolic(c=2.0)
    u, v = vectors(0), vectors(1)
    optimizer = torch.optim.Adam(space.parameters(), lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        (space.dist(u, v) - truth.dist(u, v)).square().sum().backward()
        optimizer.step()
    assert space.curvature == pytest.approx(2.0, rel=1e-2)
    with torch.no_grad():
        space.log_c.fill_(-60.0)
    assert space.c > 0


def test_learned_curvature_has_the_gradient_of_its_logarithm():
    space = Hyperbolic(c=0.7, learnable=True).double()
    u, v = vectors(0).double(), vectors(1).double()
    value = space.pairwise_dist(u, v).sum()
    (by_log,) = torch.autograd.grad(value, space.log_c)
    c = space.log_c.detach().exp().requires_grad_()
    (by_c,) = torch.autograd.grad(tangent.pairwise_dist(u, v, c=c).sum(), c)
    torch.testing.assert_close(by_log, c.detach() * by_c)


def test_it_is_a_module_that_moves_and_saves():
    space = Hyperbolic(c=0.7, learnable=True)
    assert space.to(torch.float64) is space and space.log_c.dtype == torch.float64
    other = Hyperbolic(c=0.1, learnable=True)
    other.load_state_dict(space.state_dict())
    assert other.curvature == pytest.approx(0.7)
    assert not list(Hyperbolic().parameters())
    assert repr(Hyperbolic(c=0.5)) == "Hyperbolic(c=0.5, chart='tangent')"


@pytest.mark.parametrize("c", [0, -1.0, float("nan"), float("inf")])
def test_curvatures_that_cannot_be_are_refused(c):
    with pytest.raises(ValueError, match="c = "):
        Hyperbolic(c=c)


def test_charts_that_are_not_known_are_refused():
    with pytest.raises(ValueError, match="chart = 'klein'; want one of 'tangent', 'ball'"):
        Hyperbolic(chart="klein")
    with pytest.raises(ValueError, match="chart = 'klein'"):
        Hyperbolic().to("klein", torch.zeros(2))
