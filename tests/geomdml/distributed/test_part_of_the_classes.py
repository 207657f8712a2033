"""Classes of which each process has all and a step takes a part: every process takes the same, as one would."""

import pytest
import torch
from torch import Tensor, distributed

from geomdml.distributed import DistributedLoss
from geomdml.losses import SoftTripleLoss
from tests.geomdml.processes import run_together

C, D = 40, 5
LABELS = torch.tensor([0, 0, 36, 13, 13, 1, 36, 0])
OTHERS = ("random", "nearest")


def outcome(others: str, rank: int, count: int) -> dict[str, Tensor]:
    """Loss, its gradients averaged as DDP does, and the rows of the classes that took part."""
    torch.manual_seed(0)
    network = torch.nn.Linear(4, D).double()
    loss = DistributedLoss(SoftTripleLoss(C, D, sample=0.3, others=others).double())
    x = torch.randn(8, 4, dtype=torch.float64).chunk(count)[rank]
    torch.manual_seed(1)
    value = loss(network(x), LABELS.chunk(count)[rank])
    value.backward()
    gradient = network.weight.grad
    if count > 1:
        distributed.all_reduce(gradient)
    proxies = loss.loss.proxies.vectors.grad.coalesce()
    return {
        "loss": value.detach(),
        "network": gradient / count,
        "proxies": proxies.to_dense(),
        "rows": proxies.indices()[0],
    }


def work(rank: int, count: int) -> list[dict[str, Tensor]]:
    return [outcome(others, rank, count) for others in OTHERS]


@pytest.mark.parametrize("count", [2, 3])
def test_loss_and_gradients_are_those_of_one_process(count, tmp_path):
    """In float64, to 1e-12 of the norm."""
    alone = [outcome(others, 0, 1) for others in OTHERS]
    for found in run_together(count, work, tmp_path):
        for theirs, ours in zip(alone, found, strict=True):
            assert len(theirs["rows"]) == 12 and torch.equal(ours["rows"], theirs["rows"])
            for name in ("loss", "network", "proxies"):
                assert float((ours[name] - theirs[name]).norm()) <= 1e-12 * float(theirs[name].norm()), name
