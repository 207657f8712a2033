"""The oracle is right, the strategies draw what they promise, and the laws refuse implementations that are wrong."""

import math
from types import SimpleNamespace

import pytest
import torch
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st
from mpmath import mp, mpf

from geomdml import lorentz, poincare, tangent
from geomdml.testing import contracts, laws, oracle, strategies
from geomdml.testing.laws import BALL, LORENTZ, TANGENT

PRIMITIVES = [*BALL.values(), *TANGENT.values(), *LORENTZ.values()]
EACH = pytest.mark.parametrize("f", PRIMITIVES, ids=lambda f: f"{f.reference.chart}-{f.name}")
SEARCH = settings(max_examples=500, derandomize=True, deadline=None, database=None, phases=[Phase.generate])


def assert_fifty_digits(value, expected):
    with mp.workdps(1500):
        assert abs(value - expected) <= mpf(10) ** -50 * abs(expected), f"{mp.nstr(value, 55)}\n{mp.nstr(expected, 55)}"


@given(st.data())
def test_moebius_and_lorentz_derivations_agree(data):
    u, v, c = data.draw(strategies.tangent_pairs(torch.float64, dimensions=(1, 2, 3, 8)))
    assert_fifty_digits(oracle.tangent_dist(u, v, c=c), oracle.lorentz_dist(u, v, c=c))


@EACH
@given(st.data())
def test_more_digits_change_nothing(f, data):
    *vectors, c = data.draw(strategies.inputs(f, torch.float64, dimensions=(1, 2, 3, 8)))
    value = f.reference(*vectors, c=c)
    with mp.workdps(3 * f.reference.digits(*vectors, c=c)):
        finer = f.reference.definition(*map(oracle.exact, vectors), c=mpf(c))
    for rough, fine in zip(value, finer, strict=True) if isinstance(value, list) else [(value, finer)]:
        assert rough == 0 or abs(rough - fine) <= mpf(10) ** -50 * abs(fine)


@pytest.mark.parametrize("c", [1.0, 100.0])
def test_a_walk_back_to_the_origin_ends_there(c):
    for u in ([1.6546, -1.7385], [4.862, -5.1086, 24.7654], [250.0, 160.0]):
        x = torch.tensor(u, dtype=torch.float64) / c**0.5
        assert oracle.tangent_expmap(x, -x, c=c) == [0] * len(u)
        half = oracle.norm(oracle.tangent_expmap(x, -x / 2, c=c))
        assert float(half) == pytest.approx(float(x.norm()) / 2, rel=1e-12)


@settings(max_examples=15)
@given(st.data())
def test_the_ancestor_is_the_nearest_point_of_the_geodesic(data):
    """By golden section along the geodesic x ⊕ t ⊗ (−x ⊕ y) of the ball."""
    u, v, c = data.draw(strategies.tangent_pairs(torch.float64, nearest=0.1, farthest=3.0, dimensions=(2, 3)))
    add, exp, log = (f.definition for f in (oracle.mobius_add, oracle.expmap0, oracle.logmap0))
    with mp.workdps(60):
        c = mpf(c)
        x, y = (exp(oracle.exact(w), c=c) for w in (u, v))
        step = log(add([-a for a in x], y, c=c), c=c)

        def depth(t):
            return oracle.dist0.definition(add(x, exp([t * a for a in step], c=c), c=c), c=c)

        low, high, golden = mpf(0), mpf(1), (mp.sqrt(5) - 1) / 2
        for _ in range(60):
            left, right = high - golden * (high - low), low + golden * (high - low)
            low, high = (low, right) if depth(left) < depth(right) else (left, high)
        nearest = min(map(depth, (low, high, mpf(0), mpf(1))))
        assert abs(oracle.lca_depth(u, v, c=c) - nearest) < mpf(10) ** -10 / mp.sqrt(c)


