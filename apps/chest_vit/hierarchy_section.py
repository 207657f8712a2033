"""What a report says of a hierarchy of the classes: Recall@k at each level, and how distances and radii go with it."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from apps.chest_vit.class_tree import Above, in_words, levels
from apps.chest_vit.dendrograms import dendrograms
from apps.chest_vit.hierarchical_scores import DISTANCES, MISTAKES, RADII, SEVERITY
from apps.chest_vit.model import CHEST
from apps.report.figures import Illustration
from apps.report.page import Section, Table
from apps.report.results import Scores

TEXT = (
    "What the hierarchy above the classes says of the test images. A level has a category for each class, level 1 the "
    "most general; Recall@k there counts a neighbour of the query's category as a hit. The tree distance, in edges, is "
    "that from a query's class to the class of its first neighbour: how bad a mistake is. The rank correlations say "
    "whether images far apart are far apart in the tree, and whether the proxies of general categories lie nearer to "
    "the origin than those of classes, where the loss has proxies for categories."
)
NUMBERS = (
    "Tree distances in edges, lower is better; rank correlations from −1 to 1, higher is better; the best is bold."
)


def section(
    above: Above, classes: Sequence[str], ks: Sequence[int], rows: Scores, figures: Sequence[Illustration]
) -> Section:
    """The section of a report on a test.

    Args:
        above, classes: the tree, and the classes of the test.
        ks: the k of Recall@k.
        rows: all scores, by the name of the embedding.
        figures: what stands below the tables.
    """
    recall = [f"Recall@{k}" for k in ks]
    at_levels = {
        f"{name}, {level}": [found.get(f"{level} {column}") for column in recall]
        for level in levels(above, classes)
        for name, found in rows.items()
    }
    tables = [Table(recall, at_levels, title="Retrieval at the levels above the classes, %")] if at_levels else []
    return Section(
        "hierarchy", "Hierarchy", f"{TEXT} The data: {in_words(above)}.", (*tables, _numbers(rows)), tuple(figures)
    )


def _numbers(rows: Mapping[str, Mapping[str, float]]) -> Table:
    columns = [SEVERITY, MISTAKES, DISTANCES, RADII]
    cells = {name: [found.get(column) for column in columns] for name, found in rows.items()}
    return Table(columns, cells, caption=NUMBERS, title="Distances in the tree", lower=(SEVERITY, MISTAKES), digits=2)


@torch.no_grad()
def figures(model: CHEST) -> list[Illustration]:
    """The trees of the training classes, where the hyperbolic half has proxies of classes."""
    tree, proxies = model.hparams["class_tree"], class_proxies(model)
    if tree is None or proxies is None or not proxies.isfinite().all():
        return []
    return [dendrograms(tree, list(tree)[: len(proxies)], proxies, c=model.space.curvature)]


def class_proxies(model: CHEST) -> Tensor | None:
    """(C, D) tangent vectors of the training classes, means of their proxies; None where the loss has none."""
    if (own := model.tree_losses.get("H")) is not None:
        placed = own.proxies if own.place is None else own.place(own.proxies)
        return placed[: model.hparams["num_classes"]].detach().cpu()
    if model.loss.proxies is None or model.loss.eta_h == 0 or model.loss.hyperbolic is not None:
        return None
    return model.head(model.test_proxies.to(model.device)).mean(1).cpu()
