"""What each method lets learn from what, and what a checkpoint carries."""

import io

import pytest
import torch
from torch.nn.functional import one_hot
from torch.testing import assert_close

from apps.multimodal import heads
from apps.multimodal.data import ViewPointBatch
from apps.multimodal.labels import strength
from apps.multimodal.model import RESHAPERS, Method, Multimodal, accuracies
from geomdml.losses import SoftTripleLoss

CLASSES = ("bed", "chair", "lamp")
METHODS = Method.__args__
SMALL = {"weights": "none", "point_widths": (8, 16), "hidden": 16, "dim": 8, "dropout": 0.0, "lr": 0.01}


def made(method: str, **settings) -> Multimodal:
    torch.manual_seed(0)
    return Multimodal(CLASSES, method=method, **(SMALL | settings))


@pytest.fixture(scope="module")
def batch() -> ViewPointBatch:
    """A class is told by how bright its images are, and by how long its points lie."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(12) % 3
    noise = torch.randint(0, 40, (12, 2, 1, 32, 32), generator=generator)
    images = (70 * labels[:, None, None, None, None] + noise).to(torch.uint8)
    stretched = 1 + labels[:, None, None] * torch.tensor([1.0, 0.0, 0.0])
    points = torch.randn(12, 10, 3, generator=generator) * stretched
    return ViewPointBatch(torch.arange(12), images, torch.arange(2).expand(12, -1), points, labels)


def train(model: Multimodal, batch: ViewPointBatch, steps: int) -> list[float]:
    optimizer, scheduler = model.optimiser(steps)
    losses = []
    for step in range(steps):
        torch.manual_seed(step)
        loss = model.step(batch)["loss"]
        optimizer.zero_grad()
        loss.backward()
        model.modulate(step / steps)
        optimizer.step()
        scheduler.step()
        losses.append(float(loss.detach()))
    return losses


@pytest.mark.parametrize("method", METHODS)
def test_every_method_learns_and_leaves_the_backbone(batch, method):
    model = made(method, lr=0.05)
    before = {name: value.clone() for name, value in model.network.backbone.state_dict().items()}
    losses = train(model, batch, 30)
    assert all(torch.tensor(losses).isfinite()) and losses[-1] < 0.8 * losses[0]
    assert all(torch.equal(value, before[name]) for name, value in model.network.backbone.state_dict().items())
    model.eval()
    found = accuracies(model.network(batch) | {"labels": batch.labels})
    assert set(found) == {"fused", *model.modalities} and found["fused"] > 60


def test_no_encoder_learns_from_the_head_of_the_other(batch):
    network = made("joint").network
    for name, embedding in zip(network.modalities, network.embed(batch), strict=True):
        loss = network.heads[name](embedding, batch.labels)
        for other in network.modalities:
            weight = next(p for p in network.encoders[other].parameters() if p.ndim > 1)
            [gradient] = torch.autograd.grad(loss, [weight], retain_graph=True, allow_unused=True)
            assert (gradient is None) == (other != name)


def test_where_the_fused_head_teaches_alone_the_other_heads_do_not(batch):
    """The gradient of the encoders is that of the fused loss, whatever the modalities' own heads say."""
    gradients = {}
    for method in ("fused", "ogm_ge", "joint"):
        model = made(method)
        weights = [p for p in model.network.encoders.parameters() if p.ndim > 1]
        fused = model.network.fused_head(model.network.fusion(model.network.embed(batch)), batch.labels)
        alone = torch.autograd.grad(fused, weights)
        whole = torch.autograd.grad(model.step(batch)["loss"], weights)
        gradients[method] = all(torch.allclose(a, b, rtol=1e-4, atol=1e-6) for a, b in zip(alone, whole, strict=True))
    assert gradients == {"fused": True, "ogm_ge": True, "joint": False}


@pytest.mark.parametrize("fusion", ["sum", "concat", "gated"])
def test_contributions_sum_to_the_fused_logits(batch, fusion):
    network = made("joint", fusion=fusion).network.eval()
    assert_close(network.contributions(network.embed(batch)).sum(0), network(batch)["fused/logits"])


