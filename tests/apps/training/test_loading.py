"""The loader of training goes on where a run has come to, and says so to Lightning."""

import re
from types import SimpleNamespace

import pytest
import torch
from lightning.fabric.utilities.types import _Stateful
from torch.utils.data import DataLoader, Dataset

from apps.cli import EXPECTED_WARNINGS
from apps.training.loading import TrainingLoader
from apps.training.sampling import Shuffled


class AsTheyAre(Dataset):
    def __getitem__(self, rows):
        return rows


def trainer(epoch: int, done: int, rank: int = 0, ranks: int = 1, device: str = "cpu") -> SimpleNamespace:
    progress = SimpleNamespace(batch_progress=SimpleNamespace(current=SimpleNamespace(ready=done)))
    loop = SimpleNamespace(epoch_loop=progress)
    strategy = SimpleNamespace(root_device=torch.device(device))
    return SimpleNamespace(fit_loop=loop, current_epoch=epoch, global_rank=rank, world_size=ranks, strategy=strategy)


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("done", [0, 1, 3])
def test_it_begins_at_the_step_of_the_run(done, ranks):
    whole = Shuffled(20, size=6, seed=1)
    whole.set_epoch(2)
    batches = list(whole)[done:]
    parts = [
        list(TrainingLoader(AsTheyAre(), Shuffled(20, size=6, seed=1), trainer=trainer(2, done, rank, ranks)))
        for rank in range(ranks)
    ]
    assert [torch.cat(part).tolist() for part in zip(*parts, strict=True)] == [batch.tolist() for batch in batches]


def test_batches_for_a_gpu_are_in_pinned_memory():
    for device, pinned in (("cuda", True), ("cpu", False)):
        loader = TrainingLoader(AsTheyAre(), Shuffled(20, size=6, seed=1), trainer=trainer(0, 0, device=device))
        assert loader.pin_memory == pinned
    assert not TrainingLoader(AsTheyAre(), Shuffled(20, size=6, seed=1), trainer=None).pin_memory


def test_of_a_loader_that_begins_again_lightning_warns_and_of_this_one_not():
    loader = TrainingLoader(AsTheyAre(), Shuffled(20, size=6, seed=1), trainer=None)
    assert isinstance(loader, _Stateful) and not isinstance(DataLoader([1]), _Stateful)
    said = "You're resuming from a checkpoint that ended before the epoch ended and your dataloader is not resumable."
    assert not any(re.match(pattern, said) for pattern in EXPECTED_WARNINGS)
