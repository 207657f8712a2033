"""What `compare` and `sweep` train: spaces, starts and optimizers, each with the learning rates it may choose from."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from apps.compare.experiment import ModelExperiment
from apps.compare.harness import Comparison, Evaluation, SearchSpace, Setting, Trial
from apps.compare.loop import train
from apps.compare.tables import Titled, mean_sd
from apps.taxonomy.data import TaxonomyData
from apps.taxonomy.model import TaxonomyEmbedding
from geomdml.hierarchy import link_prediction

OF_DATA = ("relatives", "held_out")
CANDIDATES: dict[str, SearchSpace] = {
    "nested balls": {"initial": ["balls"], "optimizer": ["polar"], "lr": [0.01, 0.03, 0.1, 0.3]},
    "nested balls, adam": {"initial": ["balls"], "optimizer": ["adam"], "lr": [0.001, 0.003, 0.01, 0.03]},
    "tangent": {"initial": ["random"], "optimizer": ["adam"], "lr": [0.03, 0.1, 0.3, 1.0]},
    "ball": {"space": ["ball"], "initial": ["random"], "lr": [0.003, 0.01, 0.03, 0.1]},
    "lorentz": {"space": ["lorentz"], "initial": ["random"], "lr": [0.03, 0.1, 0.3, 1.0]},
    "euclidean": {"space": ["euclidean"], "lr": [0.03, 0.1, 0.3, 1.0]},
}


def at(space: SearchSpace, **values: Setting) -> SearchSpace:
    """These settings with others that have one value."""
    return {**space, **{name: [value] for name, value in values.items()}}


BALLS, RANDOM = CANDIDATES["nested balls"], CANDIDATES["tangent"]
EUCLIDEAN = at(CANDIDATES["euclidean"], relatives=0.0)  # of the mammals it holds more without relatives
SWEEP: dict[str, SearchSpace] = {
    **{f"nested balls, {dim}-d": at(BALLS, dim=dim) for dim in (2, 5, 10)},
    **{f"tangent, {dim}-d": at(RANDOM, dim=dim) for dim in (2, 5, 10)},
    **{f"euclidean, {dim}-d": at(EUCLIDEAN, dim=dim) for dim in (2, 5, 10, 20, 50, 100)},
    **{f"nested balls, {share:.0%} held out": at(BALLS, held_out=share) for share in (0.05, 0.1, 0.2)},
    **{f"euclidean, {share:.0%} held out": at(EUCLIDEAN, held_out=share) for share in (0.05, 0.1, 0.2)},
    **{
        f"{name}, float64": at(CANDIDATES[name], dtype="float64")
        for name in ("nested balls", "tangent", "ball", "lorentz")
    },
    **{f"{name}, negatives from all": at(CANDIDATES[name], relatives=0.0) for name in ("tangent", "ball", "lorentz")},
    # lengths are in units of 1/√c, and so are the rates
    "nested balls, c = 0.1": {**at(BALLS, c=0.1), "lr": [0.03, 0.1, 0.3, 1.0]},
    "nested balls, c = 10": {**at(BALLS, c=10.0), "lr": [0.003, 0.01, 0.03, 0.1]},
    "tangent, c = 0.1": {**at(RANDOM, c=0.1), "lr": [0.1, 0.3, 1.0, 3.0]},
    "tangent, c = 10": {**at(RANDOM, c=10.0), "lr": [0.01, 0.03, 0.1, 0.3]},
}


class TaxonomyExperiment(ModelExperiment):
    """Trains one embedding from a seed, and scores how well it holds the taxonomy: a search on some of its nodes.

    Settings of a candidate are options of the model, `relatives` and `held_out` of the data, and `dtype`. Where a
    candidate holds pairs out, each seed holds out others.
    """

    data: TaxonomyData
    score = "MAP"
    offered = CANDIDATES
    decided = ("space", "initial", "optimizer", "lr", "seed", "euclidean_steps", "euclidean_lr")

    @property
    def fixed(self) -> Mapping[str, Any]:
        of_data = {name: value for name, value in self.data.hparams.items() if name != "seed"}
        return {"model": self.settings, "data": of_data, "size": self.data.facts()["size"], "epochs": self.epochs}

    def model_settings(self, trial: Trial) -> dict[str, Any]:
        chosen = {name: value for name, value in trial.settings.items() if name not in ("dtype", *OF_DATA)}
        return self.settings | chosen | {"seed": trial.seed}

    def data_of(self, trial: Trial) -> TaxonomyData:
        chosen = {name: trial.settings[name] for name in OF_DATA if name in trial.settings}
        return self.data.varied(**chosen, split_seed=trial.seed) if "held_out" in chosen else self.data.varied(**chosen)

    def train(self, trial: Trial) -> Iterator[Evaluation]:
        data = self.data_of(trial)
        model = TaxonomyEmbedding(**self.model_settings(trial))
        model.to(self.device, getattr(torch, str(trial.settings.get("dtype", "float32"))))
        model.place(data.edges)

        def step(batch: Tensor, epoch: int, place: int) -> Tensor:
            model.keep_inside()
            return model.step(batch.to(self.device))

        def score(at_the_end: bool) -> dict[str, float]:
            model.keep_inside()
            ancestors = data.known
            if trial.stage == "search":
                ancestors = ancestors[torch.isin(ancestors[:, 0], data.sample)]
            found = model.reconstruct(ancestors.to(self.device))
            scores = {"MAP": 100 * found.map, "mean rank": found.mean_rank, "largest radius": float(model.radii.max())}
            if trial.stage == "final" and len(data.held_out):
                links = link_prediction(model.embeddings, data.held_out, data.known, space=model.space)
                scores |= {"held-out MAP": 100 * links.map, "held-out mean rank": links.mean_rank}
            return scores

        return train(trial, data.batches(trial.seed), step, score, model.optimiser, epochs=self.epochs)


class TaxonomySweep(TaxonomyExperiment):
    """Dimensions, pairs held out, floats, negatives and curvatures."""

    offered = SWEEP


def before_training(comparison: Comparison) -> list[Titled]:
    """The scores of each candidate as it was placed, where step 0 is a moment to score at."""
    starts = {name: [run.history[0] for run in runs] for name, runs in comparison.finals.items()}
    starts = {name: first for name, first in starts.items() if first[0].step == 0}
    columns = list(dict.fromkeys(score for first in starts.values() for score in first[0].scores))
    rows = [
        (name, [mean_sd([each.scores.get(score, np.nan) for each in first], digits=2) for score in columns])
        for name, first in starts.items()
    ]
    return [("Before training", columns, rows)] if rows else []
