"""Files that hold many images each: which they are, and where."""

from pathlib import Path

SUFFIXES = (".tar", ".parquet")


def shard_files(path: Path) -> list[Path]:
    """The tar and Parquet files at a path, sorted by name; none where there are others too, hidden ones aside."""
    within = path.iterdir() if path.is_dir() else [path]
    found = sorted(each for each in within if not each.name.startswith("."))
    fitting = all(each.suffix.lower() in SUFFIXES and each.is_file() for each in found)
    return found if fitting else []
