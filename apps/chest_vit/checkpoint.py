"""A trained network, from its checkpoint: what turns images into embeddings, and the images it was trained for."""

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from apps.chest_vit.class_tree import FOLDERS
from apps.chest_vit.data import RetrievalData
from apps.chest_vit.model import CHEST
from apps.datasets import image_list
from apps.training.restore import restore

# Neither is needed to use a network; the weights are those of the checkpoint.
AS_TRAINED = {"weights": "none", "compile": False, "grad_checkpointing": False}


class Trained(NamedTuple):
    """A network in evaluation mode, on the CPU, and the settings of its data."""

    model: CHEST
    data: dict[str, Any]

    def images(self, root: str | None = None, **settings: Any) -> RetrievalData:
        """The data, prepared in this process: at another root, and with other settings, where they are given.

        Raises:
            ValueError: settings that there are not, or values that they do not take.
        """
        given = {} if root is None else {"root": root}
        try:
            return RetrievalData(**(self.data | {"workers": 0} | given | settings))
        except TypeError as error:
            raise ValueError(f"these settings are not those of the data: {error}") from error

    def listed(self, where: str, **options: Any) -> image_list.Listed:
        """Images without a layout, as `image_list.load` has them; their classes are named as in the training."""
        return image_list.load(where, nested=self.data.get("hierarchy") == FOLDERS, **options)


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


def load(path: str | Path, **settings: Any) -> Trained:
    """The network of a checkpoint, which runs no code and fetches nothing.

    Args:
        settings: arguments of CHEST to use instead of the checkpoint's.

    Raises:
        ValueError: as `restore`.
    """
    model, trained_with, data = restore(path, CHEST, **(settings | AS_TRAINED))
    if not model.restored_normalisation:  # an old one
        model.normalise_for(trained_with["weights"])
    return Trained(model, data)


def fingerprint(model: CHEST) -> str:
    """The same for the same network alone: by it embeddings know the network that made them."""
    digest = hashlib.sha256()
    for tensor in Embedder(model).state_dict().values():
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
