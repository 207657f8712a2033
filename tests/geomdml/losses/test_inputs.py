"""What every loss makes of its labels, of an empty batch, and of half precision."""

import pytest
import torch
from torch import nn

from geomdml import losses
from geomdml.losses import functional
from geomdml.losses.proxies import Proxies
from geomdml.metric_matrix import metric_matrix, same_class
from geomdml.metrics import retrieval, shrec
from geomdml.nn import HyperbolicHead
from geomdml.reshaping import LabelReshaper, reshaped_labels
from geomdml.spaces import Hyperbolic

B, C, D = 6, 3, 4
LABELS = torch.arange(B) % C
SPACE = Hyperbolic(0.5)
HEAD = HyperbolicHead(D, D, space=SPACE)


class OfFeatures(nn.Module):
    """CHEST with its head, in the others' form."""

    def __init__(self, **settings) -> None:
        super().__init__()
        self.loss, self.head = losses.CHESTLoss(C, D, tau=0.0, **settings), HyperbolicHead(D, D, space=SPACE)

    def forward(self, embeddings, labels):
        return self.loss(embeddings, labels, head=self.head)


MODULES = {
    "BatchTransport": lambda: losses.BatchTransportLoss(space=SPACE),
    "BatchTransport, uniform": lambda: losses.BatchTransportLoss(plan="uniform"),
    "CHEST": OfFeatures,
    "CHEST of pairs": lambda: OfFeatures(
        hyperbolic=losses.PairwiseCrossEntropyLoss(space=SPACE), euclidean=losses.BatchTransportLoss()
    ),
    "HIER": lambda: losses.HIERLoss(D, space=SPACE, num_proxies=8, neighbors=3),
    "MultiProxyAnchor": lambda: losses.MultiProxyAnchorLoss(C, D, space=SPACE),
    "PairwiseCrossEntropy": lambda: losses.PairwiseCrossEntropyLoss(space=SPACE),
    "PairwiseCrossEntropy, Euclidean": lambda: losses.PairwiseCrossEntropyLoss(relative=True),
    "SoftTriple": lambda: losses.SoftTripleLoss(C, D, space=SPACE),
    "TreeProxy": lambda: losses.TreeProxyLoss(torch.tensor([C] * C + [-1]), D, space=SPACE),
}
MODULE = pytest.mark.parametrize("make", MODULES.values(), ids=MODULES)
X = torch.randn(B, D, generator=torch.Generator().manual_seed(0))
DIST = torch.rand(B, C, 2, generator=torch.Generator().manual_seed(0))
SQUARE = torch.cdist(X, X)
LOGITS = (torch.zeros(B, C), torch.ones(B, C))

TAKE_LABELS = {
    **{name: (lambda y, make=make: make()(X, y)) for name, make in MODULES.items()},
    "soft_triple": lambda y: functional.soft_triple(DIST, y, gamma=1.0, scale=1.0, margin=0.0),
    "proxy_anchor": lambda y: functional.proxy_anchor(DIST[..., 0], y, scale=1.0, margin=0.0),
    "pairwise_cross_entropy": lambda y: functional.pairwise_cross_entropy(SQUARE, y, temperature=1.0),
    "same_class": lambda y: same_class(y, LABELS),
    "start_at": lambda y: Proxies(C, D, centers_per_class=2, radius=1.0).start_at(X, y),
    "retrieval": lambda y: retrieval(X, y),
    "shrec": lambda y: shrec(X, y),
    "reshaped_labels": lambda y: reshaped_labels(y, torch.tensor([0.5]), torch.full((C, C), 1 / C)),
    "LabelReshaper": lambda y: LabelReshaper(C, 2)(LOGITS, y),
}
LABELLED = pytest.mark.parametrize("call", TAKE_LABELS.values(), ids=TAKE_LABELS)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def same(found, expected):
    if isinstance(expected, torch.Tensor):
        return torch.equal(found, expected)
    return found == expected


