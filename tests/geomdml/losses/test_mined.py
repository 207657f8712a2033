"""The losses as pytorch-metric-learning calls them: with a miner's tuple, with a memory, and in its trainers."""

import pytest
import torch
from pytorch_metric_learning import losses as peers
from pytorch_metric_learning import miners, trainers
from pytorch_metric_learning.utils.loss_and_miner_utils import get_all_pairs_indices, get_all_triplets_indices
from torch import nn

from geomdml import losses
from geomdml.losses._mined import chosen_pairs
from geomdml.losses.functional import pairwise_cross_entropy
from geomdml.pml import CrossBatchMemory, SpaceDistance
from geomdml.spaces import Euclidean, Hyperbolic

SPACES = pytest.mark.parametrize("space", [Euclidean(), Hyperbolic(0.5)], ids=repr)
LABELS = torch.tensor([0, 0, 1, 1, 2, 2, 0, 1])
OF_PAIRS = {"BatchTransport": losses.BatchTransportLoss, "PairwiseCrossEntropy": losses.PairwiseCrossEntropyLoss}
OF_PROXIES = {
    "SoftTriple": lambda: losses.SoftTripleLoss(3, 4),
    "MultiProxyAnchor": lambda: losses.MultiProxyAnchorLoss(3, 4),
    "HIER": lambda: losses.HIERLoss(4, space=Hyperbolic(), num_proxies=4),
}


