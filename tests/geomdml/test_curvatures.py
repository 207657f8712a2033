"""Several curvatures at once, such as one for each head, give what each gives alone."""

import pytest
import torch

from geomdml import cones, hyperplanes, statistics
from geomdml.spaces import Hyperbolic

CURVATURES = torch.tensor([0.3, 1.0, 2.5], dtype=torch.float64)
HEADS = CURVATURES[:, None, None]
SPACES = {chart: Hyperbolic(HEADS, chart=chart) for chart in ("tangent", "ball", "lorentz")}


def points(seed, *shape):
    """(2, 3, 4, 2): two batches, three heads, four points; inside the smallest ball."""
    x = torch.randn(*(shape or (2, 3, 4, 2)), dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return 0.6 * x / (1 + x.norm(dim=-1, keepdim=True))


X, Y, NORMALS, OFFSETS = points(0), points(1), points(2, 5, 2), points(3, 5, 1).squeeze(-1)
WEIGHTS = points(4)[..., 0].exp()
OF_ONE = {
    "half aperture": lambda x, y, c: cones.half_aperture(x, c=c),
    "exterior angle": lambda x, y, c: cones.exterior_angle(x, y, c=c),
    "entailment": lambda x, y, c: cones.entailment(x, y, c=c),
    "busemann": lambda x, y, c: statistics.busemann(x, y, c=c),
    "frechet mean": lambda x, y, c: statistics.frechet_mean(x, c=c),
    "wrapped normal": lambda x, y, c: statistics.wrapped_normal_log_prob(x, y, 0.7, c=c),
    "a draw": lambda x, y, c: statistics.wrapped_normal_sample(
        x, 1e-12, c=c, generator=torch.Generator().manual_seed(0)
    ),
    "hyperplanes": lambda x, y, c: hyperplanes.signed_dist(x, NORMALS, OFFSETS, c=c),
}


@pytest.mark.parametrize("f", OF_ONE.values(), ids=OF_ONE.keys())
def test_each_head_is_what_it_is_alone(f):
    c = HEADS.clone().requires_grad_()
    together = f(X, Y, c)
    for i, curvature in enumerate(CURVATURES.tolist()):
        alone = f(X[:, i : i + 1], Y[:, i : i + 1], curvature)
        torch.testing.assert_close(together[:, i : i + 1], alone, rtol=1e-11, atol=1e-11)
    assert torch.autograd.grad(together.square().sum(), c)[0].isfinite().all()


@pytest.mark.parametrize("chart", SPACES)
def test_a_space_of_several_curvatures_is_each_of_its_heads(chart):
    space = SPACES[chart]
    found = {
        "dist": space.dist(X, Y),
        "pairwise_dist": space.pairwise_dist(X, Y),
        "expmap0": space.expmap0(X),
        "mobius_add": space.mobius_add(X, Y),
        "geodesic": space.geodesic(X, Y, 0.3),
        "logmap": space.logmap(X, Y),
        "midpoint": space.midpoint(X, WEIGHTS),
        "to": space.to("ball", X),
    }
    for i, curvature in enumerate(CURVATURES.tolist()):
        one, x, y = Hyperbolic(curvature, chart=chart), X[:, i], Y[:, i]
        expected = {
            "dist": one.dist(x, y),
            "pairwise_dist": one.pairwise_dist(x, y),
            "expmap0": one.expmap0(x),
            "mobius_add": one.mobius_add(x, y),
            "geodesic": one.geodesic(x, y, 0.3),
            "logmap": one.logmap(x, y),
            "midpoint": one.midpoint(x, WEIGHTS[:, i]),
            "to": one.to("ball", x),
        }
        for name, value in expected.items():
            torch.testing.assert_close(found[name][:, i], value, rtol=1e-11, atol=1e-13)


def test_several_curvatures_are_learned_saved_and_moved():
    learned = Hyperbolic(HEADS.float(), learnable=True)
    assert learned.log_c.shape == (3, 1, 1)
    torch.testing.assert_close(learned.c, HEADS.float())
    learned.pairwise_dist(X, Y).sum().backward()
    assert learned.log_c.grad.isfinite().all() and learned.log_c.grad.all()
    fixed = Hyperbolic(HEADS).half()
    assert fixed.c.dtype == torch.float64 and torch.equal(fixed.c, HEADS)
    assert set(fixed.state_dict()) == {"c"}
    other = Hyperbolic(2 * HEADS)
    other.load_state_dict(fixed.state_dict())
    assert torch.equal(other.c, HEADS)
    other.load_state_dict(learned.state_dict())
    torch.testing.assert_close(other.c, HEADS, rtol=1e-6, atol=0)
    assert repr(fixed) == "Hyperbolic(c of shape (3, 1, 1), chart='tangent')"


def test_several_curvatures_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="not finite and above 0"):
        Hyperbolic(torch.tensor([[1.0], [0.0]]))
    with pytest.raises(ValueError, match=r"curvatures of shape \(3, 1, 1\); expected a space of one"):
        _ = SPACES["tangent"].curvature
    with pytest.raises(ValueError, match=r"expected a number, a 0-d tensor, or \(..., 1, 1\)"):
        Hyperbolic(CURVATURES[:, None]).midpoint(X)
