"""The reference agrees with itself by a second derivation, and the laws do catch what is wrong."""

import types

import pytest
import torch
from hypothesis import given, settings
from mpmath import mp, mpf

from geomdml import poincare, tangent
from geomdml.testing import laws, oracle
from geomdml.testing.strategies import tangent_pairs


@settings(max_examples=30)
@given(tangent_pairs(dimensions=(1, 2, 3), farthest=50.0))
def test_mobius_and_lorentz_forms_agree_to_forty_digits(pair):
    a, b = (f(pair.x, pair.y, c=pair.c) for f in (oracle.tangent_dist, oracle.lorentz_dist))
    with mp.workdps(60):
        assert abs(a - b) <= mpf(10) ** -40 * max(a, b) + mpf(10) ** -80


def test_known_distances():
    x = torch.tensor([0.3, 0.4], dtype=torch.float64)
    with mp.workdps(50):
        exact = 2 * mp.atanh(mp.sqrt(mpf(float(x[0])) ** 2 + mpf(float(x[1])) ** 2))
        assert abs(oracle.dist(x, torch.zeros(2), c=1.0) - exact) < mpf(10) ** -48
        assert abs(oracle.lca_depth(torch.tensor([1.5, 0.0]), torch.tensor([1.0, 0.0]), c=1.0) - 2) < mpf(10) ** -48
    assert oracle.lca_depth(torch.tensor([1.5, 0.0]), torch.tensor([-1.0, 0.0]), c=1.0) == 0


@settings(max_examples=30)
@given(tangent_pairs(dimensions=(2,), nearest=0.1, farthest=4.0, relations=("independent",)))
def test_the_depth_is_the_least_distance_on_the_segment(pair):
    """Against a search along the geodesic, by the definition."""
    depth = float(oracle.lca_depth(pair.x, pair.y, c=pair.c))
    x, y = (tangent.to_ball(w.double(), c=pair.c) for w in (pair.x, pair.y))
    direction = poincare.logmap0(poincare.mobius_add(-x, y, c=pair.c), c=pair.c)
    steps = torch.linspace(0, 1, 2001, dtype=torch.float64).unsqueeze(1)
    path = poincare.mobius_add(x, poincare.expmap0(steps * direction, c=pair.c), c=pair.c)
    nearest = float(poincare.dist0(path, c=pair.c).min())
    span = float(poincare.dist(x, y, c=pair.c))
    assert depth <= nearest * (1 + 1e-9) and nearest <= depth + span / 2000


def artanh_form(x, y, *, c):
    """The textbook distance in float32, clamped: what peers compute."""
    xy, xx, yy = (-x * y).sum(-1, keepdim=True), (x * x).sum(-1, keepdim=True), (y * y).sum(-1, keepdim=True)
    z = ((1 + 2 * c * xy + c * yy) * -x + (1 - c * xx) * y) / (1 + 2 * c * xy + c * c * xx * yy)
    return 2 / c**0.5 * torch.atanh((c**0.5 * (z * z).sum(-1).sqrt()).clamp(max=1 - 1e-5))


def whole_geodesic(u, v, *, c):
    """The depth as the published HypHC code has it: the foot of the perpendicular may lie beyond the segment."""
    (a, b), cosine = (u.norm(dim=-1), v.norm(dim=-1)), torch.cosine_similarity(u, v, dim=-1)
    A, B = 2 * c**0.5 * a, 2 * c**0.5 * b
    sine = torch.sqrt((1 - cosine**2).clamp(min=0))
    return torch.asinh(torch.sinh(A) * torch.sinh(B) * sine / torch.sinh(c**0.5 * tangent.dist(u, v, c=c))) / c**0.5


def test_wrong_implementations_break_the_laws():
    peer = types.SimpleNamespace(dist=artanh_form, lca_depth=whole_geodesic)
    far = tangent.to_ball(torch.tensor([3.0, 4.0]), c=1.0)
    with pytest.raises(laws.Broken, match="dist is exact: error"):
        laws.is_exact(peer, laws.BALL["dist"], far, -far, c=1.0)
    with pytest.raises(laws.Broken, match="gradients of dist are finite"):
        laws.gradients_are_finite(peer, laws.BALL["dist"], torch.zeros(2), torch.zeros(2), c=1.0)
    u = torch.tensor([1.5, 0.0])
    with pytest.raises(laws.Broken, match="lca_depth is exact: error 1 "):
        laws.is_exact(peer, laws.TANGENT["lca_depth"], u, 2 * u / 3, c=1.0)
    shifted = types.SimpleNamespace(mobius_add=lambda x, y, *, c: x + y)
    with pytest.raises(laws.Broken, match="mobius_add is exact"):
        laws.is_exact(shifted, laws.BALL["mobius_add"], u / 4, u / 5, c=1.0)
    with pytest.raises(laws.Broken, match="raises ValueError"):
        laws.refuses_what_cannot_be(shifted, laws.BALL["mobius_add"])
