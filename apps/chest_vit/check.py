"""`python -m apps.chest_vit check --data.root PATH`: what a folder holds, before hours are spent on it."""

import argparse
import inspect
import sys

import numpy as np
from rich.console import Console
from rich.table import Table

from apps.chest_vit import class_tree
from apps.chest_vit.data import RetrievalData
from apps.datasets.labelled_images import join
from apps.datasets.registry import BENCHMARKS, guess_images, load_images, title_of
from apps.datasets.split import KEPT_OUT, Count, Split, count, keep_out


def main(args: list[str] | None = None) -> None:
    """Print the parts of a data set against the published counts.

    Raises:
        SystemExit: the folder cannot be used (code 1), with what is missing; wrong arguments (code 2).
    """
    parser = argparse.ArgumentParser(prog="python -m apps.chest_vit check", description=__doc__)
    parser.add_argument(
        "--data.root", dest="root", required=True, help="Folder of a benchmark or of class folders, or a table."
    )
    parser.add_argument(
        "--data.benchmark",
        dest="benchmark",
        choices=[*BENCHMARKS, "folder", "table"],
        help="Told from its files if left out.",
    )
    parser.add_argument("--data.split", dest="split", choices=["classes", "images"], default="classes")
    parser.add_argument(
        "--data.hierarchy", dest="hierarchy", help="folders, own, or a CSV file with columns class and parent; see fit."
    )
    defaults = inspect.signature(RetrievalData).parameters
    for name, kind, about in (
        ("validation", float, "Share of the training classes (by images: images) kept out; a tenth if left out."),
        ("split_seed", int, "Seed of the division."),
        ("classes_per_batch", int, "Classes in a training batch."),
    ):
        default = defaults[name].default
        told = "" if default is None else f" As for fit: {default}."
        parser.add_argument(f"--data.{name}", dest=name, type=kind, default=default, help=about + told)
    asked = parser.parse_args(args)
    try:
        benchmark = asked.benchmark or guess_images(asked.root)
        published = benchmark in BENCHMARKS
        share, seed = asked.validation, asked.split_seed
        split = load_images(
            asked.root,
            benchmark,
            by=asked.split,
            validation=0.0 if published else share,  # a benchmark as published, which the counts are compared with
            seed=seed,
            nested=asked.hierarchy == class_tree.FOLDERS,
        )
        print_split(benchmark, split, asked.root)
        if asked.hierarchy is not None:
            print_hierarchy(asked.hierarchy, benchmark, split, asked.root)
        fitted = keep_out(split, KEPT_OUT if share is None else share, seed) if published else split
        print_fit(fitted, asked.classes_per_batch)
    except (ValueError, OSError) as error:
        sys.exit(f"not usable: {error}")


def print_split(benchmark: str, split: Split, root: str) -> None:
    console = Console(width=None if sys.stdout.isatty() else 110)
    published = BENCHMARKS[benchmark].PUBLISHED if benchmark in BENCHMARKS else {}
    console.print(f"{root}: {title_of(benchmark)}, divided {split.by}", highlight=False, markup=False, soft_wrap=True)
    shown = Table()
    for column in ("", "classes", "images", "a class", *(["published"] if published else [])):
        shown.add_column(column, justify="right" if column else "left")
    parts = {"train": split.train, "validation": split.validation, "query": split.query, "gallery": split.gallery}
    labels = {name: part.labels for name, part in parts.items() if part is not None}
    for name, counted in split.counts().items():
        sizes = np.bincount(labels[name])
        spread = f"{sizes[sizes > 0].min()} to {sizes.max()}"
        row = [
            name if name != "query" or split.gallery else "test",
            f"{counted.classes:,}",
            f"{counted.images:,}",
            spread,
        ]
        shown.add_row(*row, *([_against(counted, published.get(name))] if published else []))
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


def print_hierarchy(hierarchy: str, benchmark: str, split: Split, root: str) -> None:
    """How many categories lie above the classes, at each level."""
    images = join(*(part for part in (split.train, split.validation, split.test) if part is not None))
    above = class_tree.load(hierarchy, images.classes, benchmark=benchmark, root=root)
    console = Console(width=None if sys.stdout.isatty() else 110)
    own = benchmark if hierarchy == class_tree.OWN else ""
    console.print(f"hierarchy: {class_tree.in_words(above, own)}", highlight=False, markup=False, soft_wrap=True)


def print_fit(split: Split, classes_per_batch: int) -> None:
    """What a fit trains on, and whether its batches can be drawn."""
    console = Console(width=None if sys.stdout.isatty() else 110)
    train = count(split.train)
    kept = "nothing is kept out" if split.validation is None else f"{count(split.validation)} are kept out"
    console.print(f"A fit trains on {train}; {kept} for validation.", highlight=False)
    if train.classes < classes_per_batch:
        console.print(
            f"A batch of {classes_per_batch} classes cannot be drawn from {train.classes}: fit needs "
            f"--data.classes_per_batch {train.classes} or less.",
            style="red",
            highlight=False,
        )


def _against(count: Count, published: Count | None) -> str:
    if published is None:
        return "–"
    return "as published" if count == published else f"{published.classes:,} / {published.images:,}"
