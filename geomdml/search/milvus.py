"""Hyperbolic neighbours in Milvus: embedded in a file, or a cluster of machines (extra `milvus`)."""

import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float, Integer
from torch import Tensor

from geomdml._core import checks
from geomdml._core.numerics import norm, wide
from geomdml.search.knn import Neighbours
from geomdml.spaces import Hyperbolic

__all__ = ["MilvusIndex", "RANGE"]

RANGE = 4.0  # distance from the origin at unit curvature; farther out, products in float32 lose the order
_FARTHEST = 40.0  # beyond, they overflow
_BATCH = 2**20  # numbers sent at a time: 4 MB
_MOST_ROWS = 4096
_MOST_FOUND = 16_384  # Milvus hands over no more

Kind = Literal["flat", "ivf"]


class MilvusIndex:
    """Nearest neighbours in hyperbolic space among points that Milvus holds. Candidates are ranked by exact distance.

    - "flat" compares with all points by an inner product: ⟨X, Y⟩ − X₀Y₀ of the Lorentz model falls as the distance
      grows, so (Y, Y₀) is stored and (X, −X₀) asked. Exact but for what float32 cannot tell apart.
    - "ivf" looks into some of many lists, by straight distances in the Poincaré ball: approximate and faster.

    Milvus computes in float32. Points beyond A = 2√c‖u‖ = 4 are warned of, for their neighbours may be missed, and
    beyond A = 40 refused; `geomdml.search.HyperbolicIndex` has no such limit.

    The collection is made where it is not there. It knows the curvature, dimension and kind that it was made with, and
    others are refused; the chart is that of the points that come and go. What `add` has returned from is not lost when
    the process is killed.

    Args:
        space: hyperbolic; points are in its chart.
        dim: their length D.
        uri: a file for Milvus Lite, such as "points.db", or a server, such as "http://localhost:19530".
        collection: its name there: letters, digits and underscores.
        kind: "flat" or "ivf".
        token: of a server that asks for one.

    Raises:
        ValueError, TypeError: a space that is not hyperbolic, an unknown kind, a bad name, a collection that was made
            otherwise or by someone else.
        ImportError: without pymilvus.

    Source: Nickel and Kiela (2018) for the product.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with MilvusIndex(Hyperbolic(c=1.0), 2, uri=f"{folder}/points.db") as index:
    ...         points = torch.tensor([[0.0, 0.0], [0.5, 0.0], [0.0, 1.0]])
    ...         index.add(points, ids=torch.tensor([7, 8, 9]), labels=torch.tensor([0, 0, 1]))
    ...         index.search(torch.tensor([[0.4, 0.0]]), k=2)
    Neighbours(distances=tensor([[0.2000, 0.8000]]), indices=tensor([[8, 7]]))
    """

    def __init__(
        self,
        space: Hyperbolic,
        dim: int,
        *,
        uri: str | Path = "geomdml.db",
        collection: str = "points",
        kind: Kind = "flat",
        token: str = "",
    ) -> None:
        if not isinstance(space, Hyperbolic):
            raise ValueError(f"space = {space}; expected Hyperbolic(...)")
        if kind not in get_args(Kind):
            raise ValueError(f"kind = {kind!r}; expected one of {', '.join(map(repr, get_args(Kind)))}")
        if not re.fullmatch(r"[A-Za-z_]\w{0,99}", collection, re.ASCII):
            raise ValueError(f"collection = {collection!r}; expected letters, digits and underscores")
        self.space = Hyperbolic(space.curvature, chart=space.chart)
        self.dim, self.kind, self.collection = checks.integer(1, dim=dim), kind, collection
        self.client = _pymilvus().MilvusClient(str(uri), token=token)
        # the name says what is in it, and other curvatures are told from it: Milvus Lite keeps no descriptions
        c = repr(self.space.curvature).replace(".", "p").replace("-", "m").replace("+", "")
        self._field = f"{'lorentz' if kind == 'flat' else 'ball'}_c_{c}"
        try:
            if self.client.has_collection(collection):
                self._check()
            else:
                self._make()
            self.client.load_collection(collection)
        except BaseException:
            self.client.close()
            raise

    def __len__(self) -> int:
        return self._count("")

    def __enter__(self) -> "MilvusIndex":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file, or of the connection."""
        self.client.close()

    def add(
        self, points: Float[Tensor, "N D"], ids: Integer[Tensor, " N"], labels: Integer[Tensor, " N"] | None = None
    ) -> None:
        """Add points, batch by batch; one whose id is there takes the place of the old one.

        Args:
            points: (N, D) in the space's chart.
            ids: (N,) numbers ≥ 0 to know them by, each once.
            labels: (N,) numbers ≥ 0, to search among the points of some; None gives −1.

        Raises:
            ValueError, TypeError: what does not match, NaN, an id twice, points farther out than A = 40.
        """
        vectors = self._vectors(points)
        numbers = _numbers(checks.labels(len(points), ids=ids), "ids")
        marks = [-1] * len(points)
        if labels is not None:
            marks = _numbers(checks.labels(len(points), labels=labels), "labels")
        if len(set(numbers)) < len(numbers):
            raise ValueError("ids has numbers twice; expected each once")
        at_a_time = self._rows_at_a_time
        for i in range(0, len(numbers), at_a_time):
            part = slice(i, i + at_a_time)
            rows = zip(numbers[part], vectors[part], marks[part], strict=True)
            self.client.upsert(self.collection, [{"id": n, self._field: v, "label": m} for n, v, m in rows])

    def add_parquet(
        self, path: str | Path, *, vectors: str = "H", labels: str | None = "label", first_id: int = 0
    ) -> Iterator[int]:
        """Add the rows of a Parquet file, as `predict` of the apps writes it, and yield how many are safely there.

        The id of a row is its number, counted from `first_id`. What is there already is passed over, so the same call
        goes on where one was broken off.

        Args:
            path: the file.
            vectors: its column of points, lists of D numbers.
            labels: its column of labels, whole numbers ≥ 0; None where there is none.

        Raises:
            ValueError: no such file or column, or lists of another length.
            ImportError: without pyarrow.
        """
        import pyarrow.parquet as pq

        names = [vectors] if labels is None else [vectors, labels]
        if not Path(path).is_file():
            raise ValueError(f"{str(path)!r} does not exist; expected a Parquet file")
        with pq.ParquetFile(path) as file:
            if absent := set(names) - set(file.schema_arrow.names):
                raise ValueError(f"{str(path)!r} has columns {file.schema_arrow.names}; expected {sorted(absent)} also")
            done = 0
            for batch in file.iter_batches(self._rows_at_a_time, columns=names):
                low, high = first_id + done, first_id + done + len(batch)
                if self._count(f"id >= {low} and id < {high}") < len(batch):
                    column = batch.column(vectors)
                    flat = column.flatten().to_numpy(zero_copy_only=False)
                    if column.null_count or len(flat) != len(batch) * self.dim:
                        raise ValueError(f"{vectors!r} of {str(path)!r} has other lists than of {self.dim} numbers")
                    marks = None if labels is None else torch.from_numpy(batch.column(labels).to_numpy().copy())
                    self.add(torch.from_numpy(np.array(flat)).view(-1, self.dim), torch.arange(low, high), marks)
                done += len(batch)
                yield done

    def remove(self, ids: Integer[Tensor, " N"]) -> None:
        """Forget points by their ids; those that are not there are passed over."""
        numbers = _numbers(checks.labels(ids=ids), "ids")
        for i in range(0, len(numbers), _MOST_ROWS):
            self.client.delete(self.collection, ids=numbers[i : i + _MOST_ROWS])

    def search(
        self,
        query: Float[Tensor, "Q D"],
        k: int,
        *,
        candidates: int | None = None,
        effort: int = 32,
        ids: Integer[Tensor, " N"] | None = None,
        labels: Integer[Tensor, " M"] | None = None,
    ) -> Neighbours:
        """The k nearest points of each query, nearest first, those at equal distances by id.

        Args:
            query: (Q, D) in the space's chart.
            k: how many, 1 to 16384.
            candidates: how many points Milvus hands over to be ranked by exact distance; None is 4k + 32.
            effort: lists that "ivf" looks into.
            ids, labels: search among these points only, and among those with one of these labels.

        Returns:
            (distances, ids), (Q, k). Where fewer than k are found, distance ∞ and id −1.

        Raises:
            ValueError, TypeError: queries that do not match, NaN; k, effort or candidates out of range.
        """
        k, effort = checks.integer(1, k=k), checks.integer(1, effort=effort)
        wanted = min(4 * k + 32, _MOST_FOUND) if candidates is None else checks.integer(k, candidates=candidates)
        if max(k, wanted) > _MOST_FOUND:
            raise ValueError(f"{max(k, wanted)} candidates of a query; Milvus hands over at most {_MOST_FOUND}")
        among = [
            f"{name} in {_numbers(checks.labels(ids=given), name + 's')}"
            for name, given in (("id", ids), ("label", labels))
            if given is not None
        ]
        vectors = self._vectors(query, asks=True)
        found = [Neighbours(torch.empty(0, k), torch.empty(0, k, dtype=torch.long))]
        at_a_time = max(1, min(1024, 8 * _BATCH // (wanted * (self.dim + 1))))
        for start in range(0, len(vectors), at_a_time):
            hits = self.client.search(
                self.collection,
                vectors[start : start + at_a_time],
                filter=" and ".join(among),
                limit=wanted,
                output_fields=[self._field],
                search_params={"params": {"nprobe": effort} if self.kind == "ivf" else {}},
            )
            pairs = zip(query[start : start + at_a_time], hits, strict=True)
            ranked = [self._ranked(one, some, k) for one, some in pairs]
            found.append(Neighbours(*map(torch.stack, zip(*ranked, strict=True))))
        return Neighbours(*map(torch.cat, zip(*found, strict=True)))

    # ---- the collection

    @property
    def _width(self) -> int:
        return self.dim + (self.kind == "flat")

    def _make(self) -> None:
        kinds = _pymilvus().DataType
        schema = self.client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", kinds.INT64, is_primary=True)
        schema.add_field(self._field, kinds.FLOAT_VECTOR, dim=self._width)
        schema.add_field("label", kinds.INT64)
        index = self.client.prepare_index_params()
        if self.kind == "flat":
            index.add_index(self._field, index_type="FLAT", metric_type="IP")
        else:
            index.add_index(self._field, index_type="IVF_FLAT", metric_type="L2", params={"nlist": 1024})
        # what was added is found by the next search, on a cluster too
        self.client.create_collection(self.collection, schema=schema, index_params=index, consistency_level="Strong")

    def _check(self) -> None:
        fields = self.client.describe_collection(self.collection)["fields"]
        there = {field["name"]: int(field.get("params", {}).get("dim", 0)) for field in fields}
        wanted = {"id": 0, self._field: self._width, "label": 0}
        if there != wanted:
            raise ValueError(f"collection {self.collection!r} has fields and lengths {there}; expected {wanted}")

    def _count(self, condition: str) -> int:
        return int(self.client.query(self.collection, filter=condition, output_fields=["count(*)"])[0]["count(*)"])

    # ---- what goes there and what comes back

    @property
    def _rows_at_a_time(self) -> int:
        return max(1, min(_MOST_ROWS, _BATCH // (self.dim + 1)))

    def _vectors(self, points: Tensor, asks: bool = False) -> np.ndarray:
        """√c (X, X₀), for a query √c (X, −X₀); of "ivf" the points of the unit ball. Float32."""
        checks.rows(points=points)
        if points.shape[1] != self.dim:
            raise ValueError(f"points has shape {tuple(points.shape)}; expected (N, {self.dim})")
        checks.finite(points=points)
        root, some = self.space.curvature**0.5, wide(points.detach().cpu())
        farthest = float(2 * root * norm(self.space.to("tangent", some)).max()) if len(some) else 0.0
        if farthest > _FARTHEST:
            raise ValueError(
                f"points as far out as A = 2√c‖u‖ = {farthest:.3g}; expected at most {_FARTHEST:g} in Milvus "
                "(HyperbolicIndex holds them)"
            )
        if farthest > RANGE and not asks:
            warnings.warn(
                f"points as far out as A = 2√c‖u‖ = {farthest:.3g}; Milvus computes in float32, which keeps the order "
                f"up to {RANGE:g}, and beyond may miss neighbours (HyperbolicIndex does not)",
                stacklevel=3,
            )
        if self.kind == "ivf":
            return (root * self.space.to("ball", some)).float().numpy()
        X = root * self.space.to("lorentz", some)
        X0 = torch.hypot(torch.ones(()).double(), norm(X))
        return torch.cat([X, -X0 if asks else X0], 1).float().numpy()

    def _ranked(self, query: Tensor, hits: list[Any], k: int) -> tuple[Tensor, Tensor]:
        """The k nearest of what Milvus found for one query, (k,) distances and ids."""
        distances, ids = torch.full((k,), torch.inf), torch.full((k,), -1)
        if not hits:
            return distances, ids
        chart: Literal["ball", "lorentz"] = "ball" if self.kind == "ivf" else "lorentz"
        vectors = torch.from_numpy(np.array([hit["entity"][self._field] for hit in hits], np.float64))[:, : self.dim]
        there = Hyperbolic(self.space.curvature, chart=chart)
        asked = self.space.to(chart, wide(query.detach().cpu()))
        apart = there.dist(asked[None], vectors / self.space.curvature**0.5).float()
        known = torch.tensor([int(hit["id"]) for hit in hits])
        order = known.argsort()
        order = order[apart[order].argsort(stable=True)][:k]
        distances[: len(order)], ids[: len(order)] = apart[order], known[order]
        return distances, ids


def _numbers(given: Tensor, name: str) -> list[int]:
    if len(given) and int(given.min()) < 0:
        raise ValueError(f"{name} go down to {int(given.min())}; expected numbers ≥ 0")
    return given.cpu().tolist()


def _pymilvus() -> Any:
    try:
        import pymilvus
    except ModuleNotFoundError:
        raise ImportError("MilvusIndex needs pymilvus; pip install geomdml[milvus]") from None
    return pymilvus
