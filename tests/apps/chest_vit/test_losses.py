"""Losses by name or class on a small model: they are made for its spaces, train it, and are refused in one line."""

import math

import pytest
import torch
from pytorch_metric_learning import losses as pml
from torch import nn

from apps.chest_vit.class_tree import parents
from apps.chest_vit.losses import NAMED, RelativeDistance, build, start_proxies
from apps.chest_vit.model import CHEST
from geomdml.euclidean import clip_norm
from geomdml.losses import CHESTLoss, HIERLoss, PairwiseCrossEntropyLoss, SoftTripleLoss
from geomdml.losses.functional import in_mean_units
from geomdml.metrics import retrieval
from geomdml.nn import HyperbolicHead
from geomdml.pml import SpaceDistance
from geomdml.spaces import Euclidean, Hyperbolic

CLASSES, DIM, FEATURES = 4, 16, 64  # test_vit has features of 64
LABELS = torch.arange(8) % CLASSES
TREE = {"a1": ["a"], "a2": ["a"], "b1": ["b"], "b2": ["b"]}
HALVES = [name for name in NAMED if name != "hier"]


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def model(**options) -> CHEST:
    small = {"backbone": "test_vit", "weights": "none", "backbone_args": {"img_size": 32}, "dim": DIM}
    return CHEST(CLASSES, **small | {"class_tree": TREE} | options)


def made(spec, space=None, **options):
    settings = {"num_classes": CLASSES, "dim": DIM, "space": space or Hyperbolic(), "relative": True}
    settings |= {"parents": parents(TREE, list(TREE))}
    return build(spec, **settings | options)


def step(network: CHEST) -> torch.Tensor:
    features = network.features(torch.randint(0, 255, (8, 3, 32, 32), dtype=torch.uint8))
    return network.loss.terms(features, LABELS, head=network.head)


@pytest.mark.parametrize("learn_c", [False, True])
@pytest.mark.parametrize("weights", [(1.0, 1.0), (1.0, 0.0), (0.0, 1.0)])
@pytest.mark.parametrize("name", HALVES)
def test_every_name_trains_in_either_space_and_in_both(name, weights, learn_c):
    eta_h, eta_e = weights
    network = model(loss=name, eta_h=eta_h, eta_e=eta_e, tau=0.0, learn_c=learn_c)
    terms = step(network)
    assert (terms.hyperbolic is None, terms.euclidean is None) == (eta_h == 0, eta_e == 0)
    terms.total.backward()
    for parameter in (network.backbone.patch_embed.proj.weight, network.head.linear.weight, *network.loss.parameters()):
        assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any()


def test_halves_and_regulariser_by_their_own_names():
    network = model(loss_h="triplet", loss_e="soft_triple", regulariser="hier", learn_c=True)
    assert isinstance(network.loss.hyperbolic, pml.TripletMarginLoss) and network.loss.euclidean is None
    assert isinstance(network.loss.regulariser, HIERLoss) and network.loss.regulariser.space is network.space
    assert network.loss.proxies is not None
    terms = step(network)
    assert terms.regulariser is not None and terms.total.isfinite()


@pytest.mark.parametrize("name", ["soft_triple", "triplet"])
def test_a_learned_curvature_moves_as_fast_as_the_proxies(name):
    options = {"loss": name, "tau": 0.0, "lr": 1e-5, "head_lr": 1e-5, "proxy_lr": 1e-2, "warmup": 0.0}
    network = model(**options, learn_c=True)
    optimizer, _ = network.optimiser(100)
    every = [p for group in optimizer.param_groups for p in group["params"]]
    assert {id(p) for p in every} == {id(p) for p in network.parameters()} and len(every) == len(set(map(id, every)))
    step(network).total.backward()
    optimizer.step()
    assert abs(math.log(network.space.curvature / 0.5)) == pytest.approx(1e-2, rel=1e-3)  # Adam's first step
    assert len(optimizer.param_groups) == 1 + len(model(**options).optimiser(100)[0].param_groups)


def test_the_default_is_chest_itself():
    loss = model().loss
    assert loss.hyperbolic is loss.euclidean is loss.regulariser is None


