"""geoopt's manifolds with our numbers: they agree with geoopt's where these are right, and stay right beyond."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mp

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:FutureWarning")  # geoopt's
geoopt = pytest.importorskip("geoopt")

from geomdml import lorentz as geomdml_lorentz  # noqa: E402
from geomdml import poincare, tangent  # noqa: E402
from geomdml._core import minkowski  # noqa: E402
from geomdml.geoopt import Lorentz, PoincareBall  # noqa: E402
from geomdml.testing import oracle, strategies  # noqa: E402


def close(found, expected, rtol=1e-6, atol=1e-7, msg=None):  # geoopt's own rounding
    torch.testing.assert_close(found, expected, rtol=rtol, atol=atol, msg=msg, check_dtype=False)


def compare(ours, theirs, name, *arguments):
    """In the last dimension, and in the first."""
    expected = getattr(theirs, name)(*arguments)
    close(getattr(ours, name)(*arguments), expected, msg=name)
    turned = getattr(ours, name)(*(z.T for z in arguments), dim=0)
    close(turned, expected.T if expected.ndim == 2 else expected, msg=name)


def vectors(count, dim=3, scale=0.5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(count, dim, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("c", [0.3, 1.0, 2.5])
def test_the_ball_is_geoopts_where_that_is_right(c):
    ours, theirs = (ball(c=torch.tensor(c, dtype=torch.float64)) for ball in (PoincareBall, geoopt.PoincareBall))
    x, y = (theirs.expmap0(vectors(5, scale=0.3, seed=seed)) for seed in (0, 1))
    u, v, weights = vectors(5, scale=0.2, seed=2), vectors(5, seed=3), vectors(5, 1, seed=4).abs()
    for name, arguments in {
        "dist": (x, y), "dist2": (x, y), "dist0": (x,), "expmap": (x, u), "logmap": (x, y), "expmap0": (u,),
        "logmap0": (x,), "transp": (x, y, u), "transp0": (x, u), "transp0back": (x, u), "gyration": (x, y, u),
        "mobius_add": (x, y), "mobius_sub": (x, y), "mobius_coadd": (x, y), "mobius_cosub": (x, y), "antipode": (x,),
        "lambda_x": (x,), "egrad2rgrad": (x, u), "norm": (x, u), "dist2plane": (x, y, v),
        "mobius_pointwise_mul": (u, x), "transp_follow_expmap": (x, u, v),
    }.items():  # fmt: skip
        compare(ours, theirs, name, *arguments)
    for name, arguments in {
        "mobius_scalar_mul": (weights, x), "geodesic": (weights, x, y), "geodesic_unit": (weights, x, u),
        "inv_sproj": (x,), "mobius_matvec": (vectors(2), x),
    }.items():  # fmt: skip
        close(getattr(ours, name)(*arguments), getattr(theirs, name)(*arguments), msg=name)
    close(ours.sproj(ours.inv_sproj(x.T, dim=0), dim=0), x.T)
    close(ours.inner(x, u, v, keepdim=True), theirs.inner(x, u, v, keepdim=True))
    close(ours.inner(x, u, v), theirs.inner(x, u, v, keepdim=True).squeeze(-1))
    close(ours.dist2plane(x, y, v, signed=True, scaled=True), theirs.dist2plane(x, y, v, signed=True, scaled=True))
    close(ours.mobius_fn_apply(torch.sin, x), theirs.mobius_fn_apply(torch.sin, x))
    close(ours.mobius_fn_apply_chain(x, torch.sin, torch.cos), theirs.mobius_fn_apply_chain(x, torch.sin, torch.cos))
    assert ours.mobius_fn_apply_chain(x) is x
    assert ours.dist(x, y, keepdim=True).shape == (5, 1) and ours.dist(x.T, y.T, dim=0, keepdim=True).shape == (1, 5)
    close(ours.cdist(x, y), theirs.dist(x[:, None], y))
    assert ours.dist0(ours.projx(10 * x)).isfinite().all()


@pytest.mark.parametrize("lincomb", [False, True])
@pytest.mark.parametrize("options", [{}, {"reducedim": [0]}, {"reducedim": [1], "keepdim": True}, {"keepdim": True}])
def test_midpoints_of_the_ball_are_geoopts(lincomb, options):
    ours, theirs = PoincareBall(c=torch.tensor(0.7, dtype=torch.float64)), geoopt.PoincareBall(c=0.7).double()
    x = theirs.expmap0(vectors(12, 4)).reshape(3, 4, 4)
    weights = vectors(3, 4).abs()
    for shares in (None, weights):
        found = ours.weighted_midpoint(x, shares, lincomb=lincomb, **options)
        close(found, theirs.weighted_midpoint(x, shares, lincomb=lincomb, **options))
    turned = ours.weighted_midpoint(-x, -weights, posweight=True, lincomb=lincomb, **options)
    close(turned, ours.weighted_midpoint(x, weights, lincomb=lincomb, **options))
    assert not ours.weighted_midpoint(x, 0 * weights, lincomb=lincomb, **options).any()
    with pytest.raises(ValueError, match="weights has values below 0"):
        ours.weighted_midpoint(x, -weights, **options)


@pytest.mark.parametrize("k", [0.4, 1.0, 3.0])
def test_the_hyperboloid_is_geoopts_where_that_is_right(k):
    ours, theirs = (manifold(k=torch.tensor(k, dtype=torch.float64)) for manifold in (Lorentz, geoopt.Lorentz))
    v, w = (torch.cat([torch.zeros(5, 1), vectors(5, seed=seed)], 1) for seed in (0, 1))
    x, y, anything = theirs.expmap0(v), theirs.expmap0(w), vectors(5, 4, seed=2)
    u, t = theirs.proju(x, anything), vectors(5, 1, seed=3)
    unit = u / theirs.norm(u, keepdim=True)
    for name, arguments in {
        "dist": (x, y), "dist0": (x,), "expmap0": (v,), "logmap0": (x,), "projx": (x,), "proju": (x, anything),
        "inner": (x, u, anything), "inner0": (x,),
    }.items():  # fmt: skip
        compare(ours, theirs, name, *arguments)
    for name, arguments in {
        "expmap": (x, anything), "retr": (x, u), "logmap": (x, y), "logmap0back": (x,), "transp": (x, y, u),
        "transp0": (x, v), "transp0back": (x, u), "transp_follow_expmap": (x, u, unit), "norm": (u,),
        "geodesic_unit": (t, x, unit), "inner": (None, u, anything),
    }.items():  # fmt: skip
        close(getattr(ours, name)(*arguments), getattr(theirs, name)(*arguments), msg=name)
    close(ours.egrad2rgrad(x, anything), theirs.egrad2rgrad(x, anything.clone()))
    close(ours.cdist(x, y), theirs.dist(x[:, None], y))
    ours.assert_check_point_on_manifold(x)
    ours.assert_check_vector_on_tangent(x, u)
    assert not ours.check_point_on_manifold(2 * x) and not ours.check_vector_on_tangent(x, anything)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@given(st.data())
def test_tangent_vectors_of_the_hyperboloid_keep_what_their_rounding_leaves(dtype, data):
    """|log_x(y)| = d, its transport to y is −log_y(x), and exp_x(log_x(y)) = y, at radii up to 8.

    A rounding of u moves it by that share of its components, as they are, across the ray of x.
    """
    pairs = strategies.lorentz_pairs(dtype, farthest=8.0, nearest=0.1, dimensions=(2, 3, 8), c=st.just(1.0))
    X, Y, _ = data.draw(pairs)
    manifold, eps = Lorentz(k=torch.ones((), dtype=dtype)), 8 * torch.finfo(dtype).eps
    x, y = (manifold.projx(torch.cat([Z.new_zeros(1), Z])) for Z in (X, Y))
    d, u, back = manifold.dist(x, y), manifold.logmap(x, y), manifold.logmap(y, x)
    moved = eps * float(u.norm() + back.norm())
    torch.testing.assert_close(manifold.inner(x, u).sqrt(), d, rtol=eps, atol=moved)
    c = torch.ones((), dtype=torch.float64)
    there, expected = (minkowski.to_origin(Y.double(), w[1:].double(), c) for w in (manifold.transp(x, y, u), -back))
    torch.testing.assert_close(there, expected, rtol=0, atol=moved)
    if moved < 1e-3:
        off = manifold.dist(manifold.expmap(x, u), y)
        assert off <= moved * float(torch.sinh(d) + 1) + eps * float(y.norm())


def test_vectors_turn_as_gyrations_say():
    x, y = (poincare.expmap0(vectors(50, seed=seed), c=0.9) for seed in (0, 1))
    v = vectors(50, seed=2)
    c = torch.tensor(0.9, dtype=torch.float64)
    X, Y = (geomdml_lorentz.from_ball(z, c=c) for z in (x, y))
    turned = minkowski.turn(X, Y, v, c)
    torch.testing.assert_close(turned, poincare.gyration(y, -x, v, c=c), rtol=1e-13, atol=1e-13)
    far = 1e100 * vectors(2, seed=3)
    torch.testing.assert_close(minkowski.turn(far, far, v[:2], c), v[:2])
    torch.testing.assert_close(minkowski.turn(far, -far, v[:2], c), v[:2])
    inputs = [z[:3].clone().requires_grad_() for z in (X, Y, v)]
    assert torch.autograd.gradcheck(lambda *z: minkowski.turn(*z, c), inputs)


@given(strategies.point_pairs(torch.float64, dimensions=(2, 3), farthest=5.0))
def test_the_distance_from_a_plane_is_that_of_fifty_digits(pair):
    """From the plane through y across the axis of all ones; to the rounding of the product that cancels."""
    x, y, c = pair
    normal = torch.ones_like(x)
    found = PoincareBall(c=torch.tensor(c, dtype=torch.float64)).dist2plane(x, y, normal, signed=True)
    kept = float(softplus_of_inverse(c))
    with mp.workdps(200):
        z, c50 = oracle.mobius_add(-y, x, c=kept), mp.mpf(kept)
        square = mp.fsum(a * a for a in z)
        sine = 2 * mp.sqrt(c50) * mp.fsum(z) / mp.sqrt(len(z)) / (1 - c50 * square)
        largest = 2 * mp.sqrt(c50 * square) / (1 - c50 * square)
        exact, slope = mp.asinh(sine) / mp.sqrt(c50), 1 / mp.sqrt(1 + sine * sine) / mp.sqrt(c50)
        assert abs(mp.mpf(float(found)) - exact) <= 1e-14 * (abs(exact) + largest * slope) or largest > mp.mpf(10) ** 14


def softplus_of_inverse(c):
    return PoincareBall(c=torch.tensor(c, dtype=torch.float64)).c


@pytest.mark.parametrize("c", [1e-6, 1e-3, 1.0, 30.0, 200.0])
def test_the_curvature_is_the_one_given(c):
    given = torch.tensor(c)
    assert float(PoincareBall(c=given).c) == pytest.approx(c, rel=2e-6)
    assert float(given) == float(torch.tensor(c))  # geoopt's writes into the tensor that it is given
    x = vectors(4, scale=0.1 / c**0.5).float()
    close(PoincareBall(c=given).dist(x, -x), poincare.dist(x, -x, c=c), rtol=1e-5)


def test_curvature_zero_is_flat_and_below_it_refused():
    x, y = vectors(4), vectors(4, seed=1)
    flat = PoincareBall(c=0.0, learnable=True)
    close(flat.dist(x, y), 2 * (x - y).norm(dim=1), rtol=1e-12)
    close(flat.expmap(x, y), x + y, rtol=1e-12)
    flat.dist(x, y).sum().backward()
    assert float(flat.isp_c.grad) == 0
    for wrong in (-1.0, torch.nan):
        with pytest.raises(ValueError, match=r"c = .*expected finite numbers, 0 or above"):
            PoincareBall(c=wrong)
        with pytest.raises(ValueError, match=r"k = .*expected finite numbers above 0"):
            Lorentz(k=wrong)


def test_several_curvatures_are_one_after_the_other():
    c = torch.tensor([[0.5], [1.0], [2.0]], dtype=torch.float64)
    x, y, u = (vectors(3, scale=0.2, seed=seed) for seed in range(3))
    ball, hyperboloid = PoincareBall(c=c), Lorentz(k=1 / c)
    X, Y = (hyperboloid.projx(torch.cat([torch.zeros(3, 1), z], 1)) for z in (x, y))
    U = hyperboloid.proju(X, torch.cat([torch.zeros(3, 1), u], 1))
    for i in range(3):
        one, other = PoincareBall(c=c[i]), Lorentz(k=1 / c[i])
        for name, arguments in {"dist": (x, y), "expmap": (x, u), "transp": (x, y, u), "mobius_coadd": (x, y)}.items():
            close(getattr(ball, name)(*arguments)[i], getattr(one, name)(*(z[i] for z in arguments)), msg=name)
        for name, arguments in {"dist": (X, Y), "expmap": (X, U), "transp": (X, Y, U), "logmap": (X, Y)}.items():
            close(getattr(hyperboloid, name)(*arguments)[i], getattr(other, name)(*(z[i] for z in arguments)), msg=name)
    close(PoincareBall(c=c.T).expmap(x.T, u.T, dim=0), ball.expmap(x, u).T)
    with pytest.raises(ValueError, match="one curvature for a midpoint"):
        ball.weighted_midpoint(x)


def test_points_outside_count_as_the_last_inside():
    ball, outside = PoincareBall(c=1.0), torch.tensor([[3.0, 4.0]])
    assert torch.equal(ball.dist0(outside), ball.dist0(ball.projx(outside)))
    assert ball.dist0(outside).isfinite().all() and not ball.check_point_on_manifold(outside)
    ball.assert_check_point_on_manifold(ball.projx(outside))
    with pytest.raises(ValueError, match="NaN"):
        ball.dist0(outside * torch.nan)
    with pytest.raises(ValueError, match="a number for each vector has shape"):
        ball.geodesic(torch.rand(1, 2), outside, outside)


def test_far_out_it_keeps_the_digits_that_geoopt_loses():
    u, v = torch.tensor([[8.0, 0.0]]), torch.tensor([[0.0, 8.0]])
    ours, theirs = Lorentz(k=1.0), geoopt.Lorentz(k=1.0)
    x, y = (ours.expmap0(torch.cat([torch.zeros(1, 1), 2 * w], 1)) for w in (u, v))
    exact = tangent.dist(u, v, c=1.0)
    torch.testing.assert_close(ours.dist(x, y), exact, rtol=1e-6, atol=0)
    near = ours.expmap0(torch.tensor([[0.0, 16.0, 1e-5]]))
    assert float(ours.dist(x, near)) > 1 and not float(theirs.dist(x, near)) > 1
    ball = PoincareBall(c=1.0)
    points = ball.expmap0(torch.stack([u[0], v[0]]))
    torch.testing.assert_close(ball.dist(*points), poincare.dist(*points, c=1.0))
    their_ball = geoopt.PoincareBall(c=1.0)
    assert (
        float(ball.dist0(points).min()) == pytest.approx(16, rel=1e-2) and their_ball.dist0(their_ball.expmap0(u)) < 13
    )


@pytest.mark.parametrize("manifold", [PoincareBall, Lorentz])
@pytest.mark.parametrize(
    "optimiser",
    [
        lambda points: geoopt.optim.RiemannianAdam([points], lr=0.1),
        lambda points: geoopt.optim.RiemannianAdam([points], lr=0.1, amsgrad=True, stabilize=3),
        lambda points: geoopt.optim.RiemannianSGD([points], lr=0.05, momentum=0.5, nesterov=True, dampening=0),
    ],
    ids=["Adam", "Adam, stabilised", "SGD"],
)
def test_riemannian_optimisers_reach_their_targets(manifold, optimiser):
    torch.manual_seed(0)
    space = manifold()
    target, start = (space.random_normal(16, 3).as_subclass(torch.Tensor) for _ in range(2))
    points = geoopt.ManifoldParameter(start, manifold=space)
    optimizer = optimiser(points)
    for _ in range(150):
        optimizer.zero_grad()
        (space.dist(points, target) ** 2).sum().backward()
        optimizer.step()
    assert space.dist(points, target).max() < 0.05
    space.assert_check_point_on_manifold(points)


def test_far_out_a_riemannian_optimiser_still_walks():
    """At 10 from the origin, in float32; of the way of 1 that is left geoopt's takes another."""
    space = Lorentz()
    target = space.expmap0(torch.tensor([[0.0, 10.0, 0.0]]))
    side = space.transp0(target, torch.tensor([[0.0, 0.0, 1.0]]))
    points = geoopt.ManifoldParameter(space.expmap(target, side), manifold=space)
    assert float(space.dist(points, target).detach()) == pytest.approx(1, rel=1e-5)
    optimizer = geoopt.optim.RiemannianSGD([points], lr=0.1)
    for _ in range(100):
        optimizer.zero_grad()
        (space.dist(points, target) ** 2).sum().backward()
        optimizer.step()
    assert space.dist(points, target) < 1e-4


