"""What FAISS holds of an index in hyperbolic space: the vectors by which it finds candidates."""

from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from geomdml._core.numerics import norm, wide
from geomdml.spaces import Hyperbolic

Kind = Literal["flat", "hnsw", "ivfpq"]
LINKS, BUILD = 32, 80  # of a point in the graph, and points looked at to link it
LISTS, PER_LIST, SAMPLE = 4096, 40, 2**18  # at most so many lists, of at least so many points of a sample of this size


class Candidates:
    """A FAISS index of one kind; see `geomdml.search.HyperbolicIndex`."""

    def __init__(self, space: Hyperbolic, dim: int, kind: Kind) -> None:
        if kind not in get_args(Kind):
            raise ValueError(f"kind = {kind!r}; expected one of {', '.join(map(repr, get_args(Kind)))}")
        faiss = _faiss()
        self.space, self.dim, self.kind = space, dim, kind
        self.width = dim + (kind == "flat")
        self.index: Any
        if kind == "flat":
            self.index = faiss.IndexFlatIP(self.width)
        elif kind == "hnsw":
            self.index = faiss.IndexHNSWFlat(dim, LINKS, faiss.METRIC_L2)
            self.index.hnsw.efConstruction = BUILD
        else:
            self._coded(1, 1, 1)  # takes the place of what will be trained

    def __len__(self) -> int:
        return self.index.ntotal

    @property
    def trained(self) -> bool:
        return self.index.is_trained

    def train(self, sample: Tensor) -> None:
        """Lists and codes of dim/4 bytes; fewer lists, and shorter codes, where the sample is small."""
        fits = max(1, len(sample) // PER_LIST)
        parts = next(n for n in range(max(1, self.dim // 4), 0, -1) if self.dim % n == 0)
        self._coded(min(LISTS, fits), parts, max(1, min(8, fits.bit_length() - 1)))
        self.index.train(self.vectors(sample))

    def add(self, points: Tensor) -> None:
        self.index.add(self.vectors(points))

    def search(self, query: Tensor, count: int, effort: int, alive: np.ndarray) -> np.ndarray:
        """(q, count) rows of points that are alive, −1 where there are no more."""
        if not len(self):
            return np.full((len(query), count), -1, np.int64)
        faiss = _faiss()
        selector = None if alive.all() else faiss.IDSelectorBitmap(np.packbits(alive, bitorder="little"))
        if self.kind == "hnsw":
            asked = faiss.SearchParametersHNSW(sel=selector, efSearch=max(effort, count))
        elif self.kind == "ivfpq":
            asked = faiss.SearchParametersIVF(sel=selector, nprobe=effort)
        else:
            asked = faiss.SearchParameters(sel=selector)
        # faiss.contrib.torch_utils, which pytorch-metric-learning imports, puts a method without params in its place
        search = getattr(self.index, "search_numpy", self.index.search)
        return search(self.vectors(query, asks=True), count, params=asked)[1]

    def vectors(self, points: Tensor, asks: bool = False) -> np.ndarray:
        """√c (X, X₀), for a query √c (X, −X₀); for the approximate kinds points of the Poincaré ball."""
        if self.kind != "flat":
            return self.space.to("ball", points).float().contiguous().numpy()
        X = self.space.curvature**0.5 * wide(self.space.to("lorentz", points))
        X0 = torch.hypot(torch.ones(()).double(), norm(X))
        return torch.cat([X, -X0 if asks else X0], 1).float().contiguous().numpy()

    def write(self, path: Path) -> None:
        _faiss().write_index(self.index, str(path))

    def read(self, path: Path, mmap: bool) -> None:
        faiss = _faiss()
        self.index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC if mmap else 0)

    def _coded(self, lists: int, parts: int, bits: int) -> None:
        faiss = _faiss()
        self._lists = faiss.IndexFlatL2(self.dim)  # which the index only points to
        self.index = faiss.IndexIVFPQ(self._lists, self.dim, lists, parts, bits)


def _faiss() -> Any:
    try:
        import faiss
    except ModuleNotFoundError:
        raise ImportError("HyperbolicIndex needs FAISS; pip install geomdml[search]") from None
    return faiss
