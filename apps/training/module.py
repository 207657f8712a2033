"""What the models of all apps have in common."""

import inspect
from typing import Any

import lightning as L
import torch

from geomdml.spaces import Hyperbolic


class AppModule(L.LightningModule):
    """Can be made again from its own arguments, and trains under `optimiser`; a subclass calls `save_hyperparameters`.

    Lightning's command line writes more into `hparams` than a module's own arguments, so `Model(**model.hparams)` fails
    where `Model(**model.settings)` works.
    """

    @classmethod
    def arguments(cls) -> list[str]:
        """The names of the arguments."""
        return list(inspect.signature(cls).parameters)

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

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The curvature that this module was made with stays, where it is not learned: it is an option, no weight."""
        own = self.state_dict()
        for name, module in self.named_modules(remove_duplicate=False):
            if isinstance(module, Hyperbolic) and (key := f"{name}.c") in own:
                checkpoint["state_dict"][key] = own[key]
