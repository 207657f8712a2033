"""Embeddings of the nodes of a taxonomy (Nickel and Kiela 2017), trained with a plain optimizer."""

import math
from typing import Any, Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from apps.taxonomy.polar_adam import PolarAdam
from apps.taxonomy.spaces import make_space
from apps.training.divergence import check_finite
from apps.training.loading import data_of
from apps.training.module import AppModule
from apps.training.restore import restore
from geomdml import poincare
from geomdml.hierarchy import Reconstruction, nested_balls, reconstruction
from geomdml.losses import ClosureLoss
from geomdml.optim import RowAdam
from geomdml.spaces import Hyperbolic


class TaxonomyEmbedding(AppModule):
    """A point for each node, near to its ancestors and far from other nodes.

    Args:
        nodes: Nodes there are; set from the data.
        dim: Dimensions.
        space: "tangent" (hyperbolic, as tangent vectors at the origin), "ball", "lorentz", "euclidean", or a product:
            "tangent+euclidean" shares the dimensions evenly, "tangent:3+euclidean:2" as it says.
        c: Absolute curvature.
        learn_c: Learn it, from c on.
        temperature: Of the loss; the paper has 1.
        optimizer: "polar" (Adam in steps of hyperbolic length; needs the tangent chart), "adam", "adagrad" or "sgd";
            each touches only the points that a step uses. None is "polar" in the tangent chart, else "adam".
        lr: Learning rate.
        burn_in: Steps at the start with a tenth of it.
        final_lr: Share of the learning rate that is left at the end; it falls linearly.
        initial: Where the points start: "balls", a tree of the taxonomy placed by construction
            (`geomdml.hierarchy.nested_balls`); "random", normal coordinates; or the checkpoint of another run on the
            same taxonomy. None is "balls" in hyperbolic space of two dimensions or more, else "random".
        start: Standard deviation of random coordinates.
        euclidean_steps: Steps of the Euclidean embedding beside which a test shows this one; 0 leaves it out.
        euclidean_lr: Its learning rate, of Adam.
        seed: Seed of the run.
    """

    monitor = "val/MAP"
    shown = {"MAP of a sample": "val/MAP", "mean rank": "val/mean_rank"}
    fixed = ("nodes",)
    kept = ("space",)  # its points are coordinates of one chart

    def __init__(
        self,
        nodes: int,
        dim: int = 5,
        space: str = "tangent",
        c: float = 1.0,
        learn_c: bool = False,
        temperature: float = 1.0,
        optimizer: Literal["polar", "adam", "adagrad", "sgd"] | None = None,
        lr: float = 0.1,
        burn_in: int = 0,
        final_lr: float = 0.01,
        initial: str | None = None,
        start: float = 1e-3,
        euclidean_steps: int = 1500,
        euclidean_lr: float = 0.3,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        positive = {
            "dim": dim,
            "lr": lr,
            "euclidean_lr": euclidean_lr,
            "start": start,
            "temperature": temperature,
            "c": c,
        }
        for option, value in positive.items():
            if not 0 < value < math.inf:
                raise ValueError(f"--model.{option} = {value}; expected a number above 0")
        self.space = make_space(space, dim, c=c, learn_c=learn_c)
        if learn_c and space == "euclidean":
            raise ValueError("--model.learn_c with --model.space euclidean; expected a hyperbolic space")
        if optimizer == "polar" and space != "tangent":
            raise ValueError(f"--model.optimizer polar with --model.space {space}; expected the tangent chart")
        if initial == "balls" and not self.holds_trees:
            raise ValueError(
                f"--model.initial balls with --model.space {space} and --model.dim {dim}; expected a hyperbolic space "
                "of two dimensions or more"
            )
        self.loss = ClosureLoss(space=self.space, temperature=temperature)
        generator = torch.Generator().manual_seed(seed)
        self.points = nn.Embedding(
            nodes, dim, sparse=True, _weight=start * torch.randn(nodes, dim, generator=generator)
        )
        self.found: Reconstruction | None = None

    def on_fit_start(self) -> None:
        if not self.trainer.ckpt_path:  # else the points are those of the checkpoint
            self.place(data_of(self.trainer).edges)

    @torch.no_grad()
    def place(self, edges: Int64[Tensor, "E 2"]) -> None:
        """Move the points to where they start.

        Raises:
            ValueError: a checkpoint of another number of nodes or dimensions, of another space or curvature.
        """
        h, points, initial = self.hparams, self.points.weight, self.initial_kind
        if initial == "balls":
            assert isinstance(self.space, Hyperbolic)
            tangent = nested_balls(edges, h["dim"], count=len(points), c=float(self.space.c), seed=h["seed"])
            points.copy_(self.space.project(self.space.expmap0(tangent.to(points))))
        elif initial != "random":
            other, _, _ = restore(initial, TaxonomyEmbedding)
            for option in ("nodes", "dim", "space"):
                if other.hparams[option] != h[option]:
                    raise ValueError(
                        f"--model.initial {initial} has {option} {other.hparams[option]}, and this run {h[option]}; "
                        "expected a checkpoint of the same taxonomy and space"
                    )
            if isinstance(self.space, Hyperbolic) and isinstance(other.space, Hyperbolic):
                theirs, ours = float(other.space.c), float(self.space.c)
                if not math.isclose(theirs, ours, rel_tol=1e-6):
                    raise ValueError(f"--model.initial {initial} has c = {theirs:g}; expected --model.c {theirs:g}")
            points.copy_(other.embeddings)

    @property
    def embeddings(self) -> Float[Tensor, "N D"]:
        return self.points.weight.detach()

    @property
    def radii(self) -> Float[Tensor, " N"]:
        """Distances from the origin."""
        points = self.embeddings
        with torch.no_grad():
            return self.space.dist(points, torch.zeros_like(points))

    def forward(self, batch: Int64[Tensor, "B N"]) -> Tensor:
        """The loss of rows (node, ancestor, negatives…)."""
        return self.loss(self.points(batch[:, 0]), self.points(batch[:, 1:]))

    def step(self, batch: Int64[Tensor, "B N"]) -> Tensor:
        """The loss of a batch, which is finite."""
        loss = self(batch)
        check_finite(loss, "the loss", step=self.global_step + 1)
        return loss

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        loss = self.step(batch)
        self.log("loss", loss.detach(), prog_bar=True, batch_size=len(batch), sync_dist=True)
        return loss

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        self.keep_inside()

    @torch.no_grad()
    def keep_inside(self) -> None:
        """Points of the ball that a step has taken out of it are brought back to its edge."""
        grad = self.points.weight.grad
        if isinstance(self.space, Hyperbolic) and self.space.chart == "ball" and grad is not None:
            rows = grad.coalesce().indices()[0]
            self.points.weight[rows] = poincare.project(self.points.weight[rows], c=self.space.c)

    def reconstruct(self, ancestors: Int64[Tensor, "P 2"]) -> Reconstruction:
        """How well the ancestors of the nodes in these pairs are found."""
        return reconstruction(self.embeddings, ancestors, space=self.space)

    def _score(self, nodes: Tensor) -> Reconstruction:
        ancestors = data_of(self.trainer).known.to(self.device)
        return self.reconstruct(ancestors[torch.isin(ancestors[:, 0], nodes)])

    def validation_step(self, nodes: Tensor, batch_idx: int) -> None:
        found, depths = self._score(nodes), data_of(self.trainer).taxonomy.depths
        radii = self.radii.cpu()
        scores = {"val/MAP": 100 * found.map, "val/mean_rank": found.mean_rank}
        deep = {f"radius/depth_{depth}": float(radii[depths == depth].median()) for depth in depths.unique().tolist()}
        self.log_dict(scores | deep, batch_size=len(nodes))

    def test_step(self, nodes: Tensor, batch_idx: int) -> None:
        self.found = self._score(nodes)
        self.log_dict({"test/MAP": 100 * self.found.map, "test/mean_rank": self.found.mean_rank}, batch_size=len(nodes))

    def predict_step(self, nodes: Tensor, batch_idx: int) -> Tensor:
        return self.points(nodes).detach()

    def lr_share(self, step: int, steps: float) -> float:
        """The share of the learning rate at a step."""
        h = self.hparams
        falling = max(h["final_lr"], 1 - (1 - h["final_lr"]) * step / max(1, steps))
        return falling * (0.1 if step < h["burn_in"] else 1.0)

    @property
    def optimizer_kind(self) -> str:
        return self.hparams["optimizer"] or ("polar" if self.hparams["space"] == "tangent" else "adam")

    @property
    def holds_trees(self) -> bool:
        """Whether nested balls can be placed: in one hyperbolic space of two dimensions or more."""
        return isinstance(self.space, Hyperbolic) and self.hparams["dim"] > 1

    @property
    def initial_kind(self) -> str:
        return self.hparams["initial"] or ("balls" if self.holds_trees else "random")

    def make_optimizer(self) -> torch.optim.Optimizer:
        lr = self.hparams["lr"]
        if self.optimizer_kind == "polar":
            assert isinstance(self.space, Hyperbolic)
            others = [each for each in self.parameters() if each is not self.points.weight]
            return PolarAdam(self.points.weight, others, space=self.space, lr=lr)
        kinds = {"adam": RowAdam, "adagrad": torch.optim.Adagrad, "sgd": torch.optim.SGD}
        return kinds[self.optimizer_kind](self.parameters(), lr=lr)

    def optimiser(self, steps: int) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
        optimizer = self.make_optimizer()
        return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: self.lr_share(step, steps))
