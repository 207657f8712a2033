"""The running class-wise predictions, and the labels made from them."""

import io
import re

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

import geomdml
from geomdml.losses import SoftTripleLoss
from geomdml.reshaping import LabelReshaper, balance, label_reshaper
from geomdml.spaces import Euclidean, Hyperbolic

C, M, B = 4, 3, 12


def batch(seed: int, *, size: int = B, classes: int = C, modalities: int = M):
    """Logits of a good, a fair and a bad modality, and labels."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (size,), generator=generator)
    own = F.one_hot(labels, classes)
    strengths = (3.0, 1.5, 0.5, 0.1)[:modalities]
    return [strength * own + torch.randn(size, classes, generator=generator) for strength in strengths], labels


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from((0.0, 0.5, 0.9, 1.0)),
    st.lists(st.integers(0, 6), min_size=1, max_size=6),
)
def test_the_running_mean_is_as_defined(seed, momentum, sizes):
    """Of each class, over the batches that have it, each weighed `momentum` times as much as the next one."""
    reshaper = LabelReshaper(C, M, momentum, floor=0.01)
    of_class: dict[int, list] = {c: [] for c in range(C)}
    for number, size in enumerate(sizes):
        logits, labels = batch(seed + number, size=size)
        reshaper(logits, labels)
        probabilities = torch.stack(logits).double().softmax(-1)
        for c in labels.unique().tolist():
            of_class[c].append(probabilities[:, labels == c])
    expected = torch.full((M, C, C), 1 / C, dtype=torch.float64)
    for c, batches in of_class.items():
        if batches:
            ages = [momentum**age for age in reversed(range(len(batches)))]
            weights = torch.cat([torch.full((x.shape[1],), w).double() for w, x in zip(ages, batches, strict=True)])
            expected[:, c] = torch.einsum("b,mbk->mk", weights / weights.sum(), torch.cat(batches, 1))
    assert_close(reshaper.predictions(), 0.99 * expected + 0.01 / C, rtol=1e-6, atol=0)


def test_labels_follow_the_balance():
    logits, labels = batch(0)
    reshaper = LabelReshaper(C, M)
    targets = reshaper(logits, labels)
    now = reshaper.balance()
    assert targets.shape == (M, B, C) and targets.dtype == torch.float32
    assert now.alpha[0] == 0 and bool((now.alpha[1:] > 0).all())
    for alpha, rows in zip(now.alpha, targets, strict=True):
        assert_close(rows, ((1 - alpha) * F.one_hot(labels, C) + alpha * now.relation[labels]).float())
    assert_close(targets, reshaper.eval()(torch.stack(logits), labels))


def test_before_anything_is_seen_labels_are_plain():
    logits, labels = batch(1)
    reshaper = LabelReshaper(C, M).eval()
    assert_close(reshaper(logits, labels), F.one_hot(labels, C).float().expand(M, -1, -1), rtol=0, atol=0)
    assert_close(reshaper.predictions(), torch.full((M, C, C), 1 / C, dtype=torch.float64))


def test_an_unseen_class_is_uniform_to_every_modality():
    logits, labels = batch(2)
    reshaper = LabelReshaper(C + 1, M)
    reshaper([F.pad(part, (0, 1)) for part in logits], labels)
    assert_close(reshaper.predictions()[:, C], torch.full((M, C + 1), 1 / (C + 1), dtype=torch.float64))
    assert_close(reshaper.balance().relation[C], torch.full((C + 1,), 1 / (C + 1), dtype=torch.float64))


def test_equal_modalities_get_plain_labels_all_along():
    reshaper = LabelReshaper(C, M)
    for seed in range(5):
        logits, labels = batch(seed, modalities=1)
        assert_close(reshaper(logits * M, labels), F.one_hot(labels, C).float().expand(M, -1, -1), rtol=0, atol=0)


def test_only_training_changes_the_state():
    reshaper = LabelReshaper(C, M)
    reshaper(*batch(3))
    before = {name: state.clone() for name, state in reshaper.state_dict().items()}
    reshaper.eval()(*batch(4))
    assert_close(dict(reshaper.state_dict()), before, rtol=0, atol=0)
    reshaper.train()(*batch(4))
    assert not torch.equal(reshaper.sums, before["sums"])


def test_a_resumed_run_goes_on_bit_by_bit():
    unbroken, resumed = LabelReshaper(C, M), LabelReshaper(C, M)
    for seed in range(3):
        unbroken(*batch(seed))
    file = io.BytesIO()
    torch.save(unbroken.state_dict(), file)
    file.seek(0)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    for seed in range(3, 6):
        assert torch.equal(unbroken(*batch(seed)), resumed(*batch(seed)))


@pytest.mark.parametrize("cast", ["half", "bfloat16", "float", "double"])
def test_the_state_keeps_its_precision_when_the_model_is_cast(cast):
    reshaper = LabelReshaper(C, M)
    reshaper(*batch(5))
    sums = reshaper.sums.clone()
    getattr(torch.nn.Sequential(reshaper), cast)()
    assert reshaper.sums.dtype == torch.float64 and torch.equal(reshaper.sums, sums)


def test_the_state_follows_to_another_device_unless_that_has_no_float64(monkeypatch):
    meta = torch.device("meta")
    assert LabelReshaper(C, M).to("meta", torch.bfloat16).sums.device == meta
    assert LabelReshaper(C, M).to("meta").to_empty(device="cpu").sums.dtype == torch.float64
    monkeypatch.setattr(label_reshaper, "home", lambda device: torch.device("cpu"))
    assert LabelReshaper(C, M).to("meta").sums.device == torch.device("cpu")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_dtypes_and_autocast(dtype):
    logits, labels = batch(6)
    logits = [part.to(dtype) for part in logits]
    plain, cast = LabelReshaper(C, M), LabelReshaper(C, M)
    targets = plain(logits, labels)
    assert targets.dtype == torch.promote_types(dtype, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(cast(logits, labels), targets)
    assert torch.equal(cast.sums, plain.sums)


def test_log_probabilities_serve_as_logits():
    logits, labels = batch(7)
    first, second = LabelReshaper(C, M), LabelReshaper(C, M)
    assert_close(first(logits, labels), second([part.log_softmax(-1) for part in logits], labels))


def test_samples_that_are_not_finite_are_refused_or_left_out():
    logits, labels = batch(8)
    broken = [part.clone() for part in logits]
    broken[1][3, 0], broken[2][5, 1] = float("nan"), float("inf")
    with pytest.raises(ValueError, match=re.escape("logits[1] has 1 entries that are NaN or infinite")):
        LabelReshaper(C, M)(broken, labels)
    whole = [n for n in range(B) if n not in (3, 5)]
    unchecked, without = LabelReshaper(C, M), LabelReshaper(C, M)
    with geomdml.validation(False):
        unchecked(broken, labels)
    without([part[whole] for part in logits], labels[whole])
    assert_close(unchecked.predictions(), without.predictions())


@pytest.mark.parametrize("space", [Euclidean(), Hyperbolic(c=0.5)], ids=["euclidean", "hyperbolic"])
def test_soft_triple_heads_learn_from_reshaped_labels(space):
    """In either space; without margin the loss is linear in its targets, so it is the mix of the plain losses."""
    torch.manual_seed(0)
    labels = torch.arange(8) % C
    embeddings = [torch.randn(8, 5, requires_grad=True) + 2 * s * F.one_hot(labels, 5) for s in (2.0, 0.5)]
    heads = [SoftTripleLoss(C, 5, space=space, margin=0.0, reduction="none") for _ in embeddings]
    for head, x in zip(heads, embeddings, strict=True):
        head.proxies.start_at(x.detach(), labels)
    reshaper = LabelReshaper(C, 2)
    logits = [head.logits(x) for head, x in zip(heads, embeddings, strict=True)]
    targets = reshaper(logits, labels)
    assert not targets.requires_grad
    now = reshaper.balance()
    assert now.alpha[0] == 0 < now.alpha[1]
    for head, x, target, alpha in zip(heads, embeddings, targets, now.alpha.float(), strict=True):
        plain = torch.stack([head(x, torch.full((8,), c)) for c in range(C)], 1)
        mixed = (1 - alpha) * plain.gather(1, labels[:, None])[:, 0]
        mixed = mixed + alpha * (now.relation.float()[labels] * plain).sum(1)
        assert_close(head(x, target), mixed)
        gradients = torch.autograd.grad(head(x, target).mean(), [x, head.proxies.vectors])
        assert all(bool(g.isfinite().all()) and bool((g != 0).any()) for g in gradients)


@pytest.mark.parametrize("relative", [True, False])
def test_logits_of_a_soft_triple_head_are_those_of_its_loss(relative):
    torch.manual_seed(0)
    head, x, labels = SoftTripleLoss(C, 5, margin=0.0, relative=relative), torch.randn(8, 5), torch.arange(8) % C
    assert_close(head(x, labels), F.cross_entropy(head.logits(x), labels))


def test_one_modality_keeps_its_labels():
    logits, labels = batch(9, modalities=1)
    assert torch.equal(LabelReshaper(C, 1)(logits, labels)[0], F.one_hot(labels, C).float())


def test_balance_is_that_of_the_predictions():
    reshaper = LabelReshaper(C, M, max_alpha=0.1)
    reshaper(*batch(10))
    for found, expected in zip(reshaper.balance(), balance(reshaper.predictions(), max_alpha=0.1), strict=True):
        assert torch.equal(found, expected)
    assert float(reshaper.balance().alpha.max()) == 0.1


def test_refusals():
    logits, labels = batch(11)
    reshaper = LabelReshaper(C, M)
    for call, error, message in (
        (lambda: LabelReshaper(1, 2), ValueError, "num_classes = 1; expected at least 2"),
        (lambda: LabelReshaper(2, 0), ValueError, "modalities = 0; expected at least 1"),
        (lambda: LabelReshaper(2, ["a"]), TypeError, "modalities is a list; expected an integer"),
        (lambda: LabelReshaper(2, 2, 1.5), ValueError, "momentum = 1.5; expected from 0 to 1"),
        (lambda: LabelReshaper(2, 2, float("nan")), ValueError, "momentum = nan; expected a finite number"),
        (lambda: LabelReshaper(2, 2, floor=0.0), ValueError, "floor = 0.0; expected at least 1e-6 and below 1"),
        (lambda: LabelReshaper(2, 2, max_alpha=0.7), ValueError, "max_alpha = 0.7; expected at most 0.5"),
        (lambda: reshaper(logits[:2], labels), ValueError, "logits has 2 parts; expected 3, one a modality"),
        (
            lambda: reshaper(logits, labels[1:]),
            ValueError,
            f"logits[0] has shape ({B}, {C}); expected (B, C) = ({B - 1}",
        ),
        (lambda: reshaper([*logits[:2], logits[2].long()], labels), TypeError, "logits[2] has dtype torch.int64"),
        (lambda: reshaper(logits, labels + 1), ValueError, "expected 0 to 3"),
        (lambda: reshaper(logits, F.one_hot(labels, C)), ValueError, f"labels has shape ({B}, {C}); expected one row"),
        (lambda: reshaper(logits, labels.float()), TypeError, "labels has dtype torch.float32; expected integers"),
        (lambda: reshaper.eval()(logits, labels - 1), ValueError, "labels go from -1"),
    ):
        with pytest.raises(error, match=re.escape(message)):
            call()
    assert float(reshaper.counts.sum()) == 0
