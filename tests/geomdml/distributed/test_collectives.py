"""Tensors of several processes, put together; gradients are those of the sum of what the processes make of them."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from geomdml._core.processes import exchange
from geomdml.distributed import broadcast, gather, rank_and_size, total
from tests.geomdml.processes import run_together

SHARES = [3, 0, 1]  # rows of each of three processes
X = torch.arange(8.0, dtype=torch.float64).reshape(4, 2) + 1


def own(tensor: Tensor, rank: int) -> Tensor:
    return tensor.split(SHARES)[rank]


def work(rank: int, count: int) -> dict[str, Tensor]:
    assert rank_and_size() == (rank, count)
    mine = own(X, rank).clone().requires_grad_()
    whole = gather(mine)
    ((rank + 1) * whole.square()).sum().backward()  # losses that differ: 1, 2 and 3 times
    found = {"whole": whole.detach(), "gathered": mine.grad, "labels": gather(torch.ones(rank, dtype=torch.bool))}

    here = torch.tensor([1.0 + rank], requires_grad=True)
    summed = total(here)
    ((rank + 1) * summed.square()).backward()
    found |= {"total": summed.detach(), "of total": here.grad}

    # process r sends one row to each process, the number 10 r + its place
    rows = (10.0 * rank + torch.arange(3.0)).requires_grad_()
    received = exchange(rows, [1, 1, 1], [1, 1, 1])
    (received * (rank + 1)).sum().backward()
    found |= {"received": received.detach(), "of sent": rows.grad}

    value = torch.tensor([float(rank)])
    broadcast([value])
    return found | {"first": value}


def test_three_processes_with_unequal_shares(tmp_path):
    found = run_together(3, work, tmp_path)
    for rank, ours in enumerate(found):
        assert torch.equal(ours["whole"], X)
        assert_close(ours["gathered"], (1 + 2 + 3) * 2 * own(X, rank))
        assert ours["labels"].tolist() == [True] * 3 and ours["labels"].dtype == torch.bool
        assert ours["total"].item() == 6 and ours["of total"].item() == (1 + 2 + 3) * 2 * 6
        assert ours["received"].tolist() == [rank, 10 + rank, 20 + rank]
        assert ours["of sent"].tolist() == [1, 2, 3]
        assert ours["first"].item() == 0


@pytest.mark.parametrize("function", [gather, total])
def test_one_process_keeps_what_it_has(function):
    assert function(X) is X
    assert exchange(X, [4], [4]) is X
