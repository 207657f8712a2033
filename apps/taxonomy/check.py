"""`python -m apps.taxonomy check`: can the taxonomy be read, what is in it, and what had to be mended?"""

import sys
from collections.abc import Iterator, Sequence

from jsonargparse import ArgumentParser

from apps.datasets.taxonomies.taxonomy import Taxonomy
from apps.io.packages import FetchError
from apps.taxonomy.data import TaxonomyData

SHOWN = 10


def main(args: Sequence[str] | None = None) -> None:
    parser = ArgumentParser(prog="python -m apps.taxonomy check", description="Read a taxonomy, and say what is in it.")
    parser.add_class_arguments(TaxonomyData, "data")
    chosen = parser.parse_args(args)
    try:
        data = TaxonomyData(**chosen.data.as_dict())
        lines = list(describe(data.taxonomy, data.facts()))
    except (ValueError, OSError, FetchError) as error:
        sys.exit(f"error: {error}")
    print(*lines, sep="\n")


def describe(taxonomy: Taxonomy, facts: dict[str, str]) -> Iterator[str]:
    """Lines on a taxonomy: its size, how many nodes are at each depth, its roots and its most general nodes."""
    yield from (f"{name}: {fact}" for name, fact in facts.items())
    depths = taxonomy.depths.bincount().tolist()
    yield "nodes by depth: " + ", ".join(f"{depth}: {count:,}" for depth, count in enumerate(depths))
    general = taxonomy.below.argsort(descending=True, stable=True)[:SHOWN].tolist()
    shown = (f"{taxonomy.names[node]} ({int(taxonomy.below[node]):,} below)" for node in general)
    yield "most general: " + ", ".join(shown)
