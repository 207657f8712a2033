"""`python -m apps.shape3d check`: can the data be read, what is in it, and which shapes are broken?"""

import sys
from collections.abc import Iterator, Sequence

from jsonargparse import ArgumentParser

from apps.datasets.registry import load_shapes
from apps.io.packages import FetchError
from apps.shapes.rendering import Look
from apps.shapes.views import Rendered, render_cached


def describe(result: Rendered) -> Iterator[str]:
    """Lines on rendered shapes: how many, by class and split, those that are broken, and where the images are."""
    whole, views, broken = result
    test = int(whole.test.sum())
    yield (
        f"{whole.title}: {len(whole)} shapes in {len(whole.classes)} classes, {len(whole) - test} for training and "
        f"{test} for testing"
    )
    width = max(map(len, whole.classes))
    for label, name in enumerate(whole.classes):
        marks = whole.test[whole.labels == label]
        yield f"  {name:{width}}  {int((~marks).sum()):5} + {int(marks.sum())}"
    yield f"{len(broken)} broken and left out" + (":" if broken else "")
    yield from (f"  {line}" for line in broken)
    count, _, size, _ = views.shape
    yield f"{count} views of {size} px of each: {views.path}"


def main(args: Sequence[str] | None = None) -> None:
    parser = ArgumentParser(
        prog="python -m apps.shape3d check", description="Read and render all shapes, and say what there is."
    )
    parser.add_function_arguments(load_shapes, "data")
    parser.add_argument("--size", type=int, default=128, help="Side of the views, in pixels.")
    chosen = parser.parse_args(args)
    try:
        result = render_cached(load_shapes(**chosen.data.as_dict()), Look(size=chosen.size))
    except (ValueError, OSError, FetchError, ImportError) as error:
        sys.exit(f"error: {error}")
    print(*describe(result), sep="\n")
