"""Class lists (.cla) of the SHREC contests and the Princeton Shape Benchmark, and the shapes that they name.

A list reads "PSB 1", the numbers of classes and of models, then for each class a line "name parent count" and `count`
lines of one model each; the parent is "0" or another class, as in furniture/table/round. A model "123" is the file
123.off, m123.off (SHREC'13, PSB) or M123.off (SHREC'14).
"""

from codecs import BOM_UTF8
from pathlib import Path

import numpy as np

from apps.datasets import class_folders
from apps.datasets.mesh_folder import title
from apps.io.labels import index_classes
from apps.shapes.labelled_shapes import Shapes, mark_test
from apps.shapes.meshes import SUFFIXES, MeshFile, Up

MOST_BYTES = 2**26
PREFIXES = ("", "m", "M")


def read_list(path: str | Path) -> dict[str, tuple[str, ...]]:
    """The models of each class of a .cla file, in its order; classes that only hold other classes are left out.

    Raises:
        ValueError: no such file, or one that is not what it says; names the path, and the line where it can.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{str(path)!r} is no file; expected a class list (.cla)")
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"{str(path)!r} is larger than {MOST_BYTES:,} bytes: that is no class list")
    lines = [(number, line.split()) for number, line in enumerate(_text(path).splitlines(), start=1) if line.strip()]
    try:
        return _parsed(lines)
    except ValueError as error:
        raise ValueError(f"{str(path)!r} is no class list: {error}") from error


def load(lists: tuple[str | Path, ...], root: str | Path, *, up: Up = "y", test: float = 0.3, seed: int = 0) -> Shapes:
    """The shapes of one class list, split at random, or those of two: one for training, one for testing.

    Args:
        lists: one or two .cla files.
        root: the models lie in it or deeper, under the names that the lists give.
        up: the axis that points up in the files.
        test, seed: share and seed of the stratified split of a single list.

    Raises:
        ValueError: a broken list, or a model whose file is missing or there twice; names the path.
    """
    if len(lists) not in (1, 2):
        raise ValueError(f"{len(lists)} class lists; expected one, or one for training and one for testing")
    root = Path(root).expanduser()
    if not root.is_dir():
        raise ValueError(f"{str(root)!r} is no folder; expected one that holds the models of the class lists")
    files = _by_stem(root)
    entries = [
        (name, part, _file(model, files, root, path))
        for part, path in enumerate(lists)
        for name, models in read_list(path).items()
        for model in models
    ]
    if not entries:
        raise ValueError(f"{str(lists[0])!r} names no model")
    labels, classes = index_classes(name for name, _, _ in entries)
    in_second = np.array([part == 1 for _, part, _ in entries])
    return Shapes(
        title(root),
        labels,
        classes,
        tuple(class_folders.printable(path.relative_to(root)) for _, _, path in entries),
        in_second if len(lists) == 2 else mark_test(labels, test=test, seed=seed),
        tuple(MeshFile(path, up) for _, _, path in entries),
        up,
    )


def is_at(root: Path) -> bool:
    """Whether a folder has class lists."""
    return bool(_lists(root))


def load_folder(root: Path, *, up: Up, test: float, seed: int, strict: bool) -> Shapes:
    """The shapes of the class lists in a folder: of two, the one with "train" in its name is for training.

    A model that is listed and missing is an error, whether `strict` or not.
    """
    return load(_lists(root), root, up=up, test=test, seed=seed)


def _lists(root: Path) -> tuple[Path, ...]:
    found = [path for path in root.glob("*.cla") if not class_folders.is_hidden(path.name)]
    return tuple(sorted(found, key=lambda path: ("train" not in path.name.lower(), path.name)))


def _text(path: Path) -> str:
    return path.read_bytes().removeprefix(BOM_UTF8).decode("utf-8", errors="backslashreplace")


def _parsed(lines: list[tuple[int, list[str]]]) -> dict[str, tuple[str, ...]]:
    if not lines or lines[0][1][0] != "PSB":
        raise ValueError("it does not begin with PSB")
    counts = lines[1][1] if len(lines) > 1 else []
    if len(counts) != 2 or not all(count.isdecimal() for count in counts):
        raise ValueError(f"its second line is {' '.join(counts)[:40]!r}; expected the numbers of classes and models")
    classes: dict[str, tuple[str, ...]] = {}
    full: dict[str, str] = {}
    place, headings = 2, 0
    while place < len(lines):
        number, heading = lines[place]
        if len(heading) != 3 or not heading[2].isdecimal():
            raise ValueError(f"line {number} is {' '.join(heading)[:40]!r}; expected 'name parent count'")
        models = lines[place + 1 : place + 1 + int(heading[2])]
        if len(models) < int(heading[2]) or any(len(model) != 1 for _, model in models):
            raise ValueError(f"class {heading[0]!r} (line {number}) does not have the {heading[2]} models it says")
        name, parent, _ = heading
        full[name] = name if parent == "0" else f"{full.get(parent, parent)}/{name}"
        if full[name] in classes:
            raise ValueError(f"class {full[name]!r} comes twice (line {number})")
        if models:
            classes[full[name]] = tuple(model[0] for _, model in models)
        place, headings = place + 1 + len(models), headings + 1
    found = sum(map(len, classes.values()))
    if int(counts[0]) not in (headings, len(classes)) or int(counts[1]) != found:
        raise ValueError(f"it says {counts[0]} classes and {counts[1]} models but has {headings} and {found}")
    return classes


def _by_stem(root: Path) -> dict[str, list[Path]]:
    files: dict[str, list[Path]] = {}
    for path in class_folders.list_files(root, SUFFIXES).paths:
        files.setdefault(path.stem, []).append(path)
    return files


def _file(model: str, files: dict[str, list[Path]], root: Path, path: str | Path) -> Path:
    found = [file for prefix in PREFIXES for file in files.get(prefix + model, [])]
    if len(found) != 1:
        state = f"has no mesh {model}" if not found else f"has {len(found)} meshes {model}"
        raise ValueError(
            f"{str(root)!r} {state}, which {str(path)!r} names (as {model}.off, m{model}.off or M{model}.off)"
        )
    return found[0]
