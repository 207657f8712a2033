"""Labels, class names and sample names that belong together."""

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Int64


def check_labels(labels: np.ndarray, classes: Sequence[str], names: Sequence[str]) -> None:
    """Raises ValueError or TypeError where labels, class names and the samples' names do not fit together."""
    if labels.dtype != np.int64 or labels.ndim != 1:
        raise TypeError(f"labels are {labels.dtype} of shape {labels.shape}; expected int64 (N,)")
    if len(labels) != len(names):
        raise ValueError(f"{len(labels)} labels for {len(names)} names; expected as many")
    if len(set(classes)) != len(classes):
        raise ValueError("a class name occurs twice among the classes; expected one class for each name")
    outside = labels[(labels < 0) | (labels >= len(classes))]
    if len(outside):
        raise ValueError(f"label {outside[0]} has no class; expected 0 to {len(classes) - 1}")


def index_classes(of_samples: Iterable[str]) -> tuple[Int64[np.ndarray, "N"], tuple[str, ...]]:
    """The class index of each sample, and the classes' names, sorted.

    >>> index_classes(["pear", "fig", "pear"])
    (array([1, 0, 1]), ('fig', 'pear'))
    """
    place: dict[str, int] = {}  # by the order in which the classes come
    labels = np.fromiter((place.setdefault(name, len(place)) for name in of_samples), np.int64)
    classes = tuple(sorted(place))
    sorted_place = np.empty(len(classes), np.int64)
    sorted_place[[place[name] for name in classes]] = np.arange(len(classes))
    return sorted_place[labels], classes
