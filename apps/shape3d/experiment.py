"""What `compare` compares: each metric loss beside the softmax, with the settings it may choose from, and one training.

Every seed has a split of its own: the shapes are divided anew into training and test (where the data have no split of
their own), so that the spread over seeds has that of the split in it.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from apps.compare.experiment import ModelExperiment
from apps.compare.harness import Evaluation, SearchSpace, Setting, Trial
from apps.compare.loop import train
from apps.evaluation.classifiers import classification
from apps.evaluation.scores import shrec_scores
from apps.shape3d.model import Shape3D, accuracy
from apps.training.sampling import seed_of
from apps.training.shape_data import ShapeData

COMMON: dict[str, list[Setting]] = {"lr": [1e-3, 3e-3], "scale": [4.0, 8.0]}
WEIGHTS: list[Setting] = [1.0, 4.0]
MARGINS: list[Setting] = [0.5, 1.0, 2.0]
CANDIDATES: dict[str, SearchSpace] = {
    "softmax": {"lr": [5e-4, 1e-3, 3e-3], "scale": [2.0, 4.0, 8.0, 16.0]},
    "transport": {**COMMON, "weight": WEIGHTS, "margin": MARGINS},
    "uniform": {**COMMON, "weight": WEIGHTS, "margin": MARGINS},
    "triplet": {**COMMON, "weight": WEIGHTS, "margin": [0.1, 0.2, 0.5]},
    "contrastive": {**COMMON, "weight": WEIGHTS, "margin": [0.5, 1.0, 1.5]},
    "centre": {**COMMON, "weight": [0.25, 1.0, 4.0]},
}
OF_MODEL = ("loss", "lr", "scale", "weight")  # the other settings are the loss's own
VALIDATION = 0.25  # of the training shapes, for the search


class ShapeExperiment(ModelExperiment):
    """Trains one loss from a seed on that seed's split, and scores it on validation or test shapes."""

    data: ShapeData
    offered, of_model = CANDIDATES, OF_MODEL
    decided = ("classes", "loss", "loss_args", "seed")

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.memory: dict[int, Tensor] = {}

    @property
    def fixed(self) -> Mapping[str, Any]:
        left_out = ("split_seed", "validation", "strict", "eval_batch", "seed")  # a trial has its own split and seed
        of_data = {name: value for name, value in self.data.hparams.items() if name not in left_out}
        return {"model": self.settings, "data": of_data, "epochs": self.epochs, "validation": VALIDATION}

    def split(self, seed: int, stage: str) -> tuple[Tensor, Tensor]:
        """The places of the shapes that train and that are scored: of a search both lie in the seed's training part."""
        found = self.data.split(seed, VALIDATION if stage == "search" else 0.0)
        return found["train"], found["validation" if stage == "search" else "test"]

    def train(self, trial: Trial) -> Iterator[Evaluation]:
        torch.manual_seed(trial.seed)
        model = Shape3D(self.data.classes, **self.model_settings(trial)).to(self.device)
        model.memory = self.memory
        rows, scored = self.split(trial.seed, trial.stage)

        def step(chosen: Tensor, epoch: int, place: int) -> Tensor:
            torch.manual_seed(seed_of(trial.seed, epoch, place))
            return model.step(self.data.drawn(rows[chosen], trial.seed, epoch, place))["loss"]

        def score(at_the_end: bool) -> dict[str, float]:
            return self.scores(model, rows, scored, at_the_end=at_the_end)

        return train(trial, self.data.batches(rows, trial.seed), step, score, model.optimiser, epochs=self.epochs)

    @torch.no_grad()
    def scores(self, model: Shape3D, rows: Tensor, scored: Tensor, *, at_the_end: bool) -> dict[str, float]:
        """Accuracy and the SHREC scores; at the end what classifiers make of the embeddings too."""
        found, labels = self.outputs(model, scored), self.data.labels[scored]
        if not bool(found["embeddings"].isfinite().all()):
            return {"accuracy": float("nan"), "mAP": float("nan")}
        scores = {"accuracy": accuracy(found | {"labels": labels})}
        scores |= shrec_scores(found["embeddings"], labels, model.space)
        if at_the_end:
            train = self.outputs(model, rows)["embeddings"]
            scores |= classification(train, self.data.labels[rows], found["embeddings"], labels)
        return scores

    def outputs(self, model: Shape3D, rows: Tensor) -> dict[str, Tensor]:
        model.eval()
        parts = [model.outputs(model.maps(self.data.batch(some))) for some in rows.split(64)]
        model.train()
        return {name: torch.cat([part[name] for part in parts]).cpu() for name in ("embeddings", "logits")}