def points(seed=0, count=8):
    return 0.5 * torch.randn(count, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@SPACES
@pytest.mark.parametrize("make", OF_PAIRS.values(), ids=OF_PAIRS)
@pytest.mark.parametrize("every", [get_all_pairs_indices, get_all_triplets_indices])
def test_a_tuple_of_all_pairs_is_no_tuple(make, space, every):
    loss, x = make(space=space), points()
    torch.testing.assert_close(loss(x, LABELS, every(LABELS)), loss(x, LABELS))
    y, others = points(1, 5), LABELS[:5]
    expected = loss(x, LABELS, ref_emb=y, ref_labels=others)
    torch.testing.assert_close(loss(x, LABELS, every(LABELS, others), y, others), expected)


@SPACES
def test_pairs_of_a_miner_against_a_loop_and_a_peer(space):
    x, temperature = points(), 0.7
    middle = float(space.pairwise_dist(x, x).median())
    miner = miners.PairMarginMiner(pos_margin=middle, neg_margin=middle, distance=SpaceDistance(space))
    a1, p, a2, n = mined = miner(x, LABELS)
    assert 0 < len(p) < len(get_all_pairs_indices(LABELS)[0])
    weight = torch.exp(-space.pairwise_dist(x, x) / temperature)
    one_by_one = [
        -(weight[i, j] / (weight[i, j] + weight[i, n[a2 == i]].sum())).log() for i, j in zip(a1, p, strict=True)
    ]
    found = losses.PairwiseCrossEntropyLoss(space=space, temperature=temperature)(x, LABELS, mined)
    torch.testing.assert_close(found, torch.stack(one_by_one).mean())
    peer = peers.NTXentLoss(temperature=temperature, distance=SpaceDistance(space))
    torch.testing.assert_close(found, peer(x, LABELS, mined))


def test_what_is_named_twice_counts_once():
    x, loss = points(), losses.PairwiseCrossEntropyLoss()
    once = tuple(map(torch.tensor, ([0, 1], [1, 0], [0, 1], [2, 3])))
    twice = tuple(torch.cat([index, index]) for index in once)
    assert torch.equal(loss(x, LABELS, once), loss(x, LABELS, twice))


@pytest.mark.parametrize("plan", ["transport", "uniform"])
def test_a_plan_has_no_mass_on_pairs_that_were_not_named(plan):
    """Half of the pairs, in a circle: each row and column has pairs left, of one class and of two."""
    x, size = points(), len(LABELS)
    rows = torch.arange(size).repeat_interleave(4)
    columns = (rows + 1 + torch.arange(4).repeat(size)) % size
    same = LABELS[rows] == LABELS[columns]
    mined = rows[same], columns[same], rows[~same], columns[~same]
    space = Euclidean()
    terms = losses.BatchTransportLoss(space=space, margin=2.0, plan=plan).terms(x, LABELS, mined)
    dist = space.pairwise_dist(x, x)[rows, columns]
    matrix = torch.where(same, dist**2, (2.0 - dist**2).relu())
    torch.testing.assert_close(terms.uniform, matrix.mean())
    torch.testing.assert_close(terms.positive_share, same.double().mean())
    assert (terms.total == terms.uniform) == (plan == "uniform")


def test_a_miner_that_finds_nothing_gives_nothing_to_learn():
    x, nothing = points().requires_grad_(), (torch.tensor([], dtype=torch.long),) * 4
    value = losses.PairwiseCrossEntropyLoss()(x, LABELS, nothing)
    assert value == 0
    assert not torch.autograd.grad(value, x)[0].any()
    for plan in ("transport", "uniform"):
        with pytest.raises(ValueError, match="indices_tuple names no pair"):
            losses.BatchTransportLoss(plan=plan)(x, LABELS, nothing)


def test_a_miner_that_finds_too_little_for_a_plan_is_named():
    x = points()
    hardest = miners.BatchHardMiner()(x, LABELS)
    with pytest.raises(ValueError, match="indices_tuple names too few pairs for a plan with uniform marginals"):
        losses.BatchTransportLoss()(x, LABELS, hardest)
    with pytest.raises(ValueError, match="NaN or -inf"):  # other faults are not the miner's
        losses.BatchTransportLoss()(1e300 * x, LABELS, hardest)


@SPACES
@pytest.mark.parametrize("make", OF_PAIRS.values(), ids=OF_PAIRS)
@pytest.mark.parametrize("mined", [False, True], ids=["all pairs", "triplets"])
def test_in_a_memory_a_batch_meets_the_earlier_ones_and_not_itself(make, space, mined):
    """What the memory holds of this batch is a copy of it: as second batch without its own diagonal."""
    batches = [(points(seed), LABELS) for seed in range(3)]
    miner = miners.TripletMarginMiner(margin=9.0, distance=SpaceDistance(space)) if mined else None
    loss = make(space=space)
    memory = CrossBatchMemory(loss, embedding_size=4, memory_size=64, miner=miner)
    memory.embedding_memory = memory.embedding_memory.double()
    earlier, earlier_labels = torch.empty(0, 4).double(), LABELS[:0]
    for x, labels in batches:
        x.requires_grad_()
        earlier, earlier_labels = torch.cat([earlier, x.detach()]), torch.cat([earlier_labels, labels])
        own = torch.zeros(len(x), len(earlier), dtype=torch.bool)
        own[torch.arange(len(x)), len(earlier) - len(x) + torch.arange(len(x))] = True
        same = labels[:, None] == earlier_labels
        named = (*torch.nonzero(same & ~own, as_tuple=True), *torch.nonzero(~same, as_tuple=True))
        value, expected = memory(x, labels), loss(x, labels, named, earlier, earlier_labels)
        assert value.requires_grad
        torch.testing.assert_close(value, expected)
    if make is losses.PairwiseCrossEntropyLoss:
        dist = torch.where(own, torch.inf, space.pairwise_dist(x, earlier))
        negatives = torch.where(same, 0.0, torch.exp(-dist / 0.2)).sum(1, keepdim=True)
        by_hand = (torch.exp(-dist / 0.2) + negatives).log() + dist / 0.2
        torch.testing.assert_close(value, by_hand[same & ~own].mean())


def test_the_memory_still_takes_what_it_took_and_refuses_proxies_by_name():
    CrossBatchMemory(peers.ContrastiveLoss(), embedding_size=4)
    with pytest.raises(Exception, match="not supported for SoftTripleLoss"):
        CrossBatchMemory(losses.SoftTripleLoss(3, 4), embedding_size=4)


@pytest.mark.parametrize("make", OF_PROXIES.values(), ids=OF_PROXIES)
def test_losses_of_proxies_take_the_arguments_as_none_and_refuse_them_by_name(make):
    loss, x = make(), points().float()
    assert loss(x, LABELS, None, None, None).isfinite()
    for name, value in (("indices_tuple", get_all_pairs_indices(LABELS)), ("ref_emb", x), ("ref_labels", LABELS)):
        with pytest.raises(ValueError, match=f"{name} is given to {type(loss).__name__}, which compares with proxies"):
            loss(x, LABELS, **{name: value})


@pytest.mark.parametrize("make", OF_PAIRS.values(), ids=OF_PAIRS)
@pytest.mark.parametrize(
    ("error", "message", "given"),
    [
        (TypeError, "indices_tuple is a Tensor; expected a miner's tuple", points()),
        (TypeError, "indices_tuple is a tuple of 2; expected a miner's tuple", (LABELS, LABELS)),
        (TypeError, "anchors has dtype torch.float32", (torch.zeros(1), LABELS[:1], LABELS[:1])),
        (ValueError, "positives go from 8 to 8; expected 0 to 7", tuple(map(torch.tensor, ([0], [8], [2])))),
        (ValueError, "negatives go from -1 to -1", tuple(map(torch.tensor, ([0], [1], [2], [-1])))),
        (ValueError, r"positives has shape \(2,\); expected \(1,\)", tuple(map(torch.tensor, ([0], [1, 2], [2])))),
    ],
)
def test_no_tuple_of_a_miner(make, error, message, given):
    with pytest.raises(error, match=message):
        make()(points(), LABELS, given)


def test_chosen_pairs_of_a_second_batch():
    positive, negative = chosen_pairs(tuple(map(torch.tensor, ([1], [2], [0, 0], [1, 2]))), torch.zeros(2, 3))
    assert positive.nonzero().tolist() == [[1, 2]]
    assert negative.nonzero().tolist() == [[0, 1], [0, 2]]
    value = pairwise_cross_entropy(
        torch.zeros(2, 3),
        LABELS[:2],
        LABELS[:3],
        temperature=1.0,
        indices_tuple=tuple(map(torch.tensor, ([0], [0], [1]))),
    )
    torch.testing.assert_close(value, torch.tensor(2.0).log())


@pytest.mark.parametrize("make", [*OF_PAIRS.values(), OF_PROXIES["SoftTriple"]], ids=[*OF_PAIRS, "SoftTriple"])
@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad")  # as that trainer prints its loss
def test_in_that_librarys_trainer(make):
    torch.manual_seed(0)
    data = torch.utils.data.TensorDataset(points().float().repeat(4, 1), LABELS.repeat(4))
    network, loss = nn.Linear(4, 4), make()
    before = network.weight.detach().clone()
    miner = None if hasattr(loss, "proxies") else {"tuple_miner": miners.BatchEasyHardMiner("all", "all")}
    trainer = trainers.MetricLossOnly(
        models={"trunk": network},
        optimizers={"trunk_optimizer": torch.optim.SGD(network.parameters(), lr=0.1)},
        batch_size=16,
        loss_funcs={"metric_loss": loss},
        mining_funcs=miner,
        dataset=data,
        data_device=torch.device("cpu"),
        dataloader_num_workers=0,
    )
    trainer.train(num_epochs=1)
    assert network.weight.isfinite().all() and not torch.equal(network.weight, before)


def test_among_several_losses():
    x = points().float()
    first, second = losses.PairwiseCrossEntropyLoss(), losses.SoftTripleLoss(3, 4)
    together = peers.MultipleLosses([first, second], weights=[1.0, 0.5])
    torch.testing.assert_close(together(x, LABELS), first(x, LABELS) + 0.5 * second(x, LABELS))
