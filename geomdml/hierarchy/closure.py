"""The transitive closure of a taxonomy."""

import numpy as np
import torch
from jaxtyping import Integer
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from torch import Tensor

__all__ = ["closure"]

_MOST = 2**31


def closure(edges: Integer[Tensor, "E 2"], *, most: int = _MOST) -> Integer[Tensor, "P 2"]:
    """All pairs of a node and an ancestor of it, from the edges between children and their parents.

    Args:
        edges: (E, 2) pairs (child, parent) of node numbers ≥ 0. A node may have several parents; an edge may repeat.
        most: pairs of which there may be no more: a chain of n nodes has n²/2, and edges may come from anyone.

    Returns:
        (P, 2) pairs (node, ancestor), int64, each once, sorted.

    Raises:
        ValueError: a shape other than (E, 2), numbers below 0, a cycle (which is named), more than `most` pairs.
        TypeError: numbers that are not integers.

    Source: Nickel and Kiela, "Poincaré embeddings for learning hierarchical representations" (2017), section 4.1.

    >>> closure(torch.tensor([[2, 1], [1, 0]])).tolist()
    [[1, 0], [2, 0], [2, 1]]
    """
    if not isinstance(edges, Tensor) or edges.is_floating_point() or edges.is_complex() or edges.dtype == torch.bool:
        raise TypeError(f"edges is {getattr(edges, 'dtype', type(edges).__name__)}; expected a tensor of integers")
    if edges.ndim != 2 or edges.shape[1] != 2:
        raise ValueError(f"edges has shape {tuple(edges.shape)}; expected (E, 2), pairs (child, parent)")
    if not len(edges):
        return edges.new_empty(0, 2, dtype=torch.int64)
    if int(edges.min()) < 0:
        raise ValueError(f"edges has a node {int(edges.min())}; expected numbers from 0 on")
    names, numbers = np.unique(edges.cpu().numpy(), return_inverse=True)  # their numbers may be few and large
    parents = _graph(numbers.reshape(-1, 2), len(names))
    _refuse_cycles(parents, names)
    found = parents
    reached, count = [parents], parents.nnz
    while found.nnz:  # the ancestors at the end of a path of one edge more
        found = found @ parents
        found.data[:] = True
        reached.append(found)
        count += found.nnz
        if count > most:
            raise ValueError(f"the closure has more than {most:,} pairs; expected a flatter taxonomy")
    child, ancestor = sum(reached[1:], start=reached[0]).nonzero()
    pairs = np.stack([names[child], names[ancestor]], 1)
    return torch.from_numpy(pairs[np.lexsort(pairs.T[::-1])].astype(np.int64)).to(edges.device)


def _graph(edges: np.ndarray, count: int) -> sparse.csr_array:
    graph = sparse.csr_array((np.ones(len(edges), bool), edges.T), shape=(count, count))
    graph.sum_duplicates()
    return graph


def _refuse_cycles(parents: sparse.csr_array, names: np.ndarray) -> None:
    count, component = connected_components(parents, connection="strong")
    own = parents.diagonal().nonzero()[0]
    if count == len(names) and not len(own):
        return
    node = int(own[0]) if len(own) else int(np.flatnonzero(np.bincount(component)[component] > 1)[0])
    cycle = [node]
    while len(cycle) == 1 or node != cycle[0]:  # a walk within the component comes back: cut what it did twice
        above = parents.indices[parents.indptr[node] : parents.indptr[node + 1]]
        node = next(int(each) for each in above if component[each] == component[node])
        if node in cycle:
            cycle = [*cycle[cycle.index(node) :], node]
            break
        cycle.append(node)
    path = " → ".join(str(names[each]) for each in cycle)
    raise ValueError(f"edges hold a cycle, {path}; expected a taxonomy, in which no node is its own ancestor")
