"""The shapes that a path stands for."""

from pathlib import Path

from apps.datasets import furniture, mesh_folder, modelnet, shrec
from apps.datasets.meshes import Up
from apps.datasets.shapes import Shapes


def shapes(root: str | None = None, up: Up = "y", test: float = 0.3, seed: int = 0) -> Shapes:
    """The shapes below a folder, whose layout is recognised, or the packaged furniture.

    Args:
        root: Folder in one of three layouts: ModelNet (CLASS/train and CLASS/test), SHREC (one or two class lists,
            *.cla, beside the models; of two the one with "train" in its name is for training), or a folder of meshes a
            class.
            Without it: the packaged furniture, 541 models in 24 classes.
        up: The axis that points up in the files; ModelNet's is known.
        test: Share of the shapes for testing, stratified, where the layout does not say.
        seed: Seed of that split.

    Raises:
        ValueError: no such folder, or another layout; names the path.
    """
    if root is None:
        return furniture.load(test=test, seed=seed)
    folder = Path(root).expanduser()
    if folder.is_dir():
        if lists := sorted(folder.glob("*.cla"), key=lambda path: ("train" not in path.name.lower(), path.name)):
            return shrec.load(tuple(lists), folder, up=up, test=test, seed=seed)
        if modelnet.is_laid_out(folder):
            return modelnet.load(folder)
    return mesh_folder.load(folder, up=up, test=test, seed=seed)
