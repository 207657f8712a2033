"""Images in tar files, as WebDataset writes them: read one at a time, from where they lie in the file."""

import json
import tarfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from jaxtyping import UInt8
from torch import Tensor

from apps.datasets import left_out
from apps.datasets.files import SUFFIXES, Encoded, decode, text

LABELS = (".cls", ".json")
GREATEST_LABEL, GREATEST_IMAGE = 2**16, 2**28  # bytes


@dataclass(frozen=True)
class Members:
    """Images of a tar file, by where each begins and how many bytes it has."""

    path: Path
    names: tuple[str, ...]
    spans: tuple[tuple[int, int], ...]

    def __getitem__(self, row: int) -> UInt8[Tensor, "3 H W"]:
        return decode(self.file(row))

    def file(self, row: int) -> Encoded:
        start, size = self.spans[row]
        if size > GREATEST_IMAGE:
            raise ValueError(f"{self.names[row]!r} has {size:,} bytes; expected an image of up to {GREATEST_IMAGE:,}")
        try:
            with self.path.open("rb") as file:
                file.seek(start)
                return Encoded(self.names[row], file.read(size))
        except OSError as error:
            raise ValueError(f"{str(self.path)!r} cannot be read: {error}") from error


def members(path: Path) -> tuple[list[str], list[str], Members, Path]:
    """The names and classes of the images in a tar file, in its order, and where they are.

    The files of an image have one name up to its first dot: KEY.jpg with KEY.cls (a text), or KEY.json ("class" or
    "label"). Without these the class is the folder that the image lies in, or "". Files of other kinds are counted in a
    warning.

    Raises:
        ValueError: no tar file, a compressed one, one that ends early, without images, or with a label that is none.
    """
    names, keys, spans = list[str](), list[str](), list[tuple[int, int]]()
    classes, others = dict[str, str](), dict[str, int]()
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                if not member.isfile():
                    continue
                place = PurePosixPath(member.name)
                stem, _, ending = place.name.partition(".")
                key, suffix = str(place.with_name(stem)) if stem else str(place), f".{ending.lower()}"
                if suffix in SUFFIXES:
                    names.append(text(f"{path.name}/{member.name}"))
                    keys.append(key)
                    spans.append((member.offset_data, member.size))
                elif suffix in LABELS:
                    classes[key] = _label(path, archive, member, suffix)
                else:
                    others[suffix] = others.get(suffix, 0) + 1
    except (tarfile.TarError, OSError, EOFError) as error:
        raise ValueError(
            f"{str(path)!r} cannot be read: {error}; expected a tar file that is not compressed"
        ) from error
    if not names:
        raise ValueError(f"{str(path)!r} has no image in it, expected {', '.join(sorted(SUFFIXES))}")
    left_out.warn(path, "images", others)
    labels = [text(classes.get(key, PurePosixPath(key).parent.name)) for key in keys]
    return names, labels, Members(path, tuple(names), tuple(spans)), path


def _label(path: Path, archive: tarfile.TarFile, member: tarfile.TarInfo, suffix: str) -> str:
    file = archive.extractfile(member) if member.size <= GREATEST_LABEL else None
    try:
        if file is None:
            raise ValueError(f"it has {member.size:,} bytes")
        content = file.read().decode("utf-8")
        if suffix == ".json":
            found = json.loads(content)
            content = str(found.get("class", found.get("label", "")))
    except (ValueError, AttributeError, RecursionError) as error:
        raise ValueError(f"{member.name!r} in {str(path)!r} is no label: {error}") from error
    return content.strip()
