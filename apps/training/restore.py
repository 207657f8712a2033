"""A trained network, made again from its checkpoint."""

import pickle
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import torch

from apps.training.module import AppModule

Model = TypeVar("Model", bound=torch.nn.Module)
PARTS = ("state_dict", "hyper_parameters", "datamodule_hyper_parameters")
ZIP, PICKLE = b"PK", b"\x80"  # how files begin: those that torch writes today, and those of old


class Restored(NamedTuple, Generic[Model]):
    """A network in evaluation mode on the CPU, the arguments it was trained with, and those of its data."""

    model: Model
    settings: dict[str, Any]
    data: dict[str, Any]


class Saved(NamedTuple):
    """What a checkpoint holds: the weights, the arguments of the model and of its data, the state of the optimiser.

    groups: the groups of parameters of the optimiser; none where only weights were saved.
    noted: what the training found out beside the weights, see `AppModule`.
    """

    path: Path
    weights: Mapping[str, Any]
    settings: dict[str, Any]
    data: dict[str, Any]
    groups: Sequence[Mapping[str, Any]]
    noted: dict[str, Any]


def read_checkpoint(path: str | Path, app: str) -> Saved:
    """What is in a checkpoint that a fit wrote; it is read as numbers and names alone: no code in it is run.

    Args:
        app: the package of the app, such as "apps.digits", for the message.

    Raises:
        ValueError: the file is missing, empty, damaged or no checkpoint. One line, which names the file.
    """
    path = Path(path)
    expected = f"expected a checkpoint of {app}, such as runs/version_0/checkpoints/best.ckpt"
    if not path.is_file():
        found = "is a folder" if path.is_dir() else "is no file" if path.exists() else "does not exist"
        raise ValueError(f"{str(path)!r} {found}; {expected}")
    try:
        content = _read(path)
    except (OSError, ValueError) as error:
        raise ValueError(f"{str(path)!r} cannot be read: {_first_line(error)}; {expected}") from error
    if not isinstance(content, Mapping) or not all(isinstance(content.get(part), Mapping) for part in PARTS):
        raise ValueError(f"{str(path)!r} is of something else; {expected}")
    settings, data = (
        {name: value for name, value in content[part].items() if not str(name).startswith("_")} for part in PARTS[1:]
    )
    try:
        groups = [group for state in content.get("optimizer_states", ()) for group in state["param_groups"]]
    except (TypeError, KeyError):
        groups = []
    noted = content.get("noted")
    return Saved(path, content["state_dict"], settings, data, groups, dict(noted) if isinstance(noted, Mapping) else {})


def restore(path: str | Path, model_class: type[Model], **instead: Any) -> Restored[Model]:
    """The network of a checkpoint that a fit of `model_class` wrote.

    Args:
        instead: arguments of `model_class` to use instead of those in the checkpoint, such as weights="none".

    Raises:
        ValueError: as `read_checkpoint`; another app wrote it, or another version of this one that the network does not
            fit. One line, which names the file.
    """
    app = model_class.__module__.rpartition(".")[0]
    saved = read_checkpoint(path, app)
    try:
        model = model_class(**(saved.settings | instead))
        model.load_state_dict(saved.weights)
    except (TypeError, KeyError, AttributeError, RuntimeError, ValueError) as error:
        raise ValueError(f"{misfit(saved, app)}: {_first_line(error)}") from error
    if isinstance(model, AppModule):
        model.noted = saved.noted
    return Restored(model.eval(), saved.settings, saved.data)


def misfit(saved: Saved, app: str) -> str:
    """What to say of a checkpoint that is none of this app's."""
    return f"{str(saved.path)!r} does not fit this version of {app}, or another app wrote it"


def _read(path: Path) -> Any:
    """What the file holds. Raises ValueError and OSError that say why it cannot be read, without its name."""
    with path.open("rb") as file:
        start = file.read(2)
    if not start:
        raise ValueError("it is empty")
    if not start.startswith(ZIP):
        raise ValueError("it is an old pickle" if start.startswith(PICKLE) else "torch did not write it")
    if not zipfile.is_zipfile(path):  # what lists the archive's files is at its end
        raise ValueError("it is truncated")
    with zipfile.ZipFile(path) as archive:
        if damaged := archive.testzip():  # torch does not compare the sums
            raise ValueError(f"it is damaged ({damaged})")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError("it holds more than numbers and names") from error
    # Damaged bytes lead unpickling anywhere.
    except Exception as error:
        raise ValueError(f"it is damaged ({_first_line(error)})") from error


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