@LABELLED
@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (LABELS.float(), TypeError, "labels has dtype torch.float32; expected integers"),
        (LABELS.double(), TypeError, "labels has dtype torch.float64; expected integers"),
        (LABELS.bfloat16(), TypeError, "labels has dtype torch.bfloat16; expected integers"),
        (LABELS > 1, TypeError, "labels has dtype torch.bool; expected integers"),
        (LABELS[:, None], ValueError, r"labels has shape \(6, 1\)"),
        (LABELS[None], ValueError, r"labels has shape \(1, 6\)"),
        (LABELS.tolist(), TypeError, "labels is a list; expected a torch.Tensor"),
    ],
)
def test_labels_are_one_row_of_integers(call, labels, error, message):
    with pytest.raises(error, match=message):
        call(labels)


@LABELLED
@pytest.mark.parametrize(
    "dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.uint16, torch.uint32, torch.uint64]
)
def test_every_integer_dtype_means_the_same(call, dtype):
    torch.manual_seed(1)
    expected = call(LABELS)
    torch.manual_seed(1)
    assert same(call(LABELS.to(dtype)), expected)


@pytest.mark.parametrize("name", sorted(set(TAKE_LABELS) - {"same_class", "reshaped_labels", "LabelReshaper"}))
def test_there_is_a_label_for_each_embedding(name):
    with pytest.raises(ValueError, match=r"labels has shape \(5,\); expected \(6,\)"):
        TAKE_LABELS[name](LABELS[:5])


def test_neighbouring_integers_beyond_float32_are_two_classes():
    labels = torch.tensor([16777216, 16777216, 16777217, 16777217, 16777218, 16777218])
    for name in ("HIER", "PairwiseCrossEntropy", "BatchTransport"):
        torch.manual_seed(1)
        expected = MODULES[name]()(X, torch.tensor([0, 0, 1, 1, 2, 2]))
        torch.manual_seed(1)
        assert torch.equal(MODULES[name]()(X, labels), expected)


@pytest.mark.parametrize(
    "call",
    [
        lambda: functional.soft_triple(DIST.to("meta"), LABELS, gamma=1.0, scale=1.0, margin=0.0),
        lambda: functional.soft_triple(DIST.to("meta"), torch.ones(B, C) / C, gamma=1.0, scale=1.0, margin=0.0),
        lambda: functional.proxy_anchor(DIST[..., 0].to("meta"), LABELS, scale=1.0, margin=0.0),
        lambda: same_class(LABELS.to("meta"), LABELS),
        lambda: losses.SoftTripleLoss(C, D).to("meta")(X.to("meta"), LABELS),
        lambda: losses.MultiProxyAnchorLoss(C, D).to("meta")(X.to("meta"), LABELS),
    ],
)
def test_labels_go_to_the_device_of_the_embeddings(call):
    """The device "meta" has shapes and no values; an operation with what is on another device raises."""
    assert call().device.type == "meta"


@MODULE
def test_an_empty_batch_is_refused_by_name(make):
    with pytest.raises(ValueError, match=r"(embeddings|features) has shape \(0, 4\); expected \(B, D\) with B ≥ 1"):
        make()(X[:0], LABELS[:0])


@pytest.mark.parametrize(
    ("message", "call"),
    [
        ("dist has shape", lambda: functional.soft_triple_similarity(DIST[:0], gamma=1.0)),
        ("dist has shape", lambda: functional.soft_triple(DIST[:0], LABELS[:0], gamma=1.0, scale=1.0, margin=0.0)),
        ("dist has shape", lambda: functional.soft_triple(DIST[:, :0], LABELS, gamma=1.0, scale=1.0, margin=0.0)),
        ("similarity has shape", lambda: functional.proxy_anchor(SQUARE[:0], LABELS[:0], scale=1.0, margin=0.0)),
        ("similarity has shape", lambda: functional.hyphc(SQUARE[:0, :3], SQUARE[:0, :3], gamma=1.0)),
        (
            "pair_ancestor has shape",
            lambda: functional.hierarchical_triplet(SQUARE[:0, :3], SQUARE[:0, :3], margin=1.0),
        ),
        ("matrix has shape", lambda: functional.batch_transport(SQUARE[:0], SQUARE[:0])),
        ("matrix has shape", lambda: functional.batch_transport(SQUARE[:, :0], SQUARE[:, :0], reduction="none")),
        ("dist has shape", lambda: functional.pairwise_cross_entropy(SQUARE[:0, :0], LABELS[:0], temperature=1.0)),
        ("dist has shape", lambda: functional.pairwise_cross_entropy(SQUARE[:, :0], LABELS, LABELS[:0], temperature=1)),
        ("ref_emb has shape", lambda: losses.PairwiseCrossEntropyLoss()(X, LABELS, None, X[:0], LABELS[:0])),
        ("ref_emb has shape", lambda: losses.BatchTransportLoss()(X, LABELS, None, X[:0], LABELS[:0])),
        ("proxies has shape", lambda: losses.HypHCLoss(space=SPACE)(torch.zeros(0, 2, D))),
        ("proxies has shape", lambda: losses.HypHCLoss(space=SPACE)(torch.zeros(2, D))),
    ],
)
def test_empty_inputs_are_refused_by_name(message, call):
    with pytest.raises(ValueError, match=message):
        call()


