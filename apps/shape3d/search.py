"""`python -m apps.shape3d search --ckpt_path best.ckpt --mesh chair.off`: the most similar shapes, with images."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from apps.io.atomic import write_file
from apps.io.packages import FetchError
from apps.shape3d.trained import Trained, meshes
from apps.shapes.meshes import MeshError, Up
from apps.training.run_folder import free_name


class Gallery(NamedTuple):
    """Shapes to search in: their names, embeddings and images."""

    names: list[str]
    embeddings: Tensor
    sheets: list[Tensor]


def main(args: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m apps.shape3d search", description=__doc__)
    parser.add_argument("--ckpt_path", required=True, help="checkpoint of a fit")
    parser.add_argument("--mesh", type=Path, required=True, help="the mesh to search for")
    parser.add_argument("--gallery", help="a folder of meshes to search in; without it the data of the fit")
    parser.add_argument(
        "--up", choices=("y", "z"), help="the axis that points up in the files; without it as in training"
    )
    parser.add_argument("--k", type=int, default=8, help="how many to find")
    parser.add_argument(
        "--out", type=Path, help="the image to write: query, then results; without it one beside the run"
    )
    chosen = parser.parse_args(args)
    try:
        if chosen.k < 1:
            raise ValueError(f"--k {chosen.k}; expected at least 1")
        out = chosen.out or free_name(Path(chosen.ckpt_path), f"search-{chosen.mesh.stem}", ".png")
        search(Trained(chosen.ckpt_path), chosen.mesh, chosen.gallery, chosen.up, chosen.k, out)
    except (ValueError, OSError, ImportError, FetchError) as error:
        sys.exit(f"error: {error}")


def search(trained: Trained, mesh: Path, folder: str | None, up: Up | None, k: int, out: Path) -> None:
    """Print the k most similar shapes with their distances, and write the query's and their images."""
    [query] = trained.images(meshes(mesh)[:1], up)
    if isinstance(query, MeshError):
        raise query
    gallery = _of_data(trained) if folder is None else _of_folder(trained, folder, up)
    embedding = trained.outputs(query)["embeddings"]
    distances = trained.model.space.pairwise_dist(embedding[None], gallery.embeddings)[0]
    order = distances.argsort(stable=True)[:k].tolist()
    for place, row in enumerate(order, start=1):
        print(f"{place:3}  {float(distances[row]):.4f}  {gallery.names[row]}")
    sheets = [trained.sheet(query), *(gallery.sheets[row] for row in order)]
    gap = torch.zeros(3, sheets[0].shape[1], 4, dtype=torch.uint8)
    strip = torch.cat([part for sheet in sheets for part in (sheet, gap)][:-1], dim=2)
    write_file(out, Image.fromarray(strip.permute(1, 2, 0).contiguous().numpy()).save)
    print(out, flush=True)


def _of_folder(trained: Trained, folder: str, up: Up | None) -> Gallery:
    paths = meshes(folder)
    found = zip(paths, trained.images(paths, up), strict=True)
    return _gallery(trained, ((str(path), images) for path, images in found))


def _of_data(trained: Trained) -> Gallery:
    whole = trained.data().whole
    images = (whole.views[row] for row in range(len(whole.shapes)))
    return _gallery(trained, zip(whole.shapes.names, images, strict=True))


def _gallery(trained: Trained, shapes: Iterator[tuple[str, Tensor | MeshError]]) -> Gallery:
    names, embeddings, sheets = [], [], []
    for name, images in shapes:
        if isinstance(images, MeshError):
            print(f"left out: {images}", file=sys.stderr)
            continue
        names.append(name)
        embeddings.append(trained.outputs(images)["embeddings"])
        sheets.append(trained.sheet(images))
    if not names:
        raise ValueError("no mesh of the gallery can be read")
    return Gallery(names, torch.stack(embeddings), sheets)
