"""Which sketches and which shapes make the steps of training."""

from collections.abc import Iterator

import numpy as np

from apps.training.sampling import ClassBalanced, Draw


class BothBalanced:
    """Batches of pairs of draws, a sketch and a shape of one class; balanced by class, of the classes that have both.

    Args:
        rows: the places of the sketches that are drawn.
        sketches: their class indices.
        shapes: the class indices of all shapes.
        sizes: classes, per_class, steps and seed, as of `ClassBalanced`.

    Raises:
        ValueError: as `ClassBalanced`.

    >>> labels, sizes = np.array([0, 1]), {"classes": 2, "per_class": 1, "steps": 1, "seed": 0}
    >>> [batch] = BothBalanced(np.array([7, 9]), labels, labels, **sizes)
    >>> sorted((sketch.image, shape.image) for sketch, shape in batch)
    [(7, 0), (9, 1)]
    """

    def __init__(self, rows: np.ndarray, sketches: np.ndarray, shapes: np.ndarray, **sizes: int) -> None:
        common = np.intersect1d(sketches, shapes)
        kept = [np.isin(labels, common) for labels in (sketches, shapes)]
        self.rows = [rows[kept[0]], np.flatnonzero(kept[1])]
        # With the same seed and the same classes, both sides go through the classes in the same order.
        self.sides = [ClassBalanced(sketches[kept[0]], **sizes), ClassBalanced(shapes[kept[1]], **sizes)]

    def set_epoch(self, epoch: int, first: int = 0) -> None:
        for side in self.sides:
            side.set_epoch(epoch, first)

    def __len__(self) -> int:
        return len(self.sides[0])

    def __iter__(self) -> Iterator[list[tuple[Draw, Draw]]]:
        for batches in zip(*self.sides, strict=True):
            drawn = [
                [draw._replace(image=int(rows[draw.image])) for draw in batch]
                for rows, batch in zip(self.rows, batches, strict=True)
            ]
            yield list(zip(*drawn, strict=True))
