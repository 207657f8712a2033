"""Distances one to one with broadcasting: the fast kernel gives what every digit gives, at every radius and shape."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geomdml.spaces import GEOMETRY, Hyperbolic

CHARTS = pytest.mark.parametrize("chart", GEOMETRY)
SHAPES = [
    ((3, 1, 5), (3, 4, 5)),
    ((4, 2), (4, 2)),
    ((1,), (3, 1)),
    ((2, 1, 3), (1, 5, 3)),
    ((0, 3), (0, 3)),
    ((6, 70), (6, 70)),
]


def points(chart, shape, radius, seed):
    torch.manual_seed(seed)
    u = torch.nn.functional.normalize(torch.randn(shape), dim=-1) * radius * torch.rand(*shape[:-1], 1)
    return Hyperbolic(c=1.0).to(chart, u)


def value_and_gradients(chart, x, y, c, dtype):
    x, y, c = (z.detach().to(dtype).requires_grad_() for z in (x, y, torch.tensor(c)))
    distances = GEOMETRY[chart].dist(x, y, c=c.double())
    weights = torch.cos(torch.arange(distances.numel(), dtype=dtype)).view(distances.shape)
    return [distances.detach(), *torch.autograd.grad((weights * distances).sum(), (x, y, c))]


@CHARTS
@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("radius", [1e-6, 0.5, 5.0, 14.0])
def test_float32_is_float64_rounded(chart, shapes, radius):
    radius = min(radius, 5.0) if chart == "ball" else radius  # there a float32 ball ends
    x, y = points(chart, shapes[0], radius, 0), points(chart, shapes[1], radius, 1)
    found = value_and_gradients(chart, x, y, 0.7, torch.float32)
    exact = value_and_gradients(chart, x, y, 0.7, torch.float64)
    torch.testing.assert_close(found[0], exact[0].float(), rtol=2.4e-7, atol=0)
    scale = float(exact[0].sum()) + 1e-30  # of the terms that cancel in the derivative by c
    for mine, theirs, atol in zip(found[1:], exact[1:], (1e-6, 1e-6, 1e-9 * scale), strict=True):
        torch.testing.assert_close(mine, theirs.float(), rtol=1e-5, atol=atol)


@CHARTS
def test_equal_points_are_at_0_without_gradient(chart):
    x = points(chart, (5, 3), 2.0, 0)
    distances, by_x, by_y, by_c = value_and_gradients(chart, x, x.clone(), 0.7, torch.float32)
    assert not distances.any() and not by_x.any() and not by_y.any() and not by_c.any()


@CHARTS
@given(st.integers(0, 10**6), st.sampled_from([1e-12, 1e-7, 1e-3]))
def test_near_pairs_among_others_keep_every_digit(chart, seed, offset):
    x, y = points(chart, (4, 1, 3), 2.0, seed), points(chart, (4, 3, 3), 2.0, seed + 1)
    x[1, 0, 1] = 0.0
    y[1, 2] = x[1, 0]
    y[1, 2, 1] = offset  # beside x, at a distance that float32 coordinates tell but rounded directions do not
    found, exact = (value_and_gradients(chart, x, y, 0.7, dtype) for dtype in (torch.float32, torch.float64))
    torch.testing.assert_close(found[0], exact[0].float(), rtol=2.4e-7, atol=0)
    for mine, theirs in zip(found[1:], exact[1:], strict=True):
        torch.testing.assert_close(mine, theirs.float(), rtol=1e-5, atol=1e-6)


@CHARTS
def test_vmap_is_one_call_with_the_same_numbers(chart):
    space, x, y = Hyperbolic(c=0.7, chart=chart), points(chart, (6, 1, 3), 2.0, 0), points(chart, (6, 4, 3), 2.0, 1)

    def total(x, y):
        return space.dist(x, y).square().sum()

    expected = [torch.func.grad(total, argnums=(0, 1))(a, b) for a, b in zip(x, y, strict=True)]
    found = torch.func.vmap(torch.func.grad(total, argnums=(0, 1)))(x, y)
    for mine, theirs in zip(found, zip(*expected, strict=True), strict=True):
        torch.testing.assert_close(mine, torch.stack(theirs), rtol=1e-6, atol=0)
    once = torch.func.vmap(space.dist, in_dims=(None, 0))(x[0], y)
    torch.testing.assert_close(once, space.dist(x[0], y), rtol=0, atol=0)
