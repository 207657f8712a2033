"""`python -m apps.chest_vit check --data.root PATH`: what a folder holds, before hours are spent on it."""

import argparse
import sys

import numpy as np
from rich.console import Console
from rich.table import Table

from apps.datasets.registry import BENCHMARKS, guess_images, load_images
from apps.datasets.split import Count, Split

VALIDATION = 0.1  # of a folder, as in a fit; all training classes of a benchmark train


def main(args: list[str] | None = None) -> None:
    """Print the parts of a data set against the published counts.

    Raises:
        SystemExit: the folder cannot be used (code 1), with what is missing; wrong arguments (code 2).
    """
    parser = argparse.ArgumentParser(prog="python -m apps.chest_vit check", description=__doc__)
    parser.add_argument("--data.root", dest="root", required=True, help="Folder of a benchmark or of class folders.")
    parser.add_argument(
        "--data.benchmark", dest="benchmark", choices=[*BENCHMARKS, "folder"], help="Told from its files if left out."
    )
    parser.add_argument("--data.split", dest="split", choices=["classes", "images"], default="classes")
    asked = parser.parse_args(args)
    try:
        benchmark = asked.benchmark or guess_images(asked.root)
        kept_out = 0.0 if benchmark in BENCHMARKS else VALIDATION
        split = load_images(asked.root, benchmark, by=asked.split, validation=kept_out)
        print_split(benchmark, split, asked.root)
    except (ValueError, OSError) as error:
        sys.exit(f"not usable: {error}")


def print_split(benchmark: str, split: Split, root: str) -> None:
    console = Console(width=None if sys.stdout.isatty() else 110)
    published = BENCHMARKS[benchmark].PUBLISHED if benchmark in BENCHMARKS else {}
    title = BENCHMARKS[benchmark].NAME if benchmark in BENCHMARKS else "a folder of class folders"
    console.print(f"{root}: {title}, divided {split.by}", highlight=False, markup=False, soft_wrap=True)
    shown = Table()
    for column in ("", "classes", "images", "a class", *(["published"] if published else [])):
        shown.add_column(column, justify="right" if column else "left")
    parts = {"train": split.train, "validation": split.validation, "query": split.query, "gallery": split.gallery}
    labels = {name: part.labels for name, part in parts.items() if part is not None}
    for name, count in split.counts().items():
        sizes = np.bincount(labels[name])
        spread = f"{sizes[sizes > 0].min()} to {sizes.max()}"
        row = [
            name if name != "query" or split.gallery else "test",
            f"{count.classes:,}",
            f"{count.images:,}",
            spread,
        ]
        shown.add_row(*row, *([_against(count, published.get(name))] if published else []))
    console.print(shown)
    if split.gallery is None:
        alone = int((np.bincount(split.query.labels) == 1).sum())
        note = f"; {alone} test classes have one image, which no query can find" if alone else ""
        console.print(f"Each test image is searched for among all others{note}.", highlight=False)
    if published:
        same = split.counts() == published
        console.print(
            "As published: scores can be compared."
            if same
            else "Not as published: scores cannot be compared with those of papers.",
            style="green" if same else "red",
        )


def _against(count: Count, published: Count | None) -> str:
    if published is None:
        return "–"
    return "as published" if count == published else f"{published.classes:,} / {published.images:,}"