def test_a_learned_curvature_has_a_gradient():
    ball, hyperboloid = PoincareBall(learnable=True), Lorentz(learnable=True)
    x = ball.expmap0(vectors(4))
    (ball.dist(x, -x / 2).sum() + hyperboloid.dist0(hyperboloid.expmap0(vectors(4))).sum()).backward()
    assert float(ball.isp_c.grad) != 0 and hyperboloid.k.grad.isfinite()


def test_scaled_manifolds_and_products_take_it():
    ball = PoincareBall(c=1.0)
    x, y = ball.expmap0(vectors(2).float())
    scaled = geoopt.Scaled(PoincareBall(c=1.0), 2.0)
    torch.testing.assert_close(scaled.dist(x, y), 2 * ball.dist(x, y))
    product = geoopt.ProductManifold((ball, 3), (geoopt.Euclidean(1), 2))
    point = product.pack_point(x, torch.zeros(2))
    assert float(product.dist(point, product.pack_point(y, torch.zeros(2)))) == pytest.approx(float(ball.dist(x, y)))


def test_random_points_of_the_ball_are_geoopts():
    drawn = []
    for ball in (PoincareBall(c=0.7), geoopt.PoincareBall(c=0.7)):
        torch.manual_seed(0)
        drawn.append(ball.random(500, 4, std=0.3).data)
    close(*drawn, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("k", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("std", [1e-3, 1.0, 8.0])
def test_random_points_of_the_hyperboloid_are_normal_at_the_origin(k, std):
    """The squares of their distances from the origin are std²/4 times those of χ² of 4, and they lie around it."""
    torch.manual_seed(0)
    manifold = Lorentz(k=k)
    points = manifold.random(10_000, 5, std=std)
    assert points.manifold is manifold and manifold.check_point_on_manifold(points.data)
    square = manifold.dist0(points.data).double().square() / std**2
    assert float(4 * square.mean()) == pytest.approx(4, abs=6 * (8 / 10_000) ** 0.5)
    directions = torch.nn.functional.normalize(points.data[:, 1:].double())
    assert float(directions.mean(0).abs().max()) < 6 * (0.25 / 10_000) ** 0.5
    moved = manifold.random(2, 5, mean=torch.tensor([7.0, 3.0, 0.0, 0.0, 0.0]), std=0.0, dtype=torch.float64)
    expected = torch.tensor([[0.0, 3.0, 0.0, 0.0, 0.0]] * 2, dtype=torch.float64)
    torch.testing.assert_close(manifold.logmap0(moved.data), expected)
