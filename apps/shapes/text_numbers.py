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
    try:
        return _read(lines, columns)
    except ValueError:
        wrong = next(i for i, line in enumerate(lines) if not _is_read(line, columns))
        raise ValueError(f"{what} {wrong if rows is None else rows[wrong]} is {_text(lines[wrong])[:40]!r}") from None


def _read(lines: Sequence[bytes], columns: Sequence[int]) -> Float64[np.ndarray, "L C"]:
    return np.loadtxt(map(_not_blank, lines), np.float64, comments=None, usecols=list(columns), ndmin=2)


def _not_blank(line: bytes) -> str:
    text = _text(line)
    if not text or text.isspace():  # numpy would pass over it
        raise ValueError("a blank line")
    return text


def _text(line: bytes) -> str:
    return line.decode("ascii", errors="replace")


def _is_read(line: bytes, columns: Sequence[int]) -> bool:
    try:
        _read([line], columns)
    except ValueError:
        return False
    return True
