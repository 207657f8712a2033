"""Sketches and shapes under the same classes: what sketch-based retrieval is trained and tested on."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from apps.datasets import class_folders, furniture, pictograms, shrec, shrec_sketches
from apps.datasets.labelled_images import LabelledImages
from apps.shapes.labelled_shapes import Shapes, mark_test
from apps.shapes.meshes import Up

LEAST = 10  # drawings, and models, of a packaged class
PACKAGED = "pictograms × furniture"


@dataclass(frozen=True, eq=False)
class SketchedShapes:
    """Sketches that ask, and the shapes that answer them; the shapes are seen in training, as in SHREC's contests.

    Args:
        title: names the data.
        sketches, shapes: with the same classes, in the same order.
        test: (N,) which sketches are for testing.
        notes: what a reader of the scores must know of the data.
    """

    title: str
    sketches: LabelledImages
    shapes: Shapes
    test: Bool[np.ndarray, "N"]
    notes: tuple[str, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        return self.shapes.classes


def packaged(size: int, *, test: float = 0.25, seed: int = 0) -> SketchedShapes:
    """The 19 classes that have at least ten pictograms and ten models of furniture: 1,085 drawings, 435 shapes.

    Args:
        size: height and width of the drawings in pixels.
        test: share of the drawings for testing, stratified.
        seed: of that split.

    Raises:
        ValueError: another size, or a share that leaves a class out of a part.
        FetchError: the packages cannot be fetched.
    """
    drawings, models = pictograms.load(size), furniture.load(test=0)
    enough = [
        {name for label, name in enumerate(data.classes) if (data.labels == label).sum() >= LEAST}
        for data in (drawings, models)
    ]
    classes = tuple(sorted(enough[0] & enough[1]))
    drawings = drawings.of_classes([drawings.classes.index(name) for name in classes])
    return SketchedShapes(
        PACKAGED,
        drawings,
        _relabelled(models, classes),
        mark_test(drawings.labels, test=test, seed=seed),
        ("The drawings are designers' pictograms, not free-hand sketches; 5 to 10 % of them show the wrong thing.",),
    )


def contest(root: str | Path, *, up: Up = "y", strict: bool = False) -> SketchedShapes:
    """Sketches and models of SHREC'13 or SHREC'14 as they are unpacked, with the contest's split of the sketches.

    A class that has only models stays, as do sketches without a model, which no search can answer.

    Args:
        root: has the sketches (`apps.datasets.shrec_sketches`), the models (.off), and one list of them (*Model*.cla),
            each in it or deeper.
        up: the axis that points up in the models.
        strict: a broken sketch is an error.

    Raises:
        ValueError: something is missing or broken; names the path.
    """
    root = Path(root).expanduser()
    sketches, test = shrec_sketches.load(root, strict=strict)
    lists = [path for path in class_folders.list_files(root, {".cla"}).paths if "model" in path.name.lower()]
    if len(lists) != 1:
        state = "no class list of models" if not lists else f"{len(lists)} class lists of models ({lists[0].name}, ...)"
        raise ValueError(
            f"{str(root)!r} has {state}; expected one, such as SHREC13_SBR_Model.cla or SHREC14_SBR_Model.cla"
        )
    shapes = shrec.load((lists[0],), root, up=up, test=0)
    classes = tuple(sorted({*sketches.classes, *shapes.classes}))
    place = np.array([classes.index(name) for name in sketches.classes], np.int64)
    sketches = replace(sketches, labels=place[sketches.labels], classes=classes)
    return SketchedShapes(shapes.title, sketches, _relabelled(shapes, classes), test)


def _relabelled(shapes: Shapes, classes: tuple[str, ...]) -> Shapes:
    """The shapes of these classes, in their order."""
    place = {name: label for label, name in enumerate(classes)}
    rows = [row for row, label in enumerate(shapes.labels) if shapes.classes[label] in place]
    chosen = shapes.of_rows(rows)
    labels = np.array([place[shapes.classes[label]] for label in chosen.labels], np.int64)
    return replace(chosen, labels=labels, classes=classes)
