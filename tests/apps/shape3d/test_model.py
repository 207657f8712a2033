"""Laws of the multi-view network: what the order of the views, the memory and freezing may and may not change."""

import pytest
import torch
from torch import nn

from apps.networks.pooling import ViewPooling
from apps.networks.view_backbone import ViewBackbone
from apps.shape3d.baselines import linear_probe
from apps.shape3d.losses import CentreLoss, MetricLoss, Name
from apps.shape3d.model import Shape3D
from apps.training.shape_data import ShapeData, ViewBatch
from geomdml.spaces import Euclidean, Hyperbolic

CLASSES = ("bed", "chair", "lamp")
SMALL = {"weights": "none", "widths": (16, 8), "dropout": 0.0}


@pytest.fixture
def batch() -> ViewBatch:
    rng = torch.Generator().manual_seed(0)
    labels = torch.arange(6) % 3
    bright = 60 * labels + 60  # a class is told by how bright it is
    noise = torch.randint(0, 60, (6, 4, 1, 32, 32), generator=rng)
    images = (bright[:, None, None, None, None] + noise).to(torch.uint8)
    return ViewBatch(torch.arange(6), images, torch.arange(4).expand(6, -1), labels)


@pytest.mark.parametrize("kind", ["max", "mean", "attention"])
def test_pooling_does_not_see_the_order_of_views(kind):
    torch.manual_seed(0)
    pooling, views = ViewPooling(kind, 5).double(), torch.randn(3, 7, 5, dtype=torch.double)
    if kind == "attention":
        nn.init.normal_(pooling.score.weight)
    torch.testing.assert_close(pooling(views), pooling(views[:, torch.randperm(7)]))
    torch.testing.assert_close(pooling(views[:, :1].expand(-1, 7, -1)), views[:, 0])  # of equal views: any of them


def test_attention_that_does_not_care_is_the_mean():
    views = torch.randn(3, 7, 5)
    torch.testing.assert_close(ViewPooling("attention", 5)(views), views.mean(1))


def test_attention_goes_by_the_places_of_views():
    """With w = 0 the weights are those of the places alone, whichever views are seen and in whatever order."""
    pooling, views = ViewPooling("attention", 5, positions=True).double(), torch.randn(2, 3, 5, dtype=torch.double)
    torch.testing.assert_close(pooling(views), views.mean(1))
    with torch.no_grad():
        pooling.place[[4, 7, 9]] = torch.tensor([1.0, 2.0, 5.0], dtype=torch.double).log()
    seen = torch.tensor([[4, 7, 9], [9, 4, 7]])
    weights = torch.tensor([[1, 2, 5], [5, 1, 2]], dtype=torch.double)[..., None] / 8
    torch.testing.assert_close(pooling(views, seen), (weights * views).sum(1))
    order = torch.tensor([2, 0, 1])
    torch.testing.assert_close(pooling(views[:, order], seen[:, order]), pooling(views, seen))


@pytest.mark.parametrize("pooling", ["max", "mean", "attention"])
def test_shadings_as_channels_are_the_views_of_a_camera_side_by_side(batch, pooling):
    """Two cameras in two shadings; a step that sees them in another order makes the same of them."""
    settings = SMALL | {"frozen": -1, "pooling": pooling, "shading": ("lambert", "normals"), "channels": True}
    net = Shape3D(CLASSES, **settings).eval()
    maps = net.maps(batch)  # of lambert 0 and 1, normals 0 and 1
    expected = net.pooling(torch.cat([maps[:, :2], maps[:, 2:]], -1))
    assert expected.shape == (6, 2 * net.backbone.features)
    torch.testing.assert_close(net.pooled(maps), expected)
    seen = torch.tensor([1, 0, 3, 2]).expand(6, -1)
    torch.testing.assert_close(net.pooled(net.maps(batch._replace(seen=seen)), seen), expected)


def test_cameras_whose_shadings_are_channels_are_drawn_with_all_of_them():
    data = ShapeData(views=6, shading=("lambert", "normals"), channels=True, train_views=3)
    seen = data.some_views(5, 0)
    assert seen.shape == (5, 6) and torch.equal(seen[:, 3:], seen[:, :3] + 6)
    assert all(len(set(row)) == 3 and max(row) < 6 for row in seen[:, :3].tolist())
    with pytest.raises(ValueError, match="train_views = 7 of 6 cameras"):
        ShapeData(views=6, shading=("lambert", "normals"), channels=True, train_views=7)


def test_another_pooling_is_refused():
    with pytest.raises(ValueError, match="pooling = 'median'; expected 'max', 'mean' or 'attention'"):
        ViewPooling("median", 5)
    with pytest.raises(ValueError, match="positions = True with pooling = 'mean'; expected 'attention'"):
        ViewPooling("mean", 5, positions=True)


def test_a_step_tells_the_pooling_which_views_are_seen(batch):
    """The place that no shape is seen from has no gradient, the others have."""
    torch.manual_seed(0)
    model = Shape3D(CLASSES, **SMALL, pooling="attention", positions=True, frozen=-1, loss="softmax")
    model.step(batch._replace(seen=torch.tensor([3, 0, 2]).expand(6, -1)))["loss"].backward()
    assert (model.pooling.place.grad[:5] != 0).tolist() == [True, False, True, True, False]


