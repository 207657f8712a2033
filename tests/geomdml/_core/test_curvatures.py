"""A curvature for each head: the numbers of each head alone, and gradients that reach each curvature."""

import pytest
import torch

from geomdml import lorentz, poincare, tangent

HEADS = (0.3, 1.0, 2.5)
MODULES = {"tangent": tangent, "ball": poincare, "lorentz": lorentz}
NUMBERS = {
    "tangent": ["dist", "lca_depth"],
    "ball": ["dist", "dist0", "conformal_factor"],
    "lorentz": ["dist", "inner"],
}
VECTORS = {
    "tangent": ["mobius_add", "expmap", "logmap", "geodesic", "to_ball", "from_ball"],
    "ball": ["mobius_add", "expmap", "logmap", "geodesic", "expmap0", "logmap0", "mobius_scalar_mul", "gyration",
             "parallel_transport", "project", "mobius_matvec"],
    "lorentz": ["mobius_add", "expmap", "logmap", "geodesic", "from_tangent", "to_tangent", "from_ball", "to_ball"],
}  # fmt: skip
PAIRS = {"tangent": ["pairwise_dist"], "ball": ["pairwise_dist"], "lorentz": ["pairwise_dist", "pairwise_inner"]}
EACH = [(chart, name) for names in (NUMBERS, VECTORS) for chart, found in names.items() for name in found]
SINGLE = {"dist0", "conformal_factor", "to_ball", "from_ball", "expmap0", "logmap0", "project", "from_tangent",
          "to_tangent"}  # fmt: skip


def curvatures(dtype=torch.float64):
    return torch.tensor(HEADS, dtype=dtype).reshape(-1, 1, 1)


def inputs(name, dtype):
    generator = torch.Generator().manual_seed(0)
    x, y, v = (0.1 * torch.randn(3, 4, 5, generator=generator, dtype=dtype) for _ in range(3))
    if name in SINGLE:
        return (x,)
    if name == "geodesic":
        return x, y, 0.3
    if name == "mobius_scalar_mul":
        return 0.7, x
    if name == "mobius_matvec":
        return torch.randn(2, 5, generator=generator, dtype=dtype), x
    return (x, y, v) if name in ("gyration", "parallel_transport") else (x, y)


def of_head(arguments, h):
    return [x[h] if isinstance(x, torch.Tensor) and x.ndim == 3 else x for x in arguments]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(("chart", "name"), EACH)
def test_each_head_has_its_curvature(chart, name, dtype):
    f, arguments = getattr(MODULES[chart], name), inputs(name, dtype)
    together = f(*arguments, c=curvatures())
    assert together.dtype == dtype
    for h, c in enumerate(HEADS):
        alone = f(*of_head(arguments, h), c=c)
        torch.testing.assert_close(together[h], alone, rtol=4e-7 if dtype == torch.float32 else 1e-13, atol=1e-15)


@pytest.mark.parametrize(("chart", "name"), [(chart, name) for chart, names in PAIRS.items() for name in names])
def test_all_pairs_of_each_head(chart, name):
    f, (x, y) = getattr(MODULES[chart], name), inputs(name, torch.float64)
    together = f(x, y[:, :3], c=curvatures())
    assert together.shape == (3, 4, 3)
    for h, c in enumerate(HEADS):
        torch.testing.assert_close(together[h], f(x[h], y[h, :3], c=c), rtol=1e-13, atol=1e-15)
    with pytest.raises(ValueError, match=r"expected a number, a 0-d tensor, or \(\.\.\., 1, 1\)"):
        f(x, y, c=torch.ones(4, 1))


@pytest.mark.parametrize("chart", MODULES)
def test_gradients_reach_each_curvature(chart):
    f, (x, y) = MODULES[chart].dist, inputs("dist", torch.float64)
    c = curvatures().requires_grad_()
    assert torch.autograd.gradcheck(lambda x, c: f(x, y, c=c), (x.requires_grad_(), c))
    (found,) = torch.autograd.grad(f(x, y, c=c).sum(), c)
    for h, value in enumerate(HEADS):
        alone = torch.tensor(value, dtype=torch.float64, requires_grad=True)
        (expected,) = torch.autograd.grad(f(x[h], y[h], c=alone).sum(), alone)
        torch.testing.assert_close(found[h].squeeze(), expected, rtol=1e-10, atol=1e-12)


def test_points_stay_inside_every_ball():
    v = 30 * torch.randn(3, 200, 5, generator=torch.Generator().manual_seed(0))
    points = poincare.expmap0(v, c=curvatures(torch.float32))
    for h, c in enumerate(HEADS):
        assert poincare.dist0(points[h], c=float(torch.tensor(c))).isfinite().all()


def test_mistakes_are_named():
    x = torch.ones(3, 4, 5)
    with pytest.raises(ValueError, match=r"c has shape \(3,\); expected a number, a 0-d tensor, or \(\.\.\., 1\)"):
        tangent.dist(x, x, c=torch.ones(3))
    with pytest.raises(ValueError, match=r"\(2, 1, 1\), which does not broadcast to points of shape \(3, 4, 5\)"):
        tangent.dist(x, x, c=torch.ones(2, 1, 1))
    with pytest.raises(ValueError, match="c has values that are not finite and above 0"):
        tangent.dist(x, x, c=torch.tensor([[[1.0]], [[-1.0]], [[1.0]]]))
