"""A space of one's own, a sphere by tangent vectors at its pole: what is written for `Space` works, and the laws."""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import mp

from geomdml._core import checks
from geomdml._core.numerics import curvature, norm, result_form, wide
from geomdml.hierarchy import delta_hyperbolicity, reconstruction
from geomdml.losses import (
    BatchTransportLoss,
    ClosureLoss,
    HIERLoss,
    HypHCLoss,
    MultiProxyAnchorLoss,
    PairwiseCrossEntropyLoss,
    SoftTripleLoss,
)
from geomdml.metrics import retrieval, shrec
from geomdml.metrics.ranking.screening import Products
from geomdml.metrics.retrieval import retrieval_by_query
from geomdml.metrics.torchmetrics import RetrievalMetric, ShrecMetric
from geomdml.nn import HyperbolicHead
from geomdml.pml import SpaceDistance
from geomdml.search import HyperbolicIndex, knn
from geomdml.spaces import Space
from geomdml.testing import oracle, strategies, suite
from geomdml.testing.primitives import Primitive
from geomdml.transport import sinkhorn_divergence


def dist(u, v, *, c):
    """Great-circle distance on the sphere of curvature c, of points given by tangent vectors at a pole."""
    checks.vectors(u=u, v=v)
    checks.positive(c=c)
    checks.finite(u=u, v=v)
    form, root_c = result_form(u, v), curvature(c, u).sqrt()
    x, y = (_on_the_sphere(root_c * wide(w)) for w in (u, v))
    return (2 * torch.atan2(norm(x - y), norm(x + y)) / root_c).squeeze(-1).to(**form)


def pairwise_dist(u, v, *, c):
    checks.rows(u=u, v=v)
    return dist(u.unsqueeze(1), v.unsqueeze(0), c=c)


def _on_the_sphere(u):
    """(sin A û, cos A), one longer than u."""
    A = norm(u)
    ratio = torch.where(A > 0, A.sin() / torch.where(A > 0, A, 1.0), 1.0)
    return torch.cat([ratio * u, A.cos()], -1)


class Sphere:
    """Only what `Space` asks for."""

    def __init__(self, c=1.0):
        self.c = c

    def dist(self, x, y):
        return dist(x, y, c=self.c)

    def pairwise_dist(self, x, y):
        return pairwise_dist(x, y, c=self.c)


SPHERE = Sphere(0.25)  # of radius 2
LABELS = torch.arange(24) % 6


