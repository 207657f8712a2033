"""What every data set of 3D shapes is: labelled meshes that are read one at a time, split into training and test."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Bool, Int64
from sklearn.model_selection import train_test_split

from apps.io.labels import check_labels
from apps.shapes.meshes import Mesh, Up


class Source(Protocol):
    """Where one mesh comes from. It is sent to other processes, so it is small: a path rather than a mesh.

    As a text it names the file, for messages.
    """

    def read(self, *, painted: bool = False) -> Mesh:
        """The mesh, with its colours when `painted`. Raises MeshError."""
        ...

    def key(self, *, painted: bool = False) -> str:
        """A text that changes with the mesh, or its colours, found without reading it apart. Raises MeshError."""
        ...


@dataclass(frozen=True, eq=False)
class Shapes:
    """Labelled meshes.

    Args:
        title: names the data set in the cache: letters, digits, dots, dashes.
        labels: (N,) index of each shape's class.
        classes: the classes' names.
        names: the shapes' names, such as "chair/Scopia-12" or a path relative to the data's root.
        test: (N,) whether a shape is for testing.
        sources: the meshes.
        up: the axis that points up in their files.

    Raises:
        ValueError, TypeError: arguments that do not fit together.
    """

    title: str
    labels: Int64[np.ndarray, "N"]
    classes: tuple[str, ...]
    names: tuple[str, ...]
    test: Bool[np.ndarray, "N"]
    sources: tuple[Source, ...]
    up: Up = "y"

    def __post_init__(self) -> None:
        check_labels(self.labels, self.classes, self.names)
        if len(self.sources) != len(self.names) or self.test.shape != self.labels.shape:
            raise ValueError(
                f"{len(self.sources)} sources and {len(self.test)} marks of a test for {len(self.names)} names; "
                "expected as many"
            )
        if self.test.dtype != np.bool_:
            raise TypeError(f"test is {self.test.dtype}; expected bool")

    def __len__(self) -> int:
        return len(self.names)

    def of_rows(self, rows: Sequence[int]) -> "Shapes":
        """The shapes of some rows, in that order, under the same classes."""
        return Shapes(
            title=self.title,
            labels=self.labels[list(rows)],
            classes=self.classes,
            names=tuple(self.names[row] for row in rows),
            test=self.test[list(rows)],
            sources=tuple(self.sources[row] for row in rows),
            up=self.up,
        )


def mark_test(labels: Int64[np.ndarray, "N"], *, test: float = 0.3, seed: int = 0) -> Bool[np.ndarray, "N"]:
    """Which samples are for testing: a share `test` of all, rounded up, and of each class as nearly as can be.

    Raises:
        ValueError: a class with one sample, or a share that leaves a class out of one of the two parts.

    >>> int(mark_test(np.repeat([0, 1], [20, 10])).sum())
    9
    """
    if test == 0:
        return np.zeros(len(labels), bool)
    try:
        chosen = train_test_split(np.arange(len(labels)), test_size=test, stratify=labels, random_state=seed)[1]
    except ValueError as error:
        raise ValueError(f"{len(labels)} shapes cannot be split into {1 - test:g} and {test:g}: {error}") from error
    return np.isin(np.arange(len(labels)), chosen)