@pytest.mark.parametrize("eta_h", [0.0, 1.0])
@pytest.mark.parametrize("name", ["soft_triple", *HALVES])
def test_every_name_learns_to_tell_unseen_classes(name, eta_h):
    """Classes differ in 4 of 16 directions; a linear map, trained on half of them, finds these for the other half."""
    labels = torch.arange(80).repeat_interleave(8)
    x = torch.cat([3 * torch.randn(80, 4)[labels] + 0.5 * torch.randn(640, 4), 3 * torch.randn(640, 12)], dim=1)
    head = HyperbolicHead(16, DIM, space=Hyperbolic())
    backbone, space = nn.Linear(16, 16), head.space if eta_h else Euclidean()
    nn.init.eye_(backbone.weight)
    place = "hyperbolic" if eta_h else "euclidean"
    tree = torch.cat([40 + torch.arange(40) // 5, torch.full((8,), -1)])
    half = build(name, num_classes=40, dim=DIM, space=space, relative=True, parents=tree)
    loss = CHESTLoss(40, 16, eta_h=eta_h, eta_e=1 - eta_h, tau=0.0, **{place: half})
    start_proxies(loss, head, x[:320], labels[:320])
    optimizer = torch.optim.Adam([*backbone.parameters(), *head.parameters(), *loss.parameters()], lr=5e-3)

    def recall() -> float:
        with torch.no_grad():
            found = (head if eta_h else head.tangent)(backbone(x[320:]))
        return retrieval(found, labels[320:], space=space, ks=(1,)).recall[1]

    before = recall()
    for _ in range(60):
        classes = torch.randperm(40)[:20].unsqueeze(1)
        rows = (8 * classes + torch.randint(8, (20, 4))).flatten()
        optimizer.zero_grad()
        loss(backbone(x[rows]), labels[rows], head=head).backward()
        optimizer.step()
    assert recall() > before + 0.2, (before, recall())


@pytest.mark.parametrize(("eta_h", "dim"), [(1.0, FEATURES), (0.0, DIM)])
def test_the_euclidean_half_has_the_dimension_of_what_it_gets(eta_h, dim):
    network = model(loss_e="proxy_anchor", eta_h=eta_h, tau=0.0)
    assert network.loss.euclidean.proxies.shape == (CLASSES, dim)
    assert isinstance(network.loss.euclidean.distance.space, Euclidean)


def test_a_class_gets_what_it_asks_for_and_what_it_is_given():
    loss = made({"class_path": "geomdml.losses.SoftTripleLoss", "init_args": {"centers_per_class": 3, "margin": 0.7}})
    assert isinstance(loss, SoftTripleLoss) and loss.proxies.vectors.shape == (CLASSES, 3, DIM)
    assert loss.margin == 0.7 and loss.relative and isinstance(loss.space, Hyperbolic)
    assert not made("geomdml.losses.PairwiseCrossEntropyLoss", relative=False).relative
    contrastive = made("pytorch_metric_learning.losses.ContrastiveLoss", relative=False)
    assert type(contrastive.distance) is SpaceDistance
    assert type(made("triplet").distance) is RelativeDistance
    assert made("soft_triple") is None and made("hyphc", own="hyphc") is None


def test_relative_distances_are_in_units_of_their_mean():
    u, v = torch.randn(5, 3), torch.randn(4, 3)
    space = Hyperbolic(0.3)
    torch.testing.assert_close(RelativeDistance(space)(u, v), in_mean_units(space.pairwise_dist(u, v)))
    loss = made("multi_similarity", space=Euclidean())
    torch.testing.assert_close(loss(u[:4], LABELS[:4] % 2), loss(40 * u[:4], LABELS[:4] % 2))


def test_proxies_of_a_replaced_half_start_at_the_class_means():
    head = HyperbolicHead(FEATURES, DIM, space=Hyperbolic(), clip=0.5)
    own = SoftTripleLoss(CLASSES, FEATURES)
    loss = CHESTLoss(CLASSES, FEATURES, tau=0.0, hyperbolic=made("proxy_anchor", space=head.space), euclidean=own)
    features, labels = 5 + torch.randn(40, FEATURES), torch.arange(40) % CLASSES
    start_proxies(loss, head, features, labels)
    points = clip_norm(head.tangent(features), 0.5)
    means = torch.stack([points[labels == k].mean(0) for k in range(CLASSES)])
    assert (loss.hyperbolic.proxies - means).norm(dim=1).max() < 0.5 * points.std(0).norm()
    means = torch.stack([features[labels == k].mean(0) for k in range(CLASSES)])
    assert (own.proxies.vectors.mean(1) - means).norm(dim=1).max() < 0.5 * features.std(0).norm()


@pytest.mark.parametrize(
    ("message", "spec"),
    [
        ("no loss is called 'tripled'; expected soft_triple, proxy_anchor, ", "tripled"),
        ("no loss is called 'hyphc'", "hyphc"),
        ("loss 'os.system' is not of geomdml or pytorch_metric_learning; to import", {"class_path": "os.system"}),
        ("loss 'geomdml.losses.Nothing' does not exist", "geomdml.losses.Nothing"),
        ("'geomdml.losses.functional.hyphc' is no torch.nn.Module", "geomdml.losses.functional.hyphc"),
        ("a loss has 'args'; expected class_path and init_args", {"class_path": "x", "args": {}}),
        ("no loss is called ''", {}),
        (
            "cannot be made with {'temperatur': 1}",
            {"class_path": "geomdml.losses.PairwiseCrossEntropyLoss", "init_args": {"temperatur": 1}},
        ),
        (
            "pytorch_metric_learning.losses.SoftTripleLoss cannot be made",
            "pytorch_metric_learning.losses.SoftTripleLoss",
        ),
    ],
)
def test_what_cannot_be_made_is_refused_in_one_line(message, spec):
    with pytest.raises(ValueError) as error:
        made(spec)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_hier_needs_hyperbolic_space():
    with pytest.raises(ValueError, match=r"HIERLoss cannot be made .* in Euclidean\(\)"):
        made("hier", space=Euclidean())


def test_a_module_is_imported_only_where_the_user_trusts_it(tmp_path, monkeypatch):
    (tmp_path / "my_losses.py").write_text(
        f"from pathlib import Path\nPath({str(tmp_path / 'imported')!r}).touch()\n"
        "from torch import nn\nclass Mine(nn.Module):\n    def __init__(self, num_classes): super().__init__()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="name its package in the variable GEOMDML_LOSSES"):
        made("my_losses.Mine")
    assert not (tmp_path / "imported").exists()
    monkeypatch.setenv("GEOMDML_LOSSES", "others,my_losses")
    assert isinstance(made("my_losses.Mine"), nn.Module)


def test_hyphc_without_proxies_is_refused():
    with pytest.raises(ValueError, match="neither half is SoftTriple"):
        model(loss="triplet")
    assert isinstance(model(loss="pairwise_cross_entropy", tau=0.0).loss.hyperbolic, PairwiseCrossEntropyLoss)


def test_proxies_of_a_tree_get_its_space_its_clipping_and_the_weight_of_their_closure():
    network = model(loss="tree_proxies", tau=0.0, closure=0.25, clip=0.5)
    assert list(network.tree_losses) == ["H", "E"] and network.loss.proxies is None
    for name, dim in (("H", DIM), ("E", FEATURES)):
        loss = network.tree_losses[name]
        assert loss.proxies.shape == (6, dim) and loss.weight == 0.25
        assert str(loss.space) == str(network.spaces[name])
    placed = network.tree_losses["H"].place(torch.full((3, DIM), 9.0))
    torch.testing.assert_close(placed.norm(dim=1), torch.full((3,), 0.5))
    assert network.tree_losses["E"].place is None and model(loss_h="tree_proxies").tree_losses["H"].weight == 1.0


def test_proxies_of_a_tree_start_at_the_means_of_their_classes_and_categories():
    network = model(loss="tree_proxies", tau=0.0)
    features = 5 * torch.randn(8, FEATURES)
    start_proxies(network.loss, network.head, features, LABELS)
    proxies = network.tree_losses["E"].proxies.detach()
    torch.testing.assert_close(proxies[1], features[LABELS == 1].mean(0))
    torch.testing.assert_close(proxies[4], features[LABELS < 2].mean(0))


def test_soft_labels_follow_the_tree_and_are_nearly_hard_for_a_large_number():
    features = 5 * torch.randn(CLASSES, FEATURES)[LABELS]
    network = model(soft_labels=2.0, tau=0.0)
    start_proxies(network.loss, network.head, features + torch.randn(8, FEATURES), LABELS)
    d = torch.tensor([0.0, 2.0, 4.0, 4.0])
    torch.testing.assert_close(network.soft_targets[0], torch.softmax(-2.0 * d / 4, 0))
    hard = network.loss.terms(features, LABELS, head=network.head).total
    assert network.terms(features, LABELS).total > hard + 0.1
    network.soft_targets = model(soft_labels=1e3, tau=0.0).soft_targets
    torch.testing.assert_close(network.terms(features, LABELS).total, hard)
    assert "soft_targets" not in network.state_dict()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "tree_proxies", "class_tree": None, "tau": 0.0}, "loss tree_proxies needs a tree above the classes"),
        ({"soft_labels": 1.0, "class_tree": None}, r"--model\.soft_labels 1\.0 needs a tree above the classes"),
        ({"soft_labels": 0.0}, r"--model\.soft_labels 0\.0; expected a number above 0"),
        ({"soft_labels": 1.0, "loss_e": "triplet"}, "beside another loss in the euclidean part"),
        ({"soft_labels": 1.0, "regulariser": "hier"}, "beside another loss in the regulariser part"),
        ({"soft_labels": 1.0, "class_sample": 0.5}, r"beside --model\.class_sample or --model\.shard_classes"),
        ({"closure": 1.0}, r"--model\.closure 1: no loss is tree_proxies"),
        ({"closure": -1.0, "loss_h": "tree_proxies"}, r"--model\.closure -1; expected a number, at least 0"),
    ],
)
def test_options_without_a_tree_to_work_with_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        model(**options)
