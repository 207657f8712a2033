"""What is searched in: the embeddings of images, and each image when it is asked for."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from apps.chest_vit.checkpoint import Trained, fingerprint
from apps.chest_vit.data import ImageBatch, RetrievalData
from apps.datasets import image_list
from apps.datasets.files import decode
from apps.datasets.labelled_images import LabelledImages
from apps.datasets.shard_files import shard_files
from apps.evaluation.embedding_files import Embeddings


class Gallery(NamedTuple):
    """Embeddings by output, (N, D), of images: their names, the names of their classes, and image i in RGB.

    `image` raises ValueError where the image is not there any more.
    """

    vectors: dict[str, Tensor]
    names: Sequence[str]
    classes: Sequence[str]
    image: Callable[[int], Tensor]


def tracked_batches(data: RetrievalData, images: LabelledImages) -> Iterable[ImageBatch]:
    """Images in batches, as the data prepare them for a test; progress is shown where a person looks on."""
    console = Console(stderr=True)
    batches = data.in_order(images)
    return track(batches, "embedding the images", console=console, transient=True, disable=not console.is_terminal)


@torch.no_grad()
def embedded_now(trained: Trained, data: RetrievalData, images: LabelledImages) -> Gallery:
    """Images, prepared as the data do it, and embedded by the network."""
    outputs = [trained.model(batch.images) for batch in tracked_batches(data, images)]
    vectors = {name: torch.cat([output[name] for output in outputs]) for name in trained.model.spaces}
    return Gallery(vectors, images.names, [images.classes[label] for label in images.labels], images.image)


def embedded_before(
    trained: Trained, given: Embeddings, *, root: str | None = None, images: str | None = None
) -> Gallery:
    """The images whose embeddings were given: none is listed, checked or opened before it is asked for.

    Args:
        root: the folder in which they are now; without it, where they were.
        images: a folder or a list, as `image_list.load` takes it, that they must all be in.

    Raises:
        ValueError: another network made the embeddings; they are of other images than those of `images`.
    """
    if given.about.get("network") != fingerprint(trained.model):
        raise ValueError("another network made these embeddings; give the checkpoint that predict was given")
    where = images or root or given.about.get("root")
    held = None if where is None else Path(where).expanduser()
    if images is not None or held is None or held.is_file() or (held.is_dir() and shard_files(held)):
        opened = _by_name(trained, held)
        names = opened.keys()
        if missing := next((name for name in given.names if name not in names), None):
            raise ValueError(
                f"these embeddings are of other images ({len(given.names)}) than those that are searched "
                f"({len(names)}), such as {missing!r}; give the folder or list that predict was given with --images"
            )
        return Gallery(dict(given.vectors), given.names, given.classes, lambda row: opened[given.names[row]]())
    if root is not None and not held.is_dir():
        raise ValueError(f"--data.root {root!r} does not exist")
    return Gallery(dict(given.vectors), given.names, given.classes, lambda row: decode(held / given.names[row]))


def _by_name(trained: Trained, held: Path | None) -> dict[str, Callable[[], Tensor]]:
    """The images of a folder, a list or shards, unchecked; or those of the training, which are in no folder."""
    images = trained.images().everything if held is None else image_list.load(held, check=False).images
    return {name: partial(images.image, row) for row, name in enumerate(images.names)}
