"""The report of an embedded taxonomy: one HTML file that needs no network."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from apps.datasets.taxonomies.taxonomy import Taxonomy
from apps.io.atomic import write_file
from apps.report.page import Curve, curve_illustrations
from apps.report.templates import render_template
from apps.taxonomy.model import TaxonomyEmbedding
from apps.taxonomy.scores import Scores, table
from geomdml.search import knn
from geomdml.spaces import Hyperbolic

MOST_POINTS, LABELLED, CHOSEN, NEIGHBOURS, WORST = 3000, 40, 6, 8, 10
EDGE = 0.9  # where the 95th percentile of the distances from the origin is drawn


def write_report(
    path: Path,
    model: TaxonomyEmbedding,
    taxonomy: Taxonomy,
    rows: Mapping[str, Scores],
    facts: Mapping[str, str],
    curves: Sequence[Curve],
) -> Path:
    """Write the report of an embedding whose ancestors were ranked (`model.found`)."""
    columns, cells = table(rows)
    page = render_template(
        Path(__file__).with_name("report.html.j2"),
        title=f"Taxonomy: {taxonomy.title}",
        columns=columns,
        rows=list(cells.items()),
        facts=facts,
        curves=curve_illustrations(curves),
        disk=disk(model, taxonomy),
        path=path_to_root(model, taxonomy),
        neighbours=neighbours(model, taxonomy),
        worst=worst(model, taxonomy),
    )
    write_file(path, lambda part: part.write_text(page, encoding="utf-8", errors="backslashreplace"))
    return path


def disk(model: TaxonomyEmbedding, taxonomy: Taxonomy) -> dict[str, Any]:
    """The points of the Poincaré disk: the most general nodes and a sample of the others, and edges among them."""
    general = taxonomy.below.argsort(descending=True, stable=True)
    drawn = torch.from_numpy(np.random.default_rng(0).permutation(len(taxonomy)))
    rest = drawn[~torch.isin(drawn, general[:LABELLED])]
    shown = torch.cat([general[:LABELLED], rest])[:MOST_POINTS]
    points, scale = project(model, shown)
    place = torch.full((len(taxonomy),), -1)
    place[shown] = torch.arange(len(shown))
    edges = place[taxonomy.edges]
    return {
        "points": [[round(x, 6), round(y, 6)] for x, y in points.tolist()],
        "names": [taxonomy.names[node] for node in shown.tolist()],
        "depths": taxonomy.depths[shown].tolist(),
        "edges": edges[(edges >= 0).all(1)].tolist(),
        "labelled": min(LABELLED, len(shown)),
        "scale": scale,
        "total": len(taxonomy),
        "dim": model.hparams["dim"],
    }


def project(model: TaxonomyEmbedding, nodes: Tensor) -> tuple[Tensor, float]:
    """(n, 2) points of the disk that keep the order of the distances from the origin, and the scale of these.

    Distances from the origin are scaled, for where they are large all points would lie on the edge. Of the angles only
    the order round the circle is kept, from the widest gap on, for a taxonomy may lie in a few degrees; in more than
    two dimensions they are those of the directions' first two principal components.
    """
    radii = model.radii[nodes].double()
    vectors = model.embeddings.double()
    if isinstance(model.space, Hyperbolic):
        vectors = model.space.to("tangent", vectors).detach()
    unit = torch.nn.functional.normalize(vectors, dim=1)
    if unit.shape[1] > 2:
        centred = unit - unit.mean(0)
        unit = centred @ torch.linalg.eigh(centred.T @ centred)[1][:, -2:].flip(1)
    x, y = torch.nn.functional.pad(unit, (0, max(0, 2 - unit.shape[1])))[nodes].T
    angles, order = torch.atan2(y, x).sort()
    widest = torch.cat([angles[1:], angles[:1] + 2 * torch.pi]).sub(angles).argmax()
    turns = torch.empty_like(angles)
    turns[order.roll(-1 - int(widest))] = torch.arange(len(nodes)).to(angles) * (2 * torch.pi / len(nodes))
    far = float(radii.quantile(0.95)) or 1.0
    scale = min(1.0, 2 * float(np.arctanh(EDGE)) / far)
    return torch.stack([turns.cos(), turns.sin()], 1) * (scale * radii / 2).tanh()[:, None], scale


def path_to_root(model: TaxonomyEmbedding, taxonomy: Taxonomy) -> list[dict[str, Any]]:
    """From one of the deepest nodes to its root: the distances to it, and from the origin."""
    leaf = int(taxonomy.depths.argmax())
    path = taxonomy.path_to_root(leaf)
    points, radii = model.embeddings[path], model.radii[path].tolist()
    with torch.no_grad():
        dist = model.space.dist(points[:1], points).tolist()
    return [
        {"name": taxonomy.names[node], "dist": near, "radius": radius}
        for node, near, radius in zip(path, dist, radii, strict=True)
    ]


def neighbours(model: TaxonomyEmbedding, taxonomy: Taxonomy) -> list[dict[str, Any]]:
    """Of a few nodes from general to special, the nearest others; which of them are ancestors or below."""
    order = taxonomy.below.argsort(descending=True, stable=True)
    places = np.unique(np.geomspace(1, len(order), CHOSEN).astype(int) - 1)
    chosen = order[torch.from_numpy(places)]
    k = min(NEIGHBOURS + 1, len(taxonomy))
    found = knn(model.embeddings[chosen], model.embeddings, k, space=model.space)
    rows = []
    for node, near, dist in zip(chosen.tolist(), found.indices.tolist(), found.distances.tolist(), strict=True):
        above, under = relatives(taxonomy, node)
        others = [(other, d) for other, d in zip(near, dist, strict=True) if other != node][:NEIGHBOURS]
        near_by = [
            {
                "name": taxonomy.names[n],
                "dist": d,
                "is": "ancestor" if n in above else "below" if n in under else "other",
            }
            for n, d in others
        ]
        rows.append({"name": taxonomy.names[node], "nearest": near_by})
    return rows


def worst(model: TaxonomyEmbedding, taxonomy: Taxonomy) -> list[dict[str, Any]]:
    """The nodes whose ancestors have the worst mean rank."""
    assert model.found is not None
    nodes, ranks, precisions = (values.cpu() for values in model.found[2:])
    order = ranks.argsort(descending=True, stable=True)[:WORST]
    shown = zip(nodes[order].tolist(), ranks[order].tolist(), precisions[order].tolist(), strict=True)
    return [
        {
            "name": taxonomy.names[node],
            "rank": rank,
            "precision": 100 * precision,
            "ancestors": ", ".join(taxonomy.names[each] for each in taxonomy.path_to_root(node)[1:6]),
        }
        for node, rank, precision in shown
    ]


def relatives(taxonomy: Taxonomy, node: int) -> tuple[set[int], set[int]]:
    """The ancestors of a node, and the nodes below it."""
    child, ancestor = taxonomy.ancestors.T
    return set(ancestor[child == node].tolist()), set(child[ancestor == node].tolist())
