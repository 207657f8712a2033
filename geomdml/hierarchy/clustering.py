"""Binary trees over points, in the form of SciPy's `linkage`: read from embeddings, and their scores."""

from collections import Counter

import numpy as np
import torch
from jaxtyping import Float, Integer
from numpy import ndarray
from scipy.cluster import hierarchy
from torch import Tensor

from geomdml import tangent
from geomdml._core import checks
from geomdml._core.checks import Scalar

__all__ = ["dasgupta_cost", "decode", "dendrogram_purity"]

_PAIRS = 2**20  # depths at a time


def decode(u: Float[Tensor, "N D"], *, c: Scalar) -> Float[ndarray, "M 4"]:
    """The binary tree that embeddings describe: pairs are merged by the depth of their common ancestor, deepest first.

    Args:
        u: (N, D) tangent vectors at the origin, N ≥ 2.
        c: absolute curvature, > 0.

    Returns:
        (N − 1, 4) SciPy linkage, for `scipy.cluster.hierarchy`: single linkage by how much the depth of a pair's lowest
        common ancestor falls short of the deepest. It takes O(N²) memory.

    Raises:
        ValueError, TypeError: as `geomdml.tangent.lca_depth`; fewer than two points.

    Source: Chami et al., "From trees to continuous embeddings and back" (2020), section 4.3, with the depth to the
    geodesic segment (`geomdml.tangent.lca_depth`).

    >>> u = torch.tensor([[3.0, 0.0], [3.0, 0.1], [-3.0, 0.0], [-3.0, 0.1]])
    >>> decode(u, c=1.0)[:, :2].tolist()
    [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
    """
    checks.rows(u=u)
    if len(u) < 2:
        raise ValueError(f"u has {len(u)} points; expected at least two")
    u = u.detach()
    row, column = np.triu_indices(len(u), 1)
    parts = zip(torch.from_numpy(row).split(_PAIRS), torch.from_numpy(column).split(_PAIRS), strict=True)
    with torch.no_grad():
        depth = torch.cat([tangent.lca_depth(u[i], u[j], c=c).double().cpu() for i, j in parts]).numpy()
    return hierarchy.linkage(depth.max() - depth, method="single")


def dasgupta_cost(tree: Float[ndarray, "M 4"], similarity: Float[Tensor, "N N"]) -> float:
    """Σ_{i<j} S_ij · |leaves(lca(i, j))|: low where similar points are merged early.

    Args:
        tree: (N − 1, 4) SciPy linkage.
        similarity: (N, N), symmetric.

    Raises:
        ValueError: no linkage, a similarity that is not symmetric or of another size.
        TypeError: a similarity that is not floating point.

    Source: Dasgupta, "A cost function for similarity-based hierarchical clustering" (2016).

    >>> similarity = torch.tensor([[0.0, 1, 0], [1, 0, 2], [0, 2, 0]])
    >>> tree = np.array([[0.0, 1, 1, 2], [2, 3, 2, 3]])
    >>> dasgupta_cost(tree, similarity)  # 1·2 + 2·3
    8.0
    """
    checks.floating(similarity=similarity)
    count = _leaves(tree)
    matrix = similarity.detach().cpu().double().numpy()
    if matrix.shape != (count, count) or not np.array_equal(matrix, matrix.T):
        raise ValueError(f"similarity has shape {matrix.shape}; expected symmetric ({count}, {count}), as the tree")
    members = [np.array([leaf]) for leaf in range(count)]
    cost = 0.0
    for left, right in tree[:, :2].astype(int):
        members.append(np.concatenate([members[left], members[right]]))
        cost += len(members[-1]) * matrix[np.ix_(members[left], members[right])].sum()
        members[left] = members[right] = members[left][:0]  # each is merged once: memory stays O(N)
    return float(cost)


def dendrogram_purity(tree: Float[ndarray, "M 4"], labels: Integer[Tensor, " N"]) -> float:
    """The mean, over the pairs of points of one class, of the share of that class below their lowest common ancestor.

    Args:
        tree: (N − 1, 4) SciPy linkage.
        labels: (N,) classes, integers.

    Raises:
        ValueError: no linkage, labels of another number, no two points of one class.
        TypeError: labels that are not integers.

    Source: Heller and Ghahramani, "Bayesian hierarchical clustering" (2005), section 4.

    >>> tree = np.array([[0.0, 1, 1, 2], [2, 3, 2, 3]])
    >>> dendrogram_purity(tree, torch.tensor([0, 0, 1])), round(dendrogram_purity(tree, torch.tensor([0, 1, 0])), 4)
    (1.0, 0.6667)
    """
    count = _leaves(tree)
    checks.labels(count, labels=labels)
    classes = [Counter([label]) for label in labels.tolist()]
    total, pairs = 0.0, 0
    for left, right in tree[:, :2].astype(int):
        small, large = sorted((classes[left], classes[right]), key=len)
        size = small.total() + large.total()
        for label, number in small.items():
            merged = number * large[label]
            pairs += merged
            total += merged * (number + large[label]) / size
        large.update(small)
        classes.append(large)
    if not pairs:
        raise ValueError("labels has no two of one class; expected at least one pair to find")
    return total / pairs


def _leaves(tree: ndarray) -> int:
    if not hierarchy.is_valid_linkage(tree):
        raise ValueError(f"tree has shape {np.shape(tree)}; expected (N − 1, 4), as scipy.cluster.hierarchy.linkage")
    return len(tree) + 1
