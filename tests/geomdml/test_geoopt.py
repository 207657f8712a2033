"""geoopt's manifolds with our numbers: they agree with geoopt's where these are right, and stay right beyond."""

import pytest
import torch

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:FutureWarning")  # geoopt's
geoopt = pytest.importorskip("geoopt")

from geomdml import poincare, tangent  # noqa: E402
from geomdml.geoopt import Lorentz, PoincareBall  # noqa: E402


def vectors(count, dim=3, scale=0.5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(count, dim, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("c", [0.3, 1.0, 2.5])
def test_the_ball_is_geoopts_where_that_is_right(c):
    ours, theirs = (ball(c=torch.tensor(c, dtype=torch.float64)) for ball in (PoincareBall, geoopt.PoincareBall))
    x, y = (theirs.expmap0(vectors(5, scale=0.3, seed=seed)) for seed in (0, 1))
    u = vectors(5, scale=0.2, seed=2)
    close = {"rtol": 1e-6, "atol": 1e-8}  # geoopt's own rounding
    for name, arguments in {
        "dist": (x, y), "dist2": (x, y), "dist0": (x,), "expmap": (x, u), "logmap": (x, y), "expmap0": (u,),
        "logmap0": (x,), "transp": (x, y, u), "gyration": (x, y, u), "mobius_add": (x, y), "mobius_sub": (x, y),
        "lambda_x": (x,), "retr": (x, 0.1 * u), "egrad2rgrad": (x, u), "inner": (x, u),
    }.items():  # fmt: skip
        expected = getattr(theirs, name)(*arguments)
        torch.testing.assert_close(getattr(ours, name)(*arguments), expected, **close, msg=name)
        if name != "inner":
            turned = getattr(ours, name)(*(z.T for z in arguments), dim=0)
            torch.testing.assert_close(turned, expected.T if expected.ndim == 2 else expected, **close)
    assert ours.dist(x, y, keepdim=True).shape == (5, 1) and ours.dist(x.T, y.T, dim=0, keepdim=True).shape == (1, 5)
    torch.testing.assert_close(ours.cdist(x, y), theirs.dist(x[:, None], y), **close)
    assert ours.dist0(ours.projx(10 * x)).isfinite().all()


@pytest.mark.parametrize("k", [0.4, 1.0, 3.0])
def test_the_hyperboloid_is_geoopts_where_that_is_right(k):
    ours, theirs = (manifold(k=torch.tensor(k, dtype=torch.float64)) for manifold in (Lorentz, geoopt.Lorentz))
    v, w = (torch.cat([torch.zeros(5, 1), vectors(5, seed=seed)], 1) for seed in (0, 1))
    x, y = theirs.expmap0(v), theirs.expmap0(w)
    close = {"rtol": 1e-6, "atol": 1e-7}
    for name, arguments in {"dist": (x, y), "dist0": (x,), "expmap0": (v,), "logmap0": (x,), "projx": (x,)}.items():
        expected = getattr(theirs, name)(*arguments)
        torch.testing.assert_close(getattr(ours, name)(*arguments), expected, **close, msg=name)
        turned = getattr(ours, name)(*(z.T for z in arguments), dim=0)
        torch.testing.assert_close(turned, expected.T if expected.ndim == 2 else expected, **close)
    torch.testing.assert_close(ours.cdist(x, y), theirs.dist(x[:, None], y), **close)


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


def test_riemannian_optimisers_and_a_learned_curvature_work_on_it():
    torch.manual_seed(0)
    ball = PoincareBall(c=1.0, learnable=True)
    target = ball.expmap0(torch.randn(16, 2)).detach()
    points = geoopt.ManifoldParameter(ball.expmap0(0.1 * torch.randn(16, 2)).detach(), manifold=ball)
    optimizer = geoopt.optim.RiemannianAdam([points], lr=0.1)
    for _ in range(150):
        optimizer.zero_grad()
        ball.dist2(points, target).mean().backward()
        optimizer.step()
    assert ball.dist(points, target).max() < 0.05
    assert ball.isp_c.grad.isfinite()
    assert (points.norm(dim=1) < 1).all()


def test_scaled_manifolds_and_products_take_it():
    ball = PoincareBall(c=1.0)
    x, y = ball.expmap0(vectors(2).float())
    scaled = geoopt.Scaled(PoincareBall(c=1.0), 2.0)
    torch.testing.assert_close(scaled.dist(x, y), 2 * ball.dist(x, y))
    product = geoopt.ProductManifold((ball, 3), (geoopt.Euclidean(1), 2))
    point = product.pack_point(x, torch.zeros(2))
    assert float(product.dist(point, product.pack_point(y, torch.zeros(2)))) == pytest.approx(float(ball.dist(x, y)))
