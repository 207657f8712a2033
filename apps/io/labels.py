"""Labels, class names and sample names that belong together."""

from collections.abc import Sequence

import numpy as np


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
