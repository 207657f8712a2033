"""What `compare` compares: each loss with the settings that it may choose from, and one training of it."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from apps.compare.experiment import ModelExperiment
from apps.compare.harness import Evaluation, SearchSpace, Setting, Trial
from apps.compare.loop import train
from apps.datasets.image_arrays import ImageArrays, hold_out
from apps.digits.data import DigitBatch, DigitsData
from apps.digits.model import Digits
from apps.evaluation.classifiers import classification
from apps.evaluation.scores import pair_scores
from geomdml.spaces import Euclidean

RATES, UNIT = [1e-3, 3e-3], [False, True]
MARGINS = [0.5, 1.0, 2.0, 4.0]
SHARPNESS: list[Setting] = [10.0, "relative"]
# Each has 16 settings. The unit sphere holds squared distances to 4, so that one list of margins serves both.
CANDIDATES: dict[str, SearchSpace] = {
    "transport": {"lr": RATES, "unit": UNIT, "margin": [1.0, 4.0], "sharpness": SHARPNESS},
    # one batch of 128 against itself: as many pairs as the rivals see
    "transport_128": {
        "loss": ["transport"],
        "two_batches": [False],
        "lr": RATES,
        "unit": UNIT,
        "margin": [1.0, 4.0],
        "sharpness": SHARPNESS,
    },
    # the objective of the published code: λ = 0.01 and T·M²
    "published": {
        "loss": ["transport"],
        "reg": [100.0],
        "power": [2],
        "sharpness": [10.0],
        "lr": RATES,
        "unit": UNIT,
        "margin": MARGINS,
    },
    "uniform": {"lr": RATES, "unit": UNIT, "margin": MARGINS},
    "contrastive": {"lr": RATES, "unit": UNIT, "margin": MARGINS},
    "triplet": {"lr": RATES, "unit": UNIT, "margin": [0.1, 0.2, 0.5, 1.0]},
    "lifted_structure": {"lr": RATES, "unit": UNIT, "margin": MARGINS},
    "n_pairs": {"lr": RATES, "unit": [True], "scale": [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0]},
}
OF_MODEL = ("loss", "two_batches", "lr", "unit")  # the other settings are the loss's own
QUERIES = 5  # one test image in so many asks, the others answer: all could ask, at five times the cost
CLASSIFIED = 10_000  # training embeddings that classifiers learn on


class DigitsExperiment(ModelExperiment):
    """Trains one loss from a seed, and scores it on validation or test images: some search among the others."""

    data: DigitsData
    offered, of_model = CANDIDATES, OF_MODEL
    decided = ("loss", "loss_args", "seed")

    @property
    def fixed(self) -> Mapping[str, Any]:
        names = ("name", "validation", "split_seed", "limit", "batch_size")
        of_data = {name: self.data.hparams[name] for name in names}
        if self.data.hparams["root"] is not None:  # a path does not say what it holds
            of_data["images"] = hashlib.sha256(self.data.benchmark.train.pixels.numpy().tobytes()).hexdigest()
        return {"model": self.settings, "data": of_data, "epochs": self.epochs}

    def train(self, trial: Trial) -> Iterator[Evaluation]:
        torch.manual_seed(trial.seed)
        model = Digits(**self.model_settings(trial)).to(self.device)
        images = self.data.parts["train"]

        def step(rows: Tensor, epoch: int, place: int) -> Tensor:
            some = images.of(rows)
            return model.step(DigitBatch(some.pixels.to(self.device), some.labels.to(self.device)))["loss"]

        def score(at_the_end: bool) -> dict[str, float]:
            return self.scores(model, trial, at_the_end=at_the_end)

        batches = self.data.batches(trial.seed)
        return train(trial, batches, step, score, model.optimiser, epochs=self.epochs, per="epoch")

    @torch.no_grad()
    def scores(self, model: Digits, trial: Trial, *, at_the_end: bool) -> dict[str, float]:
        """mAP and Recall@1; at the end of a final training what classifiers make of the embeddings too."""
        part = self.data.parts["validation" if trial.stage == "search" else "test"]
        found = self.embed(model, part)
        if not bool(found.isfinite().all()):
            return {"mAP": float("nan"), "Recall@1": float("nan")}
        gallery, queries = hold_out(part.labels, len(part) // QUERIES, seed=0)
        scores = pair_scores(found[queries], part.labels[queries], Euclidean(), found[gallery], part.labels[gallery])
        if at_the_end and trial.stage == "final":
            train = self.data.parts["train"]
            train = train.of(hold_out(train.labels, min(CLASSIFIED, len(train) - 1), seed=0)[1])
            scores |= classification(self.embed(model, train), train.labels, found, part.labels)
        return scores

    def embed(self, model: Digits, images: ImageArrays) -> Tensor:
        model.eval()
        found = [model(pixels.to(self.device)).cpu() for pixels in images.pixels.split(self.data.hparams["eval_batch"])]
        model.train()
        return torch.cat(found)
