"""An index for nearest neighbours in hyperbolic space, on FAISS (extra `search`)."""

import json
import warnings
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float, Integer
from torch import Tensor

from geomdml import checks
from geomdml.numerics import norm, wide
from geomdml.search.nearest import Neighbours
from geomdml.search.one_to_one import OneToOne
from geomdml.spaces import Hyperbolic

Kind = Literal["flat", "hnsw", "ivfpq"]
RANGE = 4.0  # distance from the origin at unit curvature; farther out, products in float32 lose the order
BATCH = 2**22  # numbers of points at a time
LINKS, BUILD = 32, 80  # of a point in the graph, and points looked at to link it
LISTS, PER_LIST, SAMPLE = 4096, 40, 2**18  # at most so many lists, of at least so many points of a sample of this size
FILES = ("index.faiss", "points.npy", "ids.npy", "alive.npy", "index.json")


class HyperbolicIndex:
    """Nearest neighbours in hyperbolic space: candidates from a FAISS index, ranked by their exact distances.

    - "flat" compares with all points, by the Lorentz product (⟨X, Y⟩ falls as the distance grows), an inner product
      once a sign is flipped: exact but for what float32 cannot tell apart.
    - "hnsw" walks a graph, "ivfpq" looks into some of many lists of points shortened to codes: approximate, and much
      faster for millions of points. Both go by the tangent vectors: the Lorentz product of two stored points is no
      measure of nearness until a sign is flipped, so that no graph can be built by it.

    Points farther from the origin than A = 2√c‖u‖ = 4 are warned of: there float32 products begin to lose the order.

    Args:
        space: hyperbolic; points are in its chart. Its curvature is fixed when the index is made.
        dim: their length D.
        kind: "flat", "hnsw" or "ivfpq".

    Raises:
        ValueError: a space that is not hyperbolic, an unknown kind, dim < 1.
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
            raise ValueError(f"space = {space}; want Hyperbolic(...)")
        if kind not in get_args(Kind):
            raise ValueError(f"kind = {kind!r}; want one of {', '.join(map(repr, get_args(Kind)))}")
        if isinstance(dim, bool) or not isinstance(dim, int) or dim < 1:
            raise ValueError(f"dim = {dim!r}; want an integer ≥ 1")
        self.space = Hyperbolic(space.curvature, chart=space.chart)
        self.dim, self.kind = dim, kind
        self.mapped = False
        self._index: Any = self._empty()
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
        at_a_time = max(1, BATCH // self.dim)
        blocks = range(0, len(points), at_a_time)
        farthest = max((self._radius(self._tensor(points[i : i + at_a_time])) for i in blocks), default=0.0)
        if farthest > RANGE:
            warnings.warn(
                f"points as far out as A = 2√c‖u‖ = {farthest:.3g}; float32 products keep the order up to {RANGE:g}, "
                "beyond that neighbours may be missed (geomdml.search.knn is exact at any radius)",
                stacklevel=2,
            )
        if len(points) and not self._index.is_trained:
            self._train(points)
        start = len(self._ids)
        self._reserve(start + len(points))
        for i in blocks:
            block = self._tensor(points[i : i + at_a_time])
            self._points[start + i : start + i + len(block)] = block.numpy()
            self._index.add(self._vectors(block))
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
        for name, number in (("k", k), ("effort", effort), ("candidates", k if candidates is None else candidates)):
            if isinstance(number, bool) or not isinstance(number, int):
                raise TypeError(f"{name} is a {type(number).__name__}; want an integer")
            if number < (k if name == "candidates" else 1):
                raise ValueError(f"{name} = {number}; want at least {k if name == 'candidates' else 1}")
        wanted = min(candidates or 4 * k + 32, max(len(self._ids), 1))
        parts = [
            self._ranked(block, self._candidates(block, wanted, effort), k)
            for block in self._tensor(query).split(max(1, BATCH // (self.dim * wanted)))
        ]
        distances, ids = zip(*parts, strict=True)
        return Neighbours(torch.cat(distances), torch.cat(ids))

    def save(self, folder: str | Path) -> None:
        """Write the index into a folder, which is made."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        _faiss().write_index(self._index, str(folder / "index.faiss"))
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
        for name in FILES:
            if not (folder / name).is_file():
                raise FileNotFoundError(f"{folder / name} is missing; want a folder that HyperbolicIndex.save wrote")
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
        faiss = _faiss()
        index._index = faiss.read_index(str(folder / "index.faiss"), faiss.IO_FLAG_MMAP_IFC if mmap else 0)
        index.mapped = mmap
        shapes = (index._points.shape, index._ids.shape, index._alive.shape, index._index.ntotal, index._index.d)
        n, width = len(index._ids), index._width
        if shapes != ((n, index.dim), (n,), (n,), n, width) or index._points.dtype != np.float32:
            raise ValueError(f"the files in {folder} are not of one index: {shapes}")
        return index

    # ---- what FAISS holds

    @property
    def _width(self) -> int:
        return self.dim + (self.kind == "flat")

    def _empty(self) -> Any:
        faiss = _faiss()
        if self.kind == "flat":
            return faiss.IndexFlatIP(self._width)
        if self.kind == "hnsw":
            index = faiss.IndexHNSWFlat(self._width, LINKS, faiss.METRIC_L2)
            index.hnsw.efConstruction = BUILD
            return index
        return faiss.IndexIVFPQ(faiss.IndexFlatL2(self._width), self._width, 1, 1, 8)  # a place for what is trained

    def _train(self, points: Tensor | np.ndarray) -> None:
        """Lists and codes from a sample drawn evenly; fewer lists, and shorter codes, where it is small."""
        faiss, step = _faiss(), max(1, len(points) // SAMPLE)
        sample = self._vectors(self._tensor(points[::step]))
        lists = max(1, min(LISTS, len(sample) // PER_LIST))
        parts = next(n for n in range(min(self.dim, max(1, self.dim // 4)), 0, -1) if self.dim % n == 0)
        bits = max(1, min(8, (max(1, len(sample) // PER_LIST)).bit_length() - 1))
        self._index = faiss.IndexIVFPQ(faiss.IndexFlatL2(self.dim), self.dim, lists, parts, bits)
        self._quantizer = self._index.quantizer
        self._index.train(sample)

    def _vectors(self, points: Tensor, query: bool = False) -> np.ndarray:
        """√c (X, X₀), for a query √c (X, −X₀); for the approximate indices tangent vectors."""
        if self.kind != "flat":
            return self.space.to("tangent", points).float().contiguous().numpy()
        root = self.space.curvature**0.5
        X = root * wide(self.space.to("lorentz", points))
        time = torch.hypot(torch.ones(()).double(), norm(X))
        return torch.cat([X, -time if query else time], 1).float().contiguous().numpy()

    def _candidates(self, query: Tensor, count: int, effort: int) -> np.ndarray:
        """(q, count) rows, −1 where there are no more."""
        faiss = _faiss()
        if not len(self._ids):
            return np.full((len(query), count), -1, np.int64)
        selector = None if self._alive.all() else faiss.IDSelectorBitmap(np.packbits(self._alive, bitorder="little"))
        if self.kind == "hnsw":
            asked = faiss.SearchParametersHNSW(sel=selector, efSearch=max(effort, count))
        elif self.kind == "ivfpq":
            asked = faiss.SearchParametersIVF(sel=selector, nprobe=effort)
        else:
            asked = faiss.SearchParameters(sel=selector)
        # faiss.contrib.torch_utils, which pytorch-metric-learning imports, puts a method without params in its place
        search = getattr(self._index, "search_numpy", self._index.search)
        return search(self._vectors(query, query=True), count, params=asked)[1]

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
        checks.pairs(points=tensor)
        if tensor.shape[1] != self.dim:
            raise ValueError(f"points has shape {tuple(tensor.shape)}; want (N, {self.dim})")
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
            raise ValueError(f"ids go down to {new.min()}; want numbers ≥ 0")
        repeated = len(np.unique(new)) < len(new) or bool(np.isin(new, self._ids[self._alive]).any())
        if repeated:
            raise ValueError("ids has numbers twice, or some that are in the index; want each once")
        return new

    def _reserve(self, count: int) -> None:
        if count > len(self._points):
            grown = np.empty((max(count, len(self._points) * 3 // 2), self.dim), np.float32)
            grown[: len(self._ids)] = self._points[: len(self._ids)]
            self._points = grown


def _faiss() -> Any:
    try:
        import faiss
    except ModuleNotFoundError:
        raise ImportError("HyperbolicIndex needs FAISS; pip install geomdml[search]") from None
    return faiss
