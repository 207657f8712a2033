"""What is kept of shapes, an array of each, in one growing file with an index that tells which are whole."""

import json
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

Shape = tuple[int, ...]
INDEX = "index.jsonl"
SUFFIXES = {"uint8": "u8", "float32": "f32"}
TOGETHER = 16  # shapes that are made safe at a time


@dataclass(frozen=True)
class Arrays:
    """The arrays of some shapes of a store, mapped into memory once in each process.

    Args:
        path: of the store's arrays.
        shape: of one array; of images: views, channels, height, width.
        rows: `arrays[i]` is the one at rows[i].
        dtype: "uint8" or "float32".
    """

    path: Path
    shape: Shape
    rows: tuple[int, ...]
    dtype: str = "uint8"

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> Tensor:
        return torch.from_numpy(_mapped(self.path, self.shape, max(self.rows) + 1, self.dtype)[self.rows[i]].copy())


@dataclass(frozen=True)
class Contents:
    """Where the array of each shape is, by key, and why a broken one has none."""

    path: Path
    shape: Shape
    dtype: str
    rows: dict[str, int]
    broken: dict[str, str]

    def __contains__(self, key: object) -> bool:
        return key in self.rows or key in self.broken

    def arrays(self, keys: list[str]) -> Arrays:
        return Arrays(self.path, self.shape, tuple(self.rows[key] for key in keys), self.dtype)


def read(folder: Path, shape: Shape, *, name: str = "views", dtype: str = "uint8") -> Contents:
    """What a store holds, without writing to its folder; nothing where there is none.

    Another process may be adding to it: what it is about to add is not seen.

    Args:
        folder, shape, name, dtype: as of `Store`.
    """
    path = _path(folder, name, dtype)
    contents = Contents(path, shape, dtype, {}, {})
    if path.is_file() and (folder / INDEX).is_file():
        with (folder / INDEX).open("rb") as index:
            _read_index(index, contents)
    return contents


class Store:
    """The two files of a folder, for one writer at a time: `with Store(folder, shape, about) as store: store.add(...)`.

    NAME.u8 (or .f32) holds the array of one shape after another, without a header. `index.jsonl` begins with `about`;
    then a line a shape has its key and the row of its array, or its key and why it is broken. Both only grow, and
    the index follows when the arrays are on the disk: whatever is killed or cut off loses the last `TOGETHER` shapes at
    most, and what was half-written, or does not fit together, is cut away on opening.

    Args:
        folder: an existing one.
        shape: of one array.
        about: what the arrays are made with.
        name: of the file.
        dtype: "uint8" or "float32".

    Raises:
        OSError: the folder cannot be written to.
    """

    def __init__(
        self, folder: Path, shape: Shape, about: dict[str, Any], *, name: str = "views", dtype: str = "uint8"
    ) -> None:
        self.contents = Contents(_path(folder, name, dtype), shape, dtype, {}, {})
        self._waiting: list[bytes] = []
        self._arrays: BinaryIO = self.contents.path.open("ab")
        self._index: BinaryIO = (folder / INDEX).open("ab+")
        self._open(about)

    def __enter__(self) -> "Store":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._arrays, self._index:
            self._make_safe()

    def __contains__(self, key: object) -> bool:
        return key in self.contents

    def add(self, key: str, result: np.ndarray | str) -> None:
        """Keep a shape's array, or the reason why it has none."""
        if isinstance(result, str):
            self.contents.broken[key] = result
            self._waiting.append(_line({"key": key, "broken": result}))
        else:
            self._arrays.write(np.ascontiguousarray(result, self.contents.dtype).tobytes())
            self.contents.rows[key] = len(self.contents.rows)
            self._waiting.append(_line({"key": key, "row": self.contents.rows[key]}))
        if len(self._waiting) == TOGETHER:
            self._make_safe()

    def _make_safe(self) -> None:
        for file, content in ((self._arrays, b""), (self._index, b"".join(self._waiting))):
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        self._waiting.clear()

    def _open(self, about: dict[str, Any]) -> None:
        """Read the index as far as it and the arrays are whole, and cut off the rest."""
        self._index.seek(0)
        end = _read_index(self._index, self.contents)
        self._index.truncate(end)
        self._arrays.truncate(len(self.contents.rows) * _size(self.contents))
        if end == 0:
            self._waiting.append(_line({"about": about}))


def _path(folder: Path, name: str, dtype: str) -> Path:
    return folder / f"{name}.{SUFFIXES[dtype]}"


def _size(contents: Contents) -> int:
    """The bytes of one array."""
    return int(np.prod(contents.shape)) * np.dtype(contents.dtype).itemsize


def _read_index(index: BinaryIO, contents: Contents) -> int:
    """Fill in the contents as far as index and arrays are whole; how many bytes of the index that is."""
    size = _size(contents)
    kept, rest = divmod(contents.path.stat().st_size, size)
    head = index.readline()
    if "about" not in _entry(head):
        return 0
    lines = list(index)
    entries = [_entry(line) for line in lines]
    # Lines of earlier versions have no row. That none is missing shows where there are as many as arrays.
    counted = sum("key" in entry and "broken" not in entry for entry in entries) == kept and not rest
    end = len(head)
    for line, entry in zip(lines, entries, strict=True):
        key, row = entry.get("key"), len(contents.rows)
        if not isinstance(key, str) or key in contents:
            break
        if "broken" in entry:
            contents.broken[key] = str(entry["broken"])
        elif row < kept and entry.get("row", row if counted else None) == row:
            contents.rows[key] = row
        else:
            break
        end += len(line)
    return end


def _line(entry: dict[str, Any]) -> bytes:
    return json.dumps(entry).encode() + b"\n"


def _entry(line: bytes) -> dict[str, Any]:
    """What a whole line says; nothing where it is damaged."""
    try:
        entry = json.loads(line) if line.endswith(b"\n") else None
    except (ValueError, RecursionError):
        return {}
    return entry if isinstance(entry, dict) else {}


@lru_cache(maxsize=64)  # each keeps a file open
def _mapped(path: Path, shape: Shape, rows: int, dtype: str) -> np.ndarray:
    return np.memmap(path, np.dtype(dtype), mode="r", shape=(rows, *shape))
