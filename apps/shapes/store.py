"""What is kept of shapes, an array of each, in one growing file with an index that tells which are whole."""

import json
import os
from dataclasses import dataclass
from functools import cache
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


class Store:
    """The two files of a folder, for one writer at a time: `with Store(folder, shape, about) as store: store.add(...)`.

    NAME.u8 (or .f32) holds the array of one shape after another, without a header. `index.jsonl` begins with `about`;
    then a line a shape has its key, in the order of the arrays, or its key and why it is broken. Both only grow, and
    the index follows when the arrays are on the disk: whatever is killed or cut off loses the last `TOGETHER` shapes at
    most, and what was half-written is cut away on opening.

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
        self.path, self.shape, self.dtype = folder / f"{name}.{SUFFIXES[dtype]}", shape, dtype
        self.rows: dict[str, int] = {}
        self.broken: dict[str, str] = {}
        self._waiting: list[bytes] = []
        self._arrays: BinaryIO = self.path.open("ab")
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
        return key in self.rows or key in self.broken

    def add(self, key: str, result: np.ndarray | str) -> None:
        """Keep a shape's array, or the reason why it has none."""
        if isinstance(result, str):
            self.broken[key] = result
            self._waiting.append(_line({"key": key, "broken": result}))
        else:
            self._arrays.write(np.ascontiguousarray(result, self.dtype).tobytes())
            self.rows[key] = len(self.rows)
            self._waiting.append(_line({"key": key}))
        if len(self._waiting) == TOGETHER:
            self._make_safe()

    def arrays(self, keys: list[str]) -> Arrays:
        return Arrays(self.path, self.shape, tuple(self.rows[key] for key in keys), self.dtype)

    def _make_safe(self) -> None:
        for file, content in ((self._arrays, b""), (self._index, b"".join(self._waiting))):
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        self._waiting.clear()

    def _open(self, about: dict[str, Any]) -> None:
        """Read the index as far as it and the arrays are whole, and cut off the rest."""
        size = int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize
        kept = self.path.stat().st_size // size
        self._index.seek(0)
        end = 0
        for number, line in enumerate(self._index):
            entry = _entry(line)
            if entry is None or (number > 0 and "broken" not in entry and len(self.rows) == kept):
                break
            end += len(line)
            if "broken" in entry:
                self.broken[entry["key"]] = entry["broken"]
            elif number > 0:
                self.rows[entry["key"]] = len(self.rows)
        self._index.truncate(end)
        self._arrays.truncate(len(self.rows) * size)
        if end == 0:
            self._waiting.append(_line({"about": about}))


def _line(entry: dict[str, Any]) -> bytes:
    return json.dumps(entry).encode() + b"\n"


def _entry(line: bytes) -> dict[str, Any] | None:
    """What a whole line says, or nothing."""
    try:
        entry = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
    return entry if isinstance(entry, dict) and ("key" in entry or "about" in entry) else None


@cache
def _mapped(path: Path, shape: Shape, rows: int, dtype: str) -> np.ndarray:
    return np.memmap(path, np.dtype(dtype), mode="r", shape=(rows, *shape))
