"""What `compare` compares: spaces, starts and optimizers, each with the learning rates that it may choose from."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from apps.compare.experiment import ModelExperiment
from apps.compare.harness import Evaluation, SearchSpace, Trial
from apps.compare.loop import train
from apps.taxonomy.data import TaxonomyData
from apps.taxonomy.model import TaxonomyEmbedding

CANDIDATES: dict[str, SearchSpace] = {
    "nested balls": {"initial": ["balls"], "optimizer": ["polar"], "lr": [0.01, 0.03, 0.1, 0.3]},
    "nested balls, adam": {"initial": ["balls"], "optimizer": ["adam"], "lr": [0.001, 0.003, 0.01, 0.03]},
    "tangent": {"initial": ["random"], "optimizer": ["adam"], "lr": [0.03, 0.1, 0.3, 1.0]},
    "ball": {"space": ["ball"], "initial": ["random"], "lr": [0.003, 0.01, 0.03, 0.1]},
    "lorentz": {"space": ["lorentz"], "initial": ["random"], "lr": [0.03, 0.1, 0.3, 1.0]},
    "euclidean": {"space": ["euclidean"], "lr": [0.03, 0.1, 0.3, 1.0]},
}


class TaxonomyExperiment(ModelExperiment):
    """Trains one embedding from a seed, and scores how well it holds the taxonomy: a search on some of its nodes."""

    data: TaxonomyData
    score = "MAP"
    offered = CANDIDATES
    decided = ("space", "initial", "optimizer", "lr", "seed", "euclidean_steps", "euclidean_lr")

    @property
    def fixed(self) -> Mapping[str, Any]:
        of_data = {name: value for name, value in self.data.hparams.items() if name != "seed"}
        return {"model": self.settings, "data": of_data, "size": self.data.facts()["size"], "epochs": self.epochs}

    def model_settings(self, trial: Trial) -> dict[str, Any]:
        return self.settings | dict(trial.settings) | {"seed": trial.seed}

    def train(self, trial: Trial) -> Iterator[Evaluation]:
        model = TaxonomyEmbedding(**self.model_settings(trial))
        model.place(self.data.edges)
        model.to(self.device)

        def step(batch: Tensor, epoch: int, place: int) -> Tensor:
            model.keep_inside()
            return model.step(batch.to(self.device))

        def score(at_the_end: bool) -> dict[str, float]:
            model.keep_inside()
            ancestors = self.data.known
            if trial.stage == "search":
                ancestors = ancestors[torch.isin(ancestors[:, 0], self.data.sample)]
            found = model.reconstruct(ancestors.to(self.device))
            return {"MAP": 100 * found.map, "mean rank": found.mean_rank, "largest radius": float(model.radii.max())}

        return train(trial, self.data.batches(trial.seed), step, score, model.optimiser, epochs=self.epochs)