def test_modulation_scales_the_leading_encoder_while_it_lasts(batch):
    model = made("ogm_ge", ogm_share=0.5)
    model.step(batch)["loss"].backward()
    assert sorted((model.coefficients == 1).tolist()) == [False, True]
    before = [p.grad.clone() for p in model.network.encoders.parameters()]
    model.modulate(0.5)
    assert all(torch.equal(p.grad, g) for p, g in zip(model.network.encoders.parameters(), before, strict=True))
    model.modulate(0.0)
    moved = [not torch.equal(p.grad, g) for p, g in zip(model.network.encoders.parameters(), before, strict=True)]
    assert moved == [p.ndim > 1 for p in model.network.encoders.parameters()]


@pytest.mark.parametrize("method", RESHAPERS)
def test_reshaped_labels_reach_the_heads(batch, method):
    model = made(method)
    train(model, batch, 3)
    logits = [model.network(batch)[f"{name}/logits"] for name in model.modalities]
    targets = model.targets(logits, batch.labels)
    watched = model.watched()
    assert max(watched["alpha/views"], watched["alpha/points"]) > 0
    for target, name in zip(targets, model.modalities, strict=True):
        plain = bool((target == one_hot(batch.labels, 3)).all())
        assert plain == (watched[f"alpha/{name}"] == 0)
        assert watched[f"difficulty/{name}/reshaped"] <= watched[f"difficulty/{name}"]


def test_smoothing_is_as_strong_as_it_is_told(batch):
    model = made("smoothing", smoothing=(0.0, 0.3))
    views, points = model.targets([torch.zeros(12, 3)] * 2, batch.labels)
    assert_close(views, one_hot(batch.labels, 3).float())
    assert_close(points.gather(1, batch.labels[:, None]), torch.full((12, 1), 0.7))


@pytest.mark.parametrize("space", ["euclidean", "hyperbolic"])
@pytest.mark.parametrize("fusion", ["sum", "gated"])
def test_the_same_labels_train_soft_triple_heads_in_either_space(batch, space, fusion):
    model = made("reshaping", head="soft_triple", space=space, fusion=fusion, lr=0.1)
    assert all(isinstance(head, SoftTripleLoss) for head in model.network.heads.values())
    losses = train(model, batch, 20)
    assert all(torch.tensor(losses).isfinite()) and losses[-1] < losses[0]
    linear = made("reshaping")
    linear.reshaper.load_state_dict(model.reshaper.state_dict())
    linear.reshaper.eval(), model.reshaper.eval()
    logits = [torch.zeros(12, 3)] * 2
    for one, other in zip(model.targets(logits, batch.labels), linear.targets(logits, batch.labels), strict=True):
        assert torch.equal(one, other)
    [head, *_] = model.network.heads.values()
    target = model.targets(logits, batch.labels)[1]
    soft, plain = head(model.network.embed(batch)[0], target), head(model.network.embed(batch)[0], batch.labels)
    assert (soft == plain) == bool((target == one_hot(batch.labels, 3)).all())


def test_a_checkpoint_carries_the_class_wise_predictions(batch):
    model, file = made("reshaping"), io.BytesIO()
    train(model, batch, 4)
    torch.save(model.state_dict(), file)
    file.seek(0)
    again = made("reshaping")
    again.load_state_dict(torch.load(file, weights_only=True))
    assert_close(tuple(again.reshaper.balance()), tuple(model.reshaper.balance()), rtol=0, atol=0)
    torch.manual_seed(5)
    first = model.step(batch)["loss"]
    torch.manual_seed(5)
    assert torch.equal(again.step(batch)["loss"], first)
    assert float(strength(model.reshaper.balance()).max()) > 0


def test_ogm_ge_wants_a_linear_head():
    with pytest.raises(ValueError, match=r"--model.method ogm_ge reads .* --model.head is 'soft_triple'"):
        made("ogm_ge", head="soft_triple")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": 0.0}, "--model.lr = 0.0"),
        ({"unimodal_weight": -1.0}, "--model.unimodal_weight = -1.0"),
        ({"smoothing": (0.1, 1.0)}, r"--model.smoothing = \[0.1, 1.0\]"),
        ({"fusion": "film"}, "fusion 'film'"),
        ({"max_alpha": 0.7}, "max_alpha = 0.7; expected at most 0.5"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        made("reshaping", **settings)


def test_a_linear_head_is_softmax_regression(batch):
    head = heads.LinearHead(4, 3)
    x = torch.randn(12, 4)
    assert_close(head.logits(x), x @ head.weight.T + head.bias)
    assert_close(head(x, batch.labels), -head.logits(x).log_softmax(-1)[torch.arange(12), batch.labels].mean())
