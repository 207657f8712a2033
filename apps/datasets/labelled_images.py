"""What every image data set of the apps is: labelled images that are read one at a time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from jaxtyping import Int64, UInt8
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from apps.io.labels import check_labels
from apps.io.texts import Texts

Box = tuple[int, int, int, int]  # top, left, height, width
Choose = Callable[[int, int], Box]  # of an image's height and width
Rows = Sequence[int] | Int64[np.ndarray, "N"]


class Source(Protocol):
    """Where images come from: a sequence, a (N, 3, H, W) tensor, a reader of files.

    It is sent to the workers of a DataLoader, so what it holds is small: paths rather than images.
    """

    def __getitem__(self, row: int, /) -> UInt8[Tensor, "3 H W"]: ...


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Labelled images; equal class names are one class.

    Args:
        labels: (N,) index of each image's class.
        classes: the classes' names.
        names: the images' names, such as "openmoji/grinning-face" or a path relative to the data's root.
        source: gives image i at row i.
        root: the folder that the names are relative to, or the file that holds the images; None where they are in no
            files of the user's.

    Raises:
        ValueError, TypeError: arguments that do not fit together.

    >>> import torch
    >>> red, green = torch.eye(3, dtype=torch.uint8)[:2, :, None, None]
    >>> fruit = LabelledImages(np.array([0, 1, 0]), ("cherry", "lime"), ("a", "b", "c"), [red, green, red])
    >>> limes = fruit.of_classes([1])
    >>> limes.names, limes.labels.tolist(), limes.image(0).flatten().tolist()
    (Texts(['b']), [0], [0, 1, 0])
    """

    labels: Int64[np.ndarray, "N"]
    classes: tuple[str, ...]
    names: Sequence[str]
    source: Source
    root: Path | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", Texts(self.names))
        check_labels(self.labels, self.classes, self.names)

    def __len__(self) -> int:
        return len(self.names)

    def image(self, i: int) -> UInt8[Tensor, "3 H W"]:
        """Image i in RGB, 0 to 255; some sources give every image its own height and width."""
        return self.source[i]

    def part(self, i: int, choose: Choose, size: int) -> UInt8[Tensor, "3 size size"]:
        """A part of image i, chosen by its height and width, at size × size; of a file no more is decoded."""
        return _part(self.source, i, choose, size)

    def of_classes(self, class_indices: Sequence[int]) -> "LabelledImages":
        """The images of some classes, in their order; class_indices[n] becomes class n.

        Raises:
            ValueError: an index without a class, or given twice.
        """
        label_of = {int(index): label for label, index in enumerate(class_indices)}
        if len(label_of) != len(class_indices):
            raise ValueError("a class index is given twice; expected each once")
        if unknown := label_of.keys() - range(len(self.classes)):
            raise ValueError(f"class {min(unknown)} does not exist: there are {len(self.classes)} classes")
        rows = np.array([row for row, label in enumerate(self.labels.tolist()) if label in label_of], dtype=np.int64)
        return LabelledImages(
            labels=np.array([label_of[label] for label in self.labels[rows].tolist()], dtype=np.int64),
            classes=tuple(self.classes[index] for index in label_of),
            names=Texts(self.names).take(rows),
            source=_Chosen(self.source, rows),
            root=self.root,
        )

    def of_rows(self, rows: Rows) -> "LabelledImages":
        """Some of the images, in the order given; the classes stay as they are."""
        if isinstance(rows, range) and rows == range(len(self)):
            return self
        rows = rows if isinstance(rows, range) else np.asarray(rows, dtype=np.int64)
        return LabelledImages(
            labels=self.labels[np.asarray(rows, dtype=np.int64)],
            classes=self.classes,
            names=Texts(self.names).take(rows),
            source=_Chosen(self.source, rows),
            root=self.root,
        )


def join(*parts: LabelledImages) -> LabelledImages:
    """The images of all parts, one part after another; a class of several parts, known by its name, is one class.

    >>> import torch
    >>> black = torch.zeros(1, 3, 1, 1, dtype=torch.uint8)
    >>> ours = LabelledImages(np.array([0]), ("lime",), ("a",), black)
    >>> theirs = LabelledImages(np.array([0, 1]), ("cherry", "lime"), ("b", "c"), torch.cat([black, black]))
    >>> both = join(ours, theirs)
    >>> both.classes, both.labels.tolist(), both.names
    (('lime', 'cherry'), [0, 1, 0], Texts(['a', 'b', 'c']))
    """
    classes = {name: label for label, name in enumerate(dict.fromkeys(name for part in parts for name in part.classes))}
    labels = [np.array([classes[name] for name in part.classes], dtype=np.int64)[part.labels] for part in parts]
    return LabelledImages(
        labels=np.concatenate(labels),
        classes=tuple(classes),
        names=Texts.join(Texts(part.names) for part in parts),
        source=_Joined(tuple(part.source for part in parts), tuple(map(len, parts))),
        root=parts[0].root if len({part.root for part in parts}) == 1 else None,
    )


@dataclass(frozen=True)
class _Joined:
    sources: tuple[Source, ...]
    lengths: tuple[int, ...]

    def __getitem__(self, row: int) -> UInt8[Tensor, "3 H W"]:
        source, row = self._place(row)
        return source[row]

    def part(self, row: int, choose: Choose, size: int) -> UInt8[Tensor, "3 size size"]:
        source, row = self._place(row)
        return _part(source, row, choose, size)

    def _place(self, row: int) -> tuple[Source, int]:
        for source, length in zip(self.sources, self.lengths, strict=True):
            if row < length:
                return source, row
            row -= length
        raise IndexError(f"there are {sum(self.lengths)} images")


@dataclass(frozen=True)
class _Chosen:
    source: Source
    rows: Rows

    def __getitem__(self, row: int) -> UInt8[Tensor, "3 H W"]:
        return self.source[int(self.rows[row])]

    def part(self, row: int, choose: Choose, size: int) -> UInt8[Tensor, "3 size size"]:
        return _part(self.source, int(self.rows[row]), choose, size)


def _part(source: Source, row: int, choose: Choose, size: int) -> UInt8[Tensor, "3 size size"]:
    """By the source itself, where it can do with less than the image."""
    own = getattr(source, "part", None)
    return resized_part(source[row], choose, size) if own is None else own(row, choose, size)


def resized_part(image: UInt8[Tensor, "3 H W"], choose: Choose, size: int) -> UInt8[Tensor, "3 size size"]:
    return F.resized_crop(image, *choose(*image.shape[-2:]), [size, size], InterpolationMode.BICUBIC)
