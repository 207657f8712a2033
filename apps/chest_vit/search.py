"""`python -m apps.chest_vit search --ckpt_path FILE --query IMAGE`: the images nearest to one of your own."""

import argparse
import pickle
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console, JustifyMethod
from rich.table import Table
from torch import Tensor

from apps.chest_vit.checkpoint import Trained, load
from apps.chest_vit.class_tree import place
from apps.chest_vit.data import RetrievalData
from apps.chest_vit.gallery import Gallery, embedded_before, embedded_now
from apps.datasets.files import decode, text
from apps.evaluation import embedding_shards
from apps.io.atomic import write_file
from apps.io.packages import FetchError
from apps.report.figures import image_address
from apps.report.templates import render_template
from apps.training.run_folder import free_name
from geomdml.search import knn


class Neighbour(NamedTuple):
    """An image that was found."""

    name: str
    label: str
    distance: float
    image: str  # a `data:` address, or nothing where it is not there any more
    above: str = ""  # the categories of its class, the most general first, where the training had a hierarchy


def main(args: list[str] | None = None) -> None:
    """Print the nearest images and write them as a page beside the run.

    Raises:
        SystemExit: a file that cannot be used (code 1), in one line; wrong arguments (code 2).
    """
    parser = argparse.ArgumentParser(prog="python -m apps.chest_vit search", description=__doc__)
    parser.add_argument(
        "--ckpt_path", "--checkpoint", dest="checkpoint", type=Path, required=True, help="A .ckpt file of a run."
    )
    parser.add_argument("--query", type=Path, required=True, help="The image to search for.")
    parser.add_argument(
        "--embeddings",
        type=Path,
        help="embeddings.safetensors of predict, or embeddings.json of several processes; no other file is then read "
        "beside the images that are found. Without it the images of the run are embedded now.",
    )
    parser.add_argument(
        "--space", choices=["H", "E"], help="Hyperbolic or Euclidean output; without it the better on validation."
    )
    parser.add_argument("-k", type=int, default=10, help="How many images (10).")
    parser.add_argument("--data.root", dest="root", help="Where the images are now, if they were moved.")
    parser.add_argument(
        "--images", help="Search these instead of the run's images: a folder or a list, as for predict --images."
    )
    asked = parser.parse_args(args)
    try:
        if asked.root is not None and asked.images is not None:
            raise ValueError("--data.root and --images both say where the images are; expected one of them")
        query = decode(asked.query)
        trained = load(asked.checkpoint)
        data = trained.images(asked.root)
        if asked.embeddings is not None:
            given = embedding_shards.read(asked.embeddings)
            gallery = embedded_before(trained, given, root=asked.root, images=asked.images)
        else:
            images = data.everything if asked.images is None else trained.listed(asked.images).images
            gallery = embedded_now(trained, data, images)
        output = asked.space or trained.model.chosen
        neighbours = found(trained, data, gallery, query, output, asked.k)
        show(neighbours, output)
        print(f"by {trained.model.choice_in_words(output)}")
        if gone := sum(not one.image for one in neighbours):
            print(
                f"{gone} of these images cannot be opened where they were embedded; give --data.root if they were moved"
            )
        path = free_name(asked.checkpoint, f"search-{asked.query.stem}", ".html")
        print(f"page: {write(path, asked.query.name, query, output, neighbours)}", flush=True)
    except (ValueError, OSError, FetchError, pickle.UnpicklingError) as error:
        sys.exit(f"error: {error}")


@torch.no_grad()
def found(
    trained: Trained, data: RetrievalData, gallery: Gallery, query: Tensor, output: str, k: int
) -> list[Neighbour]:
    """The k images of a gallery nearest to the query, by one output of the network.

    Raises:
        ValueError: k below 1.
    """
    if k < 1:
        raise ValueError(f"-k {k}; expected at least 1")
    model, vectors = trained.model, gallery.vectors[output]
    embedding = model(data.whole(query).unsqueeze(0))[output]
    distances, indices = knn(embedding, vectors, min(k, len(vectors)), space=model.spaces[output])
    tree = model.hparams["class_tree"] or {}
    return [
        Neighbour(gallery.names[i], gallery.classes[i], d, _address(gallery, i), place(tree, gallery.classes[i]))
        for d, i in zip(distances[0].tolist(), indices[0].tolist(), strict=True)
    ]


def _address(gallery: Gallery, row: int) -> str:
    try:
        return image_address(gallery.image(row))
    except ValueError:  # it was moved or removed after it was embedded
        return ""


def show(neighbours: Sequence[Neighbour], output: str) -> None:
    console = Console(width=None if sys.stdout.isatty() else 110)
    table = Table(title=f"Nearest by {output}")
    categories = any(one.above for one in neighbours)
    columns: dict[str, JustifyMethod] = {"": "right", "distance": "right"}
    columns |= dict.fromkeys(("categories",) * categories + ("class", "image"), "left")
    for column, justify in columns.items():
        table.add_column(column, justify=justify, overflow="fold")
    for rank, one in enumerate(neighbours, 1):
        words = (*((one.above,) * categories), one.label, one.name)
        table.add_row(str(rank), f"{one.distance:.4g}", *(Console().render_str(x, markup=False) for x in words))
    console.print(table)


def write(path: Path, name: str, query: Tensor, output: str, neighbours: Sequence[Neighbour]) -> Path:
    """A page of images that needs no other file."""
    page = render_template(
        Path(__file__).with_name("search.html.j2"),
        name=text(name),
        image=image_address(query),
        output=output,
        neighbours=neighbours,
    )
    write_file(path, lambda part: part.write_text(page, encoding="utf-8"))
    return path
