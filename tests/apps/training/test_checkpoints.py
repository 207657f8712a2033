"""A run that goes on from any of its checkpoints is bitwise the unbroken one; a checkpoint is whole or not there."""

import errno
import resource
import signal
from contextlib import contextmanager
from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from torch import nn
from torch.utils.data import DataLoader, Dataset

from apps.cli import EXPECTED_WARNINGS
from apps.io.atomic import write_file
from apps.training.checkpoints import Checkpoints, WholeFiles, newest
from apps.training.loading import TrainingLoader
from apps.training.sampling import ClassBalanced, seed_of

LABELS = np.repeat(np.arange(4), 3)
STEPS = 4
pytestmark = [pytest.mark.filterwarnings(f"ignore:{message}") for message in EXPECTED_WARNINGS]


class Noise(Dataset):
    """Points that are functions of their draw's seed."""

    def __getitem__(self, draws):
        points = [torch.randn(6, generator=torch.Generator().manual_seed(draw.seed)) for draw in draws]
        return torch.stack(points), torch.tensor([LABELS[draw.image] for draw in draws])


class Model(L.LightningModule):
    """All that a checkpoint must carry: weights, running means, dropout, momentum, a schedule."""

    def __init__(self, workers: int = 0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 4))
        self.workers = workers

    def train_dataloader(self):
        batches = ClassBalanced(LABELS, classes=2, per_class=2, steps=STEPS, seed=3)
        return TrainingLoader(Noise(), batches, trainer=self.trainer, workers=self.workers)

    def training_step(self, batch, batch_idx):
        torch.manual_seed(seed_of(self.current_epoch, batch_idx))
        loss = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
        self.log("loss", loss)
        return loss

    def val_dataloader(self):
        return DataLoader(torch.eye(6), batch_size=2)

    def validation_step(self, batch, batch_idx):
        self.log("score", self.net(batch).std())

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=0.1)
        total = int(self.trainer.estimated_stepping_batches)  # makes the loaders, before the checkpoint is read
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class Snapshots(L.Callback):
    """What a SIGKILL at any time could have left: every last.ckpt, its best.ckpt and the log beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.seen = folder, {}

    def look(self, trainer, *args) -> None:
        run = Path(trainer.log_dir)
        last = run / "checkpoints/last.ckpt"
        if last.exists() and last.stat().st_mtime_ns not in self.seen:
            copy = self.folder / f"snapshot-{len(self.seen)}"
            for name in ("checkpoints/last.ckpt", "checkpoints/best.ckpt", "metrics.csv"):
                if (run / name).exists():
                    write_file(copy / name, lambda part, name=name: part.write_bytes((run / name).read_bytes()))
            self.seen[last.stat().st_mtime_ns] = copy / "checkpoints/last.ckpt"

    on_train_batch_end = on_validation_start = on_train_epoch_start = on_train_end = look


def fit(folder: Path, *extra: L.Callback, ckpt_path: Path | None = None, every: int = 1, workers=0, **options):
    """A fitted model, and the run's folder."""
    monitor = "score" if options.get("limit_val_batches", 1) else None
    keeper = Checkpoints(monitor=monitor, every=every)
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=3,
        logger=CSVLogger(folder, name=""),
        callbacks=[*extra, keeper],
        plugins=[WholeFiles()],
        log_every_n_steps=1,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        **options,
    )
    model = Model(workers)
    trainer.fit(model, ckpt_path=ckpt_path, weights_only=True)
    return model, Path(trainer.log_dir)


def content(run: Path, name: str) -> dict:
    return torch.load(run / "checkpoints" / name, weights_only=True)


