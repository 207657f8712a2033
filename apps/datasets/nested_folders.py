"""Files in class folders that lie in category folders, at any depth."""

from collections.abc import Iterator, Set
from pathlib import Path
from unicodedata import normalize

from apps.datasets.class_folders import PARTS, Found, list_files, printable, subfolders
from apps.datasets.files import text

LAYOUT = "expected class folders of {what} in category folders, as in ROOT/birds/robin/1.jpg"


def find(root: Path, suffixes: Set[str], *, what: str, strict: bool = False) -> Found:
    """The files with one of the suffixes, sorted; the folder that a file lies in is its class.

    Folders without files are left out, as are links that lead out of `root` or to folders, what lies directly in
    `root`, and what is hidden.

    Args:
        suffixes: in small letters, with their dots.
        what: the plural of what is looked for, such as "images", for messages.
        strict: a folder without files is an error.

    Raises:
        ValueError: no such folder, no files in folders, a folder with files beside class folders, two folders of one
            name, folders of a split in place of categories, or, when `strict`, an empty folder; names the path.
    """
    layout = LAYOUT.format(what=what)
    if not root.is_dir():
        raise ValueError(f"{str(root)!r} {'is a file' if root.exists() else 'does not exist'}: {layout}")
    found, left_out = list_files(root, suffixes)
    kept = tuple(path for path in found if path.parent != root)
    if not kept:
        raise ValueError(f"{str(root)!r} has no folders with {what}: {layout}")
    classes = sorted({path.parent.relative_to(root) for path in kept})
    _check(root, classes, what)
    empty = [printable(folder.relative_to(root)) for folder in _leaves(root) if folder.relative_to(root) not in classes]
    if empty:
        state = f"folders without {what} ({', '.join(empty)})"
        if strict:
            raise ValueError(f"{str(root)!r} has {len(empty)} {state}; put some in, or remove them")
        left_out = {state: len(empty)} | left_out
    return Found(kept, {**left_out, "in no class folder": len(found) - len(kept)})


def _check(root: Path, classes: list[Path], what: str) -> None:
    """Refuse folders that are class and category at once, the parts of a split, and names written in two ways."""
    known = set(classes)
    for each in classes:
        if above := next((folder for folder in each.parents if folder in known), None):
            raise ValueError(
                f"{printable(root / above)!r} has {what} of its own and the class folder {printable(each)!r} below it; "
                f"move its {what} into a class folder"
            )
    top = {each.parts[0].lower() for each in classes}
    if len(top) > 1 and top <= PARTS:
        raise ValueError(
            f"{str(root)!r} has {', '.join(sorted(top))} alone, which are no categories; give one of them, or move "
            "their folders up"
        )
    spelt: dict[str, Path] = {}
    for folder in (folder for each in classes for folder in (each, *each.parents)):
        if (other := spelt.setdefault(normalize("NFC", str(folder)), folder)) != folder:
            raise ValueError(
                f"{str(root)!r} has two folders called {text(str(folder))!r}, written in Unicode as {str(other)!a} and "
                f"{str(folder)!a}; put their files into one"
            )


def _leaves(root: Path) -> Iterator[Path]:
    """The folders that have none in them."""
    waiting = subfolders(root)
    while waiting:
        folder = waiting.pop()
        below = subfolders(folder)
        waiting += below
        if not below:
            yield folder
