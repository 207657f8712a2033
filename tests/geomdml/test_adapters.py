"""Other libraries' conventions: what is adapted computes what ours does, where others still have their digits."""

from types import SimpleNamespace

import pytest
import torch

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:FutureWarning")  # geoopt's
geoopt = pytest.importorskip("geoopt")

from geomdml import lorentz, poincare  # noqa: E402
from geomdml.geoopt import Lorentz, PoincareBall  # noqa: E402
from geomdml.testing import adapters, peers, suite  # noqa: E402
from geomdml.testing.__main__ import implementations_of  # noqa: E402

C = 0.7


def inputs(kinds, chart):
    generator = torch.Generator().manual_seed(0)

    def one(kind):
        shape = {"points": (3, 4), "vectors": (3, 4), "weights": (3,), "number": (), "matrix": (2, 4)}.get(kind, (4,))
        x = 0.3 * torch.randn(shape, generator=generator, dtype=torch.float64)
        return x.abs() + 0.1 if kind == "weights" else x

    return [one(kind) for kind in kinds]


ADAPTED = {
    "geoopt's ball": (lambda: adapters.ball_of(lambda c: geoopt.PoincareBall(c=c)), "ball", poincare),
    "our ball": (lambda: adapters.ball_of(lambda c: PoincareBall(c=c)), "ball", poincare),
    "geoopt's functions": (peers.Geoopt, "ball", poincare),
    "geoopt's hyperboloid": (peers.geoopt_lorentz, "lorentz", lorentz),
    "our hyperboloid": (lambda: adapters.hyperboloid_of(lambda c: Lorentz(k=1 / c)), "lorentz", lorentz),
    "HyperCore": (peers.hypercore, "lorentz", lorentz),
    "HypLL's functions": (peers.hypll, "ball", poincare),
    "MERU": (peers.meru, "lorentz", lorentz),
}


@pytest.mark.parametrize(("make", "chart", "ours"), ADAPTED.values(), ids=ADAPTED)
def test_it_computes_what_ours_does(make, chart, ours):
    if make is peers.hypll:
        pytest.importorskip("hypll")
    adapted, asked = make(), 0
    for name, f in suite.CHARTS[chart].items():
        if hasattr(adapted, name):
            arguments, asked = inputs(f.kinds, chart), asked + 1
            found, expected = (f(implementation, *arguments, c=C) for implementation in (adapted, ours))
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6, check_dtype=False, msg=name)
    assert asked >= 4


@pytest.mark.parametrize("make", [ADAPTED["our ball"][0], ADAPTED["our hyperboloid"][0]], ids=["ball", "hyperboloid"])
def test_the_gradient_by_the_curvature_goes_through_its_parameter(make):
    c = torch.tensor(C, dtype=torch.float64, requires_grad=True)
    x, y = inputs(("vector", "vector"), "ball")
    adapted = make()
    ours = poincare if hasattr(adapted, "mobius_add") else lorentz
    found, expected = (torch.autograd.grad(g.dist(x, y, c=c), c)[0] for g in (adapted, ours))
    torch.testing.assert_close(found, expected)


def test_conventions_are_chosen_by_name(monkeypatch):
    assert set(implementations_of("geomdml.geoopt:Lorentz", None, "geoopt")) == {"lorentz"}
    assert set(implementations_of("geomdml.geoopt:PoincareBall", None, "geoopt")) == {"ball"}
    assert set(implementations_of("geomdml.geoopt:Lorentz", None, "hypercore")) == {"lorentz"}
    assert set(implementations_of("geoopt", "lorentz")) == {"lorentz"}
    assert set(implementations_of("geomdml", "tangent")) == {"tangent"}
    assert set(implementations_of("hypercore")) == {"lorentz"}
    (function,) = vars(implementations_of("geomdml.poincare:dist")["ball"])  # one plain function
    assert function == "dist"


class TakesTwo:
    def dist(self, x, y):
        return (x - y).norm(dim=-1)


def test_a_module_like_hyplls_is_asked_for_what_it_has():
    own = SimpleNamespace(dist=lambda x, y, c: poincare.dist(x, y, c=c), version="1")
    adapted = adapters.CONVENTIONS["hypll"](own)["ball"]
    assert list(vars(adapted)) == ["dist"]
    x, y = inputs(("vector", "vector"), "ball")
    assert torch.equal(adapted.dist(x, y, c=C), poincare.dist(x, y, c=C))
    with pytest.raises(adapters.Misfit, match="none of HypLL's functions dist, mobius_add"):
        adapters.hypll(SimpleNamespace(dist=3))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (TakesTwo, "is a class; expected an object with functions"),
        (TakesTwo(), r"dist\(x, y\) cannot be called as in geomdml.poincare, with 2 tensors and the keyword c"),
        (SimpleNamespace(dist=3), "has none of the functions dist, pairwise_dist"),
        (len, "has none of the functions"),
    ],
    ids=["class", "signature", "no function", "another function"],
)
def test_a_wrong_object_is_told_what_is_expected(given, words):
    with pytest.raises(adapters.Misfit, match=words):
        adapters.plain(given, suite.CHARTS["ball"], "geomdml.poincare")