@given(st.data())
def test_a_boost_is_an_isometry_that_moves_the_origin(data):
    X, Y, c = data.draw(strategies.lorentz_pairs(torch.float64, farthest=5.0, dimensions=(1, 2, 3)))
    boost, product = oracle.boosted.definition, oracle.hyperboloid_inner.definition
    with mp.workdps(400):
        c, X, Y = mpf(c), oracle.exact(X), oracle.exact(Y)
        for moved, still in zip(boost([0 * a for a in X], Y, c=c), Y, strict=True):
            assert_fifty_digits(moved, still)
        LX, LY = (boost(Z, [a - b for a, b in zip(X, Y, strict=True)], c=c) for Z in (X, Y))
        assert_fifty_digits(product(LX, LY, c=c), product(X, Y, c=c))


def test_known_values():
    x, zero = [0.5, 0.0], [0.0, 0.0]
    with mp.workdps(60):
        assert_fifty_digits(oracle.dist(x, zero, c=1.0), mp.log(3))  # 2 artanh(1/2)
        assert_fifty_digits(oracle.dist(x, [-0.5, 0.0], c=1.0), 2 * mp.log(3))
        assert_fifty_digits(oracle.mobius_add(x, x, c=1.0)[0], mpf(4) / 5)  # (1/2 + 1/2)/(1 + 1/4)
        assert_fifty_digits(oracle.expmap0(x, c=1.0)[0], mp.tanh(mpf(1) / 2))
        assert_fifty_digits(oracle.tangent_dist(x, zero, c=0.3), mpf(1))  # 2‖u‖
        assert_fifty_digits(oracle.hyperboloid_inner([3.0, 4.0], zero, c=1.0), -mp.sqrt(26))
        assert_fifty_digits(oracle.hyperboloid_dist([3.0, 4.0], zero, c=1.0), mp.asinh(5))
        assert_fifty_digits(oracle.hyperboloid_to_tangent([3.0, 0.0], c=1.0)[0], mp.asinh(3) / 2)
        assert_fifty_digits(oracle.hyperboloid_to_ball([2.0, 0.0], c=0.75)[0], mpf(2) / 3)  # X/(1 + √c·X₀), X₀² = 16/3
        assert_fifty_digits(oracle.ball_to_hyperboloid(x, c=1.0)[0], mpf(4) / 3)  # 2x/(1 − x²)
        right_angle = mp.acosh(mp.cosh(1) ** 2)  # Pythagoras: cosh of the hypotenuse is the product
        assert_fifty_digits(oracle.tangent_dist(x, [0.0, 0.5], c=1.0), right_angle)


@given(st.data())
def test_derivatives_are_those_known_in_closed_form(data):
    x, c = data.draw(strategies.points(torch.float64, dimensions=(1, 2, 3)))
    by_x, ((by_c,),) = oracle.conformal_factor.jacobian(x, c=c)
    with mp.workdps(300):
        exact, gap = oracle.exact(x), 1 - mpf(c) * oracle.norm(oracle.exact(x)) ** 2
        for (found,), entry in zip(by_x, exact, strict=True):
            assert_fifty_digits(found, 4 * mpf(c) * entry / gap**2)
        assert_fifty_digits(by_c, 2 * oracle.norm(exact) ** 2 / gap**2)


