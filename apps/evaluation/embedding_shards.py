"""Embeddings that several processes have written, a pair of files each, and the manifest that names these."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from apps.evaluation import embedding_files
from apps.evaluation.embedding_files import Embeddings
from apps.io.atomic import write_file

MANIFEST = "embeddings.json"
GREATEST_MANIFEST = 2**24  # bytes
NAME = re.compile(r"embeddings-\d+-of-\d+\.safetensors")


class Shard(NamedTuple):
    """How many images a process has embedded, and how many new ones it could not.

    What the data of a run leave out as they are read is in neither number.
    """

    images: int
    failed: int


def stem(rank: int, count: int, what: str = "embeddings") -> str:
    """The name of the files of one process, without their endings.

    >>> stem(0, 1), stem(0, 12)
    ('embeddings', 'embeddings-01-of-12')
    """
    return what if count == 1 else f"{what}-{rank + 1:0{len(str(count))}}-of-{count}"


def write_manifest(path: Path, shards: Sequence[Shard]) -> None:
    """Name the files of all processes, once they are there."""
    files = [{"file": f"{stem(rank, len(shards))}.safetensors", **shard._asdict()} for rank, shard in enumerate(shards)]
    whole = {"images": sum(shard.images for shard in shards), "failed": sum(shard.failed for shard in shards)}
    text = json.dumps({**whole, "shards": files}, indent=1)
    write_file(path, lambda part: part.write_text(text, encoding="utf-8"))


def read(path: str | Path) -> Embeddings:
    """Embeddings of one process, from their safetensors file, or of several, from their manifest.

    Raises:
        ValueError: no such file, another format, shards that are missing or of different networks.
    """
    path = Path(path)
    if path.suffix != ".json":
        return embedding_files.read(path)
    parts = [embedding_files.read(path.parent / name) for name in _named(path)]
    first = parts[0]
    for part in parts:
        widths = {name: vectors.shape[1] for name, vectors in part.vectors.items()}
        if _about(part) != _about(first) or widths != {name: own.shape[1] for name, own in first.vectors.items()}:
            raise ValueError(f"the embeddings that {str(path)!r} names are of different networks")
    return Embeddings(
        {name: torch.cat([part.vectors[name] for part in parts]) for name in first.vectors},
        [name for part in parts for name in part.names],
        first.about,
        [name for part in parts for name in part.classes],
    )


def _about(part: Embeddings) -> Mapping[str, str]:
    return {name: value for name, value in part.about.items() if name != "parts"}  # those are of its images


def _named(path: Path) -> list[str]:
    """The safetensors files that a manifest names, which lie beside it."""
    expected = f"expected the {MANIFEST} that predict wrote in several processes"
    try:
        if path.stat().st_size > GREATEST_MANIFEST:
            raise ValueError(f"it has more than {GREATEST_MANIFEST >> 20} MB")
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        names = [str(shard["file"]) for shard in content["shards"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"embeddings {str(path)!r} cannot be read: {error}; {expected}") from error
    if not names or not all(map(NAME.fullmatch, names)):
        raise ValueError(f"embeddings {str(path)!r} name no files, or files that are no embeddings; {expected}")
    return names
