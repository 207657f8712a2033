"""The figure of two trees over the same classes: the hierarchy that was given, and the dendrogram of their proxies."""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import matplotlib
import numpy as np
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy import ndarray
from scipy.cluster.hierarchy import cophenet, linkage
from scipy.spatial.distance import squareform
from torch import Tensor

from apps.chest_vit.class_tree import Above, categories
from apps.report.figures import COLOURS, DASHES, MOST_CLASSES, MUTED, STYLE, Illustration, Mark, svg_address
from geomdml.hierarchy import decode, dendrogram_purity

SHOWN = 48  # classes, so that their numbers can be read
MOST_DECODED = 2_000
STYLES = [(colour, dash) for dash in DASHES[:2] for colour in COLOURS]  # of as many categories as are shown


class Node(NamedTuple):
    """A node of a drawn tree: the positions of its leaves among the classes, and its children."""

    leaves: list[int]
    children: list["Node"]
    height: float = 0.0


def dendrograms(above: Above, classes: Sequence[str], proxies: Float[Tensor, "C D"], *, c: float) -> Illustration:
    """The given tree, and the tree that `geomdml.hierarchy.decode` reads from the proxies, of the same classes.

    Of many classes some are shown, evenly drawn of each of the categories with the most classes; the tree of the
    proxies is that of all of them (at most 2,000, evenly drawn) without the others' branches.

    Args:
        above: what lies above each class; at least two of `classes` are in different categories.
        proxies: tangent vectors at the origin, one a class.
        c: absolute curvature.
    """
    decoded = np.unique(np.linspace(0, len(classes) - 1, min(len(classes), MOST_DECODED)).round().astype(int))
    kinds = categories(above, [classes[i] for i in decoded])
    whole = decode(proxies[torch.from_numpy(decoded)], c=c)
    shown = _choose(kinds)
    paths = [(*above[classes[decoded[i]]], classes[decoded[i]]) for i in shown]
    order = sorted(range(len(shown)), key=lambda i: (paths[i][:-1], i))
    shown, paths = [shown[i] for i in order], [paths[i] for i in order]
    heights = squareform(cophenet(whole))[np.ix_(shown, shown)]
    given, read = _given(list(range(len(shown))), paths), _read(linkage(squareform(heights), "single"))
    names = list(dict.fromkeys(kinds[i] for i in shown))
    style = [STYLES[names.index(kinds[i])] for i in shown]
    legend = [Mark(name, *style) for name, style in zip(names, STYLES, strict=False)]
    legend += [Mark(path[-1], style[i][0], glyph=str(i + 1)) for i, path in enumerate(paths)]
    if len(shown) == len(classes):
        which = f"all {len(classes):,} training classes"
    else:
        which = f"{len(shown)} of the {len(classes):,} training classes, in the {len(names)} largest categories of "
        which += f"{len(set(kinds))}"
    read_from = f" of {len(decoded):,} classes" if len(decoded) < len(classes) else ""
    caption = (
        f"Left the given tree, right the tree of the class proxies{read_from} in hyperbolic space: {which}. Pairs "
        "are merged by how near to the origin the path between their proxies comes, the farthest first. A branch has "
        f"the colour of a category where all below it is of this one.{_purity(whole, kinds)}"
    )
    return Illustration(_draw(given, read, style), f"Two trees over {len(shown)} classes. {caption}", legend, caption)


def _purity(tree: Float[ndarray, "M 4"], kinds: Sequence[str]) -> str:
    """A sentence; nothing where no category has two classes to be found together."""
    names = sorted(set(kinds))
    if len(names) == len(kinds):
        return ""
    purity = dendrogram_purity(tree, torch.tensor([names.index(kind) for kind in kinds]))
    return f" Dendrogram purity by category, of all {len(kinds):,}: {purity:.2f}."


