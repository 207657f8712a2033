"""Matrices of distances: tile by tile, in float64 or in pairs of float32, they are those of the single pairs."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geomdml import poincare, tangent
from geomdml._core import all_pairs as pairs
from geomdml._core.all_pairs import twofloat
from geomdml.spaces import Euclidean, Hyperbolic
from geomdml.testing import laws, oracle, strategies
from geomdml.testing.laws import BALL, TANGENT
from geomdml.testing.primitives import relative_error

CHARTS = pytest.mark.parametrize(
    ("chart", "f", "draw"),
    [
        (tangent, TANGENT["pairwise_dist"], strategies.tangent_pairs),
        (poincare, BALL["pairwise_dist"], strategies.point_pairs),
    ],
    ids=["tangent", "ball"],
)


@pytest.fixture
def two_floats():
    with twofloat.two_floats(True):
        yield


def points(chart, count: int, dim: int, seed: int) -> torch.Tensor:
    """Of radii from 0 to 4."""
    generator = torch.Generator().manual_seed(seed)
    u = torch.nn.functional.normalize(torch.randn(count, dim, generator=generator))
    u = 4 * torch.rand(count, 1, generator=generator) * u
    return u if chart is tangent else tangent.to_ball(u, c=1.0)


def with_gradients(chart, x, y, weights):
    inputs = [t.clone().requires_grad_() for t in (x, y, torch.tensor(1.0, dtype=torch.float64))]
    matrix = chart.pairwise_dist(*inputs[:2], c=inputs[2])
    return [matrix.detach(), *torch.autograd.grad((weights * matrix).sum(), inputs)]


@pytest.mark.usefixtures("two_floats")
@CHARTS
@given(st.data())
def test_two_floats_are_exact(chart, f, draw, data):
    x, y, c = data.draw(draw())
    laws.is_exact(chart, f, x, y, c=c)


@pytest.mark.usefixtures("two_floats")
@CHARTS
@given(st.data())
def test_gradients_of_two_floats(chart, f, draw, data):
    """By the points as exact as ever; by c there are only the digits that a float32 distance has."""
    x, y, c = data.draw(draw(farthest=15.0, dimensions=(2, 3, 5)))
    inputs = [t.unsqueeze(0).requires_grad_() for t in (x, y)]
    laws.gradients_are_finite(chart, f, x, y, c=c)
    found = torch.autograd.grad(chart.pairwise_dist(*inputs, c=c).sum(), inputs)
    with twofloat.two_floats(False):
        wanted = torch.autograd.grad(chart.pairwise_dist(*inputs, c=c).sum(), inputs)
    for a, b in zip(found, wanted, strict=True):
        assert (a - b).double().norm() <= 1e-5 * b.double().norm()


@pytest.mark.usefixtures("two_floats")
@CHARTS
def test_curvature_in_two_floats(chart, f, draw):
    x, y = points(chart, 7, 5, 0), points(chart, 6, 5, 1)
    weights = torch.rand(7, 6, generator=torch.Generator().manual_seed(2))
    *_, found = with_gradients(chart, x, y, weights)
    with twofloat.two_floats(False):
        *_, wanted = with_gradients(chart, x, y, weights)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=0)


@pytest.mark.usefixtures("two_floats")
@CHARTS
def test_autocast_leaves_two_floats_alone(chart, f, draw):
    x, y = points(chart, 7, 5, 0), points(chart, 6, 5, 1)
    expected = chart.pairwise_dist(x, y, c=1.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(chart.pairwise_dist(x, y, c=1.0), expected)


@pytest.mark.parametrize("forced", [False, True], ids=["float64", "two floats"])
@CHARTS
def test_tiles_make_no_difference(chart, f, draw, forced, monkeypatch):
    x, y = points(chart, 11, 6, 0), points(chart, 9, 6, 1)
    x[3], y[4] = y[0], x[5]  # repaired pairs, in different tiles
    weights = torch.rand(11, 9, generator=torch.Generator().manual_seed(2)) - 0.5
    with twofloat.two_floats(forced):
        whole = with_gradients(chart, x, y, weights)
        monkeypatch.setattr(pairs, "BLOCK", 4)
        tiled = with_gradients(chart, x, y, weights)
    for a, b in zip(tiled, whole, strict=True):
        assert (a - b).norm() <= 1e-5 * b.norm()
    assert whole[0][3, 0] == 0 and tiled[0][3, 0] == 0 and tiled[0][5, 4] == 0


@CHARTS
def test_mixed_dtypes_are_as_exact_as_the_longer(chart, f, draw):
    x, y = points(chart, 5, 3, 0), points(chart, 4, 3, 1).double()
    assert torch.equal(chart.pairwise_dist(x, y, c=1.0), chart.pairwise_dist(x.double(), y, c=1.0))


@CHARTS
def test_without_gradients_no_matrix_is_kept(chart, f, draw):
    x, y = points(chart, 5, 3, 0), points(chart, 4, 3, 1)
    with torch.no_grad():
        plain = chart.pairwise_dist(x, y, c=1.0)
    assert torch.equal(plain, chart.pairwise_dist(x, y, c=1.0))


@given(st.integers(0, 2**31), st.sampled_from([1, 3, 64, 384, 2048]))
def test_products_are_exact_to_44_bits_and_fit_a_matrix_unit(seed, dim):
    generator = torch.Generator().manual_seed(seed)
    x, y = (torch.randn(n, dim, generator=generator, dtype=torch.float64) for n in (5, 4))
    x, y = (torch.nn.functional.normalize(z) for z in (x, y))
    high, low = twofloat.product(x, y, twofloat.BITS, x.device)
    assert (high.double() + low.double() - x @ y.T).abs().max() <= dim**0.5 * 2.0**-twofloat.BITS
    count, width = twofloat._slices(dim, twofloat.BITS)
    for place, part in enumerate(twofloat._cut(x, count, width, x.device), 1):
        digits = part * 2.0 ** (place * width)
        assert torch.equal(digits, digits.round()) and digits.abs().max() <= 2**10  # 11 bits, as TF32 keeps


def test_vectors_too_long_for_exact_products_are_refused():
    with pytest.raises(ValueError, match="too long"):
        twofloat.product(torch.zeros(1, 2**24), torch.zeros(1, 2**24), 44, torch.device("cpu"))


def test_the_device_decides_and_float64_stays_float64(monkeypatch):
    single, double = torch.zeros(1, 2), torch.zeros(1, 2, dtype=torch.float64)
    assert not twofloat.is_needed(single, single)
    with twofloat.two_floats(True):
        assert twofloat.is_needed(single, single) and not twofloat.is_needed(single, double)
    gpu = torch.empty(0, device="meta")
    monkeypatch.setattr(torch.Tensor, "device", torch.device("cuda"))
    for capability, expected in (((8, 9), True), ((12, 0), True), ((8, 0), False), ((9, 0), False)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, value=capability: value)
        assert twofloat.is_needed(gpu, gpu) is expected
    monkeypatch.setattr(torch.Tensor, "device", torch.device("mps"))
    assert twofloat.is_needed(gpu, gpu)


@pytest.mark.parametrize(
    ("space", "exact"),
    [
        (Hyperbolic(1.0, chart="tangent"), oracle.tangent_dist),
        (Hyperbolic(1.0, chart="ball"), oracle.dist),
        (Hyperbolic(1.0, chart="lorentz"), oracle.hyperboloid_dist),
        (Euclidean(), oracle.euclidean_dist),
    ],
    ids=["tangent", "ball", "lorentz", "euclidean"],
)
@pytest.mark.parametrize(("count", "radius"), [(4, 1e-6), (12, 2.0), (24, 0.1)])
def test_float64_keeps_its_digits_in_many_dimensions(space, exact, count: int, radius: float):
    """Coordinates that are 0 or all the same round the same way, so that a plain sum of 2,048 terms drifts.

    Matrix products of few and of many rows add up in ways of their own.
    """
    draw = torch.Generator().manual_seed(0)
    u = (torch.rand(count, 2048, generator=draw) > 0.4).double()
    u *= radius / u.norm(dim=1, keepdim=True)
    x = Hyperbolic(1.0).to(space.chart, u) if isinstance(space, Hyperbolic) else u
    matrix = space.pairwise_dist(x, x)
    error = (matrix - space.dist(x[:, None], x)).abs() / matrix
    for i, j in ((0, 1), divmod(int(error.nan_to_num().argmax()), count)):
        assert relative_error(matrix[i, j], exact(x[i].tolist(), x[j].tolist(), c=1.0)) <= 4e-15
