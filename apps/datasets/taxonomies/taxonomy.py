"""A taxonomy: names, the edges between children and parents, and what had to be mended."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Int64
from scipy import sparse
from scipy.sparse.csgraph import breadth_first_order, connected_components
from torch import Tensor

from geomdml.hierarchy import closure

MOST_NODES, MOST_EDGES, MOST_PAIRS = 2_000_000, 10_000_000, 100_000_000
LONGEST_NAME = 500
SHOWN = 3

Edges = Iterable[tuple[str, str]]


class Mending(NamedTuple):
    """What is done about a taxonomy that is not as it should be. What is mended is counted in its notes."""

    cycles: Literal["refuse", "cut"] = "refuse"
    duplicates: Literal["refuse", "merge"] = "merge"
    unknown_parents: Literal["refuse", "add", "drop"] = "refuse"
    several_roots: Literal["refuse", "keep", "join"] = "keep"


@dataclass(frozen=True, eq=False)
class Taxonomy:
    """Nodes with names and edges (child, parent) between them, without cycles; a node may have several parents."""

    title: str
    names: tuple[str, ...]
    edges: Int64[Tensor, "E 2"]
    notes: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def ancestors(self) -> Int64[Tensor, "P 2"]:
        """All pairs (node, ancestor), sorted."""
        return closure(self.edges, most=MOST_PAIRS)

    @cached_property
    def roots(self) -> Int64[Tensor, " R"]:
        """The nodes without parents."""
        return torch.nonzero(torch.bincount(self.edges[:, 0], minlength=len(self)) == 0)[:, 0]

    @cached_property
    def depths(self) -> Int64[Tensor, " N"]:
        """The edges from each node to the nearest root."""
        count = len(self)
        above = torch.cat([self.edges, torch.stack([self.roots, torch.full_like(self.roots, count)], 1)])
        graph = sparse.csr_array((np.ones(len(above)), above.numpy().T[::-1]), shape=(count + 1, count + 1))
        order, before = breadth_first_order(graph, count)
        depth = np.full(count + 1, -1)
        for node in order[1:]:
            depth[node] = depth[before[node]] + 1
        return torch.from_numpy(depth[:count])

    @cached_property
    def below(self) -> Int64[Tensor, " N"]:
        """How many nodes are below each: the more, the more general it is."""
        return torch.bincount(self.ancestors[:, 1], minlength=len(self))

    @cached_property
    def numbers(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.names)}

    def number(self, name: str) -> int:
        """The number of a node by its name, or by the part of it before the first dot where that is enough.

        Raises:
            ValueError: no such node; says which are alike.
        """
        if name in self.numbers:
            return self.numbers[name]
        short = [each for each in self.names if each.partition(".")[0] == name]
        if short:  # dog is dog.n.01: the first sense is the most frequent
            return self.numbers[min(short)]
        alike = [each for each in self.names if name.lower() in each.lower()][:SHOWN]
        raise ValueError(f"no node {name!r} in {self.title}" + (f"; there are {', '.join(alike)}" if alike else ""))

    def subtree(self, name: str) -> "Taxonomy":
        """A node, all nodes below it, and the edges between them.

        Raises:
            ValueError: no such node, or none below it.
        """
        top = self.number(name)
        members = torch.zeros(len(self), dtype=torch.bool)
        members[self.ancestors[self.ancestors[:, 1] == top, 0]] = True
        if not bool(members.any()):
            raise ValueError(f"{self.names[top]!r} has no nodes below it; expected the top of a subtree")
        members[top] = True
        numbers = members.cumsum(0) - 1
        edges = numbers[self.edges[members[self.edges].all(1)]]
        names = tuple(name for name, there in zip(self.names, members.tolist(), strict=True) if there)
        return Taxonomy(f"{self.title}, {self.names[top]} and below", names, edges, self.notes)

    def path_to_root(self, node: int) -> list[int]:
        """A node, a parent of it that is nearest to a root, a parent of that, and so on."""
        parents: dict[int, list[int]] = {}
        for child, parent in self.edges[(self.edges[:, :1] == self._lineage(node)).any(1)].tolist():
            parents.setdefault(child, []).append(parent)
        path = [node]
        while path[-1] in parents:
            path.append(min(parents[path[-1]], key=lambda each: int(self.depths[each])))
        return path

    def _lineage(self, node: int) -> Tensor:
        return torch.cat([torch.tensor([node]), self.ancestors[self.ancestors[:, 0] == node, 1]])


def taxonomy(
    title: str,
    edges: Edges,
    *,
    known: Iterable[str] | None = None,
    mending: Mending = Mending(),
) -> Taxonomy:
    """A taxonomy of edges (child, parent), refused or mended where they are not as they should be.

    Args:
        known: all nodes, where the source declares them: a parent that is none of them is unknown.

    Raises:
        ValueError: no edges; too many nodes or edges; empty or very long names; cycles, duplicate edges, unknown
            parents or several roots where they are refused. Names the first few, and says how many there are.
    """
    notes: list[str] = []
    declared = None if known is None else dict.fromkeys(known)
    numbers: dict[str, int] = {}
    for name in declared or ():
        _number(numbers, name, title)
    found: list[tuple[int, int]] = []
    unknown: Counter[str] = Counter()
    for child, parent in edges:
        if declared is not None and parent not in declared:
            unknown[parent] += 1
            if mending.unknown_parents == "drop":
                continue
        found.append((_number(numbers, child, title), _number(numbers, parent, title)))
        if len(found) > MOST_EDGES:
            raise ValueError(f"{title} has more than {MOST_EDGES:,} edges; expected fewer")
    _settle(title, notes, "unknown parents", list(unknown), mending.unknown_parents, "add or drop")
    names = tuple(numbers)
    if not found:
        raise ValueError(f"{title} has no edges; expected pairs of a child and its parent")
    pairs = np.array(found, dtype=np.int64)
    unique, first, times = np.unique(pairs, axis=0, return_index=True, return_counts=True)
    repeated = [f"{names[child]} → {names[parent]}" for child, parent in unique[times > 1]]
    _settle(title, notes, "duplicate edges", repeated, mending.duplicates, "merge", option="duplicates")
    pairs = pairs[np.sort(first)]
    closing = _closing_edges(pairs, len(names))
    cycles = [f"{names[child]} → {names[parent]}" for child, parent in pairs[closing]]
    _settle(title, notes, "edges that close a cycle", cycles, mending.cycles, "cut", option="cycles")
    pairs = np.delete(pairs, closing, axis=0)
    if not len(pairs):
        raise ValueError(f"{title} has no edges beside those that close a cycle; expected a taxonomy")
    roots = np.flatnonzero(np.bincount(pairs[:, 0], minlength=len(names)) == 0)
    if len(roots) > 1:
        tops = [names[root] for root in roots]
        _settle(title, notes, "several roots", tops, mending.several_roots, "keep or join")
        if mending.several_roots == "join":
            top = next(name for name in ("root", "(root)", "((root))") if name not in numbers)
            names = (*names, top)
            pairs = np.concatenate([pairs, np.stack([roots, np.full_like(roots, len(names) - 1)], 1)])
    return Taxonomy(title, names, torch.from_numpy(pairs), tuple(notes))


def _number(numbers: dict[str, int], name: str, title: str) -> int:
    if name in numbers:
        return numbers[name]
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise ValueError(f"{title} has a node {name[:40]!r}; expected a name of 1 to {LONGEST_NAME} printable letters")
    if len(numbers) >= MOST_NODES:
        raise ValueError(f"{title} has more than {MOST_NODES:,} nodes; expected fewer")
    return numbers.setdefault(name, len(numbers))


def _settle(
    title: str, notes: list[str], what: str, found: Sequence[str], chosen: str, mended: str, option: str = ""
) -> None:
    """Note what was found, or refuse it."""
    if not found:
        return
    shown = ", ".join(found[:SHOWN]) + (", ..." if len(found) > SHOWN else "")
    line = f"{len(found):,} {what} ({shown})"
    if chosen == "refuse":
        name = option or what.replace(" ", "_")
        raise ValueError(f"{title} has {line}; mend them by --data.{name} {mended}")
    notes.append(f"{line}: {chosen}")


def _closing_edges(pairs: np.ndarray, count: int) -> list[int]:
    """The edges that lead back onto the path of a depth-first search, so that none is left of a cycle without them."""
    graph = sparse.csr_array((np.ones(len(pairs)), pairs.T), shape=(count, count))
    components, component = connected_components(graph, connection="strong")
    own = pairs[:, 0] == pairs[:, 1]
    closing = np.flatnonzero(own).tolist()
    if components == count:
        return closing
    inner = np.flatnonzero((component[pairs[:, 0]] == component[pairs[:, 1]]) & ~own)  # only these can close one
    above: dict[int, list[int]] = {}
    for edge in inner.tolist():
        above.setdefault(int(pairs[edge, 0]), []).append(edge)
    done: set[int] = set()
    for start in above:
        if start in done:
            continue
        path, on_path = [(start, iter(above[start]))], {start}
        while path:
            node, left = path[-1]
            following = next((edge for edge in left if int(pairs[edge, 1]) not in done), None)
            if following is None:
                path.pop()
                on_path.discard(node)
                done.add(node)
            elif (parent := int(pairs[following, 1])) in on_path:
                closing.append(following)
            else:
                path.append((parent, iter(above.get(parent, ()))))
                on_path.add(parent)
    return sorted(closing)
