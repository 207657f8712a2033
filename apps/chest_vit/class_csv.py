"""A tree above classes, from a table of its edges: a CSV or TSV file with columns class and parent."""

import csv
from pathlib import Path

from apps.datasets.files import text
from apps.datasets.image_list import DELIMITERS

COLUMNS = ("class", "parent")
MOST_BYTES = 64 * 2**20
EXPECTED = f"expected a .csv or .tsv file with columns {' and '.join(COLUMNS)}"


def read(path: str | Path) -> dict[str, str]:
    """{class or category: what is directly above it}, and "" for what has nothing above it.

    A row names a class and its parent, or a category and its own. Further columns are ignored.

    Raises:
        ValueError: no such file, another kind, too large, no UTF-8, without one of the columns; a row without a class
            or with another parent than an earlier one. Names the line.
    """
    path = Path(path).expanduser()
    if path.suffix.lower() not in DELIMITERS or not path.is_file():
        state = "is of another kind" if path.is_file() else "is a folder" if path.is_dir() else "does not exist"
        raise ValueError(f"--data.hierarchy {str(path)!r} {state}; {EXPECTED}, or one of folders, own")
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"{str(path)!r} has more than {MOST_BYTES >> 20} MB; {EXPECTED}")
    edges: dict[str, str] = {}
    lines: dict[str, int] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file, delimiter=DELIMITERS[path.suffix.lower()], strict=True)
            known = {(name or "").strip().lower(): name for name in table.fieldnames or ()}
            if missing := [name for name in COLUMNS if name not in known]:
                raise ValueError(f"{str(path)!r} has no column {missing[0]!r}; {EXPECTED}")
            for row in table:
                child, parent = (text((row[known[name]] or "").strip()) for name in COLUMNS)
                if not child and parent:
                    raise ValueError(f"line {table.line_num} of {str(path)!r} has no class; {EXPECTED}")
                if child and edges.setdefault(child, parent) != parent:
                    raise ValueError(
                        f"line {table.line_num} of {str(path)!r} puts {child!r} below {parent!r}, and line "
                        f"{lines[child]} below {edges[child]!r}; expected one parent"
                    )
                lines.setdefault(child, table.line_num)
    except (csv.Error, OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{str(path)!r} cannot be read: {error}; {EXPECTED}") from error
    return edges
