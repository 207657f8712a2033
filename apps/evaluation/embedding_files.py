"""Embeddings in files: safetensors for programs, parquet for tables, both written as the embeddings come."""

import errno
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import SafetensorError, safe_open
from torch import Tensor

from apps.io.atomic import Aside, naming

SUFFIXES = (".safetensors", ".parquet")
GREATEST_HEADER = 100_000_000  # bytes, of the safetensors format
AT_ONCE = 8192  # rows of a row group of Parquet; texts that are put into a header together
TYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "I64": np.dtype("<i8")}


@dataclass(frozen=True)
class Table:
    """What is known of the images before they are embedded, a row an image."""

    names: Sequence[str]
    labels: Sequence[int] | np.ndarray
    classes: Sequence[str]
    parts: Sequence[str]

    def of_rows(self, rows: range) -> "Table":
        """Some of the images, with the classes of all."""
        place = slice(rows.start, rows.stop)
        return Table(self.names[place], self.labels[place], self.classes, self.parts[place])


@dataclass(frozen=True)
class Embeddings:
    """Embeddings by name, such as "E" and "H", of the images with these names; `about` is as it was written.

    classes: the name of each image's class.
    """

    vectors: Mapping[str, Tensor]
    names: Sequence[str]
    about: Mapping[str, str]
    classes: Sequence[str]


class Writer:
    """Writes the embeddings of a table into a folder, batch by batch: memory is that of a few thousand rows.

    The files appear under their names when all rows have come. The safetensors file holds a (N, D) float32 tensor for
    each output and `labels` (N,); its metadata is `about`, with `names`, `classes` and `parts` as JSON. The parquet
    file has a row an image: path, label, class, part and a list of float32 for each output; `about` is in its schema.

    Args:
        stem: of the names of the files.

    The room of the safetensors file is set aside at the first batch: on a disk that is too small no more are computed.

    Raises:
        ValueError: a file is there already; more or fewer rows than the table has; names that take more than the 100 MB
            that the format has for them.
        OSError: they cannot be written; `discard` then removes what there is of them.
    """

    def __init__(self, folder: Path, table: Table, about: Mapping[str, str], *, stem: str = "embeddings") -> None:
        self.paths = [folder / f"{stem}{suffix}" for suffix in SUFFIXES]
        for path in self.paths:
            if path.exists():
                raise ValueError(f"{str(path)!r} exists; move it away, or choose another folder with --out")
        folder.mkdir(parents=True, exist_ok=True)
        self.unfinished = [Aside(path) for path in self.paths]
        self.table, self.about, self.written = table, dict(about), 0
        self.tensors: _Tensors | None = None
        self.rows: pq.ParquetWriter | None = None
        self.waiting: list[pa.Table] = []  # rows of the next row group

    def add(self, **outputs: Tensor) -> None:
        """The embeddings of the next images, (B, D) by name."""
        vectors = {name: tensor.detach().float().cpu().numpy() for name, tensor in outputs.items()}
        count = len(next(iter(vectors.values())))
        place = slice(self.written, self.written + count)
        if place.stop > len(self.table.names):
            raise ValueError(f"{place.stop} embeddings for {len(self.table.names)} images")
        if self.rows is None:
            self._open({name: array.shape[1] for name, array in vectors.items()})
        assert self.rows is not None and self.tensors is not None
        columns: dict[str, Any] = {
            "path": list(self.table.names[place]),
            "label": pa.array(self.table.labels[place], pa.int64()),
            "class": [self.table.classes[label] for label in self.table.labels[place]],
            "part": list(self.table.parts[place]),
        }
        for name, array in vectors.items():
            with naming(self.paths[0]):
                self.tensors.write(name, self.written, array)
            columns[name] = pa.FixedSizeListArray.from_arrays(pa.array(array.reshape(-1)), array.shape[1])
        self.waiting.append(pa.table(columns, schema=self.rows.schema))
        if sum(map(len, self.waiting)) >= AT_ONCE:
            self._write_rows()
        self.written = place.stop

    def close(self) -> list[Path]:
        """Finish the files and give them their names."""
        if self.written != len(self.table.names) or self.rows is None or self.tensors is None:
            raise ValueError(f"{self.written} embeddings for {len(self.table.names)} images")
        with naming(self.paths[0]):
            self.tensors.write("labels", 0, np.asarray(self.table.labels))
            self.tensors.file.close()
        self._write_rows()
        with naming(self.paths[1]):
            self.rows.close()
        for path, unfinished in zip(self.paths, self.unfinished, strict=True):
            with naming(path):
                unfinished.finish()
        return self.paths

    def discard(self) -> None:
        """Remove what is unfinished, also where the disk is full."""
        with suppress(OSError):
            if self.rows is not None:
                self.rows.close()
        with suppress(OSError):
            if self.tensors is not None:
                self.tensors.file.close()
        for unfinished in self.unfinished:
            unfinished.discard()

    def _write_rows(self) -> None:
        if self.waiting:
            assert self.rows is not None
            with naming(self.paths[1]):
                self.rows.write_table(pa.concat_tables(self.waiting))
            self.waiting.clear()

    def _open(self, widths: Mapping[str, int]) -> None:
        lists = {key: getattr(self.table, key) for key in ("names", "classes", "parts")}
        shapes: dict[str, tuple[str, tuple[int, ...]]] = {
            name: ("F32", (len(self.table.names), width)) for name, width in widths.items()
        }
        shapes["labels"] = ("I64", (len(self.table.names),))
        with naming(self.paths[0]):
            self.tensors = _Tensors(self.unfinished[0].part, shapes, self.about, lists)
        texts = [("path", pa.string()), ("label", pa.int64()), ("class", pa.string()), ("part", pa.string())]
        vectors = [(name, pa.list_(pa.float32(), width)) for name, width in widths.items()]
        with naming(self.paths[1]):
            self.rows = pq.ParquetWriter(self.unfinished[1].part, pa.schema([*texts, *vectors], metadata=self.about))


