"""`python -m apps.taxonomy serve --ckpt_path best.ckpt`: a page on which one names a node."""

from argparse import Namespace
from collections.abc import Sequence

from apps.datasets.taxonomies.taxonomy import Taxonomy
from apps.serve.command import arguments, serve
from apps.serve.gallery import Gallery
from apps.serve.searcher import Searcher
from apps.taxonomy.trained import trained


def main(args: Sequence[str] | None = None) -> None:
    serve(searcher, arguments("taxonomy"), args)


def searcher(chosen: Namespace) -> Searcher:
    """The nodes of the taxonomy that a checkpoint was trained on; their classes are the branches below the roots."""
    model, taxonomy = trained(chosen.ckpt_path)
    names, parents = taxonomy.names, _parents(taxonomy)

    def path(node: int) -> list[int]:
        """The way from a root down to a node."""
        found = [node]
        while found[-1] in parents:
            found.append(parents[found[-1]])
        return found[::-1]

    gallery = Gallery(
        model.embeddings.detach(),
        names,
        [names[path(node)[:2][-1]] for node in range(len(names))],
        model.space,
        detail=lambda row: " › ".join(names[node] for node in path(row)[:-1]),
        find=taxonomy.number,
        index=chosen.index,
    )
    hint = f"Name a node, such as {names[len(names) // 2]}: those nearest to it appear, with the way down to each."
    return Searcher(f"Neighbours in {taxonomy.title}", hint, gallery)


def _parents(taxonomy: Taxonomy) -> dict[int, int]:
    """Of each node that has some the parent that is nearest to a root."""
    depths = taxonomy.depths
    edges = taxonomy.edges[depths[taxonomy.edges[:, 1]].argsort(descending=True, stable=True)]
    return dict(edges.tolist())  # the last one stays
