"""What `compare` compares: each method with the settings it may choose from, and one training of it.

Every seed has a split of its own into training and test shapes (where the data have no split of their own), so that the
spread over seeds has that of the split in it.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from apps.compare.experiment import ModelExperiment
from apps.compare.harness import Evaluation, SearchSpace, Setting, Trial
from apps.compare.loop import train
from apps.evaluation.scores import Collector
from apps.multimodal.data import MultimodalData
from apps.multimodal.labels import strength
from apps.multimodal.model import Multimodal, accuracies
from apps.training.sampling import seed_of

RATES: list[Setting] = [0.015, 0.03, 0.06, 0.1]
CANDIDATES: dict[str, SearchSpace] = {
    "reshaping": {"lr": RATES},
    "reshaping_by_class": {"lr": RATES},
    "reshaping_from_strongest": {"lr": RATES},
    "joint": {"lr": RATES},
    "smoothing": {"lr": RATES},
    "fused": {"lr": RATES},
    "ogm_ge": {"lr": [0.03, 0.06], "ogm_alpha": [0.1, 0.4]},
    "views": {"lr": RATES},
    "points": {"lr": RATES},
}
OF_RESHAPING = ("lr", "max_alpha", "momentum")  # what smoothing takes over, to be as strong as reshaping becomes
VALIDATION = 0.25  # of the training shapes, for the search


class MultimodalExperiment(ModelExperiment):
    """Trains by one method from a seed on that seed's split, and scores it on validation or test shapes."""

    data: MultimodalData
    score = "accuracy"
    offered = CANDIDATES
    decided = ("classes", "method", "smoothing", "seed")

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.memory: dict[int, Tensor] = {}
        self.strengths: dict[Any, tuple[float, float]] = {}

    @property
    def fixed(self) -> Mapping[str, Any]:
        left_out = ("split_seed", "validation", "strict", "eval_batch", "seed")  # a trial has its own split and seed
        of_data = {name: value for name, value in self.data.hparams.items() if name not in left_out}
        return {"model": self.settings, "data": of_data, "epochs": self.epochs, "validation": VALIDATION}

    def split(self, trial: Trial) -> tuple[Tensor, Tensor]:
        """The places of the shapes that train and that are scored: of a search both lie in the seed's training part."""
        search = trial.stage == "search"
        found = self.data.split(trial.seed, VALIDATION if search else 0.0)
        return found["train"], found["validation" if search else "test"]

    def train(self, trial: Trial) -> Iterator[Evaluation]:
        if trial.candidate == "smoothing":
            return self.run(trial, smoothing=self.strength_of_reshaping(trial))
        return self.run(trial)

    def strength_of_reshaping(self, trial: Trial) -> tuple[float, float]:
        """What reshaping takes off the own class at the end of the same training."""
        if _key(trial) not in self.strengths:
            for _ in self.run(Trial("reshaping", trial.settings, trial.seed, trial.stage, (), trial.steps)):
                pass
        return self.strengths[_key(trial)]

    def run(self, trial: Trial, **further: Any) -> Iterator[Evaluation]:
        """Train a trial, with further arguments of the model."""
        torch.manual_seed(trial.seed)
        settings = {"method": trial.candidate, "seed": trial.seed, **trial.settings, **further}
        model = Multimodal(self.data.classes, **self.settings | settings).to(self.device)
        model.network.memory = self.memory
        rows, scored = self.split(trial)

        def step(chosen: Tensor, epoch: int, place: int) -> Tensor:
            torch.manual_seed(seed_of(trial.seed, epoch, place))
            return model.step(self.data.drawn(rows[chosen], trial.seed, epoch, place))["loss"]

        def score(at_the_end: bool) -> dict[str, float]:
            if at_the_end and trial.candidate == "reshaping":
                views, points = strength(model.reshaper.balance()).tolist()
                self.strengths[_key(trial)] = (views, points)
            return self.scores(model, scored)

        def before_update(optimizer: torch.optim.Optimizer, progress: float) -> None:
            model.modulate(progress)

        batches = self.data.batches(rows, trial.seed)
        return train(trial, batches, step, score, model.optimiser, epochs=self.epochs, before_update=before_update)

    @torch.no_grad()
    def scores(self, model: Multimodal, scored: Tensor) -> dict[str, float]:
        """Accuracy of the fused head, as "accuracy", and of each modality's; how hard the labels are for these."""
        model.eval()
        collector = Collector()
        for rows in scored.split(64):
            batch = self.data.batch(rows)
            collector.add(**model.network(batch), labels=batch.labels)
        model.train()
        found = accuracies(collector.take())
        return {"accuracy": found.pop("fused"), **found, **model.watched()}


def _key(trial: Trial) -> tuple[Any, ...]:
    return (tuple(sorted(trial.settings.items())), trial.seed, trial.stage, trial.steps)
