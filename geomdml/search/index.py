"""An index for nearest neighbours in hyperbolic space (extra `search`)."""

import threading
import warnings
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float, Integer
from torch import Tensor

from geomdml._core import checks
from geomdml._core.numerics import norm, wide
from geomdml.search.knn import Neighbours
from geomdml.spaces import Hyperbolic

if TYPE_CHECKING:
    from geomdml.search._rows import Rows

__all__ = ["HyperbolicIndex", "Kind", "MOVED", "SHELL", "SMALL", "least_effort"]

Kind = Literal["auto", "flat", "graph"]
SMALL = 10_000  # points up to which "auto" compares with all
MOVED = 0.01  # unit-curvature distance by which float32 may move a point before a warning
SHELL = 1.01  # largest ratio of radii up to which the graph of directions is not needed
_ASIDE = 4  # the walk by direction keeps a fourth of the points in view
_SPARE = 32  # points beyond the k-th that are put in order by id where distances are equal
_WORTH = 20  # points that a walk looks at for each it has in view
_BATCH = 2**22  # numbers of points, or of candidates, at a time


class HyperbolicIndex:
    """Nearest neighbours in hyperbolic space, by its own distance in float64: as good at any radius.

    - "flat" compares with all points: exact.
    - "graph" walks a graph of near neighbours, and where radii differ one of near directions: approximate, and hundreds
      of times faster where there are many points.
    - "auto" is "flat" up to 10,000 points and "graph" beyond.

    Points are kept as float32. Float64 points that this would move by more than 0.01/√c are warned of: far out even
    the last digit of a float32 is a long way, e^A/10⁷ at A = 2√c‖u‖ from the origin.

    Searches may go on in other threads while points are added or removed; they see all of a call's points or none.
    Results do not depend on the number of threads.

    Args:
        space: hyperbolic; points are in its chart. Its curvature is fixed when the index is made.
        dim: their length D.
        kind: "auto", "flat" or "graph".
        threads: to build and to search with; None is as many as torch has.

    Raises:
        ValueError, TypeError: a space that is not hyperbolic, an unknown kind, dim < 1, threads < 1.
        ImportError: without numba.

    Source: `geomdml.search._graph`.

    >>> index = HyperbolicIndex(Hyperbolic(c=1.0), dim=2)
    >>> index.add(torch.tensor([[0.0, 0.0], [0.5, 0.0], [0.0, 1.0]]), ids=torch.tensor([7, 8, 9]))
    >>> index.search(torch.tensor([[0.4, 0.0]]), k=2)
    Neighbours(distances=tensor([[0.2000, 0.8000]]), indices=tensor([[8, 7]]))
    >>> index.search(torch.tensor([[0.4, 0.0]]), k=1, ids=torch.tensor([7, 9])).indices
    tensor([[7]])
    >>> index.remove(torch.tensor([8]))
    >>> len(index)
    2
    """

    def __init__(self, space: Hyperbolic, dim: int, *, kind: Kind = "auto", threads: int | None = None) -> None:
        if not isinstance(space, Hyperbolic):
            raise ValueError(f"space = {space}; expected Hyperbolic(...)")
        if kind not in get_args(Kind):
            raise ValueError(f"kind = {kind!r}; expected one of {', '.join(map(repr, get_args(Kind)))}")
        self.space = Hyperbolic(space.curvature, chart=space.chart)
        self.dim, self.kind = checks.integer(1, dim=dim), kind
        self.threads = None if threads is None else checks.integer(1, threads=threads)
        self.mapped = False
        self._kernels = _compiled()
        self._writing = threading.Lock()
        self._rows: Rows = self._kernels.Rows.empty(self.dim)

    def __len__(self) -> int:
        rows = self._rows
        return int(rows.alive[: rows.size].sum())

    @property
    def has_graph(self) -> bool:
        """Whether a search walks a graph."""
        return len(self._rows.degree) > 0

    @property
    def has_rays(self) -> bool:
        """Whether a search also walks a graph of directions: where radii differ, those near the origin hide others."""
        return len(self._rows.ray_degree) > 0

    def add(
        self,
        points: Float[Tensor, "N D"] | np.ndarray,
        ids: Integer[Tensor, " N"] | None = None,
        labels: Integer[Tensor, " N"] | None = None,
    ) -> None:
        """Add points, batch by batch: an array larger than memory may come as a `numpy.memmap`.

        Args:
            points: (N, D) in the space's chart; kept as float32.
            ids: (N,) numbers ≥ 0 to know them by, each once; None counts on from the largest.
            labels: (N,) numbers ≥ 0, to search among the points of some; None gives none.

        Raises:
            ValueError, TypeError: points, ids or labels that do not match, NaN, points farther out than A = 500, an id
                that is there; an index that is mapped.
        """
        if self.mapped:
            raise ValueError("the index is memory-mapped, and only read; load it without mmap to add to it")
        at_a_time = max(1, _BATCH // self.dim)
        blocks = [slice(i, min(i + at_a_time, len(points))) for i in range(0, len(points), at_a_time)]
        told = [self._told(points[block]) for block in blocks]  # before anything is changed
        moved = max((moved for moved, _ in told), default=0.0)
        if moved > MOVED:
            warnings.warn(
                f"kept as float32, points move by up to {moved:.3g}/√c, so far out are they; their neighbours are "
                "those of the points as kept",
                stacklevel=2,
            )
        new_labels = np.full(len(points), -1) if labels is None else _numbers("labels", labels, len(points))
        with self._writing:
            new_ids = self._new_ids(len(points), ids)
            old, new = self._rows.size, self._rows.size + len(points)
            graph = self.has_graph or self.kind == "graph" or (self.kind == "auto" and new > SMALL)
            radii = np.concatenate([np.log1p(self._rows.polar[:old, 1]), *(A for _, A in told)])
            rays = self.has_rays or (graph and radii.max(initial=0.0) > SHELL * radii.min(initial=np.inf))
            linked, aimed = (old * has for has in (self.has_graph, self.has_rays))
            rows = self._rows.with_room(new, graph, rays)
            for block in blocks:
                some = self._tensor(points[block])
                place = slice(old + block.start, old + block.stop)
                rows.points[place], rows.polar[place] = some.numpy(), self._polar(some)
            rows.ids[old:new], rows.labels[old:new] = new_ids, new_labels
            if graph:
                self._kernels.link(rows.points, rows.polar, rows.links, linked, new, self.threads)
            if rays:
                self._kernels.link(rows.points, rows.polar[:, 0], rows.rays, aimed, new, self.threads)
            rows.alive[old:new] = True
            rows.size = new
            self._rows = rows

    def remove(self, ids: Integer[Tensor, " N"]) -> None:
        """Forget points by their ids. When a quarter of all rows are of removed points, their memory is freed.

        An index that is mapped passes them over, and forgets that when it is closed.

        Raises:
            ValueError: an id that is not there.
        """
        checks.labels(ids=ids)
        wanted = ids.cpu().numpy()
        with self._writing:
            rows = self._rows
            known, alive = rows.ids[: rows.size], rows.alive[: rows.size]
            absent = np.setdiff1d(wanted, known[alive])
            if len(absent):
                raise ValueError(f"{len(absent)} of these ids are not in the index, {int(absent[0])} for one")
            left = alive & ~np.isin(known, wanted)
            if 4 * int(left.sum()) < 3 * rows.size and not self.mapped:
                self._rows = self._without_removed(rows, left)
            else:
                rows.alive[: rows.size] = left

    def search(
        self,
        query: Float[Tensor, "Q D"],
        k: int,
        *,
        effort: int = 64,
        ids: Integer[Tensor, " N"] | None = None,
        labels: Integer[Tensor, " M"] | None = None,
    ) -> Neighbours:
        """The k nearest points of each query, nearest first, those at equal distances by id.

        Args:
            query: (Q, D) in the space's chart; batch by batch, so that there may be many.
            k: how many, ≥ 1.
            effort: points that a walk in the graph keeps in view, never fewer than 2k (beyond k = 32, than
                k + 32); more is slower and finds more.
            ids: search among these points only. Ids that are not there are passed over.
            labels: search among points with one of these labels only.

        Returns:
            (distances, ids), (Q, k), float32. Where there are fewer than k points, distance ∞ and id −1.

        Raises:
            ValueError, TypeError: queries that do not match, NaN; k < 1 or effort < 1.
        """
        k, effort = checks.integer(1, k=k), checks.integer(1, effort=effort)
        points = self._tensor(query)
        rows = self._rows
        among = rows.alive[: rows.size].copy()
        if ids is not None:
            among &= np.isin(rows.ids[: rows.size], _numbers("ids", ids))
        if labels is not None:
            among &= np.isin(rows.labels[: rows.size], _numbers("labels", labels))
        allowed = int(among.sum())
        view = max(effort, least_effort(k)) * max(1, rows.size) // max(1, allowed)
        walks = len(rows.degree) > 0 and allowed > _WORTH * view
        width = view if walks else min(k + _SPARE, max(1, allowed))
        found = [
            self._ranked(rows, *self._nearest(rows, some, among, width, min(k, allowed), walks), k)
            for some in points.split(max(1, _BATCH // max(width, self.dim)))
        ]
        distances, indices = zip(*found, strict=True)
        return Neighbours(torch.cat(distances), torch.cat(indices))

    def save(self, folder: str | Path) -> None:
        """Write the index into a folder, which is made. Killed at any time, it leaves the old index or the new one."""
        with self._writing:
            rows, about = self._rows, {"c": self.space.curvature, "chart": self.space.chart}
            rows.write(Path(folder), about | {"dim": self.dim, "kind": self.kind})

    @classmethod
    def load(cls, folder: str | Path, *, mmap: bool = False, threads: int | None = None) -> "HyperbolicIndex":
        """An index as `save` wrote it; with `mmap` points and links stay on disk until they are looked at.

        The files are arrays of numbers, and none is run. Each has to be as it was written, by its SHA-256; with `mmap`,
        which would have to read them for it, only links that lead nowhere are looked for.

        Raises:
            FileNotFoundError: a file that is missing.
            ValueError: files that are not of one index, or that were changed.
        """
        rows, about = _compiled().Rows.read(Path(folder), mmap)
        try:
            space = Hyperbolic(float(about["c"]), chart=about["chart"])
            index = cls(space, about["dim"], kind=about["kind"], threads=threads)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{folder} holds no index of this version ({error})") from None
        index._rows, index.mapped = rows, mmap
        return index

    # ---- how it is found

    def _nearest(
        self, rows: "Rows", query: Tensor, among: np.ndarray, width: int, least: int, walks: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """sinh²(δ/2)/SCALE² and rows of candidates, ascending, each (Q, width); −1 where there are none."""
        polar = self._polar(query)
        x = query.numpy().astype(np.float64) * polar[:, :1]
        near, found = np.empty((len(x), width)), np.empty((len(x), width), np.int32)

        def walk(low: int, high: int) -> None:
            part = slice(low, high)
            some = x[part], polar[part], rows.points
            self._kernels.walk(*some, rows.polar, rows.links, len(among), near[part], found[part])
            if len(rows.ray_degree):
                aside = high - low, max(1, width // _ASIDE)
                apart, aimed = np.empty(aside), np.empty(aside, np.int32)
                self._kernels.walk(*some, rows.polar[:, 0], rows.rays, len(among), apart, aimed)
                self._kernels.merge(*some, rows.polar, aimed, near[part], found[part])

        if walks:
            self._kernels.shared(len(x), walk, self.threads)
            known = (found >= 0) & (found < len(among))  # later ones are being added just now
            known &= among[np.where(known, found, 0)]
            near[~known], found[~known] = np.inf, -1
            few = np.flatnonzero(known.sum(1) < least)
        else:
            few = np.arange(len(x))

        def scan(low: int, high: int) -> None:
            part = few[low:high]
            some, which = np.empty((len(part), width)), np.empty((len(part), width), np.int32)
            self._kernels.scan(x[part], polar[part], rows.points, rows.polar, wanted, some, which)
            near[part], found[part] = some, which

        wanted = np.flatnonzero(among).astype(np.int32) if len(few) else few
        self._kernels.shared(len(few), scan, self.threads)
        return near, found

    def _ranked(self, rows: "Rows", near: np.ndarray, found: np.ndarray, k: int) -> Neighbours:
        """By distance, rounded to float32, and then by id."""
        wanted = k + _SPARE
        if near.shape[1] > wanted:
            nearest = np.argsort(near, axis=1, kind="stable")[:, :wanted]  # what was passed over is at ∞
            near, found = np.take_along_axis(near, nearest, 1), np.take_along_axis(found, nearest, 1)
        distances = (
            2 / self.space.curvature**0.5 * (self._kernels.SCALE * torch.from_numpy(near).sqrt()).asinh()
        ).float()
        known = np.full(found.shape, -1)
        known[found >= 0] = rows.ids[found[found >= 0]]
        ids, order = torch.from_numpy(known).sort(dim=1, stable=True)
        distances, by_distance = distances.gather(1, order).sort(dim=1, stable=True)
        ids = ids.gather(1, by_distance)
        missing = max(0, k - ids.shape[1])
        pad = torch.nn.functional.pad
        return Neighbours(pad(distances[:, :k], (0, missing), value=torch.inf), pad(ids[:, :k], (0, missing), value=-1))

    def _without_removed(self, rows: "Rows", left: np.ndarray) -> "Rows":
        links, rays = (
            self._kernels.without(rows.points, polar, links, left, self.threads)
            for polar, links in ((rows.polar, rows.links), (rows.polar[:, 0], rows.rays))
        )
        kept = (array[: rows.size][left] for array in (rows.points, rows.polar, rows.ids, rows.labels))
        return self._kernels.Rows(int(left.sum()), *kept, np.ones(int(left.sum()), bool), *links, *rays)

    # ---- what may come in

    def _tensor(self, points: Tensor | np.ndarray) -> Tensor:
        return self._checked(points).float()

    def _checked(self, points: Tensor | np.ndarray) -> Tensor:
        tensor = torch.from_numpy(np.array(points)) if isinstance(points, np.ndarray) else points
        checks.rows(points=tensor)
        if tensor.shape[1] != self.dim:
            raise ValueError(f"points has shape {tuple(tensor.shape)}; expected (N, {self.dim})")
        tensor = tensor.detach().cpu()
        checks.finite(points=tensor)
        return tensor

    def _told(self, points: Tensor | np.ndarray) -> tuple[float, np.ndarray]:
        """The largest unit-curvature distance by which float32 moves these points, and the range of their A."""
        given = self._checked(points)
        A = self._radii(given.float())
        ends = np.array([A.min(), A.max()]) if len(A) else A
        if given.dtype != torch.float64 or not len(given):
            return 0.0, ends
        return float(self.space.dist(given, given.float().double()).max()) * self.space.curvature**0.5, ends

    def _radii(self, points: Tensor) -> np.ndarray:
        """A = 2√c‖u‖ of each."""
        A = 2 * self.space.curvature**0.5 * norm(self.space.to("tangent", wide(points))).squeeze(1).numpy()
        farthest = float(A.max(initial=0.0))
        if not farthest <= self._kernels.FARTHEST:
            raise ValueError(
                f"points as far out as A = 2√c‖u‖ = {farthest:.3g}; expected at most {self._kernels.FARTHEST:g} "
                "(geomdml.search.knn has no such limit)"
            )
        return A

    def _polar(self, points: Tensor) -> np.ndarray:
        return self._kernels.polar(points.numpy(), self._radii(points))

    def _new_ids(self, count: int, ids: Tensor | None) -> np.ndarray:
        rows = self._rows
        known = rows.ids[: rows.size]
        if ids is None:
            start = int(known.max(initial=-1)) + 1
            return np.arange(start, start + count)
        new = _numbers("ids", ids, count)
        if len(np.unique(new)) < len(new) or bool(np.isin(new, known[rows.alive[: rows.size]]).any()):
            raise ValueError("ids has numbers twice, or some that are in the index; expected each once")
        return new


def least_effort(k: int) -> int:
    """Points that a walk for k neighbours keeps in view at least: more than k, so that few are missed."""
    return min(2 * k, k + _SPARE)


def _numbers(name: Literal["ids", "labels"], given: Tensor, count: int | None = None) -> np.ndarray:
    numbers = checks.labels(count, ids=given) if name == "ids" else checks.labels(count, labels=given)
    array = numbers.cpu().numpy()
    if array.min(initial=0) < 0:
        raise ValueError(f"{name} go down to {array.min()}; expected numbers ≥ 0")
    return array


def _compiled() -> ModuleType:
    """What needs numba, which takes a second to import."""
    try:
        from geomdml.search import _kernels
    except ModuleNotFoundError as error:
        if error.name != "numba":
            raise
        raise ImportError("HyperbolicIndex needs numba; pip install geomdml[search]") from None
    return _kernels
