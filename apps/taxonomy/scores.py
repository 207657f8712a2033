"""The scores of an embedded taxonomy, and those that the papers report."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.csgraph import shortest_path
from scipy.stats import spearmanr
from torch import Tensor

from apps.datasets.taxonomies.taxonomy import Taxonomy
from apps.taxonomy.data import TaxonomyData
from apps.taxonomy.model import TaxonomyEmbedding
from geomdml.hierarchy import Reconstruction, distortion, link_prediction

ENTRIES = 20_000_000  # distances in the tree at a time
SAMPLE = 1000  # nodes among which distances are compared with those in the tree


COLUMNS = ("MAP, %", "mean rank", "distortion", "radius ~ depth", "held-out MAP, %", "held-out mean rank")


class Scores(NamedTuple):
    """None where a paper does not say."""

    map: float  # in percent
    mean_rank: float
    distortion: float | None = None
    correlation: float | None = None  # of radius and depth, by rank
    held_out_map: float | None = None
    held_out_rank: float | None = None


def table(rows: Mapping[str, Scores]) -> tuple[list[str], dict[str, list[str]]]:
    """The columns in which any row has a number, and the numbers of each row as they are shown.

    >>> table({"ours": Scores(99.0, 1.1, 0.2), "theirs": Scores(92.3, 3.18)})
    (['MAP, %', 'mean rank', 'distortion'], {'ours': ['99.0', '1.10', '0.200'], 'theirs': ['92.3', '3.18', '–']})
    """
    shown = [place for place in range(len(COLUMNS)) if any(row[place] is not None for row in rows.values())]
    forms = (".1f", ".2f", ".3f", ".2f", ".1f", ".2f")

    def cell(row: Scores, place: int) -> str:
        return "–" if row[place] is None else format(row[place], forms[place])

    return [COLUMNS[place] for place in shown], {
        name: [cell(row, place) for place in shown] for name, row in rows.items()
    }


# Nickel and Kiela 2017 (arXiv 1705.08039), 2018 (arXiv 1806.03417): WordNet nouns, reconstruction, by dimension. Quoted
# second hand, and labelled so in the table: nobody has held them against the papers yet.
PUBLISHED = {
    5: {"Poincaré 2017 (second hand)": Scores(82.3, 4.9), "Lorentz 2018 (second hand)": Scores(92.3, 3.18)},
    10: {"Poincaré 2017 (second hand)": Scores(85.1, 4.02), "Lorentz 2018 (second hand)": Scores(92.8, 2.95)},
}
NOUNS = "WordNet nouns"


def published(taxonomy: Taxonomy, dim: int) -> dict[str, Scores]:
    """What the papers report where the data is theirs: all nouns of WordNet 3.0."""
    return PUBLISHED.get(dim, {}) if taxonomy.title == NOUNS else {}


def scores(model: TaxonomyEmbedding, data: TaxonomyData, found: Reconstruction | None = None) -> Scores:
    """The scores of an embedding, whose ancestors may have been ranked already."""
    found = model.reconstruct(data.known) if found is None else found
    taxonomy = data.taxonomy
    correlation = spearmanr(model.radii.cpu().numpy(), taxonomy.depths.numpy()).statistic
    links = None
    if len(data.held_out):
        links = link_prediction(model.embeddings.cpu(), data.held_out, data.known, space=model.space)
    return Scores(
        map=100 * found.map,
        mean_rank=found.mean_rank,
        distortion=_distortion(model, taxonomy),
        correlation=None if np.isnan(correlation) else float(correlation),
        held_out_map=None if links is None else 100 * links.map,
        held_out_rank=None if links is None else links.mean_rank,
    )


def _distortion(model: TaxonomyEmbedding, taxonomy: Taxonomy) -> float | None:
    """Of distances among a sample of the nodes; None where no two of them are connected."""
    count = len(taxonomy)
    sample = np.random.default_rng(0).permutation(count)[:SAMPLE]
    edges = taxonomy.edges.numpy()
    graph = sparse.csr_array((np.ones(len(edges)), edges.T), shape=(count, count))
    parts = np.array_split(sample, -(-len(sample) * count // ENTRIES))
    steps = [shortest_path(graph, directed=False, unweighted=True, indices=part)[:, sample] for part in parts]
    tree = torch.from_numpy(np.concatenate(steps))
    points = model.embeddings[torch.from_numpy(sample)].cpu()
    with torch.no_grad():
        dist = model.cpu().space.pairwise_dist(points, points).double()
    connected: Tensor = tree.isfinite() & (tree > 0)
    return distortion(dist[connected], tree[connected]).mean if bool(connected.any()) else None
