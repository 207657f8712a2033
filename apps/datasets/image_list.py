"""Images without a layout: all of a folder, one file, or those that a list names."""

import csv
import os
import sys
from bisect import bisect_right
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import UInt8
from torch import Tensor

from apps.datasets import class_folders, left_out, tar_shards
from apps.datasets.files import SUFFIXES, Encoded, Files, decode, decode_part, find_broken, text
from apps.datasets.labelled_images import Choose, LabelledImages, Source
from apps.datasets.shard_files import shard_files
from apps.io.labels import index_classes
from apps.io.texts import Texts

DELIMITERS = {".csv": ",", ".tsv": "\t"}
PATHS = ("path", "image", "file", "filename", "file_name", "filepath", "image_path", "name")  # columns, in this order
CLASSES = ("class", "label")
SPLITS = ("split",)
GREATEST_LIST = 2**30  # bytes
GREATEST_GROUP = 2**31  # bytes of the images of a Parquet file that are read at once


class Entry(NamedTuple):
    """A line of a list: an image, the name of its class, and its part of a split; what the list does not say is ""."""

    line: int
    name: str
    label: str = ""
    part: str = ""


class Readable(Source, Protocol):
    """Images by row, and the file of each."""

    def file(self, row: int, /) -> Path | Encoded: ...


Candidates = tuple[Sequence[str], Sequence[str], Readable, Path]  # names, classes, images, and where they are


class Listed(NamedTuple):
    """Images that can be decoded; the names of the others, and why they cannot."""

    images: LabelledImages
    failed: tuple[tuple[str, str], ...]


def load(
    where: str | Path,
    *,
    strict: bool = False,
    check: bool = True,
    part: Callable[[int], range] | None = None,
    nested: bool = False,
) -> Listed:
    """The images of a folder at any depth, sorted; one image; or those of a list, in its order.

    A list is a text file of one path a line, or a CSV, TSV or Parquet file with a column of paths ("path", "image",
    "file", "filename", ...); in Parquet the column may also hold the images themselves, as Hugging Face's datasets do.
    A tar file holds the images, as WebDataset's shards do (`tar_shards`). A folder may have several of these, and
    Parquet files of images, and nothing else.
    Paths are relative to the folder of the list, or else to the working folder. An image's class is the folder directly
    below `where` that it lies in, or is in a column "class" or "label"; else it is "".

    Every image is decoded once to check it. What a folder holds beside images is counted in a warning.

    Args:
        strict: an image that cannot be decoded is an error.
        check: decode the images; without it all count as whole.
        part: the rows that are wanted of so many images; None is all. No others are decoded.
        nested: an image's class is the folder that it lies in, named by its path from `where`, as in `folder.load`.

    Raises:
        ValueError: no such file or folder, a list that is none, no image, or none that can be decoded.
    """
    if not str(where):
        raise ValueError("the name of the images is empty; expected a folder of images, an image, or a list of images")
    where = Path(where).expanduser()
    names, classes, source, root = _of_folder(where, nested) if os.path.isdir(where) else _of_file(where)
    rows = range(len(names)) if part is None else part(len(names))
    broken = find_broken(rows, source.file) if check else {}
    failed = tuple((names[row], reason) for row, reason in broken.items())
    if broken and (strict or len(broken) == len(rows)):
        raise ValueError(
            f"{len(broken):,} of the {len(rows):,} images of {str(where)!r} cannot be used: {failed[0][1]}"
        )
    labels, known = index_classes(classes)
    images = LabelledImages(labels, known, names, source, root)
    whole = np.setdiff1d(np.asarray(rows), np.fromiter(broken, np.int64)) if broken else rows
    return Listed(images.of_rows(whole), failed)


def _of_folder(root: Path, nested: bool) -> Candidates:
    if shards := shard_files(root):
        return _of_shards(shards, root)
    found, others = class_folders.list_files(root, SUFFIXES)
    if not found:
        words = left_out.in_words(others)
        state = f"; it has {words}" if words else ""
        raise ValueError(f"{str(root)!r} has no image in it, expected {', '.join(sorted(SUFFIXES))}{state}")
    left_out.warn(root, "images", others)
    names = [class_folders.printable(path.relative_to(root)) for path in found]
    folders = [name.rpartition("/")[0] for name in names]
    return names, folders if nested else [name.partition("/")[0] for name in folders], Files(found, None), root


