"""Trees above the classes of a data set, given by the parent of each node.

`parents` is (N,) integers: parents[i] is the node above node i, −1 above a root. The first C nodes are the classes, the
leaves; all inner nodes come after them. Several roots are a forest.
"""

import torch
from jaxtyping import Float, Int, Integer
from torch import Tensor

from geomdml._core import checks

__all__ = ["ancestors", "class_labels", "soft_targets", "tree_dist"]


def ancestors(parents: Integer[Tensor, " N"]) -> Int[Tensor, "N H"]:
    """The path from the root to each node: column h is its ancestor at depth h; below itself, the node repeats.

    Args:
        parents: (N,) the tree, see `geomdml.class_trees`.

    Raises:
        ValueError: no node, a parent that is no inner node (a class among them), a cycle.
        TypeError: parents that are not integers.

    Source: the definition.

    >>> ancestors(torch.tensor([2, 2, 3, -1])).tolist()
    [[3, 2, 0], [3, 2, 1], [3, 2, 2], [3, 3, 3]]
    """
    parents = _checked(parents)
    paths, node = [torch.arange(len(parents), device=parents.device)], parents
    while bool((node >= 0).any()):
        if len(paths) > len(parents):
            raise ValueError("parents hold a cycle; expected a tree, in which no node is its own ancestor")
        paths.append(node)
        node = torch.where(node >= 0, parents[node.clamp(min=0)], -1)
    upwards = torch.stack(paths, 1)
    depth = (upwards >= 0).sum(1, keepdim=True) - 1
    downwards = (depth - torch.arange(upwards.shape[1], device=parents.device)).clamp(min=0)
    return upwards.gather(1, downwards)


def class_labels(parents: Integer[Tensor, " N"]) -> Int[Tensor, "C L"]:
    """Labels of the classes at every level, coarse to fine; the last column is the class itself.

    A level at which all classes are one, such as that of a single root, is left out.

    Args:
        parents: (N,) the tree, see `geomdml.class_trees`.

    Raises:
        ValueError, TypeError: as `ancestors`.

    Source: the definition.

    >>> class_labels(torch.tensor([3, 3, 4, 5, 5, -1])).tolist()
    [[3, 0], [3, 1], [4, 2]]
    """
    paths = ancestors(parents)
    of_classes, finest = paths[: _classes(parents)], paths.shape[1] - 1
    return of_classes[:, [h for h in range(finest + 1) if h == finest or len(of_classes[:, h].unique()) > 1]]


def tree_dist(parents: Integer[Tensor, " N"]) -> Float[Tensor, "C C"]:
    """Distances between classes in the tree, in edges; roots count as children of one node above them.

    Args:
        parents: (N,) the tree, see `geomdml.class_trees`.

    Raises:
        ValueError, TypeError: as `ancestors`.

    Source: the definition.

    >>> tree_dist(torch.tensor([3, 3, 4, 5, 5, -1])).tolist()
    [[0.0, 2.0, 4.0], [2.0, 0.0, 4.0], [4.0, 4.0, 0.0]]
    """
    paths = ancestors(parents)[: _classes(parents)]
    depth = (paths != paths[:, -1:]).sum(1)
    common = torch.zeros(len(paths), len(paths), dtype=torch.int64, device=paths.device)
    for column in paths.unbind(1):
        common += column.unsqueeze(1) == column
    shared = common.minimum(1 + depth.unsqueeze(1)).minimum(1 + depth)
    return (2 + depth.unsqueeze(1) + depth - 2 * shared).to(torch.float32)


def soft_targets(dist: Float[Tensor, "C C"], *, beta: float) -> Float[Tensor, "C C"]:
    """Row c is a target distribution for class c: softmax of −β·d/d_max over the classes.

    A large β is one-hot, β near 0 uniform. Rows of it are the `labels` (B, C) that `SoftTripleLoss` and
    `functional.soft_triple` take.

    Args:
        dist: (C, C) distances between classes, such as `tree_dist`, not all 0.
        beta: β > 0.

    Raises:
        ValueError, TypeError: a shape that is not square, distances all 0, β ≤ 0.

    Source: Bertinetto et al., "Making better mistakes" (2020), equation (4).

    >>> soft_targets(torch.tensor([[0.0, 2.0], [2.0, 0.0]]), beta=1.0986123)  # log 3
    tensor([[0.7500, 0.2500],
            [0.2500, 0.7500]])
    """
    checks.floating(dist=dist)
    checks.positive(beta=beta)
    if dist.ndim != 2 or dist.shape[0] != dist.shape[1] or not bool(dist.max() > 0):
        raise ValueError(f"dist has shape {tuple(dist.shape)}; expected (C, C) distances that are not all 0")
    return torch.softmax(-beta * dist / dist.max(), 1)


def _checked(parents: Tensor) -> Tensor:
    parents = checks.labels(parents=parents)
    count, classes = len(parents), _classes(parents)
    if not count:
        raise ValueError("parents is empty; expected at least one node")
    above = parents[parents >= 0]
    if int(parents.min()) < -1 or int(parents.max()) >= count:
        raise ValueError(
            f"parents go from {int(parents.min())} to {int(parents.max())}; expected −1 (a root) to {count - 1}"
        )
    if len(above.unique()) != count - classes:
        leaf = min(set(range(classes, count)) - set(above.tolist()))
        raise ValueError(
            f"node {leaf} has no child and comes after node {int(above.min())}, which has; expected the classes first"
        )
    return parents


def _classes(parents: Tensor) -> int:
    """How many nodes come before the first inner one."""
    above = parents[parents >= 0]
    return int(above.min()) if len(above) else len(parents)
