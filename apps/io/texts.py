"""Many texts, such as the names of a million images, in little memory."""

import operator
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, overload

import numpy as np
import pyarrow as pa

AT_ONCE = 2**16  # texts that are Python's for a moment


class Texts(Sequence[str]):
    """Texts in Arrow's memory: each takes its bytes and eight more, where a str takes at least fifty more.

    The workers of a DataLoader share it; a tuple of str they copy, since Python counts references within each.

    >>> names = Texts(["fig", "lime", "pear"])
    >>> names[1], names[1:], names.take([2, 0]) == ("pear", "fig")
    ('lime', Texts(['lime', 'pear']), True)
    """

    def __init__(self, texts: Iterable[str] | pa.ChunkedArray) -> None:
        if isinstance(texts, pa.ChunkedArray):
            self.array = texts
        elif isinstance(texts, Texts):
            self.array = texts.array
        else:
            left = iter(texts)
            chunks = [pa.array(part, pa.large_string()) for part in iter(lambda: list(islice(left, AT_ONCE)), [])]
            self.array = pa.chunked_array(chunks, pa.large_string())

    @classmethod
    def join(cls, parts: Iterable["Texts"]) -> "Texts":
        """The texts of all parts, one part after another; they are not copied."""
        return cls(pa.chunked_array([chunk for part in parts for chunk in part.array.chunks], pa.large_string()))

    def take(self, rows: Sequence[int] | np.ndarray) -> "Texts":
        """The texts of some rows, in the order given."""
        if isinstance(rows, range) and rows.step == 1:
            return self[rows.start : rows.stop]
        return Texts(self.array.take(pa.array(rows, pa.int64())))

    def __len__(self) -> int:
        return len(self.array)

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> "Texts": ...
    def __getitem__(self, row: int | slice) -> "str | Texts":
        return Texts(self.array[row]) if isinstance(row, slice) else self.array[operator.index(row)].as_py()

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), AT_ONCE):
            yield from self.array.slice(start, AT_ONCE).to_pylist()

    def __eq__(self, other: Any) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(map(operator.eq, self, other))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Texts([{', '.join(map(repr, self[:3]))}{', ...' if len(self) > 3 else ''}])"
