"""Trees above the classes of the packaged image sets, as `geomdml.class_trees` wants them."""

import csv
import json
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from apps.datasets import emoji, furniture
from apps.io.packages import FetchError, npm_package

EMOJIBASE = "17.0.0", "d01d0e2ca4e22cb402679532155342c71e2e871f25c32223c013b8b166ebdf5a"  # version, SHA-256


def load(name: str, classes: Sequence[str]) -> Tensor:
    """The `parents` of the classes of "emoji" (subgroups and groups of Unicode) or "furniture" (kinds of its list).

    Raises:
        ValueError: another name, or a class that the tree does not have.
        FetchError: the package with Unicode's groups cannot be fetched.
    """
    if name not in READERS:
        raise ValueError(f"there is no hierarchy of {name!r}; expected one of {', '.join(READERS)}")
    paths = READERS[name]()
    if missing := set(classes) - paths.keys():
        raise ValueError(f"class {min(missing)!r} has no place in the hierarchy of {name}")
    return parents_of([paths[each] for each in classes])


def parents_of(paths: Sequence[tuple[str, ...]]) -> Tensor:
    """The tree of classes with these paths above them, from the root down to a class's parent.

    >>> parents_of([("animal", "cat"), ("animal", "cat"), ("animal", "dog"), ("food",)]).tolist()
    [4, 4, 5, 6, 7, 7, -1, -1]
    """
    inner = sorted({path[:end] for path in paths for end in range(1, len(path) + 1)}, key=lambda p: (-len(p), p))
    number: Mapping[tuple[str, ...], int] = {path: len(paths) + place for place, path in enumerate(inner)}
    return torch.tensor([number.get(path, -1) for path in paths] + [number.get(path[:-1], -1) for path in inner])


def _emoji() -> dict[str, tuple[str, ...]]:
    """By code point: the sets of Iconify say which they draw under a name."""
    base = npm_package("emojibase-data", *EMOJIBASE)
    names = json.loads((base / "meta" / "groups.json").read_bytes())
    place = {_plain(each["hexcode"]): each for each in json.loads((base / "en" / "data.json").read_bytes())}
    paths: dict[str, tuple[str, ...]] = {}
    for vendor, pin in emoji.SETS.items():
        points = json.loads((npm_package(f"@iconify-json/{vendor}", *pin) / "chars.json").read_bytes())
        for point, emoji_name in sorted(points.items()):
            entry = place.get(_plain(point), {})
            if "group" in entry and "subgroup" in entry:
                group, subgroup = (names[kind][str(entry[kind[:-1]])] for kind in ("groups", "subgroups"))
                paths.setdefault(emoji_name, (group, subgroup))
    return paths


def _plain(code_points: str) -> str:
    return code_points.lower().replace("-fe0f", "")


def _furniture() -> dict[str, tuple[str, ...]]:
    """A class is a model, named by its kind, library and index."""
    try:
        with furniture.LIST.open(newline="") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise FetchError(f"{furniture.LIST} cannot be read: {error}") from error
    return {f"{row['class']}/{row['library']}-{row['index']}": (row["class"],) for row in rows}


READERS: Mapping[str, Callable[[], dict[str, tuple[str, ...]]]] = {"emoji": _emoji, "furniture": _furniture}
