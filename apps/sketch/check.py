"""`python -m apps.sketch check`: can the data be read, what is in them, and what is broken?"""

import inspect
import sys
from collections.abc import Iterator, Sequence

from jsonargparse import ArgumentParser

from apps.datasets import shrec_sketches
from apps.io.packages import FetchError
from apps.sketch.data import SketchData
from apps.training.shape_data import ViewData

SHOWN = ("root", "up", "test", "split_seed", "validation", "cameras", "views", "size", "shading", "strict")


def describe(data: SketchData) -> Iterator[str]:
    """Lines on sketches and shapes: how many, by class and part, what is broken, and what the contest's lists say."""
    facts, shapes = data.facts(), data.gallery.shapes
    yield facts["data"]
    if "mind" in facts:
        yield facts["mind"]
    labels, number = data.labels, len(data.classes)
    counts = {name: labels["sketches"][rows].bincount(minlength=number) for name, rows in data.parts.items()}
    models = labels["shapes"].bincount(minlength=number)
    width = max(map(len, data.classes))
    yield f"  {'':{width}}  sketches for " + ", ".join(counts) + "; shapes"
    for label, name in enumerate(data.classes):
        parts = " + ".join(f"{int(count[label]):3}" for count in counts.values())
        notes = [] if models[label] else ["no shape: its sketches cannot be answered"]
        notes += [] if any(count[label] for count in counts.values()) else ["no sketch"]
        yield f"  {name:{width}}  {parts};  {int(models[label]):4}  {', '.join(notes)}".rstrip()
    broken = data.gallery.broken
    yield f"{len(broken)} shapes broken and left out" + (":" if broken else "")
    yield from (f"  {line}" for line in broken)
    if (root := data.hparams["root"]) is not None:
        test = data.source.test
        differences = shrec_sketches.disagreements(root, shrec_sketches.Sketches(data.source.sketches, test))
        yield f"{len(differences)} differences from the contest's lists of sketches" + (":" if differences else "")
        yield from (f"  {line}" for line in differences)
    yield f"{data.look.views} views of {data.look.size} px of {len(shapes)} shapes: {data.gallery.views.path}"


def main(args: Sequence[str] | None = None) -> None:
    parser = ArgumentParser(
        prog="python -m apps.sketch check",
        description="Read and render all sketches and shapes, and say what there is.",
    )
    others = {name for of in (SketchData, ViewData) for name in inspect.signature(of).parameters} - {*SHOWN}
    parser.add_class_arguments(SketchData, "data", skip=others)
    chosen = parser.parse_args(args)
    try:
        print(*describe(SketchData(**chosen.data.as_dict())), sep="\n")
    except (ValueError, OSError, FetchError, ImportError) as error:
        sys.exit(f"error: {error}")
