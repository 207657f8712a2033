"""Numbers in lines of text, each of them checked."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64, Int64


def numbers(
    lines: Sequence[bytes], columns: Sequence[int], what: str, rows: Int64[np.ndarray, "L"] | None = None
) -> Float64[np.ndarray, "L C"]:
    """Some columns of lines of numbers, by numpy's reader.

    Args:
        what: the word for a line, such as "vertex".
        rows: the lines' numbers for messages; by default their places.

    Raises:
        ValueError: a line that is too short or has something else in these columns; names the first.

    >>> numbers([b"1 2 3 255", b" 4\\t5 6"], range(3), "vertex").tolist()
    [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    """
    if not lines:
        return np.empty((0, len(columns)))
    text = [line.decode("ascii", errors="replace") for line in lines]
    try:
        if not any(not line or line.isspace() for line in text):  # numpy would pass over these
            return np.loadtxt(text, np.float64, comments=None, usecols=list(columns), ndmin=2)
    except ValueError:
        pass
    wrong = next(i for i, line in enumerate(text) if not line or line.isspace() or not _is_read(line, columns))
    raise ValueError(f"{what} {wrong if rows is None else rows[wrong]} is {text[wrong][:40]!r}")


def _is_read(line: str, columns: Sequence[int]) -> bool:
    try:
        np.loadtxt([line], np.float64, comments=None, usecols=list(columns))
    except ValueError:
        return False
    return True
