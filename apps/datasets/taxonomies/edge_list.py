"""Taxonomies from tables of edges: CSV, TSV or Parquet, a row a child and its parent."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from apps.datasets.taxonomies.taxonomy import Mending, Taxonomy, taxonomy

DELIMITERS = {".csv": ",", ".tsv": "\t"}
HEADERS = (("child", "parent"), ("id1", "id2"))
MOST_BYTES = 2**30

Row = tuple[str, str]


def load(path: Path, *, mending: Mending = Mending()) -> Taxonomy:
    """Columns child and parent by a header of these names (or id1, id2), else the first two; further ones are ignored.

    A row without a parent declares a node. Where there are such rows, a parent without a row of its own is unknown.

    Raises:
        ValueError: a file that is too large, broken or has other columns; names the line; and as `taxonomy`.
    """
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"{str(path)!r} has more than {MOST_BYTES >> 20} MB; expected a smaller list of edges")
    read = _parquet_rows if path.suffix.lower() == ".parquet" else _text_rows
    rows = list(read(path))
    known = dict.fromkeys(child for child, _ in rows) if any(not parent for _, parent in rows) else None
    return taxonomy(path.name, ((child, parent) for child, parent in rows if parent), known=known, mending=mending)


def _text_rows(path: Path) -> Iterator[Row]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from _rows(file, path)
    except UnicodeDecodeError as error:
        raise ValueError(f"{str(path)!r} cannot be read: {error}; expected UTF-8") from error


def _rows(file: TextIO, path: Path) -> Iterator[Row]:
    reader = csv.reader(file, delimiter=DELIMITERS[path.suffix.lower()], strict=True)
    first, second = 0, 1
    try:
        for row in reader:
            words = [word.strip() for word in row]
            if not any(words):
                continue
            header = next((names for names in HEADERS if set(names) <= {word.lower() for word in words}), None)
            if reader.line_num == 1 and header is not None:
                first, second = (list(map(str.lower, words)).index(name) for name in header)
            elif len(words) <= max(first, second):
                raise ValueError(
                    f"line {reader.line_num} of {str(path)!r} has {len(words)} columns; expected child and parent"
                )
            else:
                yield words[first], words[second]
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num} of {str(path)!r} cannot be read: {error}") from error


def _parquet_rows(path: Path) -> Iterator[Row]:
    try:
        with pq.ParquetFile(path) as file:
            columns = next((names for names in HEADERS if set(names) <= set(file.schema_arrow.names)), None)
            if columns is None:
                raise ValueError(f"{str(path)!r} has columns {file.schema_arrow.names}; expected child and parent")
            for batch in file.iter_batches(columns=list(columns)):
                text = (batch.column(name).cast(pa.string()).fill_null("").to_pylist() for name in columns)
                yield from zip(*text, strict=True)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{str(path)!r} cannot be read: {error}; expected a Parquet file") from error
