"""What an index holds of its points, an array for each thing, and the folder it is kept in."""

import hashlib
import json
import os
import re
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from geomdml.search._graph import FEWER, LINKS, Links

VERSION = 3
_LENGTHS = {"to": "degree", "degree": "degree", "ray_to": "ray_degree", "ray_degree": "ray_degree"}  # others: "ids"
_MOST = 2**16  # bytes of index.json
_SHOWN = 16  # digits of a file's SHA-256 in its name
_BLOCK = 2**20  # rows, or bytes, that are looked at at a time


@dataclass
class Rows:
    """Arrays of at least `size` rows. Where rows are added in place, the old ones may be read meanwhile."""

    size: int
    points: np.ndarray  # (N, D) float32 in the chart of the index
    polar: np.ndarray  # (N, 4) float64, see _metric
    ids: np.ndarray  # (N,) int64
    labels: np.ndarray  # (N,) int64, −1 without one
    alive: np.ndarray  # (N,) bool
    to: np.ndarray  # (N, LINKS) int32, of the graph; (0, LINKS) without one
    degree: np.ndarray  # (N,) int32, how many of them
    ray_to: np.ndarray  # (N, FEWER) int32, of the graph by direction alone; (0, FEWER) without one
    ray_degree: np.ndarray  # (N,) int32

    @classmethod
    def empty(cls, dim: int) -> "Rows":
        return cls(0, *(np.zeros((0, *shape), kind) for shape, kind in _kinds(dim).values()))

    @property
    def links(self) -> Links:
        return Links(self.to, self.degree)

    @property
    def rays(self) -> Links:
        return Links(self.ray_to, self.ray_degree)

    def with_room(self, size: int, graph: bool, rays: bool) -> "Rows":
        """These rows, copied where there is no room for so many."""
        most = max(size, len(self.ids) * 3 // 2) if size > len(self.ids) else len(self.ids)
        wanted = {name: most for name, _ in self._arrays()}
        wanted |= {"to": most * graph, "degree": most * graph, "ray_to": most * rays, "ray_degree": most * rays}
        if all(len(array) == wanted[name] for name, array in self._arrays()):
            return self
        return Rows(self.size, *(_longer(array[: self.size], wanted[name]) for name, array in self._arrays()))

    def write(self, folder: Path, about: dict[str, Any]) -> None:
        """New files beside the old ones, which go when index.json names the new: if killed, one index is whole.

        Who has the old ones mapped goes on reading them.
        """
        folder.mkdir(parents=True, exist_ok=True)
        digests = {}
        for name, array in self._arrays():
            with (folder / f"{name}.part").open("wb") as file:
                np.save(file, array[: self.size], allow_pickle=False)
            digests[name] = _digest(folder / f"{name}.part")
        for name, digest in digests.items():
            os.replace(folder / f"{name}.part", _file(folder, name, digest))
        part = folder / "index.json.part"
        part.write_text(json.dumps({"version": VERSION, **about, "sha256": digests}), encoding="utf-8")
        os.replace(part, folder / "index.json")
        for name, digest in digests.items():
            for old in set(folder.glob(f"{name}-{'[0-9a-f]' * _SHOWN}.npy")) - {_file(folder, name, digest)}:
                with suppress(PermissionError):  # Windows removes no file that is mapped
                    old.unlink()

    @classmethod
    def read(cls, folder: Path, mmap: bool) -> tuple["Rows", dict[str, Any]]:
        """What `write` wrote, and `about`. Nothing in the folder is run, and no row number leads out of the arrays.

        Raises:
            FileNotFoundError, ValueError: a file that is missing; files that are not of one index, or were changed.
        """
        names = [field.name for field in fields(cls)[1:]]
        try:
            with _opened(folder / "index.json") as file:
                about = json.loads(file.read(_MOST))
            if about.pop("version") != VERSION:
                raise ValueError("another version: build it anew")
            digests = about.pop("sha256")
            files = {name: _file(folder, name, digests[name]) for name in names}
            for path in files.values():
                _opened(path).close()
            # mapped first: a header that claims more than the file holds is then an error, and not a lack of memory
            arrays = {name: np.load(path, mmap_mode="r", allow_pickle=False) for name, path in files.items()}
            for name, (shape, kind) in _kinds(about["dim"]).items():
                array, length = arrays[name], len(arrays[_LENGTHS.get(name, "ids")])
                if array.dtype != kind or array.shape != (length, *shape):
                    raise ValueError(f"{name} has {array.dtype} {array.shape}; expected {kind} {(length, *shape)}")
                if not mmap and _digest(files[name]) != digests[name]:
                    raise ValueError(f"{files[name].name} was changed after it was written")
            rows = cls(len(arrays["ids"]), **{name: arrays[name] if mmap else np.array(arrays[name]) for name in names})
            rows._check_links()
            if mmap:
                rows.ids, rows.labels, rows.alive = (np.array(x) for x in (rows.ids, rows.labels, rows.alive))
        except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
            raise ValueError(f"{folder} holds no index of this version ({error})") from None
        return rows, about

    def _check_links(self) -> None:
        for to, degree in (self.links, self.rays):
            if len(degree) not in (0, self.size):
                raise ValueError(f"links of {len(degree)} points of {self.size}")
            for start in range(0, len(degree), _BLOCK):
                some, many = to[start : start + _BLOCK], degree[start : start + _BLOCK]
                if some.min() < 0 or some.max() >= self.size or many.min() < 0 or many.max() > to.shape[1]:
                    raise ValueError("links to rows that are not there")

    def _arrays(self) -> list[tuple[str, np.ndarray]]:
        return [(field.name, getattr(self, field.name)) for field in fields(self)[1:]]


def _kinds(dim: int) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """The shape of a row of each array, and its kind of number."""
    return {
        "points": ((dim,), np.dtype("<f4")),
        "polar": ((4,), np.dtype("<f8")),
        "ids": ((), np.dtype("<i8")),
        "labels": ((), np.dtype("<i8")),
        "alive": ((), np.dtype("?")),
        "to": ((LINKS,), np.dtype("<i4")),
        "degree": ((), np.dtype("<i4")),
        "ray_to": ((FEWER,), np.dtype("<i4")),
        "ray_degree": ((), np.dtype("<i4")),
    }


def _longer(array: np.ndarray, length: int) -> np.ndarray:
    grown = np.zeros((length, *array.shape[1:]), array.dtype)
    grown[: len(array)] = array[:length]
    return grown


def _file(folder: Path, name: str, digest: str) -> Path:
    if not re.fullmatch("[0-9a-f]{64}", digest):
        raise ValueError(f"{digest!r:.80} is no SHA-256")
    return folder / f"{name}-{digest[:_SHOWN]}.npy"


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing; expected a folder that HyperbolicIndex.save wrote") from None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