def _of_shards(paths: list[Path], root: Path) -> Candidates:
    names, classes, sources = list[Texts](), list[str](), list[Readable]()
    for path in paths:
        own, labels, source, _ = _of_file(path)
        named = all(name.startswith(path.name) for name in own)
        names.append(Texts(own if named else _within(path.name, own)))
        classes += labels
        sources.append(source)
    return Texts.join(names), classes, Several(tuple(sources), tuple(accumulate(map(len, names)))), root


def _within(file: str, names: Iterable[str]) -> Iterator[str]:
    return (name if name.startswith(file) else f"{file}/{name}" for name in names)


def _of_file(path: Path) -> Candidates:
    if not os.path.isfile(path):  # Path's own raises for an over-long name
        state = "is no file" if os.path.exists(path) else "does not exist"
        raise ValueError(f"{str(path)!r} {state}; expected a folder of images, an image, or a list of images")
    if path.suffix.lower() in SUFFIXES:
        return [text(path.name)], [""], Files((path,), None), path.parent
    if path.suffix.lower() == ".tar":
        return tar_shards.members(path)
    if path.suffix.lower() == ".parquet" and (held := _held_in(path)) is not None:
        return held
    rows = [row for row in entries(path) if row.name]
    if not rows:
        raise ValueError(f"{str(path)!r} names no images")
    paths = tuple(place(path.parent, row.name) for row in rows)
    beside = any(found == path.parent / row.name for found, row in zip(paths, rows, strict=True))
    root = path.parent if beside else Path()
    return [text(row.name) for row in rows], [text(row.label) for row in rows], Files(paths, None), root


def place(folder: Path, name: str) -> Path:
    """Where an image is that a list in `folder` names."""
    path = folder / name
    try:
        return Path(name) if not path.exists() and Path(name).exists() else path
    except (OSError, ValueError):  # no name of a file: too long, or with a zero byte
        return path


def entries(path: Path) -> Iterator[Entry]:
    """The lines of a list, of any kind that `load` takes; of Parquet, its rows.

    Raises:
        ValueError: it cannot be read, is too large, or has no column of paths.
    """
    if path.stat().st_size > GREATEST_LIST:
        raise ValueError(f"{str(path)!r} has more than {GREATEST_LIST >> 20} MB; expected a list of images")
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        yield from _parquet_rows(path)
        return
    with path.open("rb") as binary:
        if binary.read(2) in (BOM_UTF16_LE, BOM_UTF16_BE):
            raise ValueError(f"{str(path)!r} is in UTF-16; expected a list of images in UTF-8")
    newline = "" if suffix in DELIMITERS else None  # csv reads line ends itself
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline=newline) as file:
            if suffix not in DELIMITERS:
                yield from (Entry(number, line.strip()) for number, line in enumerate(file, 1))
                return
            table = csv.DictReader(file, delimiter=DELIMITERS[suffix], strict=True)
            columns = _columns(path, list(table.fieldnames or ()))
            for row in table:
                yield Entry(table.line_num, *((row[name] or "").strip() if name else "" for name in columns))
    except (csv.Error, OSError) as error:
        raise ValueError(f"{str(path)!r} cannot be read: {error}; expected a list of images") from error


def _parquet_rows(path: Path) -> Iterator[Entry]:
    try:
        with pq.ParquetFile(path) as file:
            image, *others = _columns(path, file.schema_arrow.names)
            if not _is_text(kind := file.schema_arrow.field(image).type):
                raise ValueError(
                    f"{str(path)!r} has {kind} in its column {image!r}; expected paths of images, or images"
                )
            count = 0
            for batch in file.iter_batches(columns=list(filter(None, (image, *others)))):
                words = [_words(batch, column) for column in (image, *others)]
                yield from map(Entry, range(count + 1, count + 1 + batch.num_rows), *words)
                count += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{str(path)!r} cannot be read: {error}; expected a Parquet file") from error


