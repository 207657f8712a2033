"""What is read of an element of a PLY file."""

from typing import NamedTuple

import numpy as np


class Column(NamedTuple):
    """The numbers of a property, one row after another, how many each row has, and their type as numpy names it."""

    values: np.ndarray
    counts: np.ndarray
    type: str


Columns = dict[str, Column]
