"""Derivatives beyond the first, and forward: against fifty digits, in torch's transforms, in little memory."""

import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from mpmath import mp, mpf
from torch.profiler import ProfilerActivity, profile

from geomdml import cones, euclidean, lorentz, poincare, statistics, tangent
from geomdml._core import formulas
from geomdml.losses import ClosureLoss, ContrastiveLoss, PairwiseCrossEntropyLoss
from geomdml.spaces import Euclidean, Hyperbolic, Product
from geomdml.testing import oracle, strategies

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:FutureWarning")  # torch's own
CHARTS = {
    "tangent": (tangent, oracle.tangent_dist, formulas.tangent_dist, strategies.tangent_pairs),
    "ball": (poincare, oracle.dist, formulas.ball_dist, strategies.point_pairs),
    "lorentz": (lorentz, oracle.hyperboloid_dist, formulas.lorentz_dist, strategies.lorentz_pairs),
}
EACH_CHART = pytest.mark.parametrize("chart", CHARTS)
SMALL = {"dimensions": (2, 1, 3, 8)}


def points(chart, count=4, dim=3, seed=0):
    x = 0.5 * torch.randn(count, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return x / (1 + x.norm(dim=-1, keepdim=True)) if chart == "ball" else x


@EACH_CHART
@settings(max_examples=60)
@given(st.data())
def test_the_formula_is_the_distance_and_its_gradient_the_gradient(chart, data):
    """At every radius, near duplicates and antipodes: it takes the place of the kernel in forward mode."""
    module, _, formula, pairs = CHARTS[chart]
    x, y, c = data.draw(pairs(torch.float64, **SMALL))
    x, y, c = (torch.as_tensor(z, dtype=torch.float64).requires_grad_() for z in (x, y, c))
    found, expected = formula(x, y, c), module.dist(x, y, c=c)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    for a, b in zip(*(torch.autograd.grad(d, (x, y)) for d in (found, expected)), strict=True):
        assert a.isfinite().all()
        assert (a - b).norm() <= 1e-8 * b.norm() or b.norm() > 1e100


@EACH_CHART
@settings(max_examples=12)
@given(st.data())
def test_second_derivatives_are_exact(chart, data):
    """d²/dt² of d(x + tv, y), to 1e-7, between points that are not within a billionth of each other."""
    module, reference, _, pairs = CHARTS[chart]
    far = {"tangent": 8.0, "ball": 4.0, "lorentz": 4.0}[chart]
    x, y, c = data.draw(pairs(torch.float64, nearest=1e-6, farthest=far, dimensions=(2, 3)))
    assume(float((x - y).norm()) > 1e-9 * float(x.norm() + y.norm()))
    v = torch.linspace(-1.0, 1.5, len(x), dtype=torch.float64) * float(x.norm())
    if chart == "ball":
        v = v * float(oracle.gap(x.tolist(), c)) / 4
    x = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(module.dist(x, y, c=c), x, create_graph=True)
    (bend,) = torch.autograd.grad(slope @ v, x)
    found = float(bend @ v)
    x = x.detach()
    digits = 3 * reference.digits(x, y, c=c)
    with mp.workdps(digits):
        step = mpf(10) ** (-digits // 4)
        start, way, other = oracle.exact(x), oracle.exact(v), oracle.exact(y)
        low, middle, high = (
            reference.definition([a + t * b for a, b in zip(start, way, strict=True)], other, c=mpf(float(c)))
            for t in (-step, mpf(0), step)
        )
        expected = float((low - 2 * middle + high) / step**2)
    size = float(bend.norm() * v.norm())
    assert abs(found - expected) <= 1e-7 * abs(expected) + 1e-12 * size


@EACH_CHART
def test_gradients_can_be_differentiated(chart):
    module = CHARTS[chart][0]
    x, y = (points(chart, seed=seed).requires_grad_() for seed in (0, 1))
    c = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x, y, c: module.dist(x, y, c=c), (x, y, c))
    assert torch.autograd.gradgradcheck(lambda x, y, c: module.pairwise_dist(x, y[:3], c=c), (x, y, c))
    assert torch.autograd.gradcheck(lambda x, c: module.pairwise_dist(x, y, c=c), (x, c), check_forward_ad=True)


@EACH_CHART
def test_at_the_origin_the_hessian_is_that_of_the_limit(chart):
    """Along y the distance d(x, y) does not bend at x = 0; across y by √c coth δ for a step of length 1."""
    module = CHARTS[chart][0]
    space = Hyperbolic(c=0.7, chart=chart)
    y = space.expmap0(torch.tensor([0.8, 0.0], dtype=torch.float64))
    zero = torch.zeros(2, dtype=torch.float64)
    hessian = torch.func.hessian(lambda x: module.dist(x, y, c=0.7))(zero)
    unit = 2.0 if chart != "lorentz" else 1.0  # length of a step of the chart at the origin
    bend = unit**2 * math.sqrt(0.7) / math.tanh(math.sqrt(0.7) * 1.6)
    torch.testing.assert_close(
        hessian, torch.diag(torch.tensor([0.0, bend], dtype=torch.float64)), rtol=1e-9, atol=1e-9
    )


@EACH_CHART
def test_forward_reverse_and_both_agree(chart):
    module = CHARTS[chart][0]
    x, y = points(chart, 1)[0], points(chart, 1, seed=1)[0]

    def f(x):
        return module.dist(x, y, c=0.7)

    forward_over_reverse = torch.func.hessian(f)(x)
    torch.testing.assert_close(torch.func.jacfwd(torch.func.jacfwd(f))(x), forward_over_reverse)
    torch.testing.assert_close(torch.func.jacrev(torch.func.jacrev(f))(x), forward_over_reverse)
    torch.testing.assert_close(torch.autograd.functional.hessian(f, x), forward_over_reverse)
    many = points(chart, 5, seed=2)
    hessians = torch.func.vmap(torch.func.hessian(f))(many)
    torch.testing.assert_close(hessians, torch.stack([torch.func.hessian(f)(each) for each in many]))
    value, slope = torch.func.jvp(f, (x,), (y,))
    torch.testing.assert_close(value, f(x))
    torch.testing.assert_close(slope, torch.func.grad(f)(x) @ y)


@pytest.mark.parametrize(
    "f",
    [
        lambda x, y: euclidean.pairwise_dist(x, y),
        lambda x, y: euclidean.clip_norm(x * y, 0.5),
        lambda x, y: poincare.expmap0(x * y, c=0.7),
        lambda x, y: tangent.mobius_add(x, y, c=0.7),
        lambda x, y: tangent.geodesic(x, y, 0.3, c=0.7),
        lambda x, y: tangent.lca_depth(x, y, c=0.7),
        lambda x, y: lorentz.logmap(x, y, c=0.7),
        lambda x, y: cones.exterior_angle(x, y, c=0.7),
        lambda x, y: statistics.busemann(x, y, c=0.7),
        lambda x, y: statistics.frechet_mean(torch.stack([x, y], -2), c=0.7),
        lambda x, y: Product([Hyperbolic(0.7), Euclidean()], [2, 1]).pairwise_dist(x, y),
    ],
    ids=["euclidean", "clip_norm", "expmap0", "mobius_add", "geodesic", "lca_depth", "logmap", "angle", "busemann",
         "frechet_mean", "product"],
)  # fmt: skip
def test_forward_mode_is_the_gradient(f):
    x, y = points("tangent"), points("tangent", seed=1)
    steps = (points("tangent", seed=2), points("tangent", seed=3))
    value, slope = torch.func.jvp(f, (x, y), steps)
    expected, pull = torch.func.vjp(f, x, y)
    weight = torch.randn_like(slope)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-14)
    along = sum((gradient * step).sum() for gradient, step in zip(pull(weight), steps, strict=True))
    torch.testing.assert_close((slope * weight).sum(), along)


