"""What every picture data set of the apps is: labelled pictures that are read one at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Int64, UInt8
from torch import Tensor


class Source(Protocol):
    """Where pictures come from: a sequence, a (N, 3, H, W) tensor, a reader of files.

    It is sent to the workers of a DataLoader, so what it holds is small: paths rather than pictures.
    """

    def __getitem__(self, row: int, /) -> UInt8[Tensor, "3 H W"]: ...


@dataclass(frozen=True, eq=False)
class Pictures:
    """Labelled pictures; equal class names are one class.

    Args:
        labels: (N,) index of each picture's class.
        classes: the classes' names.
        names: the pictures' names, such as "openmoji/grinning-face" or a path relative to the data's root.
        source: gives picture i at row i.

    Raises:
        ValueError, TypeError: arguments that do not fit together.

    >>> import torch
    >>> red, green = torch.eye(3, dtype=torch.uint8)[:2, :, None, None]
    >>> fruit = Pictures(np.array([0, 1, 0]), ("cherry", "lime"), ("a", "b", "c"), [red, green, red])
    >>> limes = fruit.of_classes([1])
    >>> limes.names, limes.labels.tolist(), limes.picture(0).flatten().tolist()
    (('b',), [0], [0, 1, 0])
    """

    labels: Int64[np.ndarray, "N"]
    classes: tuple[str, ...]
    names: tuple[str, ...]
    source: Source

    def __post_init__(self) -> None:
        check_labels(self.labels, self.classes, self.names)

    def __len__(self) -> int:
        return len(self.names)

    def picture(self, i: int) -> UInt8[Tensor, "3 H W"]:
        """Picture i in RGB, 0 to 255; some sources give every picture its own height and width."""
        return self.source[i]

    def of_classes(self, class_indices: Sequence[int]) -> "Pictures":
        """The pictures of some classes, in their order; class_indices[n] becomes class n.

        Raises:
            ValueError: an index without a class, or given twice.
        """
        label_of = {int(index): label for label, index in enumerate(class_indices)}
        if len(label_of) != len(class_indices):
            raise ValueError("a class index is given twice: each is wanted once")
        if unknown := label_of.keys() - range(len(self.classes)):
            raise ValueError(f"class {min(unknown)} does not exist: there are {len(self.classes)} classes")
        rows = [row for row, label in enumerate(self.labels.tolist()) if label in label_of]
        return Pictures(
            labels=np.array([label_of[label] for label in self.labels[rows].tolist()], dtype=np.int64),
            classes=tuple(self.classes[index] for index in label_of),
            names=tuple(self.names[row] for row in rows),
            source=_Chosen(self.source, tuple(rows)),
        )

    def of_rows(self, rows: Sequence[int]) -> "Pictures":
        """Some of the pictures, in the order given; the classes stay as they are."""
        return Pictures(
            labels=self.labels[list(rows)],
            classes=self.classes,
            names=tuple(self.names[row] for row in rows),
            source=_Chosen(self.source, tuple(rows)),
        )


def joined(*parts: Pictures) -> Pictures:
    """The pictures of all parts, one part after another; a class of several parts, known by its name, is one class.

    >>> import torch
    >>> black = torch.zeros(1, 3, 1, 1, dtype=torch.uint8)
    >>> ours = Pictures(np.array([0]), ("lime",), ("a",), black)
    >>> theirs = Pictures(np.array([0, 1]), ("cherry", "lime"), ("b", "c"), torch.cat([black, black]))
    >>> both = joined(ours, theirs)
    >>> both.classes, both.labels.tolist(), both.names
    (('lime', 'cherry'), [0, 1, 0], ('a', 'b', 'c'))
    """
    classes = {name: label for label, name in enumerate(dict.fromkeys(name for part in parts for name in part.classes))}
    labels = [np.array([classes[name] for name in part.classes], dtype=np.int64)[part.labels] for part in parts]
    return Pictures(
        labels=np.concatenate(labels),
        classes=tuple(classes),
        names=tuple(name for part in parts for name in part.names),
        source=_Joined(tuple(part.source for part in parts), tuple(map(len, parts))),
    )


@dataclass(frozen=True)
class _Joined:
    sources: tuple[Source, ...]
    lengths: tuple[int, ...]

    def __getitem__(self, row: int) -> UInt8[Tensor, "3 H W"]:
        for source, length in zip(self.sources, self.lengths, strict=True):
            if row < length:
                return source[row]
            row -= length
        raise IndexError(f"there are {sum(self.lengths)} pictures")


def check_labels(labels: np.ndarray, classes: Sequence[str], names: Sequence[str]) -> None:
    """Raises ValueError or TypeError where labels, class names and the samples' names do not fit together."""
    if labels.dtype != np.int64 or labels.ndim != 1:
        raise TypeError(f"labels are {labels.dtype} of shape {labels.shape}: int64 (N,) is wanted")
    if len(labels) != len(names):
        raise ValueError(f"{len(labels)} labels for {len(names)} names: as many are wanted")
    if len(set(classes)) != len(classes):
        raise ValueError("a class name occurs twice among the classes: one class a name is wanted")
    outside = labels[(labels < 0) | (labels >= len(classes))]
    if len(outside):
        raise ValueError(f"label {outside[0]} has no class: there are {len(classes)} classes")


@dataclass(frozen=True)
class _Chosen:
    source: Source
    rows: tuple[int, ...]

    def __getitem__(self, row: int) -> UInt8[Tensor, "3 H W"]:
        return self.source[self.rows[row]]
