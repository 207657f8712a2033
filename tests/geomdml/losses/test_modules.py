"""SoftTripleLoss, HypHCLoss and CHESTLoss against slow code written from the equations."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geomdml import poincare, tangent
from geomdml.euclidean import clip_norm
from geomdml.losses import CHESTLoss, HypHCLoss, SoftTripleLoss
from geomdml.losses.functional import hyphc
from geomdml.losses.hyphc import draw_triplets
from geomdml.nn import HyperbolicHead
from geomdml.spaces import Euclidean, Hyperbolic

C, K, D, H, B = 4, 3, 6, 5, 7
LABELS = torch.tensor([0, 1, 2, 3, 0, 1, 1])


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def ball_distance(u: torch.Tensor, v: torch.Tensor, c: float) -> float:
    """Equation (2) on the points with tangent vectors u and v: Möbius addition and artanh, in float64."""
    x, y = (torch.tanh(math.sqrt(c) * w.norm()) * w / (math.sqrt(c) * w.norm()) for w in (u.double(), v.double()))
    xy, xx, yy = -x @ y, x @ x, y @ y
    add = ((1 + 2 * c * xy + c * yy) * -x + (1 - c * xx) * y) / (1 + 2 * c * xy + c * c * xx * yy)
    return float(2 / math.sqrt(c) * torch.atanh(math.sqrt(c) * add.norm()))


def slow_loss(dist: torch.Tensor, labels: torch.Tensor, gamma: float, scale: float, margin: float) -> float:
    """Equations (5) and (3.3) by loops."""
    total = 0.0
    for row, label in zip(dist.tolist(), labels.tolist(), strict=True):
        logits = []
        for k, d in enumerate(row):
            weights = [math.exp(-x / gamma) for x in d]
            similarity = -sum(w * x for w, x in zip(weights, d, strict=True)) / sum(weights)
            logits.append(scale * (similarity - margin * (k == label)))
        top = max(logits)
        total += top + math.log(sum(math.exp(x - top) for x in logits)) - logits[label]
    return total / len(labels)


def distances(points, proxies, distance) -> torch.Tensor:
    return torch.tensor([[[distance(x, p) for p in of_class] for of_class in proxies] for x in points])


def head_and_loss(**settings):
    head = HyperbolicHead(D, H, space=Hyperbolic(c=0.5))
    loss = CHESTLoss(C, D, **{"centers_per_class": K, "proxy_radius": 3.0} | settings)
    return head, loss


@pytest.mark.parametrize("centers", [1, 3])
@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.7, 0.0), (0.0, 1.3)])
def test_chest_equals_the_equations(centers, relative, weights):
    head, loss = head_and_loss(
        centers_per_class=centers,
        eta_h=weights[0],
        eta_e=weights[1],
        tau=0.0,
        gamma_h=0.5,
        gamma_e=0.8,
        scale_h=3.0,
        scale_e=2.0,
        margin_h=0.2,
        margin_e=0.4,
        relative=relative,
    )
    features = 3 * torch.randn(B, D)
    with torch.no_grad():
        p = loss.proxies.vectors
        hyperbolic = distances(head(features), head(p), lambda u, v: ball_distance(u, v, 0.5))
        x, q = (features, p) if weights[0] else (head.tangent(features), head.tangent(p))  # the rule for η_H = 0
        euclidean = distances(x, q, lambda u, v: float((u.double() - v.double()).norm()))
        if relative:
            hyperbolic, euclidean = (d / d.mean() for d in (hyperbolic, euclidean))
        expected = weights[0] * slow_loss(hyperbolic, LABELS, 0.5, 3.0, 0.2) + weights[1] * slow_loss(
            euclidean, LABELS, 0.8, 2.0, 0.4
        )
        assert loss(features, LABELS, head=head).item() == pytest.approx(expected, rel=1e-5)


def test_terms_add_up_to_the_total():
    head, loss = head_and_loss(eta_h=0.7, eta_e=1.3, tau=0.4)
    terms = loss.terms(torch.randn(B, D), LABELS, head=head)
    assert terms.total.item() == pytest.approx(
        0.7 * terms.hyperbolic.item() + 1.3 * terms.euclidean.item() + 0.4 * terms.regulariser.item(), rel=1e-6
    )
    head, loss = head_and_loss(eta_e=0.0, tau=0.0)
    terms = loss.terms(torch.randn(B, D), LABELS, head=head)
    assert terms.euclidean is None and terms.regulariser is None


@pytest.mark.parametrize("form", ["depth", "distance"])
@pytest.mark.parametrize("live", [False, True])
def test_gradients(form, live):
    head, loss = head_and_loss(hyphc_form=form, hyphc_live=live, triplets=5)
    head, loss = head.double(), loss.double()
    features = torch.randn(B, D, dtype=torch.float64, requires_grad=True)

    def value(features, proxies):
        torch.manual_seed(3)  # the same triplets each time
        return torch.func.functional_call(loss, {"proxies.vectors": proxies}, (features, LABELS), {"head": head})

    inputs = (features, loss.proxies.vectors.detach().clone().requires_grad_())
    if live:
        assert torch.autograd.gradcheck(value, inputs)
    else:  # the similarities are constants of the backward pass: finite differences see them move
        loss.tau = 0.0
        assert torch.autograd.gradcheck(value, inputs)


@pytest.mark.parametrize("centers", [1, 3])
@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.7, 0.0), (0.0, 1.3)])
def test_gradients_of_every_combination(centers, relative, weights):
    eta_h, eta_e = weights
    head, loss = head_and_loss(centers_per_class=centers, eta_h=eta_h, eta_e=eta_e, tau=0.0, relative=relative)
    head, loss = head.double(), loss.double()
    features = torch.randn(B, D, dtype=torch.float64, requires_grad=True)
    proxies = loss.proxies.vectors.detach().clone().requires_grad_()

    def value(features, proxies):
        return torch.func.functional_call(loss, {"proxies.vectors": proxies}, (features, LABELS), {"head": head})

    assert torch.autograd.gradcheck(value, (features, proxies))


def slow_depth(u: torch.Tensor, v: torch.Tensor, c: float) -> float:
    """The least distance from the origin of many points of the geodesic from u to v."""
    x, y = (tangent.to_ball(w, c=c).double() for w in (u, v))
    t = torch.linspace(0, 1, 5001, dtype=torch.float64).unsqueeze(1)
    path = poincare.geodesic(x.expand(5001, -1), y.expand(5001, -1), t.squeeze(1), c=c)
    return float(poincare.dist0(path, c=c).min())


@pytest.mark.parametrize("form", ["depth", "distance"])
@pytest.mark.parametrize("gamma", [0.3, 1.0])
def test_hyphc_of_proxies_equals_the_equations(form, gamma):
    """(8) and (9) by loops over the triplets that are drawn."""
    proxies = torch.randn(C, K, D)
    torch.manual_seed(5)
    triplets = draw_triplets(C, K, 6)
    points, expected = proxies.flatten(0, 1), 0.0
    for triplet in triplets.tolist():
        pairs = [(points[triplet[j]], points[triplet[k]]) for j, k in ((0, 1), (0, 2), (1, 2))]
        dist = [ball_distance(u, v, 0.5) for u, v in pairs]
        inner = dist if form == "distance" else [slow_depth(u, v, 0.5) for u, v in pairs]
        similarity, weights = [math.exp(-d) for d in dist], [math.exp(x / gamma) for x in inner]
        expected += sum(similarity) - sum(s * w for s, w in zip(similarity, weights, strict=True)) / sum(weights)
    torch.manual_seed(5)
    found = HypHCLoss(space=Hyperbolic(c=0.5), triplets=6, gamma=gamma, form=form)(proxies)
    assert found.item() == pytest.approx(expected / 6, rel=1e-5)


def test_hyphc_forms_have_their_signs():
    """MATH.md section 4: which way a small step moves the positive pair of a triplet."""
    space = Hyperbolic(c=0.5)
    closer = {}
    for form in ("depth", "distance"):
        moves = []
        for seed in range(100):
            torch.manual_seed(seed)
            base = torch.randn(16)
            # two proxies of a class around one direction, a third elsewhere; norms near the paper's r = 2.3
            points = torch.stack([base + 0.5 * torch.randn(16), base + 0.5 * torch.randn(16), torch.randn(16)])
            proxies = clip_norm(points, 2.3).requires_grad_()
            first, second = proxies[[0, 0, 1]], proxies[[1, 2, 2]]
            dist = space.dist(first, second)
            depth = tangent.lca_depth(first, second, c=0.5) if form == "depth" else dist
            (grad,) = torch.autograd.grad(hyphc(torch.exp(-dist).detach()[None], depth[None], gamma=1.0), proxies)
            stepped = proxies - 1e-3 * grad / grad.norm()
            moves.append(bool(space.dist(stepped[0], stepped[1]) < dist[0]))
        closer[form] = sum(moves) / len(moves)
    assert closer["depth"] > 0.85
    assert closer["distance"] < 0.15


@given(st.integers(2, 6), st.integers(2, 5), st.integers(1, 40), st.integers(0, 1000))
def test_triplets_are_anchor_positive_negative(classes, centers, count, seed):
    triplets = draw_triplets(classes, centers, count, generator=torch.Generator().manual_seed(seed))
    anchor, positive, negative = triplets.T
    assert triplets.shape == (count, 3) and triplets.min() >= 0 and triplets.max() < classes * centers
    assert (anchor // centers == positive // centers).all() and (anchor != positive).all()
    assert (anchor // centers != negative // centers).all()


def test_triplets_are_uniform():
    triplets = draw_triplets(3, 2, 60_000, generator=torch.Generator().manual_seed(0))
    counts = torch.bincount((triplets[:, 0] * 6 + triplets[:, 1]) * 6 + triplets[:, 2])
    counts = counts[counts > 0]
    assert len(counts) == 6 * 1 * 4  # anchors × positives × negatives
    assert (counts - 2500).abs().max() < 5 * math.sqrt(2500)


def test_soft_triple_in_either_space():
    for space, distance in (
        (None, lambda u, v: float((u.double() - v.double()).norm())),
        (Hyperbolic(c=0.5), lambda u, v: ball_distance(u, v, 0.5)),
    ):
        loss = SoftTripleLoss(C, D, centers_per_class=K, space=space, relative=False, scale=2.0)
        x = torch.randn(B, D)
        with torch.no_grad():
            expected = slow_loss(distances(x, loss.proxies.vectors, distance), LABELS, 0.2, 2.0, 0.1)
            assert loss(x, LABELS).item() == pytest.approx(expected, rel=1e-5)


def test_soft_triple_learns_two_clusters():
    x = torch.cat([torch.randn(20, 2) + 4, torch.randn(20, 2) - 4])
    labels = torch.arange(2).repeat_interleave(20)
    for space in (Euclidean(), Hyperbolic(c=0.1)):
        loss = SoftTripleLoss(2, 2, centers_per_class=2, space=space)
        optimizer = torch.optim.Adam(loss.parameters(), lr=0.1)
        start = loss(x, labels).item()
        for _ in range(50):
            optimizer.zero_grad()
            (value := loss(x, labels)).backward()
            optimizer.step()
        assert value.item() < 0.2 * start


def test_proxies_start_at_class_means():
    _, loss = head_and_loss()
    features = torch.randn(40, D) + 7
    labels = torch.arange(40) % (C - 1)  # the last class has no features
    loss.proxies.start_at(features, labels, spread=0.0)
    torch.testing.assert_close(loss.proxies.vectors[1, 2], features[labels == 1].mean(0))
    torch.testing.assert_close(loss.proxies.vectors[C - 1, 0], features.mean(0))
    loss.proxies.start_at(features, labels)
    assert not torch.equal(loss.proxies.vectors[0, 0], loss.proxies.vectors[0, 1])


def test_parameter_groups_give_proxies_their_own_rate():
    head, loss = head_and_loss()
    groups = loss.parameter_groups(1e-3, 1e-1)
    assert [g["lr"] for g in groups] == [1e-1] and groups[0]["weight_decay"] == 0
    owned = {id(p) for g in groups for p in g["params"]}
    assert owned == {id(p) for p in loss.parameters()}
    assert not owned & {id(p) for p in head.parameters()}


def test_under_autocast_and_on_bf16_features():
    head, loss = head_and_loss()
    features = torch.randn(B, D)
    torch.manual_seed(1)
    expected = loss(features.bfloat16().float(), LABELS, head=head)
    torch.manual_seed(1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(features.bfloat16(), LABELS, head=head)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(expected.item(), rel=0.05)


@pytest.mark.parametrize(
    ("message", "settings"),
    [
        ("τ = 0.5 with centers_per_class = 1", {"centers_per_class": 1}),
        ("η_H = 0, η_E = 0", {"eta_h": 0, "eta_e": 0}),
        ("τ = -1", {"tau": -1}),
        ("centers_per_class = 0", {"centers_per_class": 0, "tau": 0}),
    ],
)
def test_settings_that_cannot_work_are_refused(message, settings):
    with pytest.raises(ValueError, match=message):
        head_and_loss(**settings)


def test_triplets_need_two_proxies_and_two_classes():
    with pytest.raises(ValueError, match="centers_per_class = 1"):
        draw_triplets(3, 1, 5)
    with pytest.raises(ValueError, match="num_classes = 1"):
        draw_triplets(1, 2, 5)
    with pytest.raises(ValueError, match="labels go from 0 to 4"):
        SoftTripleLoss(4, 2)(torch.randn(2, 2), torch.tensor([0, 4]))
    with pytest.raises(ValueError, match="space = "):
        HypHCLoss(space=Hyperbolic(chart="ball"))


def test_hyphc_takes_its_space_at_the_call_where_it_has_none():
    proxies, space = torch.randn(4, 2, 3), Hyperbolic(c=0.5)
    here, there = (
        loss(proxies, generator=torch.Generator().manual_seed(0), **given)
        for loss, given in ((HypHCLoss(space=space), {}), (HypHCLoss(), {"space": space}))
    )
    assert torch.equal(here, there)
    with pytest.raises(ValueError, match="space = None; expected Hyperbolic"):
        HypHCLoss()(proxies)


def test_a_form_of_hyphc_that_is_none_is_refused_when_chest_is_made():
    with pytest.raises(ValueError, match="form = 'height'; expected 'depth' or 'distance'"):
        CHESTLoss(4, 8, hyphc_form="height")
