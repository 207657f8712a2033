"""An index for nearest neighbours in hyperbolic space, on FAISS (extra `search`)."""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Integer
from torch import Tensor

from geomdml._core import checks
from geomdml._core.numerics import norm, wide
from geomdml.search._faiss import SAMPLE, Candidates, Kind
from geomdml.search._matched_pairs import OneToOne
from geomdml.search.knn import Neighbours
from geomdml.spaces import Hyperbolic

__all__ = ["HyperbolicIndex", "RANGE"]

RANGE = 4.0  # distance from the origin at unit curvature; farther out, products in float32 lose the order
_BATCH = 2**22  # numbers of points at a time
_FILES = ("index.faiss", "points.npy", "ids.npy", "alive.npy", "index.json")


class HyperbolicIndex:
    """Nearest neighbours in hyperbolic space: candidates from a FAISS index, ranked by their exact distances.

    - "flat" compares with all points, by the Lorentz product (⟨X, Y⟩ falls as the distance grows), an inner product
      once a sign is flipped: exact but for what float32 cannot tell apart.
    - "hnsw" walks a graph, "ivfpq" looks into some of many lists of points shortened to codes: approximate, and much
      faster for millions of points. Both go by straight distances in the Poincaré ball: the Lorentz product of two
      stored points is no measure of nearness until a sign is flipped, so that no graph can be built by it.

    Points farther from the origin than A = 2√c‖u‖ = 4 are warned of: there float32 products begin to lose the order.

    Args:
        space: hyperbolic; points are in its chart. Its curvature is fixed when the index is made.
        dim: their length D.
        kind: "flat", "hnsw" or "ivfpq".

    Raises:
        ValueError, TypeError: a space that is not hyperbolic, an unknown kind, dim < 1.
        ImportError: without faiss.

    Source: Nickel and Kiela (2018) for the product; Malkov and Yashunin (2020) for the graph; Jégou, Douze and Schmid
    (2011) for the codes.

    >>> index = HyperbolicIndex(Hyperbolic(c=1.0), dim=2)
    >>> index.add(torch.tensor([[0.0, 0.0], [0.5, 0.0], [0.0, 1.0]]), ids=torch.tensor([7, 8, 9]))
    >>> index.search(torch.tensor([[0.4, 0.0]]), k=2)
    Neighbours(distances=tensor([[0.2000, 0.8000]]), indices=tensor([[8, 7]]))
    >>> index.remove(torch.tensor([8]))
    >>> index.search(torch.tensor([[0.4, 0.0]]), k=1).indices
    tensor([[7]])
    """

    def __init__(self, space: Hyperbolic, dim: int, *, kind: Kind = "flat") -> None:
        if not isinstance(space, Hyperbolic):
            raise ValueError(f"space = {space}; expected Hyperbolic(...)")
        dim = checks.integer(1, dim=dim)
        self.space = Hyperbolic(space.curvature, chart=space.chart)
        self.dim, self.kind = dim, kind
        self.mapped = False
        self._found = Candidates(self.space, dim, kind)
        self._points = np.empty((0, dim), np.float32)
        self._ids = np.empty(0, np.int64)
        self._alive = np.empty(0, bool)

    def __len__(self) -> int:
        return int(self._alive.sum())

    def add(self, points: Float[Tensor, "N D"] | np.ndarray, ids: Integer[Tensor, " N"] | None = None) -> None:
        """Add points, batch by batch: an array larger than memory may come as a `numpy.memmap`.

        Args:
            points: (N, D) in the space's chart; kept as float32. The first call trains an "ivfpq" index.
            ids: (N,) numbers ≥ 0 to know them by, each once; None counts on from the largest.

        Raises:
            ValueError, TypeError: points or ids that do not match, NaN, an id that is there; an index that is mapped.
        """
        if self.mapped:
            raise ValueError("the index is memory-mapped, and only read; load it without mmap to add to it")
        ids_array = self._new_ids(len(points), ids)
        at_a_time = max(1, _BATCH // self.dim)
        blocks = range(0, len(points), at_a_time)
        farthest = max((self._radius(self._tensor(points[i : i + at_a_time])) for i in blocks), default=0.0)
        if farthest > RANGE:
            warnings.warn(
                f"points as far out as A = 2√c‖u‖ = {farthest:.3g}; float32 products keep the order up to {RANGE:g}, "
                "beyond that neighbours may be missed (geomdml.search.knn is exact at any radius)",
                stacklevel=2,
            )
        if len(points) and not self._found.trained:
            self._found.train(self._tensor(points[:: max(1, len(points) // SAMPLE)]))
        start = len(self._ids)
        self._reserve(start + len(points))
        for i in blocks:
            block = self._tensor(points[i : i + at_a_time])
            self._points[start + i : start + i + len(block)] = block.numpy()
            self._found.add(block)
        self._ids = np.concatenate([self._ids, ids_array])
        self._alive = np.concatenate([self._alive, np.ones(len(points), bool)])

    def remove(self, ids: Integer[Tensor, " N"]) -> None:
        """Forget points by their ids. They are passed over from now on; `save` leaves them where they are.

        Raises:
            ValueError: an id that is not there.
        """
        checks.labels(ids=ids)
        wanted = ids.cpu().numpy()
        absent = np.setdiff1d(wanted, self._ids[self._alive])
        if len(absent):
            raise ValueError(f"{len(absent)} of these ids are not in the index, {int(absent[0])} for one")
        self._alive &= ~np.isin(self._ids, wanted)

    def search(
        self, query: Float[Tensor, "Q D"], k: int, *, candidates: int | None = None, effort: int = 64
    ) -> Neighbours:
        """The k nearest points of each query, nearest first, those at equal distances by id.

        Args:
            query: (Q, D) in the space's chart; batch by batch, so that there may be many.
            k: how many, ≥ 1.
            candidates: how many points the index hands over to be ranked by exact distance; None is 4k + 32.
            effort: points that "hnsw" keeps in view, or lists that "ivfpq" looks into; more is slower and finds more.

        Returns:
            (distances, ids), (Q, k). Where fewer than k are found, distance ∞ and id −1.

        Raises:
            ValueError, TypeError: queries that do not match, NaN; k < 1, effort < 1 or fewer candidates than k.
        """
        k, effort = checks.integer(1, k=k), checks.integer(1, effort=effort)
        candidates = 4 * k + 32 if candidates is None else checks.integer(k, candidates=candidates)
        wanted = min(candidates, max(len(self._ids), 1))
        parts = [
            self._ranked(block, self._found.search(block, wanted, effort, self._alive), k)
            for block in self._tensor(query).split(max(1, _BATCH // (self.dim * wanted)))
        ]
        distances, ids = zip(*parts, strict=True)
        return Neighbours(torch.cat(distances), torch.cat(ids))

    def save(self, folder: str | Path) -> None:
        """Write the index into a folder, which is made."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self._found.write(folder / "index.faiss")
        for name, array in (("points", self._points[: len(self._ids)]), ("ids", self._ids), ("alive", self._alive)):
            np.save(folder / f"{name}.npy", array, allow_pickle=False)
        about = {"c": self.space.curvature, "chart": self.space.chart, "dim": self.dim, "kind": self.kind, "version": 1}
        (folder / "index.json").write_text(json.dumps(about), encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path, *, mmap: bool = False) -> "HyperbolicIndex":
        """An index as `save` wrote it; with `mmap` points and vectors stay on disk until they are looked at.

        FAISS trusts its files: load only what you, or someone you trust, wrote.

        Raises:
            FileNotFoundError: a file that is missing.
            ValueError: files that are not of one index.
        """
        folder = Path(folder)
        for name in _FILES:
            if not (folder / name).is_file():
                raise FileNotFoundError(
                    f"{folder / name} is missing; expected a folder that HyperbolicIndex.save wrote"
                )
        try:
            about = json.loads((folder / "index.json").read_text(encoding="utf-8"))
            if about["version"] != 1:
                raise ValueError(f"version {about['version']}")
            index = cls(Hyperbolic(float(about["c"]), chart=about["chart"]), about["dim"], kind=about["kind"])
            mode: Any = "r" if mmap else None
            index._points = np.load(folder / "points.npy", mmap_mode=mode, allow_pickle=False)
            index._ids, index._alive = (np.load(folder / f"{x}.npy", allow_pickle=False) for x in ("ids", "alive"))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{folder} holds no index of this version ({error})") from None
        index._found.read(folder / "index.faiss", mmap)
        index.mapped = mmap
        shapes = (index._points.shape, index._ids.shape, index._alive.shape, len(index._found), index._found.index.d)
        n, width = len(index._ids), index._found.width
        if shapes != ((n, index.dim), (n,), (n,), n, width) or index._points.dtype != np.float32:
            raise ValueError(f"the files in {folder} are not of one index: {shapes}")
        return index

    def _ranked(self, query: Tensor, rows: np.ndarray, k: int) -> Neighbours:
        """By exact distance, then by id."""
        found = torch.from_numpy(rows)
        at = (found >= 0).nonzero(as_tuple=True)
        points = torch.from_numpy(np.ascontiguousarray(self._points[found[at].numpy()]))
        ids, distances = torch.full_like(found, -1), torch.full(found.shape, torch.inf)
        ids[at] = torch.from_numpy(self._ids[found[at].numpy()])
        if len(points):
            distances[at] = OneToOne(self.space, query, points)(at[0], torch.arange(len(points)))
        ids, order = ids.sort(dim=1, stable=True)
        distances, by_distance = distances.gather(1, order).sort(dim=1, stable=True)
        ids = ids.gather(1, by_distance)
        missing = max(0, k - ids.shape[1])
        pad = torch.nn.functional.pad
        return Neighbours(pad(distances[:, :k], (0, missing), value=torch.inf), pad(ids[:, :k], (0, missing), value=-1))

    # ---- what may come in

    def _tensor(self, points: Tensor | np.ndarray) -> Tensor:
        tensor = torch.from_numpy(np.array(points)) if isinstance(points, np.ndarray) else points
        checks.rows(points=tensor)
        if tensor.shape[1] != self.dim:
            raise ValueError(f"points has shape {tuple(tensor.shape)}; expected (N, {self.dim})")
        tensor = tensor.detach().cpu().float()
        checks.finite(points=tensor)
        return tensor

    def _radius(self, points: Tensor) -> float:
        """The largest A = 2√c‖u‖."""
        if not len(points):
            return 0.0
        return 2 * self.space.curvature**0.5 * float(norm(self.space.to("tangent", wide(points))).max())

    def _new_ids(self, count: int, ids: Tensor | None) -> np.ndarray:
        if ids is None:
            start = int(self._ids.max()) + 1 if len(self._ids) else 0
            return np.arange(start, start + count)
        checks.labels(count, ids=ids)
        new = ids.cpu().long().numpy()
        if len(new) and new.min() < 0:
            raise ValueError(f"ids go down to {new.min()}; expected numbers ≥ 0")
        repeated = len(np.unique(new)) < len(new) or bool(np.isin(new, self._ids[self._alive]).any())
        if repeated:
            raise ValueError("ids has numbers twice, or some that are in the index; expected each once")
        return new

    def _reserve(self, count: int) -> None:
        if count > len(self._points):
            grown = np.empty((max(count, len(self._points) * 3 // 2), self.dim), np.float32)
            grown[: len(self._ids)] = self._points[: len(self._ids)]
            self._points = grown
