"""On another device everything gives what it gives on the CPU, and waits for it only where docs/guides/gpu.md says.

The device is pretended (`tests/pretend.py`): it refuses what a GPU refuses, and counts where a program would wait.
"""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from geomdml import (
    _native,
    class_trees,
    cones,
    euclidean,
    hierarchy,
    hyperplanes,
    lorentz,
    losses,
    metrics,
    poincare,
    reshaping,
    search,
    statistics,
    tangent,
    transport,
)
from geomdml import nn as layers
from geomdml.losses import functional
from geomdml.losses.proxies import Proxies
from geomdml.metric_matrix import importance_weights, metric_matrix, same_class
from geomdml.spaces import Euclidean, Hyperbolic, Product
from tests.pretend import Accelerator, PretendTensor, on_cpu

Place = Callable[[Any], Any]  # moves a tensor or a module to the device
CURVED = [euclidean, poincare, tangent, lorentz, cones, hyperplanes, statistics]
TANGENT = Hyperbolic(c=0.5)


def draw(*shape: int, seed: int = 0, scale: float = 0.3) -> Tensor:
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


LABELS = torch.tensor([0, 1, 1, 0, 2, 2])
X, Y, NEAR = draw(6, 4), draw(5, 4, seed=1), torch.cat([draw(6, 4), draw(3, 4) * (1 + 1e-6)])  # with duplicates
DIST = draw(6, 6).abs() + 0.1
TREE = torch.tensor([[1, 0], [2, 0], [3, 1], [4, 1], [5, 2]])
PROBABILITIES = draw(2, 3, 3).softmax(-1)
BY_NAME = {  # what the parameters of functions of points take; points by pairs are rows and columns
    "M": draw(4, 4, seed=3), "r": draw(6, seed=4), "t": draw(6, seed=4).abs(), "weights": draw(6, seed=5).abs() + 0.1,
    "normals": draw(3, 4, seed=6), "offsets": draw(3, seed=7), "scale": draw(4, seed=8).abs() + 0.1,
    "max_norm": 0.5, "y": X.roll(1, 0), "v": X.roll(2, 0), "Y": X.roll(1, 0), "ideal": X.roll(1, 0),
}  # fmt: skip


def of_points(function: Any, place: Place) -> Any:
    names = list(inspect.signature(function).parameters)
    given = {name: BY_NAME.get(name, X) for name in names if name not in ("c", "k", "squared", "generator")}
    if "c" in names:
        given["c"] = torch.tensor(0.7)
    if function.__name__.startswith("pairwise"):
        given[names[1]] = NEAR
    if "generator" in names:
        torch.manual_seed(0)
    return function(**{name: place(value) if isinstance(value, Tensor) else value for name, value in given.items()})


def cases() -> dict[str, Callable[[Place], Any]]:
    found: dict[str, Callable[[Place], Any]] = {}
    for module in CURVED:
        for name in module.__all__:
            if name != "inside":
                found[f"{module.__name__[8:]}.{name}"] = partial(of_points, getattr(module, name))
    return found | OTHERS


def module(make: Callable[[], nn.Module], *inputs: Any) -> Callable[[Place], Any]:
    """A module of random weights, drawn on the CPU, and what it makes of the inputs."""

    def run(to: Place) -> Any:
        torch.manual_seed(0)
        made = to(make())
        return made(*(to(x) if isinstance(x, Tensor) else x for x in inputs))

    return run


def chest(to: Place, **options: Any) -> Any:
    torch.manual_seed(0)
    head = to(layers.HyperbolicHead(4, 3, space=Hyperbolic(c=0.5, learnable=True)))
    loss = to(losses.CHESTLoss(3, 4, **options))
    return loss(to(X), to(LABELS), head=head)


def with_gallery(score: Any, **options: Any) -> Callable[[Place], Any]:
    gallery, classes = draw(40, 4, seed=2), torch.arange(40) % 3
    return lambda to: score(to(X), to(LABELS), to(gallery), to(classes), **options)


def collected(metric: Any) -> Callable[[Place], Any]:
    def run(to: Place) -> Any:
        made = to(metric())
        made.update(to(X), to(LABELS))
        return made.compute()

    return run


