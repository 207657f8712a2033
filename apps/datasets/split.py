"""Which images train, which are kept out to choose settings, and which are searched for at the test."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from apps.datasets.labelled_images import LabelledImages, join

KEPT_OUT = 0.1  # share of what trains that is kept out for validation, unless another is asked for


class Count(NamedTuple):
    """How many classes and images a part of a data set has."""

    classes: int
    images: int

    def __str__(self) -> str:
        return f"{self.images:,} images of {self.classes:,} classes"


@dataclass(frozen=True, eq=False)
class Split:
    """The parts of a data set.

    Args:
        train: what is learned from.
        query: what is searched for at the test.
        gallery: what is searched in; None searches each query among the other queries (leave-one-out).
        validation: kept out of training, to choose settings; None where all training images train.
        by: in words, how training and test images were told apart.
    """

    train: LabelledImages
    query: LabelledImages
    gallery: LabelledImages | None = None
    validation: LabelledImages | None = None
    by: str = "by class"

    @property
    def test(self) -> LabelledImages:
        """The queries, then the gallery."""
        return self.query if self.gallery is None else join(self.query, self.gallery)

    @property
    def queries(self) -> int | None:
        """How many of the test images are queries, from the first; None where each is, among all others."""
        return None if self.gallery is None else len(self.query)

    def counts(self) -> dict[str, Count]:
        parts = {"train": self.train, "validation": self.validation, "query": self.query, "gallery": self.gallery}
        return {name: count(part) for name, part in parts.items() if part is not None}


def count(images: LabelledImages) -> Count:
    return Count(len(np.unique(images.labels)), len(images))


def split_classes(count: int, validation: float, seed: int) -> dict[str, list[int]]:
    """Shuffle the classes with a seed: the first half trains, its last `validation` share is kept out, the rest tests.

    Raises:
        ValueError: too few classes for two of them in each split.

    >>> {name: len(part) for name, part in split_classes(100, 0.1, 0).items()}
    {'train': 45, 'validation': 5, 'test': 50}
    """
    order = np.random.default_rng(seed).permutation(count)
    half = count // 2
    kept_out = max(2, round(half * validation)) if validation else 0
    parts = {"train": order[: half - kept_out], "validation": order[half - kept_out : half], "test": order[half:]}
    short = [name for name, part in parts.items() if len(part) < 2 and (validation or name != "validation")]
    if short:
        raise ValueError(
            f"{count} classes leave fewer than 2 for {' and '.join(short)} at --data.validation {validation:g}; "
            "expected at least 8 class folders, and a smaller share of them for validation"
        )
    return {name: sorted(part.tolist()) for name, part in parts.items()}


def by_classes(images: LabelledImages, validation: float, seed: int) -> Split:
    """Half of the classes train, the others test: `split_classes`."""
    parts = {
        name: images.of_classes(part) if part else None
        for name, part in split_classes(len(images.classes), validation, seed).items()
    }
    assert parts["train"] is not None and parts["test"] is not None
    return Split(parts["train"], parts["test"], validation=parts["validation"], by=f"by class, seed {seed}")


def by_images(images: LabelledImages, validation: float, seed: int) -> Split:
    """Half of the images of each class train, a `validation` share of them kept out; the other half tests.

    A class gives validation two images at least, for one to find the other. Where two of each class would be more than
    the share, only so many classes give some, drawn with the seed, as make up the share.

    Raises:
        ValueError: no class has two images for the test, or for validation.
    """
    rng = np.random.default_rng(seed)
    rows: dict[str, list[int]] = {"train": [], "validation": [], "test": []}
    shuffled = [rng.permutation(np.flatnonzero(images.labels == label)) for label in range(len(images.classes))]
    halves = [-(-len(own) // 2) for own in shuffled]
    kept_out = _kept_out(halves, validation, rng)
    for own, half, held in zip(shuffled, halves, kept_out, strict=True):
        rows["train"] += own[: half - held].tolist()
        rows["validation"] += own[half - held : half].tolist()
        rows["test"] += own[half:].tolist()
    parts = {name: images.of_rows(sorted(part)) for name, part in rows.items()}
    for name, part in parts.items():
        tested = name == "test" or (name == "validation" and validation)
        if tested and np.bincount(part.labels, minlength=1).max() < 2:
            raise ValueError(
                f"no class has two images for {name} when the images of each class are divided; "
                "expected classes of at least 6 images, or --data.split classes"
            )
    kept = parts["validation"] if validation else None
    return Split(parts["train"], parts["test"], validation=kept, by=f"by image, seed {seed}")


def _kept_out(sizes: Sequence[int], share: float, rng: np.random.Generator) -> list[int]:
    """How many of the training images of each class are kept out for validation: none, or at least two."""
    kept = [own if (own := round(share * size)) >= 2 else 0 for size in sizes]
    small = [label for label, size in enumerate(sizes) if not kept[label] and size >= 3]
    left = round(share * sum(sizes[label] for label in small))
    if share and not any(kept):
        left = max(left, 4)  # of two classes: among images of one, each finds its own
    for label in rng.permutation(small)[: left // 2].tolist():
        kept[label] = 2
    return kept


def keep_out(split: Split, share: float, seed: int) -> Split:
    """A published split with a share of its training classes, drawn with a seed, kept out for validation.

    Raises:
        ValueError: fewer than two classes are left to train on.
    """
    if not share:
        return split
    classes = len(split.train.classes)
    kept_out = max(2, round(classes * share))
    if classes - kept_out < 2:
        raise ValueError(f"{classes} training classes are too few to keep {kept_out} of them out for validation")
    order = np.random.default_rng(seed).permutation(classes)
    train, validation = (sorted(part.tolist()) for part in (order[kept_out:], order[:kept_out]))
    return replace(split, train=split.train.of_classes(train), validation=split.train.of_classes(validation))