def cloud(count=24, seed=0):
    return torch.randn(count, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_sphere_is_a_space():
    pole, equator = torch.zeros(2), torch.tensor([torch.pi, 0.0])
    assert isinstance(SPHERE, Space)
    assert float(SPHERE.dist(pole, equator)) == pytest.approx(torch.pi)
    assert float(SPHERE.dist(equator, -equator)) == pytest.approx(2 * torch.pi)


@pytest.mark.parametrize(
    "loss",
    [
        lambda x: PairwiseCrossEntropyLoss(space=SPHERE)(x, LABELS),
        lambda x: BatchTransportLoss(space=SPHERE)(x, LABELS),
        lambda x: SoftTripleLoss(6, 4, space=SPHERE).double()(x, LABELS),
        lambda x: MultiProxyAnchorLoss(6, 4, space=SPHERE).double()(x, LABELS),
        lambda x: ClosureLoss(space=SPHERE)(x[:6], x[6:].view(6, 3, 4)),
        lambda x: sinkhorn_divergence(x[:12], x[12:], 0.1, space=SPHERE),
    ],
    ids=["pairwise cross-entropy", "transport", "soft triple", "proxy anchor", "closure", "divergence"],
)
def test_losses_have_gradients_on_it(loss):
    x = cloud().requires_grad_()
    torch.manual_seed(0)
    loss(x).backward()
    assert x.grad is not None and bool(x.grad.isfinite().all()) and bool(x.grad.any())


def test_a_step_against_the_gradient_lowers_a_loss():
    x, loss = cloud().requires_grad_(), PairwiseCrossEntropyLoss(space=SPHERE, temperature=1.0)
    (slope,) = torch.autograd.grad(before := loss(x, LABELS), x)
    assert bool(loss(x - 0.01 * slope, LABELS) < before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("k", [1, 5, 24])
def test_knn_is_a_sorted_matrix(dtype, k):
    x, y = cloud(7, seed=1).to(dtype), cloud().to(dtype)
    found, expected = knn(x, y, k, space=SPHERE), SPHERE.pairwise_dist(x, y).sort(dim=1, stable=True)
    assert torch.equal(found.distances, expected.values[:, :k]) and torch.equal(found.indices, expected.indices[:, :k])


def test_scores_are_those_of_a_sorted_matrix():
    """The nearest neighbour of each point, from the matrix; it differs from that by the straight line."""
    x = 3 * cloud()
    matrix = SPHERE.pairwise_dist(x, x).fill_diagonal_(torch.inf)
    first = float((LABELS[matrix.argmin(1)] == LABELS).double().mean())
    assert retrieval(x, LABELS, space=SPHERE, ks=(1,)).recall[1] == pytest.approx(first)
    assert shrec(x, LABELS, space=SPHERE).nn == pytest.approx(first)
    assert float(retrieval_by_query(x, LABELS, space=SPHERE, ks=(1,)).mean().recall[1]) == pytest.approx(first)
    for metric in (RetrievalMetric(space=SPHERE, ks=(1,)), ShrecMetric(space=SPHERE)):
        metric.update(x, LABELS)
        assert any(float(value) == pytest.approx(first) for value in metric.compute().values())
    assert not torch.equal(matrix.argmin(1), torch.cdist(x, x).fill_diagonal_(torch.inf).argmin(1))


def test_scores_do_not_depend_on_storage_and_screen_nothing():
    assert Products.of(SPHERE, cloud()) is None
    x, order = cloud(), torch.randperm(24, generator=torch.Generator().manual_seed(0))
    x[5] = x[17]
    assert retrieval(x, LABELS, space=SPHERE) == retrieval(x[order], LABELS[order], space=SPHERE)


def test_hierarchies_and_peers_take_it():
    x = cloud()
    ancestors = torch.tensor([[1, 0], [2, 0], [3, 1]])
    assert 1 <= reconstruction(x, ancestors, space=SPHERE).mean_rank <= 23
    assert 0 <= delta_hyperbolicity(x, space=SPHERE, samples=20).relative <= 1
    assert torch.equal(SpaceDistance(SPHERE)(x, x), SPHERE.pairwise_dist(x, x))


@pytest.mark.parametrize(
    "make",
    [
        lambda: HypHCLoss(space=SPHERE),
        lambda: HIERLoss(4, space=SPHERE),
        lambda: HyperbolicIndex(SPHERE, 4),
        lambda: HyperbolicHead(8, 4, space=SPHERE),
    ],
    ids=["HypHC", "HIER", "index", "head"],
)
def test_what_is_hyperbolic_refuses_it_by_name(make):
    with pytest.raises((ValueError, TypeError), match=r"space .*Sphere.*expected Hyperbolic"):
        make()


def _great_circle(u, v, *, c):
    def point(w):
        A = mp.sqrt(c) * mp.norm(w)
        return [*(mp.sin(A) / A * mp.sqrt(c) * a if A else a for a in w), mp.cos(A)]

    x, y = point(u), point(v)
    apart, sum_ = (mp.norm([a + sign * b for a, b in zip(x, y, strict=True)]) for sign in (-1, 1))
    return 2 * mp.atan2(apart, sum_) / mp.sqrt(c)


REFERENCE = oracle.Reference(_great_circle, "azimuthal", working_digits=200)
PRIMITIVES = {
    name: Primitive(name, REFERENCE, 2.4e-7, 1e-9, flat=lambda x, y: (x - y).norm(), farthest=0.35)
    for name in ("dist", "pairwise_dist")
}


def test_the_law_suite_names_a_chart_that_it_does_not_know():
    with pytest.raises(
        ValueError, match=r"chart = 'azimuthal' of _great_circle; expected one of 'ball'.*working_digits"
    ):
        oracle.Reference(_great_circle, "azimuthal")
    with pytest.raises(
        ValueError, match=r"dist is of chart 'azimuthal'; expected one of 'ball'.*another entry of DRAWS"
    ):
        strategies.inputs(PRIMITIVES["dist"])
    with pytest.raises(ValueError, match="chart = 'azimuthal'; expected one of 'ball'"):
        suite.errors_by_radius(SimpleNamespace(), "azimuthal", 2)


@pytest.fixture
def sphere_in_the_suite(monkeypatch):
    monkeypatch.setitem(strategies.DRAWS, "azimuthal", strategies.DRAWS["tangent"])
    monkeypatch.setitem(suite.CHARTS, "azimuthal", PRIMITIVES)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_law_suite_judges_it(sphere_in_the_suite, dtype):
    asked = [law for law in suite.table(dtype) if law.charts == ("azimuthal",)]
    assert {"dist is exact", "dist triangle inequality", "pairwise_dist all pairs are exact"} <= {
        law.name for law in asked
    }
    sphere = {"azimuthal": SimpleNamespace(dist=dist, pairwise_dist=pairwise_dist)}
    for law in asked:
        verdict = suite.judge(law, sphere, dtype, examples=10)
        assert verdict.broken is None and not verdict.missing, verdict


def test_the_law_suite_finds_a_wrong_sphere(sphere_in_the_suite):
    flat = {"azimuthal": SimpleNamespace(dist=lambda u, v, *, c: (u - v).norm(dim=-1))}
    law = next(law for law in suite.table() if law.charts == ("azimuthal",) and law.name == "dist is exact")
    assert suite.judge(law, flat, examples=50).broken is not None


@settings(max_examples=25)
@given(st.data())
def test_the_reference_is_the_arc_from_the_pole(data):
    u, c = data.draw(strategies.tangents(torch.float64, farthest=1.0))
    with mp.workdps(60):
        assert abs(REFERENCE(u, torch.zeros_like(u), c=c) - oracle.norm(oracle.exact(u))) <= mp.mpf(10) ** -45
