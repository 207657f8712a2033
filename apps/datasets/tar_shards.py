"""Images in tar files, as WebDataset writes them: read one at a time, from where they lie in the file."""

import json
import sys
import tarfile
from array import array
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Int64, UInt8
from torch import Tensor

from apps.datasets import left_out
from apps.datasets.files import SUFFIXES, Encoded, decode, decode_part, text
from apps.datasets.labelled_images import Choose
from apps.io.texts import Texts

LABELS = (".cls", ".json")
GREATEST_LABEL, GREATEST_IMAGE = 2**16, 2**28  # bytes


@dataclass(frozen=True, eq=False)
class Members:
    """Images of a tar file, by where each begins and how many bytes it has."""

    path: Path
    names: Texts
    spans: Int64[np.ndarray, "N 2"]

    def __getitem__(self, row: int) -> UInt8[Tensor, "3 H W"]:
        return decode(self.file(row))

    def part(self, row: int, choose: Choose, size: int) -> UInt8[Tensor, "3 size size"]:
        return decode_part(self.file(row), choose, size)

    def file(self, row: int) -> Encoded:
        start, size = self.spans[row].tolist()
        if size > GREATEST_IMAGE:
            raise ValueError(f"{self.names[row]!r} has {size:,} bytes; expected an image of up to {GREATEST_IMAGE:,}")
        try:
            with self.path.open("rb") as file:
                file.seek(start)
                return Encoded(self.names[row], file.read(size))
        except OSError as error:
            raise ValueError(f"{str(self.path)!r} cannot be read: {error}") from error


def members(path: Path) -> tuple[Texts, list[str], Members, Path]:
    """The names and classes of the images in a tar file, in its order, and where they are.

    The files of an image have one name up to its first dot: KEY.jpg with KEY.cls (a text), or KEY.json ("class" or
    "label"). Without these the class is the folder that the image lies in, or "". Files of other kinds are counted in a
    warning.

    Raises:
        ValueError: no tar file, a compressed one, one that ends early, without images, or with a label that is none.
    """
    names, spans = list[str](), array("q")
    classes, others = dict[str, str](), dict[str, int]()
    try:
        with tarfile.open(path, "r:") as archive:
            while (member := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined]  # where tarfile keeps all
                if not member.isfile():
                    continue
                name = text(member.name)
                key, suffix = _key(name)
                if suffix in SUFFIXES:
                    names.append(f"{path.name}/{name}")
                    spans.extend((member.offset_data, member.size))
                elif suffix in LABELS:
                    classes[key] = sys.intern(_label(path, archive, member, suffix))
                else:
                    others[suffix] = others.get(suffix, 0) + 1
    except (tarfile.TarError, OSError, EOFError) as error:
        raise ValueError(
            f"{str(path)!r} cannot be read: {error}; expected a tar file that is not compressed"
        ) from error
    if not names:
        raise ValueError(f"{str(path)!r} has no image in it, expected {', '.join(sorted(SUFFIXES))}")
    left_out.warn(path, "images", others)
    keys = (_key(name[len(path.name) + 1 :])[0] for name in names)
    labels = [sys.intern(text(classes.get(key, PurePosixPath(key).parent.name))) for key in keys]
    found = Texts(names)
    return found, labels, Members(path, found, np.asarray(spans, np.int64).reshape(-1, 2)), path


def _key(name: str) -> tuple[str, str]:
    """What the files of one image have in common, and the ending of this one."""
    place = PurePosixPath(name)
    stem, _, ending = place.name.partition(".")
    return str(place.with_name(stem)) if stem else str(place), f".{ending.lower()}"


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
