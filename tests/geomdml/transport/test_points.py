"""Transport of clouds without their costs: as `sinkhorn` of the matrix, tile by tile."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geomdml.spaces import Euclidean, Hyperbolic
from geomdml.transport import points, sinkhorn, sinkhorn_points, tiles
from geomdml.transport.ground import ground_cost
from tests.generators.transport import weights

seeds = st.integers(0, 2**31)


@pytest.fixture
def tiled(monkeypatch):
    """Small tiles, and no matrix held, so that a hundred points are many."""
    monkeypatch.setattr(points, "_WHOLE", 400)
    monkeypatch.setattr(points, "_FEWEST", 15)
    monkeypatch.setattr(tiles, "_ROWS", 32)
    monkeypatch.setattr(tiles, "_COLUMNS", 48)


def clouds(n: int, m: int, seed: int = 0, dim: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x, y = (torch.randn(k, dim, dtype=torch.float64, generator=generator) / 2 for k in (n, m))
    return x, y + 0.3


@pytest.mark.parametrize(
    ("space", "p", "reg"),
    [(None, 2.0, 0.2), (Euclidean(), 1.0, 0.05), (Hyperbolic(0.5, chart="lorentz"), 2.0, 1.0)],
    ids=str,
)
def test_equals_the_matrix(tiled, space, p, reg):
    x, y = clouds(90, 70)
    generator = torch.Generator().manual_seed(1)
    a, b = weights(90, generator, zeros=8), weights(70, generator, zeros=5)
    result, expected = (
        sinkhorn_points(x, y, reg, a, b, p=p, space=space),
        sinkhorn(ground_cost(x, y, p, space), reg, a, b),
    )
    assert bool(result.converged) and float(result.marginal_error) <= 1e-9
    torch.testing.assert_close(result.plan.dense(), expected.plan, rtol=0, atol=1e-8)
    for name in ("value", "linear"):
        torch.testing.assert_close(getattr(result, name), getattr(expected, name), rtol=0, atol=1e-8)
    for name in ("f", "g"):
        torch.testing.assert_close(getattr(result, name), getattr(expected, name), rtol=0, atol=1e-7)
    plan, v = result.plan.dense(), torch.randn(70, 2, dtype=torch.float64, generator=generator)
    assert result.plan.shape == plan.shape == (90, 70)
    torch.testing.assert_close(result.plan @ v, plan @ v)
    torch.testing.assert_close(result.plan @ v[:, 0], plan @ v[:, 0])
    torch.testing.assert_close(result.plan.mT @ x, plan.mT @ x)
    torch.testing.assert_close(result.plan.rows(torch.tensor([3, 1])), plan[[3, 1]])


@settings(max_examples=10, deadline=None)
@given(seeds, st.integers(1, 60), st.integers(1, 60), st.sampled_from([torch.float32, torch.float64]))
def test_any_sizes_and_repeated_points(seed, n, m, dtype):
    x, y = clouds(n, m, seed)
    x, y = (u.round(decimals=1).to(dtype) for u in (x, y))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(points, "_WHOLE", 16)
        patch.setattr(points, "_FEWEST", 3)
        patch.setattr(tiles, "_ROWS", 16)
        result = sinkhorn_points(x, y, 0.1)
    expected = sinkhorn(ground_cost(x.double(), y.double(), 2.0, None), 0.1)
    small = 1e-4 if dtype == torch.float32 else 1e-8
    assert result.plan.dtype == dtype and result.value.dtype == dtype
    assert float((result.plan.dense() - expected.plan).abs().sum()) <= small
    assert float(result.value) == pytest.approx(float(expected.value), rel=small, abs=small)


@pytest.mark.parametrize("space", [None, Hyperbolic(c=0.7, learnable=True)], ids=str)
def test_gradients_are_those_of_the_matrix(tiled, space):
    generator = torch.Generator().manual_seed(0)
    leaves = [*clouds(40, 50), weights(40, generator).log(), weights(50, generator).log()]
    leaves = [u.requires_grad_() for u in leaves]
    learned = [] if space is None else list(space.parameters())

    def gradients(solve):
        x, y, u, v = leaves
        return torch.autograd.grad(solve(x, y, u.softmax(0), v.softmax(0)), [*leaves, *learned])

    ours = gradients(lambda x, y, a, b: sinkhorn_points(x, y, 0.1, a, b, space=space).value)
    expected = gradients(lambda x, y, a, b: sinkhorn(ground_cost(x, y, 2.0, space), 0.1, a, b).value)
    for one, other in zip(ours, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-9)


def test_no_matrix_is_ever_made(tiled, monkeypatch):
    sizes = []
    tile = tiles.Tiles.tiles
    monkeypatch.setattr(
        tiles.Tiles, "tiles", lambda self: ((i, j, sizes.append(t.numel()) or t) for i, j, t in tile(self))
    )
    x, y = clouds(200, 200)
    x.requires_grad_()
    sinkhorn_points(x, y, 0.1).value.backward()
    assert len(sizes) > 100 and max(sizes) <= 32 * 48


def test_far_from_converged_warns(tiled):
    x, y = clouds(60, 60)
    with pytest.warns(RuntimeWarning, match="1 of 1 problems did not converge"):
        assert not bool(sinkhorn_points(x, y, 0.01, max_iter=3).converged)


def test_refusals():
    x, y = clouds(4, 5)
    with pytest.raises(ValueError, match=r"reg = -1\.0"):
        sinkhorn_points(x, y, -1.0)
    with pytest.raises(ValueError, match=r"a has shape \(3,\); expected \(4,\)"):
        sinkhorn_points(x, y, 0.1, a=torch.ones(3))
    with pytest.raises(ValueError, match="x has 0 points, y has 5"):
        sinkhorn_points(x[:0], y, 0.1)
    with pytest.raises(ValueError, match="last dimensions differ"):
        sinkhorn_points(x, y[:, :2], 0.1)
    with pytest.raises(NotImplementedError, match=r"torch\.func"):
        torch.func.grad(lambda x: sinkhorn_points(x, y, 0.1).value)(x)
    result = sinkhorn_points(x.requires_grad_(), y, 0.1)
    with pytest.raises(NotImplementedError, match="f and g have no gradient here"):
        result.f.sum().backward()
