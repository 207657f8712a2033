"""`python -m apps.shape3d serve --ckpt_path best.ckpt`: a page on which one drops a mesh, to find shapes."""

from argparse import Namespace
from collections.abc import Sequence

import torch

from apps.serve import uploads
from apps.serve.command import arguments, serve
from apps.serve.gallery import Gallery
from apps.serve.searcher import Query, Searcher
from apps.shape3d.trained import Trained
from apps.shapes.rendering import render
from apps.training.shape_data import one_view


def main(args: Sequence[str] | None = None) -> None:
    serve(searcher, arguments("shape3d"), args)


def searcher(chosen: Namespace) -> Searcher:
    """All shapes of the data that a checkpoint was trained on, to search with a mesh."""
    trained = Trained(chosen.ckpt_path)
    whole = trained.data().whole
    shapes, count = whole.shapes, range(len(whole.shapes))

    def of_mesh(content: bytes, name: str) -> Query:
        mesh = uploads.mesh(content, name, painted=trained.look.painted, up=trained.up)
        views = torch.from_numpy(render(mesh, trained.look))
        return Query(trained.outputs(views)["embeddings"], one_view(views))

    gallery = Gallery(
        torch.stack([trained.outputs(whole.views[row])["embeddings"] for row in count]),
        shapes.names,
        [shapes.classes[label] for label in shapes.labels],
        trained.model.space,
        image=lambda row: one_view(whole.views[row]),
        index=chosen.index,
    )
    hint = "Drop a mesh, or name a shape: those that are most like it appear."
    return Searcher("Shapes like this one", hint, gallery, {"mesh": of_mesh})