def started(to: Place) -> Tensor:
    torch.manual_seed(0)
    proxies = to(Proxies(3, 4, centers_per_class=2, radius=1.0))
    proxies.start_at(to(X), to(LABELS))
    return proxies.vectors


PARENTS = torch.tensor([3, 3, 4, -1, -1])
COST, WEIGHTS = DIST.double(), torch.full((6,), 1 / 6, dtype=torch.float64)


def solved(transport: transport.Transport) -> Any:
    """The value, which has a gradient, and the plan, which has none."""
    return transport.value, transport.plan.detach()


OTHERS: dict[str, Callable[[Place], Any]] = {
    "spaces.Hyperbolic": module(lambda: Distance(Hyperbolic(c=0.5, learnable=True)), X, Y),
    "spaces.Euclidean": lambda to: Euclidean().pairwise_dist(to(X), to(NEAR)),
    "spaces.Product": lambda to: Product([TANGENT, Euclidean()], [2, 2]).pairwise_dist(to(X), to(Y)),
    "nn.HyperbolicHead": module(lambda: layers.HyperbolicHead(4, 3, space=TANGENT), X),
    "nn.HyperplaneClassifier": module(lambda: layers.HyperplaneClassifier(4, 3, space=TANGENT), X),
    "nn.MetricNetwork": module(lambda: layers.MetricNetwork(4, 5, 3), X),
    "metric_matrix.metric_matrix": lambda to: metric_matrix(to(DIST), to(DIST < 0.3), margin=1.0),
    "metric_matrix.same_class": lambda to: same_class(to(LABELS), to(LABELS)),
    "metric_matrix.importance_weights": lambda to: importance_weights(to(COST)).plan,
    "metric_matrix.importance_weights, exclude": lambda to: importance_weights(to(COST), exclude=to(DIST < 0.2)).plan,
    "transport.sinkhorn": lambda to: solved(transport.sinkhorn(to(COST), 0.05)),
    "transport.sinkhorn, implicit": lambda to: transport.sinkhorn(to(COST), 0.05, grad="implicit").plan,
    "transport.sinkhorn, small reg": lambda to: solved(transport.sinkhorn(to(COST), 0.002)),
    "transport.sinkhorn, batch": lambda to: transport.sinkhorn(to(COST.expand(2, 6, 6)), 0.05, to(WEIGHTS)).value,
    "transport.sinkhorn, unbalanced": lambda to: transport.sinkhorn(to(COST), 0.05, marginal_penalty=1.0).value,
    "transport.sinkhorn_divergence": lambda to: transport.sinkhorn_divergence(to(X.double()), to(Y.double()), 0.05),
    "transport.sinkhorn_points": lambda to: transport.sinkhorn_points(to(X.double()), to(Y.double()), 0.5).value,
    "transport.partial": lambda to: transport.partial(to(COST), 0.5, reg=0.05).value,
    "transport.barycentre": lambda to: (
        transport.barycentre(to(COST.expand(2, 6, 6)), to(WEIGHTS.expand(2, 6)), 0.05).weights
    ),
    "transport.exact": lambda to: solved(transport.exact(to(COST))),
    "losses.BatchTransportLoss": module(lambda: losses.BatchTransportLoss(space=TANGENT), X, LABELS),
    "losses.CHESTLoss": chest,
    "losses.CHESTLoss, HIER": lambda to: chest(to, regulariser=losses.HIERLoss(3, space=TANGENT, num_proxies=6)),
    "losses.BatchTransportLoss, two batches": lambda to: losses.BatchTransportLoss()(
        to(X.double()), to(LABELS.to(torch.uint8)), None, to(Y.double()), to(LABELS[:5])
    ),
    "losses.ClosureLoss": module(lambda: losses.ClosureLoss(), X, draw(6, 3, 4, seed=9)),
    "losses.ContrastiveLoss": module(lambda: losses.ContrastiveLoss(space=TANGENT), X, X.roll(1, 0)),
    "losses.EntailmentLoss": module(lambda: losses.EntailmentLoss(space=TANGENT), X, X.roll(1, 0)),
    "losses.HypHCLoss": module(lambda: losses.HypHCLoss(space=TANGENT), draw(3, 2, 4)),
    "losses.HIERLoss": module(lambda: losses.HIERLoss(4, space=TANGENT, num_proxies=6, neighbors=2), X, LABELS),
    "losses.MultiProxyAnchorLoss": module(lambda: losses.MultiProxyAnchorLoss(3, 4, space=TANGENT), X, LABELS),
    "losses.PairwiseCrossEntropyLoss": module(lambda: losses.PairwiseCrossEntropyLoss(space=TANGENT), X, LABELS),
    "losses.SoftTripleLoss": module(lambda: losses.SoftTripleLoss(3, 4, space=TANGENT), X, LABELS),
    "losses.SoftTripleLoss, targets": module(lambda: losses.SoftTripleLoss(3, 4), X, torch.eye(3)[LABELS]),
    "losses.TreeProxyLoss": module(lambda: losses.TreeProxyLoss(PARENTS, 4, space=TANGENT), X, LABELS),
    "losses.proxies.start_at": started,
    "functional.batch_transport": lambda to: functional.batch_transport(to(DIST), to(DIST / DIST.sum())),
    "functional.closure": lambda to: functional.closure(to(DIST)),
    "functional.contrastive": lambda to: functional.contrastive(to(DIST), temperature=0.1),
    "functional.entailment": lambda to: functional.entailment(to(DIST[0]), to(DIST[1])),
    "functional.hierarchical_triplet": lambda to: functional.hierarchical_triplet(
        to(DIST[:, :3]), to(DIST[:, 3:]), margin=0.1
    ),
    "functional.hyphc": lambda to: functional.hyphc(to(DIST[:, :3]), to(DIST[:, 3:]), gamma=1.0),
    "functional.in_mean_units": lambda to: functional.in_mean_units(to(DIST)),
    "functional.pairwise_cross_entropy": lambda to: functional.pairwise_cross_entropy(
        to(DIST), to(LABELS), temperature=0.1
    ),
    "functional.proxy_anchor": lambda to: functional.proxy_anchor(to(DIST[:, :3]), to(LABELS), scale=8.0, margin=0.1),
    "functional.soft_triple": lambda to: functional.soft_triple(
        to(DIST.view(6, 3, 2)), to(LABELS), gamma=0.2, scale=20.0, margin=0.1
    ),
    "functional.soft_triple_similarity": lambda to: functional.soft_triple_similarity(
        to(DIST.view(6, 3, 2)), gamma=0.2
    ),
    "metrics.retrieval": with_gallery(metrics.retrieval, scores=("recall", "r_precision", "map_at_r", "mean_ap")),
    "metrics.retrieval, hyperbolic": with_gallery(metrics.retrieval, space=TANGENT),
    "metrics.retrieval_by_query": lambda to: metrics.retrieval_by_query(to(X), to(LABELS)).map_at_r,
    "metrics.hierarchical_retrieval": lambda to: metrics.hierarchical_retrieval(to(X), to(LABELS), to(PARENTS))[1:3],
    "metrics.distance_correlation": lambda to: metrics.distance_correlation(to(X), to(LABELS), to(PARENTS)),
    "metrics.radius_correlation": lambda to: metrics.radius_correlation(to(X)[:5].norm(dim=1), to(PARENTS)),
    "class_trees.soft_targets": lambda to: class_trees.soft_targets(class_trees.tree_dist(to(PARENTS)), beta=2.0),
    "class_trees.ancestors": lambda to: class_trees.ancestors(to(PARENTS)),
    "class_trees.tree_dist": lambda to: class_trees.tree_dist(to(PARENTS)),
    "class_trees.class_labels": lambda to: class_trees.class_labels(to(PARENTS)),
    "metrics.shrec": with_gallery(metrics.shrec, space=TANGENT),
    "metrics.RetrievalMetric": collected(lambda: metrics.RetrievalMetric(space=TANGENT)),
    "metrics.ShrecMetric": collected(metrics.ShrecMetric),
    "search.knn": lambda to: search.knn(to(X), to(NEAR), 3, space=TANGENT),
    "search.HyperbolicIndex": lambda to: indexed(to),
    "hierarchy.closure": lambda to: hierarchy.closure(to(TREE)),
    "hierarchy.decode": lambda to: hierarchy.decode(to(X), c=1.0),
    "hierarchy.dasgupta_cost": lambda to: hierarchy.dasgupta_cost(hierarchy.decode(X, c=1.0), to(DIST + DIST.T)),
    "hierarchy.dendrogram_purity": lambda to: hierarchy.dendrogram_purity(hierarchy.decode(X, c=1.0), to(LABELS)),
    "hierarchy.distortion": lambda to: hierarchy.distortion(to(DIST), to(DIST.T)),
    "hierarchy.delta_hyperbolicity": lambda to: hierarchy.delta_hyperbolicity(to(X), space=TANGENT),
    "hierarchy.link_prediction": lambda to: hierarchy.link_prediction(to(X), to(TREE[:1]), to(TREE[1:]), space=TANGENT),
    "hierarchy.nested_balls": lambda to: hierarchy.nested_balls(to(TREE), 3),
    "hierarchy.reconstruction": lambda to: hierarchy.reconstruction(to(X), to(TREE), space=TANGENT),
    "reshaping.balance": lambda to: reshaping.balance(to(PROBABILITIES)),
    "reshaping.class_relation": lambda to: reshaping.class_relation(to(PROBABILITIES)),
    "reshaping.difficulty": lambda to: reshaping.difficulty(
        to(torch.tensor([0.1, 0.2])), to(PROBABILITIES[0]), to(PROBABILITIES)
    ),
    "reshaping.reshaped_labels": lambda to: reshaping.reshaped_labels(
        to(LABELS), to(torch.tensor([0.1, 0.2])), to(PROBABILITIES[0])
    ),
    "reshaping.LabelReshaper": module(lambda: reshaping.LabelReshaper(3, 2), draw(2, 6, 3), LABELS),
}


