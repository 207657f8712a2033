"""Gyrovector functions: what the laws of `test_laws.py` leave open, and wrong implementations that break them."""

from functools import partial
from types import SimpleNamespace

import pytest
import torch

import geomdml
from geomdml import poincare
from geomdml.testing import laws
from geomdml.testing.laws import BALL


def test_a_weight_of_0_leaves_a_point_out():
    points = torch.tensor([[0.5, 0.1], [0.9, -0.3], [-0.2, 0.7]])
    left_out = poincare.midpoint(points, torch.tensor([1.0, 0.0, 2.0]), c=1.0)
    assert torch.equal(left_out, poincare.midpoint(points[::2], torch.tensor([1.0, 2.0]), c=1.0))


@pytest.mark.parametrize("weights", [[-1.0, 2.0], [0.0, 0.0], [torch.nan, 1.0], [1.0, 1.0, 1.0], [1.0]], ids=str)
def test_weights_that_make_no_mean_are_refused(weights):
    with pytest.raises(ValueError, match="weights"):
        poincare.midpoint(torch.zeros(2, 3), torch.tensor(weights), c=1.0)


def test_the_midpoint_of_no_points_is_refused():
    with pytest.raises(ValueError, match="expected points in the last two dimensions"):
        poincare.midpoint(torch.zeros(0, 3), c=1.0)


@pytest.mark.parametrize("number", ["2", True, None])
def test_numbers_of_another_type_are_refused(number):
    with pytest.raises(TypeError, match="r is a"):
        poincare.mobius_scalar_mul(number, torch.zeros(3), c=1.0)
    with pytest.raises(TypeError, match="t is a"):
        poincare.geodesic(torch.zeros(3), torch.zeros(3), number, c=1.0)


def test_numbers_that_do_not_broadcast_are_refused():
    with pytest.raises(ValueError, match=r"t has shape \(4,\)"):
        poincare.geodesic(torch.zeros(2, 3), torch.zeros(3), torch.zeros(4), c=1.0)


@pytest.mark.parametrize("f", [*(f for f in BALL.values() if f.reference.kinds), BALL["logmap"]], ids=lambda f: f.name)
def test_compiled_and_mapped_functions_give_the_same(f):
    """Nothing depends on values: one graph, and torch.func.vmap over it."""
    generator = torch.Generator().manual_seed(0)
    shapes = {"number": (4,), "matrix": (4, 2, 3), "points": (4, 2, 3), "weights": (4, 2)}
    inputs = [0.4 * torch.rand(shapes.get(kind, (4, 3)), generator=generator) for kind in f.kinds]
    function = getattr(poincare, f.name)
    one_by_one = torch.stack([function(*given, c=0.7) for given in zip(*inputs, strict=True)])
    with geomdml.validation(False):
        mapped = torch.func.vmap(lambda *given: function(*given, c=0.7))(*inputs)
    torch.testing.assert_close(mapped, one_by_one)
    compiled = torch.compile(lambda *given: function(*given, c=0.7), backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(*(given[0] for given in inputs)), one_by_one[0])


class Wrong(SimpleNamespace):
    """The ball with one function replaced."""

    def __init__(self, **functions):
        super().__init__(**{name: getattr(poincare, name) for name in BALL} | {"project": poincare.project} | functions)


def composed_gyration(x, y, v, *, c):
    """By its definition, through points: rounded at every step."""
    add = partial(poincare.mobius_add, c=c)
    return add(-add(x, y), add(x, add(y, v)))


def printed_expmap(x, v, *, c):
    """Equation (3) of CHEST as printed, the direction inside the tanh."""
    return poincare.mobius_add(x, torch.tanh(poincare.conformal_factor(x, c=c) / 2 * v), c=c)


def composed_expmap(x, v, *, c):
    """Möbius addition of a point that is rounded."""
    a = c**0.5 * poincare.conformal_factor(x, c=c) / 2
    return poincare.mobius_add(x, poincare.expmap0(a * v / c**0.5, c=c), c=c)


def straight_geodesic(x, y, t, *, c):
    return torch.lerp(x, y, t)


def mean_of_logarithms(x, weights=None, *, c):
    """The tangent mean at the origin, which is no midpoint."""
    return poincare.expmap0(poincare.logmap0(x, c=c).mean(-2), c=c)


def scaled_only(x, y, v, *, c):
    """Transport that forgets to turn."""
    return poincare.conformal_factor(x, c=c) / poincare.conformal_factor(y, c=c) * v


def transposed(x, y, v, *, c):
    return poincare.gyration(y, x, v, c=c)


X, Y, Z, V = (torch.tensor(x) for x in ([0.3, 0.4], [-0.2, 0.7], [0.6, -0.1], [0.1, 0.2]))
BROKEN = {
    "gyroassociativity": (laws.gyroassociativity, Wrong(gyration=transposed), (X, Y, Z)),
    "gyrocommutativity": (laws.gyrocommutativity, Wrong(gyration=transposed), (X, Y)),
    "left loop": (laws.left_loop, Wrong(gyration=lambda x, y, v, c: poincare.gyration(x, -y, v, c=c)), (X, Y, V)),
    "rotation": (laws.gyration_rotates, Wrong(gyration=scaled_only), (X, Y, V, Z)),
    "isometry": (laws.translation_is_an_isometry, Wrong(mobius_add=lambda x, y, c: (x + y) / 2), (X, Y, Z)),
    "scalars": (laws.scalars_distribute, Wrong(mobius_scalar_mul=lambda r, x, c: r * x), (0.5, 0.75, X)),
    "line": (laws.scalar_multiples_keep_the_line, Wrong(mobius_scalar_mul=lambda r, x, c: r * x), (0.5, X)),
    "exp of log": (laws.exp_at_inverts_log_at, Wrong(expmap=printed_expmap), (X, Y)),
    "log of exp": (laws.log_at_inverts_exp_at, Wrong(expmap=printed_expmap), (X, V)),
    "length of log": (laws.log_is_as_long_as_the_way, Wrong(logmap=lambda x, y, c: y - x), (X, Y)),
    "geodesic": (laws.geodesic_has_its_ends_and_speed, Wrong(geodesic=straight_geodesic), (X, Y, 0.5)),
    "transport": (laws.transport_is_an_isometry, Wrong(parallel_transport=scaled_only), (X, Y, V)),
    "midpoint": (laws.midpoint_is_in_the_middle, Wrong(midpoint=mean_of_logarithms), (X, Y, Z)),
}


@pytest.mark.parametrize(("law", "wrong", "inputs"), BROKEN.values(), ids=BROKEN.keys())
def test_a_wrong_implementation_breaks_the_law(law, wrong, inputs):
    law(poincare, *inputs, c=1.0)
    with pytest.raises(laws.Broken):
        law(wrong, *inputs, c=1.0)


def test_compositions_of_moebius_additions_are_not_exact():
    x, y = torch.tensor([0.9999, 0.0]), torch.tensor([-0.9998, 0.001])
    for f, wrong, vectors in (
        (BALL["gyration"], composed_gyration, (x, y, V)),
        (BALL["expmap"], composed_expmap, (x, torch.tensor([-9.9e-4, 1e-8]))),
    ):
        laws.is_exact(poincare, f, *vectors, c=1.0)
        with pytest.raises(laws.Broken):
            laws.is_exact(Wrong(**{f.name: wrong}), f, *vectors, c=1.0)
