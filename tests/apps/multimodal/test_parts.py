"""Laws of the parts: points in no order, fusion as a sum of parts, gradient modulation by its equations, labels."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from apps.multimodal import heads, ogm_ge
from apps.multimodal.fusion import Fusion
from apps.multimodal.labels import smoothed, strength
from apps.multimodal.pointnet import PointNet
from apps.multimodal.variants import ByClass, FromStrongest
from geomdml.losses import SoftTripleLoss
from geomdml.reshaping import LabelReshaper, balance, class_relation, difficulty, reshaped_labels
from geomdml.spaces import Euclidean

KINDS = ("sum", "concat", "gated")


def embeddings(seed: int, modalities: int = 2) -> list[torch.Tensor]:
    return list(torch.randn(modalities, 5, 4, generator=torch.Generator().manual_seed(seed)))


@given(st.integers(0, 2**32 - 1))
def test_pointnet_sees_a_set(seed):
    torch.manual_seed(seed)
    net, points = PointNet(6, 5).double().eval(), torch.randn(3, 9, 3, dtype=torch.double)
    found = net(points)
    assert_close(net(points[:, torch.randperm(9)]), found)
    assert_close(net(torch.cat([points, points[:, :4]], 1)), found)  # a point that comes twice counts once
    assert bool((net(points[:, :4]) <= found + 1e-12).all())  # fewer points have no larger maximum


@pytest.mark.parametrize("widths", [(), (4, 0)])
def test_a_pointnet_without_layers_is_refused(widths):
    with pytest.raises(ValueError, match=r"--model.point_widths = \["):
        PointNet(*widths)


@pytest.mark.parametrize("kind", KINDS)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_the_fused_embedding_is_the_sum_of_its_parts(kind, seed, modalities):
    torch.manual_seed(seed)
    given_, fusion = embeddings(seed, modalities), Fusion(kind, 4, modalities)
    parts = fusion.parts(given_)
    fused = fusion(given_)
    assert_close(parts.sum(0), fused)
    assert fused.shape == (5, fusion.features) and parts.shape == (modalities, *fused.shape)
    expected = {"sum": sum(given_), "concat": torch.cat(given_, -1)}
    if kind in expected:
        assert_close(fused, expected[kind])
    else:  # a mean of the embeddings, entry by entry
        stacked = torch.stack(given_)
        assert bool(((fused <= stacked.amax(0) + 1e-6) & (fused >= stacked.amin(0) - 1e-6)).all())
        assert_close(fusion([given_[0]] * modalities), given_[0])


def test_two_gates_are_a_sigmoid():
    torch.manual_seed(0)
    (a, b), fusion = embeddings(0), Fusion("gated", 4, 2)
    scores = fusion.gates(torch.cat([a, b], -1))
    gate = torch.sigmoid(scores[:, :4] - scores[:, 4:])
    assert_close(fusion([a, b]), gate * a + (1 - gate) * b)


def test_another_fusion_or_head_is_refused():
    with pytest.raises(ValueError, match="fusion 'film'; expected 'sum', 'concat' or 'gated'"):
        Fusion("film", 4, 2)
    with pytest.raises(ValueError, match="head 'cosine'; expected 'linear' or 'soft_triple'"):
        heads.head("cosine", 3, 4, Euclidean())


@given(st.integers(0, 2**32 - 1))
def test_heads_take_labels_and_the_same_as_soft_targets(seed):
    torch.manual_seed(seed)
    x, labels = torch.randn(6, 4), torch.arange(6) % 3
    for name in ("linear", "soft_triple"):
        head = heads.head(name, 3, 4, Euclidean())
        assert_close(head(x, nn.functional.one_hot(labels, 3).float()), head(x, labels))
        assert head.logits(x).shape == (6, 3)
    assert isinstance(head, SoftTripleLoss)


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 2.0))
def test_modulation_by_its_equations(seed, alpha):
    """Peng et al. (2022), equations (8) and (10), written as a loop."""
    generator = torch.Generator().manual_seed(seed)
    contributions = 3 * torch.randn(2, 7, 3, generator=generator).double()
    labels = torch.randint(3, (7,), generator=generator)
    scores = []
    for logits in contributions:
        scores.append(sum(math.exp(row[y]) / sum(map(math.exp, row)) for row, y in zip(logits, labels, strict=True)))
    ratio = ogm_ge.discrepancy(contributions, labels)
    assert_close(ratio, torch.tensor([scores[0] / scores[1], scores[1] / scores[0]], dtype=torch.double))
    for rho, k in zip(ratio.tolist(), ogm_ge.coefficients(ratio, alpha).tolist(), strict=True):
        assert k == pytest.approx(1 - math.tanh(alpha * rho) if rho > 1 else 1.0, rel=1e-12, abs=1e-15)


def test_three_modalities_have_no_discrepancy():
    with pytest.raises(ValueError, match="OGM-GE is defined for 2 modalities; there are 3"):
        ogm_ge.discrepancy(torch.zeros(3, 1, 2), torch.tensor([0]))


def test_the_noise_has_the_deviation_of_the_gradient():
    torch.manual_seed(0)
    layer = nn.Linear(300, 300)
    gradient = 5 + 2 * torch.randn(300, 300)
    layer.weight.grad, layer.bias.grad = gradient.clone(), torch.ones(300)
    ogm_ge.modulate(layer.parameters(), torch.tensor(0.25))
    noise = layer.weight.grad - 0.25 * gradient
    assert float(noise.std()) == pytest.approx(float(gradient.std()), rel=0.02)
    assert abs(float(noise.mean())) < 0.05
    assert bool((layer.bias.grad == 1).all())


@given(st.integers(0, 2**32 - 1), st.floats(0, 0.9), st.integers(2, 6))
def test_smoothing_takes_its_share_off_the_own_class(seed, share, classes):
    labels = torch.randint(classes, (8,), generator=torch.Generator().manual_seed(seed))
    rows = smoothed(labels, classes, share)
    assert_close(rows.sum(1), torch.ones(8))
    assert_close(rows.gather(1, labels[:, None])[:, 0], torch.full((8,), 1 - share))
    others = rows.scatter(1, labels[:, None], -1.0)
    assert_close(others.amax(1), torch.full((8,), share / (classes - 1)))


def predictions(seed: int, modalities: int = 2, classes: int = 4) -> torch.Tensor:
    logits = torch.randn(modalities, classes, classes, generator=torch.Generator().manual_seed(seed)).double()
    return (logits + 2 * torch.eye(classes)).softmax(-1)


def told(kind: type[LabelReshaper], q: torch.Tensor, **settings) -> tuple[LabelReshaper, torch.Tensor]:
    """A reshaper that has seen one sample of each class, predicted as q says, and its labels for these."""
    reshaper = kind(q.shape[1], len(q), **settings)
    return reshaper, reshaper(list(q.log()), torch.arange(q.shape[1]))


@given(st.integers(0, 2**32 - 1), st.sampled_from((0.5, 0.2)))
def test_strength_is_what_the_own_class_gives_away(seed, max_alpha):
    reshaper, targets = told(LabelReshaper, predictions(seed), max_alpha=max_alpha)
    own = targets.diagonal(dim1=1, dim2=2).mean(-1)
    assert_close(strength(reshaper.balance()), 1 - own)


@given(st.integers(0, 2**32 - 1))
def test_by_class_each_class_is_balanced_for_itself(seed):
    """The labels follow α_m(c), which is 0 for the modality that is best at c, and no difficulty grows."""
    reshaper, targets = told(ByClass, predictions(seed))
    q, now = reshaper.predictions(), reshaper.balance()
    assert_close(now.relation, class_relation(q))
    alpha, after, _ = reshaper._class_wise()
    for c in range(q.shape[1]):
        surprise = -q[:, c, c].log()
        for m in range(len(q)):
            label = reshaped_labels(torch.tensor([c]), alpha[:, c], now.relation)[m, 0]
            assert_close(targets[m, c], label)
            divergence = (label * (label / q[m, c]).log()).nan_to_num(0.0).sum()
            assert_close(after[m, c], divergence)
            assert (alpha[m, c] == 0) == (surprise[m] == surprise.min())
            assert divergence >= surprise.min() - 1e-9 and divergence <= surprise[m] + 1e-9
    assert_close(now.before, difficulty(torch.zeros(len(q)), now.relation, q))


@given(st.integers(0, 2**32 - 1))
def test_from_strongest_the_relation_is_that_of_the_strongest(seed):
    reshaper, _ = told(FromStrongest, predictions(seed, modalities=3))
    q, now = reshaper.predictions(), reshaper.balance()
    strongest = int(now.before.argmin())
    assert_close(now.relation, q[strongest])
    assert_close(now.before, balance(q).before)
    assert_close(now.after, difficulty(now.alpha, now.relation, q))
    assert now.alpha[strongest] == 0 and bool((now.after <= now.before + 1e-12).all())
    assert bool((now.after >= now.target - 1e-9).all())


@pytest.mark.parametrize("kind", [ByClass, FromStrongest])
@given(st.integers(0, 2**32 - 1))
def test_variants_keep_the_own_class_on_top_and_equal_modalities_plain(kind, seed):
    _, targets = told(kind, predictions(seed))
    own = targets.diagonal(dim1=1, dim2=2)
    others = targets.masked_fill(torch.eye(4, dtype=torch.bool), -1.0).amax(-1)
    assert_close(targets.sum(-1), torch.ones(2, 4).double())
    assert bool((own > others).all())
    _, equal = told(kind, predictions(seed, modalities=1).expand(3, -1, -1))
    assert_close(equal, torch.eye(4).expand(3, -1, -1).to(equal), rtol=0, atol=0)
