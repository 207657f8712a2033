"""What the models of all apps have in common."""

import inspect
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import lightning as L
import torch

from geomdml.spaces import Hyperbolic


class AppModule(L.LightningModule):
    """Can be made again from its own arguments, and trains under `optimiser`; a subclass calls `save_hyperparameters`.

    Lightning's command line writes more into `hparams` than a module's own arguments, so `Model(**model.hparams)` fails
    where `Model(**model.settings)` works.

    Attributes:
        monitor: the logged validation score, higher is better, that chooses the best checkpoint.
        shown: what a line an epoch says, {its words: the name of a logged value}.
        options_of_data: arguments with a default that are options of the data, of the same names.
        properties_of_data: arguments with a default that are properties of the data, of the same names.
        fixed: those of the arguments without a default in which data to test must be as those of the training.
        kept: the arguments that say what the weights are, such as the chart of points: other values never fit them.
        noted: what a training found out beside the weights, by name, as plain values. A checkpoint takes it along.
    """

    monitor: ClassVar[str] = ""
    shown: ClassVar[Mapping[str, str]] = MappingProxyType({})
    options_of_data: ClassVar[tuple[str, ...]] = ()
    properties_of_data: ClassVar[tuple[str, ...]] = ()
    fixed: ClassVar[tuple[str, ...]] = ()
    kept: ClassVar[tuple[str, ...]] = ()

    def __init__(self) -> None:
        super().__init__()
        self.noted: dict[str, Any] = {}

    @classmethod
    def arguments(cls) -> list[str]:
        """The names of the arguments."""
        return list(inspect.signature(cls).parameters)

    @classmethod
    def arguments_from_data(cls) -> list[str]:
        """The arguments that are properties of the data, of the same names: those without a default, and some with."""
        known = inspect.signature(cls).parameters.items()
        return [name for name, one in known if one.default is one.empty or name in cls.properties_of_data]

    def optimiser(self, steps: int) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
        """The optimiser, and the schedule of its learning rates over a training of so many steps."""
        raise NotImplementedError

    def configure_optimizers(self) -> Any:
        optimizer, scheduler = self.optimiser(max(1, int(self.trainer.estimated_stepping_batches)))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments that this module was made with."""
        return {name: self.hparams[name] for name in self.arguments()}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.noted:
            checkpoint["noted"] = dict(self.noted)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The curvature that this module was made with stays, where it is not learned: it is an option, no weight."""
        self.noted = dict(checkpoint.get("noted", {}))
        own = self.state_dict()
        for name, module in self.named_modules(remove_duplicate=False):
            if isinstance(module, Hyperbolic) and (key := f"{name}.c") in own:
                checkpoint["state_dict"][key] = own[key]
