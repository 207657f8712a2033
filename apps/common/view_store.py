"""Pictures of shapes in one growing file, with an index that tells which are whole."""

import json
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

Shape = tuple[int, int, int, int]
PICTURES, INDEX = "views.u8", "index.jsonl"
TOGETHER = 16  # shapes that are made safe at a time


@dataclass(frozen=True)
class Views:
    """The pictures of some shapes of a store, mapped into memory once in each process.

    Args:
        path: of the store's pictures.
        shape: of the pictures of one shape: views, channels, height, width.
        rows: `views[i]` are those at rows[i], uint8 of that shape.
    """

    path: Path
    shape: Shape
    rows: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> UInt8[Tensor, "V C S S"]:
        return torch.from_numpy(_mapped(self.path, self.shape, max(self.rows) + 1)[self.rows[i]].copy())


class Store:
    """The two files of a folder, for one writer at a time: `with Store(folder, shape, about) as store: store.add(...)`.

    `views.u8` holds the pictures of one shape after another, without a header. `index.jsonl` begins with `about`; then
    a line a shape has its key, in the order of the pictures, or its key and why it is broken. Both only grow, and the
    index follows when the pictures are on the disk: whatever is killed or cut off loses the last `TOGETHER` shapes at
    most, and what was half-written is cut away on opening.

    Raises:
        OSError: the folder cannot be written to.
    """

    def __init__(self, folder: Path, shape: Shape, about: dict[str, Any]) -> None:
        self.path, self.shape = folder / PICTURES, shape
        self.rows: dict[str, int] = {}
        self.broken: dict[str, str] = {}
        self._waiting: list[bytes] = []
        self._pictures: BinaryIO = self.path.open("ab")
        self._index: BinaryIO = (folder / INDEX).open("ab+")
        self._open(about)

    def __enter__(self) -> "Store":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._pictures, self._index:
            self._make_safe()

    def __contains__(self, key: object) -> bool:
        return key in self.rows or key in self.broken

    def add(self, key: str, result: UInt8[np.ndarray, "V C S S"] | str) -> None:
        """Keep a shape's pictures, or the reason why it has none."""
        if isinstance(result, str):
            self.broken[key] = result
            self._waiting.append(_line({"key": key, "broken": result}))
        else:
            self._pictures.write(np.ascontiguousarray(result).tobytes())
            self.rows[key] = len(self.rows)
            self._waiting.append(_line({"key": key}))
        if len(self._waiting) == TOGETHER:
            self._make_safe()

    def views(self, keys: list[str]) -> Views:
        return Views(self.path, self.shape, tuple(self.rows[key] for key in keys))

    def _make_safe(self) -> None:
        for file, content in ((self._pictures, b""), (self._index, b"".join(self._waiting))):
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        self._waiting.clear()

    def _open(self, about: dict[str, Any]) -> None:
        """Read the index as far as it and the pictures are whole, and cut off the rest."""
        size = int(np.prod(self.shape))
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
        self._pictures.truncate(len(self.rows) * size)
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
def _mapped(path: Path, shape: Shape, rows: int) -> UInt8[np.ndarray, "N V C S S"]:
    return np.memmap(path, np.uint8, mode="r", shape=(rows, *shape))