@pytest.mark.parametrize("chart", ["tangent", "ball"])
def test_between_equal_points_all_is_zero_and_finite(chart):
    x = points(chart).requires_grad_()
    dist = CHARTS[chart][0].pairwise_dist(x, x.detach(), c=1.0)
    (slope,) = torch.autograd.grad(dist.diagonal().sum(), x, create_graph=True)
    slope.sum().backward()
    assert not slope.any() and not x.grad.any()


def test_a_gradient_penalty_and_a_step_of_maml():
    torch.manual_seed(0)
    space = Hyperbolic(c=0.5, learnable=True)
    x, labels = torch.randn(8, 4, requires_grad=True), torch.arange(8) % 4
    loss = PairwiseCrossEntropyLoss(space=space)
    (slope,) = torch.autograd.grad(loss(x, labels), x, create_graph=True)
    (loss(x, labels) + slope.square().sum()).backward()
    assert x.grad.isfinite().all() and space.log_c.grad.isfinite()
    step = 1e-3  # the penalty's derivative along a direction, by differences

    def penalty(at):
        at = at.detach().double().requires_grad_()
        (slope,) = torch.autograd.grad(loss(at, labels), at, create_graph=True)
        return slope.square().sum(), at

    value, at = penalty(x)
    (exact,) = torch.autograd.grad(value, at)
    way = torch.randn(8, 4, dtype=torch.float64)
    up, down = (float(penalty(x.double() + sign * step * way)[0].detach()) for sign in (1, -1))
    assert float((exact * way).sum()) == pytest.approx((up - down) / (2 * step), rel=1e-4)

    weights = torch.randn(4, 4, dtype=torch.float64, requires_grad=True)
    inputs = torch.randn(6, 4, dtype=torch.float64)
    inner = ContrastiveLoss(space=Hyperbolic(c=0.5), learnable=False, temperature=1.0)
    (inner_slope,) = torch.autograd.grad(inner(inputs @ weights, inputs), weights, create_graph=True)
    outer = inner(inputs @ (weights - 0.1 * inner_slope), inputs.flip(1))
    assert torch.autograd.grad(outer, weights)[0].isfinite().all()


def test_the_hessian_of_a_loss():
    nodes, candidates = torch.randn(2, 3, dtype=torch.float64), torch.randn(2, 4, 3, dtype=torch.float64)
    loss = ClosureLoss(space=Hyperbolic(c=1.0))
    hessian = torch.func.hessian(lambda x: loss(x, candidates))(nodes).reshape(6, 6)
    torch.testing.assert_close(hessian, hessian.T)
    expected = torch.autograd.functional.hessian(lambda x: loss(x, candidates), nodes).reshape(6, 6)
    torch.testing.assert_close(hessian, expected)


def test_the_second_derivative_of_all_pairs_makes_no_pairs_of_vectors():
    B, P, D = 64, 256, 64
    x, y = torch.randn(B, D, requires_grad=True), torch.randn(P, D)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        (slope,) = torch.autograd.grad(tangent.pairwise_dist(x, y, c=1.0).sum(), x, create_graph=True)
        slope.square().sum().backward()
    largest = max(event.self_cpu_memory_usage for event in found.events())
    assert x.grad.isfinite().all() and largest < 8 * B * P * D / 2
