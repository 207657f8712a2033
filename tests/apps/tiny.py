"""An app of one layer that trains in a moment, for what all apps get from the shared command line."""

import csv
from pathlib import Path

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers.logger import Logger
from torch import nn
from torch.utils.data import DataLoader

import apps.cli
from apps.training.module import AppModule
from geomdml.spaces import Hyperbolic

BATCHES = 4


class Net(AppModule):
    """A layer.

    Args:
        classes: Names of the classes; from the data.
        width: Outputs of the layer.
        clip: Largest target.
        c: Curvature.
        learn_c: Learn it.
        frozen: Train no bias.
        lr: Learning rate.
        weight_decay: Weight decay.
        falling: The score falls from epoch to epoch.
        seed: Seed.
    """

    monitor = "val/score"

    def __init__(
        self,
        classes: tuple[str, ...],
        width: int = 3,
        clip: float = 1.0,
        c: float = 0.5,
        learn_c: bool = False,
        frozen: bool = False,
        lr: float = 0.1,
        weight_decay: float = 0.0,
        falling: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        generator = torch.Generator().manual_seed(seed)
        self.layer = nn.Linear(2, width)
        self.layer.weight.data = torch.rand(width, 2, generator=generator)
        self.layer.bias.requires_grad_(not frozen)
        self.space = Hyperbolic(c, learnable=learn_c)
        self.proxies = nn.Parameter(torch.ones(len(classes)))

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        loss = (self.layer(batch) - self.hparams["clip"]).square().mean() + self.proxies.square().mean()
        self.log("loss", loss)
        return loss

    def validation_step(self, batch: torch.Tensor, batch_idx: int) -> None:
        sign = -1 if self.hparams["falling"] else 1
        self.log("val/score", sign * (1.0 + self.current_epoch))

    def test_step(self, batch: torch.Tensor, batch_idx: int) -> None:
        self.log("test/weight", self.layer.weight.sum())
        self.log("test/c", self.space.curvature)
        self.log("test/clip", self.hparams["clip"])
        self.log("test/seed", float(self.hparams["seed"]))

    def predict_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        return batch

    def optimiser(self, steps: int):
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        optimizer = torch.optim.SGD(trained, self.hparams["lr"], weight_decay=self.hparams["weight_decay"])
        return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))


class Points(L.LightningDataModule):
    """Four batches.

    Args:
        names: The classes.
        scale: Of the points.
        validates: Whether some are kept out.
        seed: Seed.
    """

    def __init__(self, names: str = "ab", scale: float = 1.0, validates: bool = True, seed: int = 0) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.classes, self.validates = tuple(names), validates

    def train_dataloader(self) -> DataLoader:
        generator = torch.Generator().manual_seed(self.hparams["seed"])
        points = self.hparams["scale"] * torch.rand(BATCHES, 5, 2, generator=generator)
        return DataLoader(list(points), batch_size=None)

    def val_dataloader(self) -> DataLoader | list[DataLoader]:
        return self.train_dataloader() if self.validates else []

    test_dataloader = predict_dataloader = train_dataloader


class Fake(Logger):
    """A logger of somebody else's, as those of W&B and MLflow are: it has no folder."""

    lines: list[tuple[int | None, dict[str, float]]] = []

    @property
    def name(self) -> str:
        return "fake"

    @property
    def version(self) -> str:
        return "1"

    def log_hyperparams(self, *args, **kwargs) -> None:
        pass

    def log_metrics(self, metrics, step=None) -> None:
        self.lines.append((step, metrics))


class Written(Callback):
    """Writes predictions, as a callback of the user's may."""

    seen: list[int] = []

    def on_predict_batch_end(self, trainer, pl_module, outputs, batch, batch_idx, dataloader_idx=0) -> None:
        self.seen.append(batch_idx)


class Noted(Callback):
    """A callback of the user's."""

    seen: list[str] = []

    def on_fit_start(self, *args) -> None:
        self.seen.append("fit")

    def on_test_start(self, *args) -> None:
        self.seen.append("test")


def run(*words: object) -> None:
    apps.cli.run(Net, Points, results=Callback(), args=[str(word) for word in words])


def best(folder: Path) -> Path:
    """The best checkpoint of a run."""
    return folder / "checkpoints/best.ckpt"


def last(folder: Path) -> Path:
    """The last checkpoint of a run."""
    return folder / "checkpoints/last.ckpt"


def scores(folder: Path) -> dict[str, float]:
    """What the test at the end of a run logged."""
    rows = list(csv.DictReader((folder / "metrics.csv").read_text().splitlines()))
    return {name: float(value) for name, value in rows[-1].items() if name.startswith("test/")}


def error(*words: object) -> str:
    """The one line with which a command ends."""
    with pytest.raises(SystemExit) as end:
        run(*words)
    assert isinstance(end.value.code, str) and end.value.code.startswith("error: ") and "\n" not in end.value.code
    return end.value.code.removeprefix("error: ")