def _held_in(path: Path) -> Candidates | None:
    """The images that a Parquet file holds, or nothing where it names them."""
    try:
        with pq.ParquetFile(path) as file:
            image, label, _ = _columns(path, file.schema_arrow.names)
            kind = file.schema_arrow.field(image).type
            within = pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0
            if not within and not _is_bytes(kind):
                return None
            groups = [file.metadata.row_group(group) for group in range(file.num_row_groups)]
            if any(group.total_byte_size > GREATEST_GROUP for group in groups):
                raise ValueError(
                    f"{str(path)!r} has row groups of more than {GREATEST_GROUP >> 20} MB; expected smaller"
                )
            parts, labels = list[Texts](), list[str]()
            named = within and kind.get_field_index("path") >= 0
            columns = [f"{image}.path"] * named + [label] * (label is not None)
            for batch in file.iter_batches(columns=columns or [image]):
                paths = batch.column(image).field("path").to_pylist() if named else [None] * batch.num_rows
                own = (text(name) if name else f"{path.name}:{len(labels) + i}" for i, name in enumerate(paths))
                parts.append(Texts(own))
                labels += map(sys.intern, _words(batch, label))
            if not labels:
                raise ValueError(f"{str(path)!r} holds no images")
            names = Texts.join(parts)
            ends = tuple(accumulate(group.num_rows for group in groups))
            return names, labels, Held(path, image, ends, names), path
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{str(path)!r} cannot be read: {error}; expected a Parquet file") from error


@dataclass(frozen=True, eq=False)
class Held:
    """Images in a column of a Parquet file; `ends` are the rows behind those of each row group."""

    path: Path
    column: str
    ends: tuple[int, ...]
    names: Texts

    def __getitem__(self, row: int) -> UInt8[Tensor, "3 H W"]:
        return decode(self.file(row))

    def part(self, row: int, choose: Choose, size: int) -> UInt8[Tensor, "3 size size"]:
        return decode_part(self.file(row), choose, size)

    def file(self, row: int) -> Encoded:
        group = bisect_right(self.ends, row)
        content = _group(self.path, group, self.column)[row - (self.ends[group - 1] if group else 0)].as_py()
        data = content.get("bytes") if isinstance(content, dict) else content
        if data is None:
            raise ValueError(f"{self.names[row]!r} cannot be decoded: row {row} of {str(self.path)!r} has no bytes")
        return Encoded(self.names[row], data)


@dataclass(frozen=True)
class Several:
    """The images of several files, one after another; `ends` are the rows behind those of each."""

    sources: tuple[Readable, ...]
    ends: tuple[int, ...]

    def __getitem__(self, row: int) -> UInt8[Tensor, "3 H W"]:
        return decode(self.file(row))

    def part(self, row: int, choose: Choose, size: int) -> UInt8[Tensor, "3 size size"]:
        return decode_part(self.file(row), choose, size)

    def file(self, row: int) -> Path | Encoded:
        place = bisect_right(self.ends, row)
        return self.sources[place].file(row - (self.ends[place - 1] if place else 0))


@lru_cache(maxsize=2)
def _group(path: Path, group: int, column: str) -> pa.ChunkedArray:
    try:
        with pq.ParquetFile(path) as file:
            return file.read_row_group(group, columns=[column])[column]
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{str(path)!r} cannot be read: {error}") from error


def _words(batch: pa.RecordBatch, column: str | None) -> list[str]:
    if column is None:
        return [""] * batch.num_rows
    return batch.column(column).cast(pa.string()).fill_null("").to_pylist()


def _columns(path: Path, names: list[str]) -> tuple[str, str | None, str | None]:
    """The columns of the images, of their classes and of their parts, where there are some."""
    known = {name.strip().lower(): name for name in names}
    image, label, part = (next((known[name] for name in of if name in known), None) for of in (PATHS, CLASSES, SPLITS))
    if image is None:
        raise ValueError(f"{str(path)!r} has the columns {names}; expected one of {', '.join(PATHS)}")
    return image, label, part


def _is_bytes(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
