"""Losses of several processes are those of one; the judge sees where they are not."""

import pytest
import torch
from pytorch_metric_learning.losses import MultiSimilarityLoss
from pytorch_metric_learning.losses import TripletMarginLoss as Triplets
from pytorch_metric_learning.miners import MultiSimilarityMiner
from torch import nn
from torch.testing import assert_close

from geomdml.distributed import CrossBatchMemory, DistributedLoss, gather, rank_and_size
from geomdml.losses import MultiProxyAnchorLoss, PairwiseCrossEntropyLoss, SoftTripleLoss
from geomdml.testing import judge_loss
from tests.geomdml.processes import run_together


class Several(nn.Module):
    """The sum of losses, ours and pytorch-metric-learning's, with proxies, pairs and a miner."""

    def __init__(self) -> None:
        super().__init__()
        self.losses = nn.ModuleList(
            [
                DistributedLoss(SoftTripleLoss(4, 8)),
                DistributedLoss(MultiProxyAnchorLoss(4, 8)),
                DistributedLoss(PairwiseCrossEntropyLoss()),
                DistributedLoss(CrossBatchMemory(PairwiseCrossEntropyLoss(), size=5, in_features=8)),
                DistributedLoss(Triplets(margin=0.5)),
                DistributedLoss(MultiSimilarityLoss(), miner=MultiSimilarityMiner()),
            ]
        )

    def forward(self, embeddings, labels):
        first = sum(loss(embeddings, labels) for loss in self.losses)
        return first + sum(loss(embeddings, labels) for loss in self.losses)  # now there is a memory


def times_the_processes(embeddings, labels):
    """As libraries have it that rescale."""
    whole = PairwiseCrossEntropyLoss()(gather(embeddings), gather(labels))
    return whole * rank_and_size()[1]


def of_own_rows(embeddings, labels):
    """Each process has only its own part to compare with; refuses small ones."""
    if len(labels) < 3:
        raise RuntimeError("too few rows\nand more")
    return PairwiseCrossEntropyLoss()(embeddings, labels)


def test_the_law_holds_of_all_losses_together(capsys):
    found = judge_loss(Several(), (1, 3))
    assert len(found) == 8 and all(verdict.holds for verdict in found), [*map(str, found)]
    assert "3 processes, unequal shares: holds, to " in capsys.readouterr().out


def test_the_judge_says_which_ratio_is_wrong():
    found = judge_loss(times_the_processes, (2,), quiet=True)
    assert not any(verdict.holds for verdict in found)
    for verdict in found:
        assert verdict.loss == pytest.approx(2) and verdict.gradient == pytest.approx(2)
    assert "2 processes, equal shares: BROKEN: loss × 2, gradient × 2, error 1.0e+00" in str(found[0])


def test_the_judge_says_what_failed():
    verdicts = {verdict.case: verdict for verdict in judge_loss(of_own_rows, (2,), quiet=True)}
    assert "RuntimeError: too few rows (test_loss.py:" in str(verdicts["unequal shares"])
    assert not any(verdict.holds for verdict in verdicts.values())
    assert verdicts["a rank without a class"].error > 0.01 and not verdicts["a rank without a class"].failure


@pytest.mark.parametrize("ranks", [(), (0,), (5,), (1.5,)])
def test_numbers_of_processes_that_there_are_not(ranks):
    with pytest.raises(ValueError, match="expected numbers of processes, each from 1 to 4"):
        judge_loss(of_own_rows, ranks)


def test_a_loss_that_cannot_travel_is_refused():
    with pytest.raises(TypeError, match="loss function cannot be sent to another process"):
        judge_loss(lambda embeddings, labels: embeddings.sum())


def test_one_process_may_give_pairs_and_none_gives_them_beside_a_miner():
    embeddings, labels = torch.randn(4, 8), torch.tensor([0, 0, 1, 1])
    pairs = (torch.tensor([0]), torch.tensor([1]), torch.tensor([0]), torch.tensor([2]))
    loss = PairwiseCrossEntropyLoss()
    assert_close(DistributedLoss(loss)(embeddings, labels, pairs), loss(embeddings, labels, pairs))
    with pytest.raises(ValueError, match=r"indices_tuple counts the embeddings of one process; .* miner="):
        DistributedLoss(loss, miner=MultiSimilarityMiner())(embeddings, labels, pairs)


def memory_work(rank: int, count: int) -> dict[str, torch.Tensor]:
    loss = DistributedLoss(CrossBatchMemory(PairwiseCrossEntropyLoss(), size=5, in_features=2))
    for step in range(3):
        generator = torch.Generator().manual_seed(step)
        x = torch.randn(4, 2, generator=generator).split([1, 3])[rank]
        loss(x, torch.tensor([0, 0, 1, 1]).split([1, 3])[rank])
    pairs = (torch.tensor([0]),) * 3
    with pytest.raises(ValueError, match="indices_tuple counts"):
        loss(x, torch.tensor([0, 0, 1, 1]).split([1, 3])[rank], pairs)
    return loss.state_dict()


def test_the_memory_is_the_same_in_all_processes_and_travels_in_a_checkpoint(tmp_path):
    first, second = run_together(2, memory_work, tmp_path)
    assert first.keys() == second.keys() == {"loss.embeddings", "loss.labels", "loss.written"}
    assert all(torch.equal(first[name], second[name]) for name in first)
    fresh = DistributedLoss(CrossBatchMemory(PairwiseCrossEntropyLoss(), size=5, in_features=2))
    fresh.load_state_dict(first)
    embeddings, labels = fresh.loss.remembered
    assert labels.tolist() == [1, 0, 0, 1, 1]
    generator = torch.Generator().manual_seed(2)
    assert torch.equal(embeddings[1:], torch.randn(4, 2, generator=generator))


def test_what_is_remembered_counts_as_points_to_compare_with():
    plain = PairwiseCrossEntropyLoss()
    loss = CrossBatchMemory(plain, size=8, in_features=2, weight=0.5)
    (a, b), labels = torch.randn(2, 4, 2), torch.tensor([0, 0, 1, 1])
    assert_close(loss(a, labels), plain(a, labels))
    assert_close(loss(b, labels), plain(b, labels) + 0.5 * plain(b, labels, ref_emb=a, ref_labels=labels))
    assert_close(loss(b, labels + 2), plain(b, labels + 2))  # nothing remembered has these classes
    written = int(loss.written)
    loss.eval()(a, labels)
    assert int(loss.written) == written


def test_a_memory_is_of_one_dimension():
    with pytest.raises(ValueError, match=r"embeddings has shape \(4, 3\); expected \(B, 2\)"):
        CrossBatchMemory(PairwiseCrossEntropyLoss(), size=8, in_features=2)(torch.zeros(4, 3), torch.zeros(4).long())
    with pytest.raises(ValueError, match="weight = -1"):
        CrossBatchMemory(PairwiseCrossEntropyLoss(), size=8, in_features=2, weight=-1)
