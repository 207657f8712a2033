"""LeNet-5 and a metric network under a loss of pairs: the 2D-image experiments of arXiv 1903.08923."""

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn

from apps.digits.data import DigitBatch
from apps.evaluation.scores import Collector, pair_scores, shrec_scores
from apps.networks.pair_losses import Name, pair_loss
from apps.training.divergence import check_finite
from apps.training.module import AppModule
from geomdml.distributed import gather
from geomdml.losses import BatchTransportLoss
from geomdml.nn import MetricNetwork
from geomdml.spaces import Euclidean


class Digits(AppModule):
    """Two convolutions with pooling (LeNet-5), a metric network, and a loss of `apps.networks.pair_losses`.

    Args:
        shape: Channels, height and width of an image; set from the data.
        mean: Mean of each channel, 0 to 1; set from the data.
        std: Standard deviation of each channel; set from the data.
        loss: Loss, by its name in `apps.networks.pair_losses`.
        loss_args: Settings of the loss, such as {margin: 5, reg: 0.05}.
        two_batches: Take the images of a step as two batches and compare across; else all among themselves.
        channels: Channels of the two convolutions; LeCun's LeNet-5 has 6 and 16, Caffe's LeNet 20 and 50.
        widths: Dimensions of the metric network's layers; the last is the embedding's.
        unit: Bring embeddings to the unit sphere.
        optimizer: "adam" or "sgd".
        lr: Learning rate.
        momentum: Momentum of sgd.
        lr_decay: Factor on the learning rate after every epoch.
        weight_decay: Weight decay.
        seed: Seed of the run.
    """

    monitor = "val/mAP"
    shown = {"validation mAP": "val/mAP", "Recall@1": "val/Recall@1"}
    fixed = ("shape",)
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        shape: tuple[int, ...],
        mean: tuple[float, ...],
        std: tuple[float, ...],
        loss: Name = "transport",
        loss_args: dict[str, Any] | None = None,
        two_batches: bool = True,
        channels: tuple[int, int] = (6, 16),
        widths: tuple[int, ...] = (512, 256),
        unit: bool = False,
        optimizer: Literal["adam", "sgd"] = "adam",
        lr: float = 1e-3,
        momentum: float = 0.9,
        lr_decay: float = 1.0,
        weight_decay: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        if not 0 < lr < math.inf:
            raise ValueError(f"--model.lr = {lr}; expected a number above 0")
        self.register_buffer("mean", 255 * torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(std).view(-1, 1, 1), persistent=False)
        self.features = lenet5(shape, channels)
        with torch.no_grad():
            features = self.features(torch.zeros(1, *shape)).shape[1]
        self.metric = MetricNetwork(features, *widths)
        self.loss = pair_loss(loss, **(loss_args or {}))
        self.collector = Collector()
        self.test_outputs: dict[str, Tensor] = {}
        self.test_scores: dict[str, float] = {}

    def forward(self, images: Tensor) -> Tensor:
        """Embeddings (B, D) of uint8 images (B, C, H, W)."""
        vectors = self.metric(self.features((images.float() - self.mean) / self.std)).float()
        return nn.functional.normalize(vectors) if self.hparams["unit"] else vectors

    def pairs(self, batch: DigitBatch) -> dict[str, Any]:
        """What a step hands to the loss by name: embeddings and labels of one batch, or of two; of all processes."""
        embeddings, labels = gather(self(batch.images)), gather(batch.labels)
        if not self.hparams["two_batches"]:
            return {"embeddings": embeddings, "labels": labels}
        (first, second), (labels, ref_labels) = embeddings.chunk(2), labels.chunk(2)
        return {"embeddings": first, "labels": labels, "ref_emb": second, "ref_labels": ref_labels}

    def step(self, batch: DigitBatch) -> dict[str, Tensor]:
        """The loss of a batch, as "loss", and what there is to say of the plan; Diverged without finite embeddings."""
        pairs = self.pairs(batch)
        check_finite(pairs["embeddings"], "an embedding", step=self.global_step + 1)
        if not isinstance(self.loss, BatchTransportLoss):
            return {"loss": self.loss(**pairs)}
        terms = self.loss.terms(**pairs)
        return {"loss": terms.total, "plan/entropy": terms.entropy, "plan/positive_mass": terms.positive_mass}

    def training_step(self, batch: DigitBatch, batch_idx: int) -> Tensor:
        found = self.step(batch)
        total = found.pop("loss")
        self.log_dict(found)
        self.log("loss", total.detach(), prog_bar=True, batch_size=len(batch.labels))
        return total

    def validation_step(self, batch: DigitBatch, batch_idx: int) -> None:
        self.collector.add(labels=batch.labels, embeddings=self(batch.images))

    def on_validation_epoch_end(self) -> None:
        outputs = self.collector.take()
        found = pair_scores(outputs["embeddings"], outputs["labels"], Euclidean())
        self.log_dict({f"val/{name}": value for name, value in found.items()})

    def test_step(self, batch: DigitBatch, batch_idx: int) -> None:
        self.collector.add(labels=batch.labels, embeddings=self(batch.images))

    def on_test_epoch_end(self) -> None:
        self.test_outputs = self.collector.take()
        self.test_scores = shrec_scores(self.test_outputs["embeddings"], self.test_outputs["labels"], Euclidean())
        self.log_dict({f"test/{name}": value for name, value in self.test_scores.items()})

    def predict_step(self, batch: DigitBatch, batch_idx: int) -> dict[str, Tensor]:
        return {"embeddings": self(batch.images), "labels": batch.labels}

    def optimiser(self, steps: int | None = None) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
        """The optimiser and its learning rates, which fall after every epoch, however many steps there are."""
        h = self.hparams
        if h["optimizer"] == "sgd":
            optimizer: torch.optim.Optimizer = torch.optim.SGD(
                self.parameters(), h["lr"], momentum=h["momentum"], weight_decay=h["weight_decay"]
            )
        else:
            optimizer = torch.optim.Adam(self.parameters(), h["lr"], weight_decay=h["weight_decay"])
        return optimizer, torch.optim.lr_scheduler.ExponentialLR(optimizer, h["lr_decay"])

    def configure_optimizers(self):
        optimizer, scheduler = self.optimiser()
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "epoch"}}


def lenet5(shape: tuple[int, ...], channels: tuple[int, int]) -> nn.Sequential:
    """The convolutional part of LeNet-5 (LeCun, Bottou, Bengio and Haffner 1998), rectified, with maximum pooling.

    Raises:
        ValueError: images below 16 × 16.

    >>> lenet5((1, 28, 28), (6, 16))(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 256])
    """
    if min(shape[1:]) < 16:
        raise ValueError(
            f"images of {shape[1]} × {shape[2]} are too small for two convolutions; expected 16 × 16 or more"
        )
    first, second = channels
    return nn.Sequential(
        nn.Conv2d(shape[0], first, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(first, second, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
    )
