"""A trained network, made again from its checkpoint."""

import pickle
from pathlib import Path
from typing import Any, TypeVar

import torch

Model = TypeVar("Model", bound=torch.nn.Module)


def restored(path: str | Path, model_class: type[Model]) -> tuple[Model, dict[str, Any]]:
    """The network of a checkpoint, in evaluation mode on the CPU, and the arguments of its data.

    The checkpoint is read as numbers and names alone: no code in it is run.

    Args:
        model_class: its `arguments()` are the names of the arguments that make it; "weights" may be one of them.

    Raises:
        ValueError: no checkpoint, or one of another network.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(
            f"{str(path)!r} does not exist: a checkpoint is wanted, as in runs/version_0/checkpoints/best.ckpt"
        )
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        of_model, of_data = content["hyper_parameters"], content["datamodule_hyper_parameters"]
        known = model_class.arguments()  # type: ignore[attr-defined]
        arguments = {name: of_model[name] for name in known}
        if "weights" in arguments:
            arguments["weights"] = "none"
        model = model_class(**arguments)
        model.load_state_dict(content["state_dict"])
        of_data = {name: value for name, value in of_data.items() if not name.startswith("_")}
    except (KeyError, TypeError, AttributeError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        reason = str(error).partition("\n")[0][:100] or type(error).__name__
        app = model_class.__module__.rpartition(".")[0]
        raise ValueError(f"{str(path)!r} is no checkpoint of {app} ({reason})") from error
    return model.eval(), of_data
