"""`python -m apps.taxonomy search --ckpt_path best.ckpt --node dog`: the nearest nodes, and the ancestors."""

import argparse
import sys
from collections.abc import Iterator, Sequence

import torch

from apps.datasets.taxonomies.taxonomy import Taxonomy
from apps.io.packages import FetchError
from apps.taxonomy.model import TaxonomyEmbedding
from apps.taxonomy.report import relatives
from apps.taxonomy.trained import trained
from geomdml.search import knn


def main(args: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m apps.taxonomy search", description=__doc__)
    parser.add_argument("--ckpt_path", required=True, help="checkpoint of a fit")
    parser.add_argument(
        "--node", required=True, help="a node by its name, such as dog.n.01, or dog for its first sense"
    )
    parser.add_argument("--k", type=int, default=10, help="how many neighbours to show")
    chosen = parser.parse_args(args)
    try:
        if chosen.k < 1:
            raise ValueError(f"--k {chosen.k}; expected at least 1")
        model, taxonomy = trained(chosen.ckpt_path)
        print(*found(model, taxonomy, taxonomy.number(chosen.node), chosen.k), sep="\n")
    except (ValueError, OSError, FetchError) as error:
        sys.exit(f"error: {error}")


def found(model: TaxonomyEmbedding, taxonomy: Taxonomy, node: int, k: int) -> Iterator[str]:
    """Lines on a node: its nearest neighbours, and its ancestors with their ranks among all nodes that are none."""
    points, names = model.embeddings, taxonomy.names
    above, below = relatives(taxonomy, node)
    with torch.no_grad():
        dist = model.space.pairwise_dist(points[node : node + 1], points)[0]
    nearest = knn(points[node : node + 1], points, min(k + 1, len(points)), space=model.space).indices[0].tolist()
    yield f"nearest to {names[node]}:"
    for place, other in enumerate([each for each in nearest if each != node][:k], start=1):
        kind = "ancestor" if other in above else "below it" if other in below else ""
        yield f"{place:4}  {float(dist[other]):8.3f}  {names[other]}  {kind}".rstrip()
    yield f"ancestors of {names[node]}:" if above else f"{names[node]} is a root"
    others = torch.ones(len(points), dtype=torch.bool)
    others[[node, *above]] = False
    for other in sorted(above, key=lambda each: float(dist[each])):
        rank = 1 + int((dist[others] < dist[other]).sum())
        yield f"      {float(dist[other]):8.3f}  {names[other]}  rank {rank}"
