"""`python -m apps.chest_vit serve --ckpt_path best.ckpt`: a page on which one drops an image."""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import torch

from apps.chest_vit.checkpoint import load
from apps.chest_vit.gallery import embedded_before, embedded_now
from apps.evaluation import embedding_shards
from apps.serve import uploads
from apps.serve.command import arguments, serve
from apps.serve.gallery import Gallery
from apps.serve.searcher import Query, Searcher


def main(args: Sequence[str] | None = None) -> None:
    parser = arguments("chest_vit")
    parser.add_argument(
        "--embeddings",
        type=Path,
        help="embeddings.safetensors or embeddings.json of predict; without it they are made now",
    )
    parser.add_argument(
        "--space", choices=["H", "E"], help="output of the network; by default the better on validation"
    )
    parser.add_argument("--data.root", dest="root", help="where the images are now, if they were moved")
    parser.add_argument("--images", help="search these instead of the run's images: a folder or a list")
    serve(searcher, parser, args)


def searcher(chosen: Namespace) -> Searcher:
    """The images that a checkpoint was trained on, or others, to search with an image."""
    trained = load(chosen.ckpt_path)
    data = trained.images(chosen.root)
    output = chosen.space or trained.model.chosen
    if chosen.embeddings is not None:
        given = embedding_shards.read(chosen.embeddings)
        found = embedded_before(trained, given, root=chosen.root, images=chosen.images)
    else:
        images = data.everything if chosen.images is None else trained.listed(chosen.images).images
        found = embedded_now(trained, data, images)

    @torch.no_grad()
    def of_image(content: bytes, name: str) -> Query:
        seen = data.whole(uploads.image(content, name))
        return Query(trained.model(seen[None])[output][0], seen)

    gallery = Gallery(
        found.vectors[output],
        found.names,
        found.classes,
        trained.model.spaces[output],
        image=lambda row: uploads.thumbnail(found.image(row)),
        index=chosen.index,
    )
    hint = "Drop an image, or name one: those that are most like it appear."
    return Searcher("Images like this one", hint, gallery, {"image": of_image})
