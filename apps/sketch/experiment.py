"""What `compare` compares: each loss with the settings it may choose from, and one training of it.

Every seed has a split of its own: the sketches are divided anew into training, validation and test (where the data have
no split of their own), so that the spread over seeds has that of the split in it.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from apps.compare.experiment import ModelExperiment
from apps.compare.harness import Evaluation, SearchSpace, Setting, Trial
from apps.compare.loop import train
from apps.sketch.data import SketchData
from apps.sketch.model import DIRECTIONS, SIDES, SketchToShape, retrieval_scores
from apps.training.sampling import Draw, seed_of

FLAT: dict[str, list[Setting]] = {"space": ["euclidean"]}
CURVED: dict[str, list[Setting]] = {"space": ["hyperbolic"]}
# Each has 2 settings.
CANDIDATES: dict[str, SearchSpace] = {
    "transport": {**FLAT, "margin": [1.0, 2.0]},
    "uniform": {**FLAT, "margin": [1.0, 2.0]},
    "triplet": {**FLAT, "margin": [0.1, 0.2]},
    "contrastive": {**FLAT, "margin": [0.5, 1.0]},
    "chest": {**CURVED, "proxy_lr": [1e-2, 3e-2]},
    "transport_hyperbolic": {**CURVED, "loss": ["transport"], "margin": [4.0, 16.0]},
}
OF_MODEL = ("loss", "proxy_lr", "space")  # the other settings are the loss's own


class SketchExperiment(ModelExperiment):
    """Trains one loss from a seed on that seed's split, and scores it on validation or test sketches."""

    data: SketchData
    offered, of_model = CANDIDATES, OF_MODEL
    decided = ("classes", "loss", "loss_args", "seed", "space", "proxy_lr")

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.memories: dict[str, dict[int, Tensor]] = {side: {} for side in SIDES}

    @property
    def fixed(self) -> Mapping[str, Any]:
        left_out = ("split_seed", "strict", "eval_batch")
        of_data = {name: value for name, value in self.data.hparams.items() if name not in left_out}
        return {"model": self.settings, "data": of_data, "epochs": self.epochs}

    def train(self, trial: Trial) -> Iterator[Evaluation]:
        torch.manual_seed(trial.seed)
        model = SketchToShape(self.data.classes, **self.model_settings(trial)).to(self.device)
        for side in SIDES:
            model.branches[side].memory = self.memories[side]
        parts = self.data.split(trial.seed)
        batches = self.data.batches(parts["train"], trial.seed)
        queries = parts["validation" if trial.stage == "search" else "test"]

        def step(draws: list[tuple[Draw, Draw]], epoch: int, place: int) -> Tensor:
            torch.manual_seed(seed_of(trial.seed, epoch * len(batches) + place))
            return model.step(self.data.both(draws))

        def score(at_the_end: bool) -> dict[str, float]:
            return self.scores(model, queries)

        return train(trial, batches, step, score, model.optimiser, epochs=self.epochs)

    @torch.no_grad()
    def scores(self, model: SketchToShape, queries: Tensor) -> dict[str, float]:
        """The SHREC scores of sketches that search the shapes, and mAP and NN of the way back."""
        model.eval()
        rows = {"sketches": queries, "shapes": torch.arange(len(self.data.gallery.shapes))}
        makes = {"sketches": self.data.sketches, "shapes": self.data.shapes}
        found = {}
        for side in SIDES:
            sides = [model.side(makes[side](some.tolist()), side) for some in rows[side].split(64)]
            embeddings = torch.cat([part.embeddings for part in sides]).cpu()
            found[side] = {"embeddings": embeddings, "labels": torch.cat([part.labels for part in sides])}
        model.train()
        if not all(bool(part["embeddings"].isfinite().all()) for part in found.values()):
            return {"mAP": float("nan"), "NN": float("nan")}
        (there, back) = (retrieval_scores(found[a], found[b], model.space) for a, b in DIRECTIONS.values())
        return there | {"NN back": back["NN"], "mAP back": back["mAP"]}