class Distance(nn.Module):
    def __init__(self, space: nn.Module) -> None:
        super().__init__()
        self.space = space

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.space.pairwise_dist(x, y)


def indexed(to: Place) -> Any:
    index = search.HyperbolicIndex(TANGENT, 4)
    index.add(to(NEAR))
    return index.search(to(X), 3)


def evaluated(case: Callable[[Place], Any], device: str, labels_too: bool = True) -> list[Any]:
    """All that comes out, and the gradients of its sum by all that went in."""
    leaves: list[Tensor] = []

    def place(value: Any) -> Any:
        if isinstance(value, Tensor) and not value.is_floating_point() and not labels_too:
            return value
        moved = value.to(device)
        if isinstance(moved, nn.Module):
            leaves.extend(moved.parameters())
        elif moved.is_floating_point():
            moved = moved.detach().clone().requires_grad_()
            leaves.append(moved)
        return moved

    results = [x for x in tree_leaves(case(place)) if x is not None]
    live = [x for x in results if isinstance(x, Tensor) and x.requires_grad and x.grad_fn is not None]
    gradients = torch.autograd.grad([x.sum() for x in live], leaves, allow_unused=True) if live else ()
    return [*results, *gradients]


CASES = cases()


def waits_of(name: str, labels_too: bool = True) -> set[str]:
    """Where the device is waited for, of a case that gives there what it gives on the CPU."""
    with _native.kernels(False):  # which are for the CPU alone, and round otherwise
        expected = evaluated(CASES[name], "cpu")
    with Accelerator() as accelerator:
        found = evaluated(CASES[name], accelerator.name, labels_too)
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        b = b.detach() if isinstance(b, Tensor) else b
        torch.testing.assert_close(on_cpu(a), b, rtol=1e-6, atol=1e-7, equal_nan=True)
    return accelerator.waits