def read(path: str | Path) -> Embeddings:
    """Embeddings that `Writer` wrote, from their safetensors file.

    Raises:
        ValueError: no such file, another format, or a file of something else.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(
            f"embeddings {str(path)!r} do not exist; expected the embeddings.safetensors that predict wrote"
        )
    try:
        with safe_open(path, framework="pt") as file:
            about = dict(file.metadata() or {})
            names = json.loads(about.pop("names"))
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise ValueError("its names are no list of texts")
            known = json.loads(about.pop("classes"))
            classes = [str(known[label]) for label in file.get_tensor("labels").tolist()]
            vectors = {key: file.get_tensor(key) for key in sorted({*file.keys()} - {"labels"})}
    except (SafetensorError, KeyError, ValueError, RecursionError, TypeError, IndexError) as error:
        raise ValueError(
            f"embeddings {str(path)!r} are no embeddings.safetensors that predict wrote: {error}"
        ) from error
    lengths = [len(classes), *(len(vector) if vector.ndim == 2 else -1 for vector in vectors.values())]
    if any(length != len(names) for length in lengths):
        raise ValueError(f"embeddings {str(path)!r} have {len(names)} names, and tensors of other lengths")
    return Embeddings(vectors, names, about, classes)


class _Tensors:
    """A safetensors file of these tensors, whose rows are written as they come.

    Its format: the length of a header, the header in JSON, and then the tensors one after another.

    Args:
        about: texts of the header's metadata.
        lists: lists of texts, which are put there as JSON.

    Raises:
        ValueError: the header would be too long for the format.
    """

    def __init__(
        self,
        path: Path,
        shapes: Mapping[str, tuple[str, tuple[int, ...]]],
        about: Mapping[str, str],
        lists: Mapping[str, Sequence[str]],
    ) -> None:
        header, end = dict[str, dict[str, Any]](), 0
        for name, (kind, shape) in shapes.items():
            start, end = end, end + TYPES[kind].itemsize * int(np.prod(shape))
            header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [start, end]}
        length = sum(map(len, _header(header, about, lists)))
        length += -length % 8
        if length > GREATEST_HEADER:
            raise ValueError(
                f"the names of {len(lists['names']):,} images take {length / 1e6:.0f} MB, and a safetensors file has "
                f"{GREATEST_HEADER / 1e6:.0f} MB for them; embed them with torchrun in several processes, which "
                "write a file each, or a part of them at a time"
            )
        self.types = {name: TYPES[kind] for name, (kind, _) in shapes.items()}
        self.starts = {name: 8 + length + header[name]["data_offsets"][0] for name in shapes}
        self.file = path.open("wb")
        _set_aside(self.file.fileno(), 8 + length + end)
        self.file.write(length.to_bytes(8, "little"))
        for piece in _header(header, about, lists):
            self.file.write(piece.encode())
        self.file.write(b" " * (min(self.starts.values()) - self.file.tell()))

    def write(self, name: str, row: int, rows: np.ndarray) -> None:
        """Put rows into a tensor, from `row` on. Through a map of the file a full disk would end the process."""
        width = self.types[name].itemsize * int(np.prod(rows.shape[1:]))
        self.file.seek(self.starts[name] + row * width)
        self.file.write(np.ascontiguousarray(rows, self.types[name]).tobytes())
        self.file.flush()


def _header(header: Mapping[str, Any], about: Mapping[str, str], lists: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """The header in JSON, of ASCII, a piece at a time: a text of all names would take more room than the names."""
    yield '{"__metadata__": {' + "".join(f"{json.dumps(key)}: {json.dumps(value)}, " for key, value in about.items())
    for number, (key, texts) in enumerate(lists.items()):
        yield f'{", " * (number > 0)}{json.dumps(key)}: "['
        for start in range(0, len(texts), AT_ONCE):
            words = ", " * (start > 0) + json.dumps(list(texts[start : start + AT_ONCE]))[1:-1]
            yield json.dumps(words)[1:-1]
        yield ']"'
    yield "}, " + json.dumps(header)[1:]


def _set_aside(file: int, size: int) -> None:
    """Have the disk keep room for a file, where it can do so."""
    if hasattr(os, "posix_fallocate"):  # not on macOS and Windows
        try:
            os.posix_fallocate(file, 0, size)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise
