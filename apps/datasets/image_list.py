"""Images without a layout: all of a folder, one file, or those that a list names."""

import csv
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from apps.datasets import class_folders, left_out
from apps.datasets.files import SUFFIXES, Files, find_broken, text
from apps.datasets.labelled_images import LabelledImages
from apps.io.labels import index_classes

DELIMITERS = {".csv": ",", ".tsv": "\t"}
PATHS = ("path", "image", "file", "filename", "file_name", "filepath", "image_path", "name")  # columns, in this order
CLASSES = ("class", "label")
GREATEST_LIST = 2**30  # bytes

Row = tuple[str, str]  # the path of an image and the name of its class


class Listed(NamedTuple):
    """Images that can be decoded, and why the others cannot, by name."""

    images: LabelledImages
    failed: dict[str, str]


def load(where: str | Path, *, strict: bool = False) -> Listed:
    """The images of a folder at any depth, sorted; one image; or those of a list, in its order.

    A list is a text file of one path a line, or a CSV, TSV or Parquet file with a column of paths ("path", "image",
    "file", "filename", ...). Paths are relative to the folder of the list, or else to the working folder. An image's
    class is the folder directly below `where` that it lies in, or is in a column "class" or "label"; else it is "".

    Every image is decoded once to check it. What a folder holds beside images is counted in a warning.

    Args:
        strict: an image that cannot be decoded is an error.

    Raises:
        ValueError: no such file or folder, a list that is none, no image, or none that can be decoded.
    """
    if not str(where):
        raise ValueError("the name of the images is empty; expected a folder of images, an image, or a list of images")
    where = Path(where).expanduser()
    names, paths, classes = _of_folder(where) if where.is_dir() else _of_file(where)
    broken = find_broken(paths)
    failed = {name: broken[path] for name, path in zip(names, paths, strict=True) if path in broken}
    if failed and (strict or len(broken) == len(set(paths))):
        first = next(iter(failed.values()))
        raise ValueError(f"{len(failed):,} of the {len(names):,} images of {str(where)!r} cannot be used: {first}")
    rows = [row for row, path in enumerate(paths) if path not in broken]
    labels, known = index_classes(classes[row] for row in rows)
    source = Files(tuple(paths[row] for row in rows), None)
    return Listed(LabelledImages(labels, known, tuple(names[row] for row in rows), source), failed)


def _of_folder(root: Path) -> tuple[list[str], list[Path], list[str]]:
    found, others = class_folders.list_files(root, SUFFIXES)
    if not found:
        words = left_out.in_words(others)
        state = f"; it has {words}" if words else ""
        raise ValueError(f"{str(root)!r} has no image in it, expected {', '.join(sorted(SUFFIXES))}{state}")
    left_out.warn(root, "images", others)
    names = [class_folders.printable(path.relative_to(root)) for path in found]
    return names, list(found), [name.partition("/")[0] if "/" in name else "" for name in names]


def _of_file(path: Path) -> tuple[list[str], list[Path], list[str]]:
    if not path.is_file():
        state = "is no file" if path.exists() else "does not exist"
        raise ValueError(f"{str(path)!r} {state}; expected a folder of images, an image, or a list of images")
    if path.suffix.lower() in SUFFIXES:
        return [text(path.name)], [path], [""]
    if path.stat().st_size > GREATEST_LIST:
        raise ValueError(f"{str(path)!r} has more than {GREATEST_LIST >> 20} MB; expected a list of images")
    rows = [(name, label) for name, label in _rows(path) if name]
    if not rows:
        raise ValueError(f"{str(path)!r} names no images")
    return [text(name) for name, _ in rows], [_place(path.parent, name) for name, _ in rows], [c for _, c in rows]


def _place(folder: Path, name: str) -> Path:
    """Where an image is that a list in `folder` names."""
    path = folder / name
    try:
        return Path(name) if not path.exists() and Path(name).exists() else path
    except (OSError, ValueError):  # no name of a file: too long, or with a zero byte
        return path


def _rows(path: Path) -> Iterator[Row]:
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
                yield from ((line.strip(), "") for line in file)
                return
            table = csv.DictReader(file, delimiter=DELIMITERS[suffix], strict=True)
            image, label = _columns(path, list(table.fieldnames or ()))
            for row in table:
                yield (row[image] or "").strip(), (row[label] or "").strip() if label else ""
    except (csv.Error, OSError) as error:
        raise ValueError(f"{str(path)!r} cannot be read: {error}; expected a list of images") from error


def _parquet_rows(path: Path) -> Iterator[Row]:
    try:
        with pq.ParquetFile(path) as file:
            image, label = _columns(path, file.schema_arrow.names)
            if not _is_text(kind := file.schema_arrow.field(image).type):
                raise ValueError(f"{str(path)!r} has {kind} in its column {image!r}; expected paths of images")
            for batch in file.iter_batches(columns=[image] + [label] * (label is not None)):
                names = batch.column(image).cast(pa.string()).fill_null("").to_pylist()
                labels = [""] * len(names)
                if label is not None:
                    labels = batch.column(label).cast(pa.string()).fill_null("").to_pylist()
                yield from zip(names, labels, strict=True)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{str(path)!r} cannot be read: {error}; expected a Parquet file") from error


def _columns(path: Path, names: list[str]) -> tuple[str, str | None]:
    """The columns of the images and of their classes, where there are some."""
    known = {name.strip().lower(): name for name in names}
    image = next((known[name] for name in PATHS if name in known), None)
    if image is None:
        raise ValueError(f"{str(path)!r} has the columns {names}; expected one of {', '.join(PATHS)}")
    return image, next((known[name] for name in CLASSES if name in known), None)


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