@pytest.mark.filterwarnings("ignore:.*did not converge")
@pytest.mark.parametrize("name", CASES)
def test_it_is_what_it_is_on_the_cpu(name):
    unexpected = {place for place in waits_of(name) if not may_wait(place)}
    assert not unexpected, f"{name} waits for the device in {unexpected}"


LABELLED = ("losses.", "functional.", "metrics.", "metric_matrix.", "reshaping.", "hierarchy.")


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith(LABELLED)])
def test_labels_and_masks_may_stay_on_the_cpu(name):
    waits_of(name, labels_too=False)


def test_labels_are_compared_on_the_device_of_the_first():
    with Accelerator():
        assert torch.equal(on_cpu(same_class(LABELS.to("pretend"), LABELS)), same_class(LABELS, LABELS))


# docs/guides/gpu.md says the same in words.
READ_VALUES = (
    "metrics/",
    "search/",
    "hierarchy/",
    "transport/",
    "statistics.py",
    "losses/proxies.py",
    "class_trees.py",
)
CHOOSE_PAIRS = {
    "_core/all_pairs/__init__.py distances": "pairs nearly in one direction, once a tile",
    "_core/numerics.py entries": "pairs that need every digit, once a tile",
    "_core/numerics.py unequal_entries": "which of these are equal",
    "_core/one_to_one/__init__.py _near": "pairs that need every digit",
    "_core/one_to_one/__init__.py <genexpr>": "which of these are equal",
    "_core/one_to_one/__init__.py _unequal": "which of these are equal",
    "_core/one_to_one/__init__.py gradients": "pairs that need every digit",
    "_core/one_to_one/__init__.py _by_side": "points at the origin",
    "euclidean.py _find_cancelled": "squares that leave float64",
    "poincare.py _rows": "points next to the boundary",
    "losses/functional.py pairwise_cross_entropy": "the pairs of one class",
    "reshaping/label_reshaper.py moved": "moving the module itself",
    "spaces/hyperbolic.py _apply": "moving the module itself",
}