def assert_same(a, b, where: str = "") -> None:
    """Equal bit by bit, all the way down."""
    assert type(a) is type(b), where
    if isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_same(a[key], b[key], f"{where}/{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for index, pair in enumerate(zip(a, b, strict=True)):
            assert_same(*pair, f"{where}/{index}")
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    else:
        assert a == b, where


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"limit_val_batches": 0},
        {"val_check_interval": 2},
        {"check_val_every_n_epoch": 2},
        {"accumulate_grad_batches": 2},
        {"gradient_clip_val": 0.1, "workers": 1},
    ],
    ids=str,
)
def test_from_every_checkpoint_the_run_goes_on_as_if_unbroken(tmp_path, options):
    snapshots = Snapshots(tmp_path)
    model, whole = fit(tmp_path / "whole", snapshots, **options)
    steps = set()
    for index, checkpoint in enumerate(snapshots.seen.values()):
        steps.add(torch.load(checkpoint, weights_only=True)["global_step"])
        resumed, run = fit(tmp_path / f"resumed-{index}", ckpt_path=checkpoint, **options)
        assert_same(model.state_dict(), resumed.state_dict())
        assert (run / "metrics.csv").read_text() == (whole / "metrics.csv").read_text(), checkpoint
        for name in ("last.ckpt", "best.ckpt"):
            ours, theirs = content(run, name), content(whole, name)
            for part in ("state_dict", "optimizer_states", "lr_schedulers", "callbacks", "global_step", "epoch"):
                assert_same(ours[part], theirs[part], f"{name} from {checkpoint}: {part}")
    assert steps == set(range(1, 3 * STEPS // options.get("accumulate_grad_batches", 1) + 1))


def test_without_its_best_checkpoint_the_best_is_chosen_anew(tmp_path, capsys):
    snapshots = Snapshots(tmp_path)
    fit(tmp_path / "whole", snapshots)
    alone = list(snapshots.seen.values())[5]
    alone.with_name("best.ckpt").unlink()
    _, run = fit(tmp_path / "resumed", ckpt_path=alone)
    assert "best.ckpt: the best checkpoint is chosen among those to come" in capsys.readouterr().out
    assert content(run, "best.ckpt")["global_step"] > 5


class Raise(L.Callback):
    def __init__(self, number: int, step: int, stage: str) -> None:
        self.number, self.step, self.done = number, step, False
        setattr(self, stage, self.strike)

    def strike(self, trainer, *args) -> None:
        if trainer.global_step == self.step and not self.done:
            self.done = True
            signal.raise_signal(self.number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("step", "stage"), [(2, "on_before_zero_grad"), (4, "on_validation_batch_end"), (4, "on_train_epoch_end")]
)
def test_a_signal_lets_the_step_end_and_saves_it(tmp_path, capsys, number, step, stage):
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(SystemExit) as exit:
        fit(tmp_path / "stopped", Raise(number, step, stage), every=1000)
    assert exit.value.code == 128 + number
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before
    checkpoint = newest(tmp_path / "stopped")
    assert f"--ckpt_path {checkpoint}" in capsys.readouterr().out
    saved = torch.load(checkpoint, weights_only=True)["global_step"]
    assert saved - step == (stage == "on_before_zero_grad")
    whole, _ = fit(tmp_path / "whole", every=1000)
    resumed, _ = fit(tmp_path / "resumed", ckpt_path=checkpoint, every=1000)
    assert_same(whole.state_dict(), resumed.state_dict())


def test_a_second_signal_stops_at_once(tmp_path):
    class Twice(L.Callback):
        def on_before_zero_grad(self, trainer, *args) -> None:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background starts with it ignored
    with pytest.raises(SystemExit) as exit:  # Lightning's, of a KeyboardInterrupt
        fit(tmp_path, Twice())
    assert exit.value.code == 1 and not list(tmp_path.rglob("*.ckpt"))
    signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def full_disk():
    """No file grows beyond 100 bytes. Not a fixture: pytest's own output may go to a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path):
    path = tmp_path / "last.ckpt"
    WholeFiles().save_checkpoint({"x": torch.arange(100)}, path)
    expected = pytest.raises(OSError, match=r"last.ckpt could not be written: .+; what was there before is whole")
    with expected as error, full_disk():
        WholeFiles().save_checkpoint({"x": torch.zeros(10000)}, path)
    assert error.value.__cause__.errno == errno.EFBIG
    assert torch.equal(torch.load(path, weights_only=True)["x"], torch.arange(100))
    assert [each.name for each in tmp_path.iterdir()] == ["last.ckpt"]


def test_the_newest_run_is_found(tmp_path):
    with pytest.raises(ValueError, match=r"--ckpt_path last: no run in .* has checkpoints/last\.ckpt"):
        newest(tmp_path)
    for version in (10, 9):
        write_file(tmp_path / f"version_{version}/checkpoints/last.ckpt", lambda part: part.write_text("x"))
    assert newest(tmp_path).parents[1].name == "version_9"


@pytest.mark.parametrize("every", [0, -1])
def test_steps_between_checkpoints_are_at_least_one(every):
    with pytest.raises(ValueError, match=f"--checkpoint_every {every}; expected at least 1 step"):
        Checkpoints(monitor=None, every=every)