@pytest.mark.parametrize("frozen", [-1, 0, 3, 7])
def test_the_two_parts_are_the_whole_backbone(frozen):
    torch.manual_seed(0)
    net = ViewBackbone("efficientnet_lite0", "none", frozen=frozen)
    torch.manual_seed(0)
    whole = ViewBackbone("efficientnet_lite0", "none", frozen=0)
    images = torch.randint(0, 256, (2, 1, 32, 32), dtype=torch.uint8)
    torch.testing.assert_close(net.late(net.early(images)), whole.late(whole.early(images)))
    assert net.has_frozen_part == (frozen != 0)
    assert not any(p.requires_grad for p in net.first.parameters())


def test_a_checkpoint_carries_the_normalisation_of_its_weights():
    """`predict` makes the network without the weights' package, whose mean and deviation are others than timm's."""
    state = ViewBackbone("efficientnet_lite0", "none", frozen=-1).state_dict()
    assert {"mean", "std"} <= set(state)


@pytest.mark.parametrize("frozen", [-1, 6])
def test_training_moves_what_is_tuned_and_nothing_else(batch, frozen):
    torch.manual_seed(0)
    model = Shape3D(CLASSES, frozen=frozen, **SMALL)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer, _ = model.optimiser(1)
    model.step(batch)["loss"].backward()
    optimizer.step()
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    in_backbone = {name for name in moved if name.startswith("backbone.")}
    assert not any(name.startswith("backbone.first.") or "running_" in name for name in in_backbone)
    assert any(name.startswith("backbone.last.") for name in moved) == (frozen == 6)
    assert {"head.weight", "classifier.weight"} <= moved


def test_the_memory_is_only_a_memory(batch):
    """Some views of shapes out of the memory are those of the frozen part, up to the rounding to half precision."""
    torch.manual_seed(0)
    model = Shape3D(CLASSES, frozen=6, **SMALL).eval()
    some = batch._replace(seen=torch.tensor([[3, 0]] * 6))
    model.maps(batch)
    direct = torch.stack([model.backbone.early(views[[3, 0]]) for views in batch.images])
    torch.testing.assert_close(model.maps(some), direct, rtol=2e-3, atol=1e-4)
    again = model.maps(some)
    assert torch.equal(model.maps(some), again)
    assert set(model.memory) == set(range(6))


@pytest.mark.parametrize(
    ("loss", "space"),
    [
        (name, space)
        for name in Name.__args__
        for space in ("euclidean", "hyperbolic")
        if (name != "chest" or space == "hyperbolic") and (name not in ("centre", "n_pairs") or space == "euclidean")
    ],
)
def test_every_loss_learns_in_every_space_that_it_has(batch, loss, space):
    torch.manual_seed(0)
    model = Shape3D(CLASSES, frozen=-1, loss=loss, space=space, lr=1e-3, **SMALL)
    optimizer, _ = model.optimiser(1)
    losses = []
    for _ in range(20):
        value = model.step(batch)["loss"]
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(float(value.detach()))
    assert all(torch.tensor(losses).isfinite())
    assert losses[-1] < losses[0]


def test_weights_of_the_two_losses_are_what_they_say(batch):
    torch.manual_seed(0)
    model = Shape3D(CLASSES, frozen=-1, weight=3.0, softmax_weight=0.2, **SMALL).eval()
    found = model.step(batch)
    torch.testing.assert_close(found["loss"].detach(), 0.2 * found["loss/softmax"] + 3 * found["loss/metric"])
    torch.testing.assert_close(model.step(batch, metric=False)["loss"].detach(), 0.2 * found["loss/softmax"])


def test_the_second_of_two_stages_leaves_the_backbone(batch, monkeypatch):
    model = Shape3D(CLASSES, frozen=6, softmax_epochs=2, **SMALL)
    for epoch, tuned in ((0, True), (1, True), (2, False)):
        monkeypatch.setattr(Shape3D, "current_epoch", epoch)
        model.on_train_epoch_start()
        assert {p.requires_grad for p in model.backbone.last.parameters()} == {tuned}


def test_centre_loss_pulls_to_the_mean_of_the_class():
    torch.manual_seed(0)
    embeddings, labels = torch.randn(12, 3), torch.arange(12) % 2
    loss = CentreLoss(2, 3)
    optimizer = torch.optim.SGD(loss.parameters(), lr=1.0)
    for _ in range(100):
        optimizer.zero_grad()
        loss(embeddings, labels).backward()
        optimizer.step()
    for label in (0, 1):
        torch.testing.assert_close(loss.centres[label], embeddings[labels == label].mean(0), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "space", "settings", "message"),
    [
        ("chest", Euclidean(), {}, "expected a hyperbolic space"),
        ("centre", Hyperbolic(c=0.5), {}, "expected Euclidean space"),
        ("chest", Hyperbolic(c=0.5), {"magin": 1}, "loss 'chest' with .*magin"),
        ("softmax", Euclidean(), {"margin": 1.0}, "loss 'softmax' has no setting 'margin'"),
    ],
)
def test_a_loss_that_cannot_be_is_refused(name, space, settings, message):
    with pytest.raises(ValueError, match=message):
        MetricLoss(name, 3, 8, 4, space=space, **settings)


def test_the_probe_gives_nothing_to_a_class_that_it_never_saw():
    corners = torch.eye(3).repeat(3, 1)
    logits = linear_probe(corners, torch.arange(9) % 3, corners[:3], 5).logits
    assert logits.shape == (3, 5) and bool((logits[:, 3:] == -torch.inf).all())
    assert logits.argmax(1).tolist() == [0, 1, 2]
