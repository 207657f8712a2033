"""A Lightning module that can be made again from the arguments it was made with."""

import inspect
from typing import Any

import lightning as L


class Rebuildable(L.LightningModule):
    """Knows its own arguments; a subclass calls `save_hyperparameters`.

    Lightning's command line writes more into `hparams` than a module's own arguments, so `Model(**model.hparams)` fails
    where `Model(**model.settings)` works.
    """

    @classmethod
    def arguments(cls) -> list[str]:
        """The names of the arguments."""
        return list(inspect.signature(cls).parameters)

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments that this module was made with."""
        return {name: self.hparams[name] for name in self.arguments()}
