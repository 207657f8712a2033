"""What the experiments of the apps have in common: one training of a model from the settings of a trial."""

from collections.abc import Collection, Mapping
from typing import Any, ClassVar

import torch

from apps.compare.harness import SearchSpace, Trial, choose_candidates


class ModelExperiment:
    """An experiment with the model and the data of a command line; a subclass has `fixed` and `train`.

    Args:
        model: says which network and optimiser; the settings that a trial decides do not matter.
        data: what it is trained and scored on.
        epochs: of a training.
        device: to train on.
        wanted: names among `offered`; None is all.

    Raises:
        ValueError: a name that is not among them.
    """

    score: str = "mAP"
    offered: ClassVar[Mapping[str, SearchSpace]]  # the candidates, with the settings that each may choose from
    decided: ClassVar[Collection[str]]  # the arguments of the model that a trial decides
    of_model: ClassVar[Collection[str]] = ()  # the settings that are the model's; the others are the loss's own

    def __init__(
        self, model: Any, data: Any, epochs: int, device: torch.device, wanted: Collection[str] | None
    ) -> None:
        self.candidates = choose_candidates(self.offered, wanted)
        self.data, self.epochs, self.device = data, epochs, device
        self.settings = {name: value for name, value in model.settings.items() if name not in self.decided}

    def model_settings(self, trial: Trial) -> dict[str, Any]:
        """The arguments of the model of a trial; its loss is called as the candidate where the settings name none."""
        chosen = {"loss": trial.candidate, **trial.settings}
        of_model = {name: value for name, value in chosen.items() if name in self.of_model}
        of_loss = {name: value for name, value in chosen.items() if name not in self.of_model}
        return self.settings | of_model | {"loss_args": of_loss, "seed": trial.seed}
