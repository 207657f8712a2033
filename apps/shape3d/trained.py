"""A trained network from its checkpoint, and what it makes of meshes that are not in its data."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from apps.datasets import class_folders, left_out
from apps.io.workers import on_all_cores
from apps.shape3d.model import Shape3D
from apps.shapes.meshes import KILLED, SUFFIXES, MeshError, MeshFile, Up
from apps.shapes.rendering import Look
from apps.shapes.views import images_of
from apps.training.restore import restore
from apps.training.shape_data import OF_LOOK, ShapeData, contact_sheet, look


class Trained:
    """The network of a checkpoint, its look on shapes, the axis that is up in their files, and the data of its fit.

    Raises:
        ValueError: no checkpoint of this app. It is read as numbers and names alone: no code in it is run.
    """

    def __init__(self, path: str | Path) -> None:
        self.model, _, self.of_data = restore(path, Shape3D, weights="none")
        self.up: Up = self.of_data.get("up", "y")
        try:
            self.look: Look = look(**{name: self.of_data[name] for name in OF_LOOK if name in self.of_data})
        except (KeyError, TypeError) as error:
            raise ValueError(f"{str(path)!r} does not fit this version of apps.shape3d: no data.{error}") from error

    def data(self) -> ShapeData:
        """The shapes that it was trained and tested on, from where they were then."""
        return ShapeData(**self.of_data)

    @torch.no_grad()
    def outputs(self, images: UInt8[Tensor, "V C S S"]) -> dict[str, Float[Tensor, "..."]]:
        """Features, embedding and logits of one shape."""
        return {name: values[0] for name, values in self.model(images[None]).items()}

    def sheet(self, images: UInt8[Tensor, "V C S S"]) -> UInt8[Tensor, "3 H W"]:
        """Four views of a shape in one square."""
        return contact_sheet(images[: len(self.look.directions)])

    def images(self, paths: Sequence[Path], up: Up | None = None) -> Iterator[UInt8[Tensor, "V C S S"] | MeshError]:
        """The images of each mesh in order, or why it has none; without `up` the axis is that of the training."""
        rendered = on_all_cores(
            _Rendering(self.look, up or self.up), paths, chunk=1, killed=lambda path: MeshError(str(path), KILLED)
        )
        for found in rendered:
            yield found if isinstance(found, MeshError) else torch.from_numpy(found)


class _Rendering:
    """Renders a path; sent to other processes."""

    def __init__(self, look: Look, up: Up) -> None:
        self.look, self.up = look, up

    def __call__(self, path: Path) -> Any:
        try:
            return images_of(MeshFile(path, self.up), self.look)
        except MeshError as error:
            return error


def meshes(path: str | Path) -> list[Path]:
    """The mesh files in a folder or deeper, sorted; or the one file.

    Raises:
        ValueError: it is neither, or holds no mesh.
    """
    path = Path(path).expanduser()
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise ValueError(f"{str(path)!r} does not exist; expected a mesh, or a folder of meshes")
    found, others = class_folders.list_files(path, SUFFIXES)
    if not found:
        state = f"; it has {words}" if (words := left_out.in_words(others)) else ""
        raise ValueError(f"{str(path)!r} has no mesh in it; expected {', '.join(sorted(SUFFIXES))}{state}")
    left_out.warn(path, "meshes", others)
    return sorted(found)
