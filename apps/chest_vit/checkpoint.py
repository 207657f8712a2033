"""A trained network, from its checkpoint: what turns images into embeddings, and the images it was trained for."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from apps.chest_vit.data import RetrievalData
from apps.chest_vit.model import CHEST
from apps.networks import pretrained

# Neither is needed to use a network; the weights are those of the checkpoint.
AS_TRAINED = {"weights": "none", "compile": False, "grad_checkpointing": False}


class Trained(NamedTuple):
    """A network in evaluation mode, on the CPU, and the settings of its data."""

    model: CHEST
    data: dict[str, Any]

    def images(self, root: str | None = None) -> RetrievalData:
        """The data, at another root where one is given."""
        return RetrievalData(**(self.data | ({} if root is None else {"root": root}) | {"workers": 0}))


class Embedder(nn.Module):
    """Uint8 images (B, 3, S, S) to their embeddings: E Euclidean, H tangent vectors at the origin.

    The network without what training needs, for `export`.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: CHEST) -> None:
        super().__init__()
        self.backbone, self.head = model.backbone, model.head
        self.register_buffer("mean", model.mean)
        self.register_buffer("std", model.std)
        self.from_backbone = model.hparams["eta_h"] > 0

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.backbone((images.float() - self.mean) / self.std)
        return features if self.from_backbone else self.head.tangent(features), self.head(features)


def load(path: str | Path) -> Trained:
    """The network of a checkpoint, which runs no code and fetches nothing.

    Raises:
        ValueError: no such file, a broken one, or a checkpoint of something else.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"checkpoint {str(path)!r} does not exist; expected a .ckpt file of a run")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    # Broken bytes lead unpickling anywhere.
    except Exception as error:
        raise ValueError(f"checkpoint {str(path)!r} cannot be read: {_first_line(error)}") from error
    wanted = ("state_dict", "hyper_parameters", "datamodule_hyper_parameters")
    if not isinstance(content, Mapping) or not all(isinstance(content.get(key), Mapping) for key in wanted):
        raise ValueError(f"checkpoint {str(path)!r} is of something else; expected one that apps.chest_vit wrote")
    settings, data = (
        {name: value for name, value in content[key].items() if not name.startswith("_")} for key in wanted[1:]
    )
    try:
        model = CHEST(**(settings | AS_TRAINED))
        model.load_state_dict(content["state_dict"])
    except (TypeError, KeyError, RuntimeError, ValueError) as error:
        raise ValueError(f"checkpoint {str(path)!r} does not fit this version: {_first_line(error)}") from error
    mean, std = pretrained.normalisation(model.backbone, settings["weights"])
    model.mean.copy_(255 * torch.tensor(mean).view(3, 1, 1))
    model.std.copy_(255 * torch.tensor(std).view(3, 1, 1))
    return Trained(model.eval(), data)


def fingerprint(model: CHEST) -> str:
    """The same for the same network alone: by it embeddings know the network that made them."""
    digest = hashlib.sha256()
    for tensor in Embedder(model).state_dict().values():
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
