"""Trees in the Newick format, such as those of phylogenetics."""

import re
from collections.abc import Iterator
from pathlib import Path

from apps.datasets.taxonomies.taxonomy import Mending, Taxonomy, taxonomy

MOST_BYTES = 200 * 2**20
TOKEN = re.compile(r"\s+|\[[^\]]*\]|([(),;])|('(?:[^']|'')*'|[^\s()\[\]':;,]+)|:\s*([^\s()\[\]':;,]*)")


def load(path: Path, *, mending: Mending = Mending()) -> Taxonomy:
    """The first tree of a file; lengths of branches are ignored. Nodes without a name are numbered.

    Raises:
        ValueError: a file that is too large or no Newick; names the place; a name that comes twice.
    """
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"{str(path)!r} has more than {MOST_BYTES >> 20} MB; expected a smaller tree")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{str(path)!r} cannot be read: {error}; expected UTF-8") from error
    names, parents = _nodes(text, str(path))
    return taxonomy(path.name, ((names[child], names[parent]) for child, parent in parents.items()), mending=mending)


def _nodes(text: str, path: str) -> tuple[list[str], dict[int, int]]:
    """The names of the nodes, and the number of each node's parent; without recursion, at any depth."""
    names, parents, open_nodes = [""], dict[int, int](), list[int]()
    node, closed = 0, False  # the node that a name would be of; whether its children have come

    def child_of(parent: int) -> int:
        names.append("")
        parents[len(names) - 1] = parent
        return len(names) - 1

    for place, sign, label in _tokens(text, path):
        if sign == "(" and not closed and not names[node]:
            open_nodes.append(node)
            node = child_of(node)
        elif sign == "," and open_nodes:
            node, closed = child_of(open_nodes[-1]), False
        elif sign == ")" and open_nodes:
            node, closed = open_nodes.pop(), True
        elif sign == ";" and not open_nodes:
            return _named(names, path), parents
        elif label and not names[node]:
            names[node] = label
        else:
            raise ValueError(f"{path!r} is no Newick tree: {(sign or label)[:20]!r} at letter {place} is out of place")
    raise ValueError(
        f"{path!r} is no Newick tree: it ends {'within brackets' if open_nodes else 'without a semicolon'}"
    )


def _tokens(text: str, path: str) -> Iterator[tuple[int, str, str]]:
    place = 0
    while place < len(text):
        match = TOKEN.match(text, place)
        if match is None:
            raise ValueError(f"{path!r} is no Newick tree: {text[place : place + 20]!r} at letter {place + 1}")
        sign, label, _ = match.groups()
        if sign or label:
            yield place + 1, sign or "", label[1:-1].replace("''", "'") if label and label[0] == "'" else label or ""
        place = match.end()


def _named(names: list[str], path: str) -> list[str]:
    given = [name for name in names if name]
    if len(set(given)) < len(given):
        twice = next(name for i, name in enumerate(given) if name in set(given[:i]))
        raise ValueError(f"{path!r} has the name {twice!r} twice; expected one node of each name")
    return [name or f"node {number}" for number, name in enumerate(names)]
