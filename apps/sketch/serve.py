"""`python -m apps.sketch serve --ckpt_path best.ckpt`: a page on which one draws, and the nearest shapes appear."""

from argparse import Namespace
from collections.abc import Sequence

import torch
from torch import Tensor

from apps.serve import uploads
from apps.serve.command import arguments, serve
from apps.serve.gallery import Gallery
from apps.serve.searcher import Query, Searcher
from apps.shapes.rendering import render
from apps.sketch.data import SketchData
from apps.sketch.drawing import frame
from apps.sketch.model import SketchToShape
from apps.training.restore import restore
from apps.training.shape_data import one_view


def main(args: Sequence[str] | None = None) -> None:
    serve(searcher, arguments("sketch"), args)


@torch.no_grad()
def searcher(chosen: Namespace) -> Searcher:
    """All shapes of the data that a checkpoint was trained on, to search with a drawing or a mesh.

    Raises:
        ValueError: no checkpoint of this app, or data that are no longer there.
    """
    model, _, of_data = restore(chosen.ckpt_path, SketchToShape, weights="none")
    data = SketchData(**of_data)
    shapes, views = data.gallery.shapes, data.gallery.views

    @torch.no_grad()
    def embed(images: Tensor, side: str) -> Tensor:
        return model(images[None], side)[0]

    def of_drawing(content: bytes, name: str) -> Query:
        drawing = frame(uploads.image(content, name), data.hparams["size"])
        return Query(embed(drawing[None], "sketches"), drawing.expand(3, -1, -1))

    def of_mesh(content: bytes, name: str) -> Query:
        mesh = uploads.mesh(content, name, painted=data.look.painted, up=shapes.up)
        images = torch.from_numpy(render(mesh, data.look))
        return Query(embed(images, "shapes"), one_view(images))

    _, loader = data.in_order("test")
    gallery = Gallery(
        torch.cat([model(batch.images, "shapes") for batch in loader]),
        shapes.names,
        [shapes.classes[label] for label in shapes.labels],
        model.space,
        image=lambda row: one_view(views[row]),
        index=chosen.index,
    )
    hint = "Draw a chair, a lamp, a car: the nearest shapes appear as you draw."
    return Searcher("Draw it, find it", hint, gallery, {"drawing": of_drawing, "mesh": of_mesh})