def may_wait(place: str) -> bool:
    """The test's own copies, what is made of values, and the looks for hard pairs."""
    return place.startswith(("elsewhere", *READ_VALUES)) or place in CHOOSE_PAIRS


def test_every_public_function_and_module_is_here():
    tested = {name.split(",")[0].split(".")[-1] for name in CASES}
    for package in (*CURVED, class_trees, hierarchy, layers, losses, functional, metrics, reshaping, search, transport):
        public = {name for name in package.__all__ if is_computed(getattr(package, name))}
        assert public <= tested | {"inside"}, f"{package.__name__}: {public - tested}"


def is_computed(value: Any) -> bool:
    return inspect.isfunction(value) or (inspect.isclass(value) and issubclass(value, nn.Module))


class TestThePretendedDevice:
    """It refuses what a GPU refuses, and counts what a GPU is waited for; or the tests above could not fail."""

    def test_mixed_devices_are_refused(self):
        with Accelerator(), pytest.raises(RuntimeError, match="same device, but add got one on pretend"):
            X.to("pretend") + X
        with Accelerator(), pytest.raises(RuntimeError, match="same device, but mm got"):
            X.to("pretend") @ X.T
        with Accelerator():
            assert isinstance(X.to("pretend") + torch.tensor(1.0), PretendTensor)
            assert isinstance(X.to("pretend")[LABELS], PretendTensor)

    @pytest.mark.parametrize(
        ("read", "waits"),
        [
            (lambda x: x + 1, False),
            (lambda x: torch.zeros(3, device=x.device), False),
            (lambda x: x[0, 0].item(), True),
            (lambda x: bool((x > 0).any()), True),
            (lambda x: x[x > 0], True),
            (lambda x: x.nonzero(), True),
            (lambda x: x.cpu(), True),
            (lambda x: x.tolist(), True),
            (lambda x: torch.tensor(1.0, device=x.device), True),
            (lambda x: LABELS.to(x.device), True),
            (lambda x: LABELS.to(x.device, non_blocking=True), False),
        ],
    )
    def test_waits_are_counted(self, read, waits):
        with Accelerator() as accelerator:
            x = X.to("pretend")
            accelerator.waits.clear()
            read(x)
        assert bool(accelerator.waits) is waits

    def test_what_changes_in_place_stays_the_same_tensor(self):
        with Accelerator():
            x = X.to("pretend")
            row = x[0]
            assert row.add_(1) is row
            torch.testing.assert_close(on_cpu(x)[0], X[0] + 1)