def _choose(kinds: Sequence[str]) -> list[int]:
    """Positions of the classes to show: of each of the categories with the most classes a share, evenly drawn."""
    members: dict[str, list[int]] = defaultdict(list)
    for i, kind in enumerate(kinds):
        members[kind].append(i)
    largest = sorted(members.values(), key=len, reverse=True)[:MOST_CLASSES]
    total, chosen = sum(map(len, largest)), list[int]()
    for own in largest:
        count = len(own) if total <= SHOWN else max(1, SHOWN * len(own) // total)
        chosen += [own[i] for i in np.linspace(0, len(own) - 1, count).round().astype(int)]
    return sorted(chosen)


def _given(leaves: list[int], paths: Sequence[Sequence[str]], depth: int = 0) -> Node:
    """The tree of the paths, whose leaves are in its order; a node's height is the number of levels below it."""
    below: dict[str, list[int]] = defaultdict(list)
    for leaf in leaves:
        below[paths[leaf][depth]].append(leaf)
    children = [
        Node(own, []) if len(own) == 1 and len(paths[own[0]]) == depth + 1 else _given(own, paths, depth + 1)
        for own in below.values()
    ]
    return Node(leaves, children, 1 + max(child.height for child in children))


def _read(tree: Float[ndarray, "M 4"]) -> Node:
    """A SciPy linkage, the branch whose leaves come first in the given tree first."""
    nodes = [Node([leaf], []) for leaf in range(len(tree) + 1)]
    for left, right, height, _ in tree:
        children = sorted((nodes[int(left)], nodes[int(right)]), key=lambda node: np.mean(node.leaves))
        nodes.append(Node([leaf for child in children for leaf in child.leaves], children, float(height)))
    return nodes[-1]


def _draw(given: Node, read: Node, style: Sequence[tuple[str, Sequence[int]]]) -> str:
    count = len(style)
    with matplotlib.rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(9, 1 + 0.17 * count), layout="constrained")
        left, middle, right = figure.subplots(1, 3, sharey=True, width_ratios=(4, 2, 5))
        for axes, title in ((left, "given"), (middle, ""), (right, "from the proxies")):
            axes.set(title=title, ylim=(count - 0.5, -0.5))
            axes.axis("off")
        _draw_tree(left, given, style, -1)
        _draw_tree(right, read, style, 1)
        place = {leaf: row for row, leaf in enumerate(read.leaves)}
        middle.set(xlim=(0, 1))
        for row, (colour, dash) in enumerate(style):
            middle.plot((0.2, 0.8), (row, place[row]), color=colour, linewidth=0.8, alpha=0.7, linestyle=_line(dash))
            for x, y, side in ((0.16, row, "right"), (0.84, place[row], "left")):
                middle.text(x, y, str(row + 1), color=colour, fontsize=7, ha=side, va="center")
        return svg_address(figure)


def _draw_tree(axes: Axes, root: Node, style: Sequence[tuple[str, Sequence[int]]], side: int) -> None:
    """The leaves in their order from the top, at 0, and the root at `side`, −1 or 1."""
    rows = {leaf: float(row) for row, leaf in enumerate(root.leaves)}
    top = root.height or 1.0

    def draw(node: Node) -> float:
        """Draw what is below a node, and give its own row."""
        if not node.children:
            return rows[node.leaves[0]]
        ends = [draw(child) for child in node.children]
        for child, end in zip(node.children, ends, strict=True):
            axes.plot((side * child.height / top, side * node.height / top), (end, end), **_pen(child, style))
        axes.plot((side * node.height / top,) * 2, (min(ends), max(ends)), **_pen(node, style))
        return (min(ends) + max(ends)) / 2

    draw(root)


def _pen(node: Node, style: Sequence[tuple[str, Sequence[int]]]) -> dict:
    """A branch has the line of its category; one of several is grey."""
    kinds = {style[leaf] for leaf in node.leaves}
    colour, dash = kinds.pop() if len(kinds) == 1 else (MUTED, ())
    return {"color": colour, "linewidth": 1.2, "linestyle": _line(dash), "solid_capstyle": "butt"}


def _line(dash: Sequence[int]) -> object:
    return (0, tuple(dash)) if dash else "solid"
