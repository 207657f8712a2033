"""Files in the layout of one folder a class, and which files and folders are passed over."""

import os
from collections import Counter
from collections.abc import Iterable, Set
from pathlib import Path
from typing import NamedTuple
from unicodedata import normalize

from apps.datasets.files import SHOWN, text

PARTS = frozenset({"train", "test", "val", "valid", "validation"})
# Folders that archivers, desktops and file servers put among the data; those that begin with a dot are passed over too.
NOT_DATA = frozenset({"__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found"})


class Found(NamedTuple):
    """Files, in order; `left_out` counts the others by what they are."""

    paths: tuple[Path, ...]
    left_out: dict[str, int]


def find(root: Path, suffixes: Set[str], *, what: str, example: str, strict: bool = False) -> Found:
    """The files with one of the suffixes in ROOT/CLASS/ or deeper, sorted; class folders without any are left out.

    Links that lead out of `root` or to folders are left out, as is what lies directly in `root` and what is hidden.

    Args:
        suffixes: in small letters, with their dots.
        what: the plural of what is looked for, such as "images", for messages.
        example: a path in the expected layout.
        strict: a class folder without files is an error.

    Raises:
        ValueError: no such folder, no class folders, none with files, or, when `strict`, one without; names the path.
    """
    layout = f"expected a folder that holds one folder of {what} for each class, as in {example}"
    if not root.is_dir():
        state = "is a file" if root.exists() else "does not exist"
        raise ValueError(f"{str(root)!r} {state}: {layout}")
    found, left_out = list_files(root, suffixes)
    kept = [path for path in found if path.parent != root]
    loose = len(found) - len(kept)
    classes = [path.name for path in subfolders(root)]
    _check_spelling(root, classes)
    if not classes:
        raise ValueError(f"{str(root)!r} has {_instead(root, loose, what)}: {layout}")
    filled = {path.relative_to(root).parts[0] for path in kept}
    if empty := [name for name in classes if name not in filled]:
        state = f"class folders without {what} ({', '.join(map(text, empty))})"
        if strict or not filled:
            raise ValueError(
                f"{str(root)!r} has {len(empty)} {state}; put some in ({', '.join(sorted(suffixes))}) or remove them"
            )
        left_out = {state: len(empty)} | left_out
    _check_depth(root, kept, filled, layout)
    return Found(tuple(kept), {**left_out, "in no class folder": loose})


def _check_spelling(root: Path, classes: Iterable[str]) -> None:
    """Refuse two classes of one name: Unicode can write "é" as one character or as two, as macOS does."""
    known: dict[str, str] = {}
    for name in classes:
        if (other := known.setdefault(normalize("NFC", name), name)) != name:
            raise ValueError(
                f"{str(root)!r} has two class folders called {text(name)!r}, written in Unicode as {other!a} and "
                f"{name!a}; put their files into one"
            )


def _check_depth(root: Path, paths: list[Path], classes: Set[str], layout: str) -> None:
    """Refuse folders that are no classes: the one above the class folders, or train and test."""
    direct = any(len(path.relative_to(root).parts) == 2 for path in paths)
    parts = len(classes) > 1 and {name.lower() for name in classes} <= PARTS
    if not parts and (direct or len(classes) > 1):
        return
    names = ", ".join(map(text, sorted(classes)))
    if direct:
        raise ValueError(f"{str(root)!r} has {names} alone, which are no classes; {layout}")
    nearest = root / min(classes) if parts else Path(os.path.commonpath([path.parent for path in paths]))
    raise ValueError(
        f"{str(root)!r} seems to lie above the class folders: it has {names} alone, without files of its own; give "
        f"{str(nearest)!r}, or move the class folders up; {layout}"
    )


def list_files(root: Path, suffixes: Set[str]) -> Found:
    """The files with one of the suffixes below `root`, sorted; others are counted by suffix, links, and hidden names.

    Raises:
        ValueError: a folder that cannot be read.
    """
    inside = root.resolve()
    files = []
    links, hidden, closed, others = 0, 0, set[str](), Counter[str]()
    for folder, below, names in os.walk(root, onerror=_unreadable):
        hidden += sum(map(is_hidden, names))
        closed |= set(filter(is_hidden, below))
        below[:] = [name for name in below if not is_hidden(name)]
        links += sum(Path(folder, name).is_symlink() for name in below)
        for path in (Path(folder, name) for name in names if not is_hidden(name)):
            if path.suffix.lower() not in suffixes:
                others[text(path.suffix.lower()) or "without a suffix"] += 1
            elif path.is_symlink() and not path.resolve().is_relative_to(inside):
                links += 1
            else:
                files.append(path)
    files.sort(key=lambda path: path.relative_to(root).parts)
    left_out = {
        "links to folders or out of it": links,
        f"folders that hold no data ({', '.join(map(text, sorted(closed)))})": len(closed),
        "hidden": hidden,
        **dict(sorted(others.items())),
    }
    return Found(tuple(files), left_out)


def subfolders(root: Path) -> list[Path]:
    """The folders directly in `root` that may hold data, sorted: neither hidden nor links."""
    return sorted(
        path for path in root.iterdir() if path.is_dir() and not path.is_symlink() and not is_hidden(path.name)
    )


def is_hidden(name: str) -> bool:
    """Whether a name is passed over: it begins with a dot, or is a folder that is never data.

    >>> [is_hidden(name) for name in ("._chair.off", "__MACOSX", "chair.off")]
    [True, True, False]
    """
    return name.startswith(".") or name in NOT_DATA


def printable(path: Path) -> str:
    """A path with slashes that can be printed: bytes that are no UTF-8 are written out."""
    return text(path.as_posix())


def _instead(root: Path, loose: int, what: str) -> str:
    """What lies in a folder that has no class folders."""
    links = sorted(path.name for path in root.iterdir() if path.is_symlink() and path.is_dir())
    if links:
        names = f"{', '.join(links[:SHOWN])}{', ...' if len(links) > SHOWN else ''}"
        return f"{len(links)} class folders that are links ({names}), which are not followed"
    return f"{loose} {what} directly in it, no class folders" if loose else "no class folders"


def _unreadable(error: OSError) -> None:
    raise ValueError(f"{error.filename!r} cannot be read: {error.strerror}") from error
