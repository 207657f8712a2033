"""Options that are given beside a checkpoint: they win over those it was made with, or are refused by name."""

from collections.abc import Collection, Mapping
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback, EarlyStopping

from apps.training.callbacks import callbacks_of
from apps.training.loading import data_of
from apps.training.module import AppModule
from apps.training.restore import Saved, misfit

FOR_SPEED = {"weights": "none", "compile": False, "grad_checkpointing": False}  # they do not change what fits
OF_SCHEDULE = ("base_lrs", "gamma")
SHOWN = 60


def changed_options(given: Mapping[str, Any], stored: Mapping[str, Any]) -> list[str]:
    """The names of the options that have another value than in the checkpoint."""
    return [name for name, value in given.items() if name in stored and _plain(value) != _plain(stored[name])]


def check_options(model: AppModule, saved: Saved, *, linked: Collection[str] = (), resumes: bool) -> None:
    """Refuse a model that the weights of a checkpoint do not fit, and say which options are to blame.

    Args:
        model: made with the options that are given.
        linked: those of its arguments that are taken from the data.
        resumes: whether training goes on, so that the state of the optimiser has to fit too.

    Raises:
        ValueError: in one line, the options with their values and those of the checkpoint.
    """
    given, stored = model.settings, saved.settings
    changed = changed_options(given, stored)
    resumes = resumes and bool(changed)
    if given.get("learn_c") and "c" in changed:
        raise ValueError(
            f"--model.c {_shown(given['c'])} (the checkpoint has {_shown(stored['c'])}): a curvature that is learned "
            f"goes on from that in {str(saved.path)!r}; leave --model.c out"
        )
    kept = [name for name in changed if name in model.kept]
    if not kept and _fits(model, saved, resumes):
        return

    def to_blame(name: str) -> bool:
        speed = {option: value for option, value in FOR_SPEED.items() if option in model.arguments()}
        try:
            return not _fits(type(model)(**(stored | speed | {name: given[name]})), saved, resumes)
        # One option alone may be refused, or lead anywhere.
        except Exception:
            return True

    named = kept or list(filter(to_blame, changed)) or changed
    if not named:
        raise ValueError(misfit(saved, type(model).__module__.rpartition(".")[0]))
    options = ", ".join(
        f"{f'{name} of the data' if name in linked else f'--model.{name}'} {_shown(given[name])} "
        f"(the checkpoint has {_shown(stored[name])})"
        for name in named
    )
    state = "weights and optimiser" if resumes else "weights"
    raise ValueError(
        f"{options}: the {state} of {str(saved.path)!r} do not fit; expected the value that the checkpoint has, or "
        "another checkpoint"
    )


def check_data(given: Mapping[str, Any], saved: Saved) -> None:
    """Refuse data to test that are not as those of the training.

    Args:
        given: what the data have, by the name of the argument of the model that it is.

    Raises:
        ValueError: one line, with what the data have and what those of the training had.
    """
    for name in changed_options(given, saved.settings):
        raise ValueError(
            f"{str(saved.path)!r} was trained on data with {name} {_shown(saved.settings[name])}, and these have "
            f"{_shown(given[name])}; expected the same"
        )


class GivenOptions(Callback):
    """Keeps the learning rates, weight decay, patience and the like that are given, where training goes on.

    A checkpoint carries those of its optimiser and of early stopping. A schedule goes on from where it is, in
    proportion to the rate that is given. Early stopping looks at the scores when they are there, after a validation:
    at the end of the epoch a run that goes on from the checkpoint of a validation has none.
    """

    def __init__(self) -> None:
        self.changed = False
        self.groups: list[list[dict[str, Any]]] = []
        self.schedules: list[tuple[Any, dict[str, Any]]] = []
        self.patience: dict[EarlyStopping, int] = {}

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Before a callback has its state of the checkpoint, and before early stopping chooses when to look."""
        validates = getattr(data_of(trainer), "validates", True) and trainer.limit_val_batches != 0
        for each in callbacks_of(trainer, EarlyStopping):
            self.patience[each] = each.patience
            if each._check_on_train_epoch_end is None:
                each._check_on_train_epoch_end = not validates

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """The optimisers as they were made, before the state of the checkpoint is loaded."""
        self.groups = [
            [{name: value for name, value in group.items() if name != "params"} for group in optimizer.param_groups]
            for optimizer in trainer.optimizers
        ]
        self.schedules = [
            (each.scheduler, {name: value for name, value in vars(each.scheduler).items() if name in OF_SCHEDULE})
            for each in trainer.lr_scheduler_configs
        ]

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        stored = checkpoint.get("hyper_parameters", {})
        self.changed = isinstance(pl_module, AppModule) and bool(changed_options(pl_module.settings, stored))

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        for each, patience in self.patience.items():
            each.patience = patience
            if 0 < each.wait_count >= patience:  # it had stopped before
                trainer.should_stop = True
        if not self.changed:  # then all is bitwise as it was saved
            return
        for optimizer, given in zip(trainer.optimizers, self.groups, strict=True):
            for group, own in zip(optimizer.param_groups, given, strict=True):
                rate = group["lr"] * own["initial_lr"] / group["initial_lr"]
                group.update(own, lr=rate)
        for scheduler, schedule in self.schedules:
            vars(scheduler).update(schedule)


def _fits(model: AppModule, saved: Saved, resumes: bool) -> bool:
    if _shapes(model.state_dict()) != _shapes(saved.weights):
        return False
    if not resumes:
        return True
    groups = model.optimiser(1)[0].param_groups
    return len(groups) == len(saved.groups) and all(
        len(ours["params"]) == len(theirs.get("params", ())) and ours.keys() <= theirs.keys()
        for ours, theirs in zip(groups, saved.groups, strict=True)
    )


def _shapes(weights: Mapping[str, Any]) -> dict[str, Any]:
    """By name; a curvature is loaded whether or not it is learned."""
    return {str(name).replace("log_c", "c"): getattr(value, "shape", None) for name, value in weights.items()}


def _plain(value: Any) -> Any:
    """A value with lists in place of tuples: a config has no tuples."""
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    return value


def _shown(value: Any) -> str:
    text = str(_plain(value))
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