def test_the_derivative_at_the_origin_points_away_from_the_other_point():
    by_u, _, _ = oracle.tangent_dist.jacobian([0.0, 0.0], [3.0, 4.0], c=0.7)
    with mp.workdps(60):
        for (found,), expected in zip(by_u, (mpf(-6) / 5, mpf(-8) / 5), strict=True):  # −2 v̂
            assert_fifty_digits(found, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_strategies_reach_the_last_float_inside_and_cancelling_pairs(dtype):
    eps = torch.finfo(dtype).eps
    x, c = find(strategies.points(dtype), lambda p: oracle.gap(p.x, p.c) < 2 * eps, settings=SEARCH)
    assert 0 < oracle.gap(x, c) < 2 * eps
    find(
        strategies.point_pairs(dtype, dimensions=(3,), relations=("near-antipode",)),
        lambda p: (
            max(oracle.gap(p.x, p.c), oracle.gap(p.y, p.c)) < 4 * eps and 0 < (p.x + p.y).norm() < 0.1 * p.x.norm()
        ),
        settings=SEARCH,
    )


@given(st.data())
def test_points_are_inside_by_exact_arithmetic(data):
    for dtype in (torch.float16, torch.float32, torch.float64):
        x, y, c = data.draw(strategies.point_pairs(dtype, c=strategies.curvatures(0.01, 100.0)))
        assert oracle.gap(x, c) > 0 and oracle.gap(y, c) > 0 and x.dtype == y.dtype == dtype


def artanh_of_moebius(x, y, *, c):
    """The formula of most libraries, in the dtype of the input, with the usual clamp."""
    z = (c**0.5 * printed_mobius_add(-x, y, c=c).norm(dim=-1)).clamp(max=1 - 1e-5)
    return 2 * z.atanh() / c**0.5


def printed_mobius_add(x, y, *, c):
    xy, xx, yy = ((a * b).sum(-1, keepdim=True) for a, b in ((x, y), (x, x), (y, y)))
    return ((1 + 2 * c * xy + c * yy) * x + (1 - c * xx) * y) / (1 + 2 * c * xy + c**2 * xx * yy)


def arcosh_dist(u, v, *, c):
    """The Lorentz model in floating point."""
    a, b = (2 * c**0.5 * w.norm(dim=-1) for w in (u, v))
    cosine = (u * v).sum(-1) / (u.norm(dim=-1) * v.norm(dim=-1))
    return (a.cosh() * b.cosh() - a.sinh() * b.sinh() * cosine).acosh() / c**0.5


def arcosh_of_product(X, Y, *, c):
    """The Lorentz model as it is printed."""
    X0, Y0 = ((1 / c + (Z * Z).sum(-1)).sqrt() for Z in (X, Y))
    return (c * (X0 * Y0 - (X * Y).sum(-1))).clamp(min=1).acosh() / c**0.5


def depth_of_the_whole_geodesic(u, v, *, c):
    """As published with HypHC: the foot of the perpendicular, wherever it lies; in float64."""
    a, b = (2 * c**0.5 * w.double().norm(dim=-1) for w in (u, v))
    cosine = (u.double() * v.double()).sum(-1) * 4 * c / (a * b)
    sine = (1 - cosine**2).clamp(min=0).sqrt()
    side = c**0.5 * tangent.dist(u.double(), v.double(), c=c)
    return (torch.asinh(a.sinh() * b.sinh() * sine / side.sinh()) / c**0.5).to(u.dtype)


def euclidean_clip(v, *, c):
    """exp_0 that forgets the curvature."""
    return v.tanh()


def gradient_lost(x, *, c):
    """A clamp that silently stops the gradient."""
    return poincare.dist0(x.detach(), c=c) + 0 * x.sum()


def nan_at_zero(v, *, c):
    """exp_0 with the norm's infinite slope at 0."""
    length = v.square().sum(-1, keepdim=True).sqrt()
    return torch.where(length > 0, (c**0.5 * length).tanh() * v / (c**0.5 * length), v)


def is_broken(law):
    def broken(draw):
        try:
            law(draw)
        except laws.Broken:
            return True
        return False

    return broken


WRONG = {
    "artanh in float32": (strategies.point_pairs(), laws.is_exact, BALL["dist"], artanh_of_moebius),
    "artanh in float64": (strategies.point_pairs(torch.float64), laws.is_exact, BALL["dist"], artanh_of_moebius),
    "printed Möbius addition in float64": (
        strategies.point_pairs(torch.float64),
        laws.is_exact,
        BALL["mobius_add"],
        printed_mobius_add,
    ),
    "arcosh": (strategies.tangent_pairs(farthest=5.0), laws.is_exact, TANGENT["dist"], arcosh_dist),
    "arcosh of the product in float64": (
        strategies.lorentz_pairs(torch.float64, farthest=5.0),
        laws.is_exact,
        LORENTZ["dist"],
        arcosh_of_product,
    ),
    "whole geodesic": (
        strategies.tangent_pairs(nearest=0.1, farthest=3.0, relations=strategies.APART),
        laws.is_exact,
        TANGENT["lca_depth"],
        depth_of_the_whole_geodesic,
    ),
    "curvature forgotten": (strategies.tangents(), laws.scales_with_curvature, BALL["expmap0"], euclidean_clip),
    "gradient lost": (strategies.points(dimensions=(2,)), laws.gradient_is_exact, BALL["dist0"], gradient_lost),
    "NaN at zero": (strategies.tangents(), laws.gradients_are_finite, BALL["expmap0"], nan_at_zero),
    "not for 16 bits": (
        strategies.point_pairs(torch.bfloat16, c=strategies.curvatures(0.01, 100.0)),
        contracts.half_is_float32_of_the_rounded,
        BALL["dist"],
        artanh_of_moebius,
    ),
}


@pytest.mark.parametrize(("inputs", "law", "f", "wrong"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_implementation_breaks_the_law(inputs, law, f, wrong):
    implementation = SimpleNamespace(**{f.name: wrong})
    find(inputs, is_broken(lambda draw: law(implementation, f, *draw[:-1], c=draw.c)), settings=SEARCH)


@pytest.mark.parametrize("at_origin", [False, True])
def test_the_published_depth_is_0_on_a_ray_and_nan_at_the_origin(at_origin):
    implementation = SimpleNamespace(lca_depth=depth_of_the_whole_geodesic)
    u = torch.tensor([1.5, 0.0])
    with pytest.raises(laws.Broken, match="lca_depth is exact"):
        laws.is_exact(implementation, TANGENT["lca_depth"], u, 0 * u if at_origin else 2 * u / 3, c=1.0)


def test_the_product_in_float32_ranks_wrong_far_out():
    """At A = 9 what float32 keeps of the product is noise: distances of 0.1 to 1 come in no order."""
    angles = torch.linspace(0.1, 1, 20) / math.sinh(9)
    X, Ys = math.sinh(9) * torch.tensor([1.0, 0.0]), math.sinh(9) * torch.stack([angles.cos(), angles.sin()], 1)
    in_float32 = SimpleNamespace(
        pairwise_inner=lambda X, Y, *, c: (
            X @ Y.T - (1 / c + X.square().sum(1)).sqrt()[:, None] * (1 / c + Y.square().sum(1)).sqrt()
        ),
        pairwise_dist=lorentz.pairwise_dist,
    )
    laws.product_ranks_as_distance(lorentz, X, Ys, c=1.0)
    with pytest.raises(laws.Broken, match="ranks as the distance"):
        laws.product_ranks_as_distance(in_float32, X, Ys, c=1.0)


def test_refusals_are_missed_where_there_are_none():
    silent = SimpleNamespace(dist=artanh_of_moebius)
    with pytest.raises(laws.Broken, match="raises ValueError about"):
        contracts.refuses_what_cannot_be(silent, BALL["dist"])


def test_a_broken_law_says_which_how_far_and_where():
    wrong = SimpleNamespace(dist=lambda x, y, *, c: 2 * (x - y).norm())
    with pytest.raises(laws.Broken, match=r"dist is exact: error 0\.\d+ > 2\.4e-07, at c = 1\.0 and\n.*\[0\.5, 0\.0\]"):
        laws.is_exact(wrong, BALL["dist"], torch.tensor([0.5, 0.0]), torch.zeros(2), c=1.0)
