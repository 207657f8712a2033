"""Laws of the two branches and of the losses across modalities."""

import pytest
import torch
from torch import nn

from apps.networks.pair_losses import pair_loss
from apps.sketch.data import Both
from apps.sketch.losses import CrossModalLoss, Side
from apps.sketch.model import SIDES, SketchToShape
from apps.training.shape_data import ViewBatch
from geomdml.losses import BatchTransportLoss
from geomdml.nn import HyperbolicHead
from geomdml.spaces import Euclidean, Hyperbolic

CLASSES = ("bed", "chair", "lamp")
SMALL = {"weights": "none", "sketch_widths": (16, 8), "shape_widths": (12, 16, 8), "dropout": 0.0}


def sides(count: int = 6, dtype=torch.double) -> tuple[Side, Side]:
    rng = torch.Generator().manual_seed(0)

    def side(n: int) -> Side:
        draws = [torch.randn(n, d, generator=rng, dtype=dtype) for d in (5, 4)]
        return Side(draws[0], draws[1], torch.arange(n) % 3)

    return side(count), side(count + 3)


@pytest.fixture
def batch() -> Both:
    rng = torch.Generator().manual_seed(0)

    def part(views: int) -> ViewBatch:
        labels = torch.arange(6) % 3
        bright = (60 * labels + 60)[:, None, None, None, None]
        noise = torch.randint(0, 60, (6, views, 1, 32, 32), generator=rng)
        images, seen = (bright + noise).to(torch.uint8), torch.arange(views).expand(6, -1)[:, :2]
        return ViewBatch(torch.arange(6), images, seen, labels)

    sketches, shapes = part(3), part(4)
    return Both(sketches._replace(seen=sketches.seen[:, :1]), shapes)


@pytest.mark.parametrize("space", [Euclidean(), Hyperbolic(c=0.5)])
@pytest.mark.parametrize("name", ["transport", "uniform"])
def test_four_transports_are_summed(name, space):
    f, g = sides()
    plan = BatchTransportLoss(space=space, margin=5.0, plan=name)
    four = [
        plan(f.embeddings, f.labels),
        plan(g.embeddings, g.labels),
        plan(f.embeddings, f.labels, None, g.embeddings, g.labels),
        plan(g.embeddings, g.labels, None, f.embeddings, f.labels),
    ]
    torch.testing.assert_close(four[2], four[3])  # the two directions across
    loss = CrossModalLoss(name, 3, 5, space=space, margin=5.0)
    torch.testing.assert_close(loss(f, g, head=nn.Identity()), torch.stack(four).sum())


@pytest.mark.parametrize("name", ["triplet", "contrastive"])
def test_the_rivals_see_all_pairs_of_both(name):
    f, g = sides()
    both, labels = torch.cat([f.embeddings, g.embeddings]), torch.cat([f.labels, g.labels])
    found = CrossModalLoss(name, 3, 5, space=Euclidean(), margin=0.7)(f, g, head=nn.Identity())
    torch.testing.assert_close(found, pair_loss(name, margin=0.7)(both, labels))


def test_chest_compares_both_sides_with_the_same_proxies():
    torch.manual_seed(0)
    f, g = sides(dtype=torch.float32)
    space = Hyperbolic(c=0.5)
    head, loss = HyperbolicHead(5, 4, space=space), CrossModalLoss("chest", 3, 5, space=space, tau=0.0)
    features, labels = torch.cat([f.features, g.features]), torch.cat([f.labels, g.labels])
    torch.testing.assert_close(loss(f, g, head=head), loss.loss(features, labels, head=head))
    assert sum(p.numel() for p in loss.parameters()) == 3 * 2 * 5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": "chest"}, "loss 'chest' does not work in Euclidean"),
        ({"loss": "chest", "space": "hyperbolic", "sketch_widths": (12, 8)}, "loss 'chest' shares its head"),
        ({"loss": "transport", "loss_args": {"margn": 1.0}}, "loss 'transport' has no setting 'margn'"),
        ({"sketch_widths": (16, 4)}, "expected the same last dimension"),
        ({"lr": 0.0}, "--model.lr = 0"),
    ],
)
def test_what_does_not_fit_together_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        SketchToShape(CLASSES, **SMALL | settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"loss": "transport", "loss_args": {"margin": 1.0}},
        {"loss": "transport", "space": "hyperbolic", "loss_args": {"margin": 4.0}},
        {"loss": "chest", "space": "hyperbolic"},
        {"loss": "triplet", "sketch_frozen": 6, "loss_args": {"margin": 1.0}},
    ],
)
def test_training_moves_both_branches_and_lowers_the_loss(batch, settings):
    torch.manual_seed(0)
    model = SketchToShape(CLASSES, **SMALL | settings, lr=1e-2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer, _ = model.optimiser(40)
    losses = []
    for _ in range(40):
        torch.manual_seed(0)  # CHEST draws triplets
        losses.append(model.step(batch))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert losses[-1] < losses[0]
    for side in SIDES:
        assert any(name.startswith(f"branches.{side}.metric") for name in moved)
        assert any(name.startswith(f"heads.{side}") for name in moved)
    tuned = {name for name in moved if ".backbone." in name}
    assert all(name.startswith("branches.sketches.backbone.last.") for name in tuned)
    assert bool(tuned) == ("sketch_frozen" in settings)
    assert any(name.startswith("loss.") for name in moved) == (settings["loss"] == "chest")


def test_chest_shares_the_last_layer_and_the_others_do_not():
    own = SketchToShape(CLASSES, **SMALL)
    assert own.heads["sketches"] is not own.heads["shapes"]
    shared = SketchToShape(CLASSES, **SMALL, loss="chest", space="hyperbolic")
    assert shared.heads["sketches"] is shared.heads["shapes"]


def test_unit_embeddings_and_what_forward_gives(batch):
    torch.manual_seed(0)
    model = SketchToShape(CLASSES, **SMALL).eval()
    with torch.no_grad():
        found = model.side(batch.shapes, "shapes").embeddings
        whole = model(batch.shapes.images[:, :2], "shapes")
    torch.testing.assert_close(found, whole, atol=1e-2, rtol=1e-2)  # the memory keeps half precision
    torch.testing.assert_close(whole.norm(dim=-1), torch.ones(6))