def gradients(loss, x, enabled, dtype):
    """By the embeddings, as float32, and by the parameters of the loss; draws are the same each time."""
    torch.manual_seed(2)
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", dtype=dtype, enabled=enabled):
        value = loss(x, LABELS)
    value.backward()
    found = [x.grad, *(p.grad for p in loss.parameters() if p.grad is not None)]
    loss.zero_grad(set_to_none=True)
    return value, found


@pytest.mark.parametrize("halves", [False, True], ids=["float32", "halves"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", [name for name in MODULES if "CHEST" not in name])
def test_under_autocast_a_loss_computes_in_float32(name, dtype, halves):
    """On the embeddings as they come, rounded where they are halves. (CHEST's head is a layer of the network.)"""
    loss, x = MODULES[name](), X.to(dtype)
    value, expected = gradients(loss, x.float(), False, dtype)
    found_value, found = gradients(loss, x if halves else x.float(), True, dtype)
    assert found_value.dtype == torch.float32
    torch.testing.assert_close(found_value, value)
    expected[0] = expected[0].to(found[0].dtype)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_formulas_of_halves_are_those_of_the_rounded_floats(dtype):
    def each(dist, square, depth, deeper):
        return [
            functional.soft_triple(dist, LABELS, gamma=0.2, scale=20.0, margin=0.1),
            functional.soft_triple(dist, torch.full((B, C), 1 / C), gamma=0.2, scale=20.0, margin=0.1),
            functional.proxy_anchor(dist[..., 0], LABELS, scale=8.0, margin=0.5),
            functional.hyphc(depth, deeper, gamma=0.3),
            functional.hierarchical_triplet(depth, deeper, margin=0.3),
            functional.batch_transport(square, torch.full((B, B), 1 / B**2)),
            functional.pairwise_cross_entropy(square, LABELS, temperature=0.2),
            metric_matrix(square, same_class(LABELS, LABELS), margin=3.0),
        ]

    rounded = [part.to(dtype) for part in (DIST, SQUARE, SQUARE[:, :3], 3 * SQUARE[:, 3:])]
    for found, expected in zip(each(*rounded), each(*(part.float() for part in rounded)), strict=True):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_triplets_add_up_the_gradient_of_half_precision_proxies_in_float32(dtype):
    """Many triplets share a proxy: summed in bfloat16, its gradient would stop at 256 of them."""
    proxies = torch.randn(2, 2, D, generator=torch.Generator().manual_seed(3)).to(dtype)
    found = []
    for leaf in (proxies.clone().requires_grad_(), proxies.float().requires_grad_()):
        loss = losses.HypHCLoss(space=SPACE, triplets=3000)
        loss(leaf, generator=torch.Generator().manual_seed(4)).backward()
        found.append(leaf.grad)
    torch.testing.assert_close(found[0], found[1].to(dtype))


def test_every_loss_of_embeddings_is_among_these():
    made = [make() for make in MODULES.values()]
    taken = {type(getattr(loss, "loss", loss)).__name__ for loss in made}
    others = {"HypHCLoss", "ClosureLoss", "ContrastiveLoss", "EntailmentLoss"}  # of proxies, nodes of a tree, and pairs
    assert taken == {name for name in dir(losses) if name.endswith("Loss")} - others
