"""The scores as metrics of torchmetrics (extra `metrics`): of all batches of all processes, each sample once."""

from abc import abstractmethod
from collections.abc import Callable, Collection, Generator
from contextlib import contextmanager
from typing import Any, get_args

import torch
from jaxtyping import Float, Integer
from torch import Tensor, distributed
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat
from torchmetrics.utilities.distributed import gather_all_tensors
from torchmetrics.utilities.exceptions import TorchMetricsUserError

from geomdml._core import checks
from geomdml.metrics.query_scores import QueryScores
from geomdml.metrics.ranking import MEMORY
from geomdml.metrics.ranking.ranks import Ties
from geomdml.metrics.retrieval import Score, retrieval_by_query
from geomdml.metrics.shrec import ShrecScore, shrec
from geomdml.spaces import Space

__all__ = ["RetrievalMetric", "ShrecMetric"]

_STATES = ("embeddings", "labels", "indices")


class _Collected(Metric):
    """Embeddings and labels of queries and, if there is one, of a gallery, in the order of their sample indices."""

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    embeddings: list[Tensor]
    gallery_embeddings: list[Tensor]

    def __init__(self, space: Space | None, memory_limit: int | float, **kwargs: Any) -> None:
        super().__init__(**{"dist_sync_fn": _gather, **kwargs})
        self.space, self.memory_limit = space, memory_limit
        for name in _STATES:
            self.add_state(name, default=[], dist_reduce_fx="cat")
            self.add_state(f"gallery_{name}", default=[], dist_reduce_fx="cat")

    def update(
        self,
        embeddings: Float[Tensor, "B D"],
        labels: Integer[Tensor, " B"],
        indices: Integer[Tensor, " B"] | None = None,
        *,
        gallery: bool = False,
    ) -> None:
        """Add a batch.

        Args:
            embeddings, labels: (B, D) and their classes.
            indices: the number ≥ 0 of each sample in its data set. A sample that comes twice, as samplers of several
                processes hand out some, counts once. Without them every sample counts.
            gallery: these are to be searched. Without any such batch each sample searches all the others.

        Raises:
            ValueError, TypeError: shapes or dtypes that do not match, each other or earlier batches; an index below 0.
        """
        checks.rows(embeddings=embeddings)
        checks.labels(len(embeddings), labels=labels)
        if indices is None:
            indices = torch.full_like(labels, -1, dtype=torch.long)
        else:
            checks.labels(len(embeddings), indices=indices)
            if len(indices) and int(indices.min()) < 0:
                raise ValueError(f"indices go down to {int(indices.min())}; expected numbers ≥ 0 of samples")
        prefix = "gallery_" if gallery else ""
        for earlier in getattr(self, prefix + "embeddings")[:1]:
            checks.same_length(embeddings=embeddings, earlier_embeddings=earlier)
        # copies, as a caller may write the next batch over this one
        own = embeddings.detach().clone(), labels.to(torch.long, copy=True), indices.to(torch.long, copy=True)
        for name, batch in zip(_STATES, own, strict=True):
            getattr(self, prefix + name).append(batch)

    def forward(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """Add a batch by `update`, and give the scores of this batch alone.

        Raises:
            ValueError, TypeError: as `update`, and the batch is not added; as `compute` for a batch that has no scores
                of its own, such as one without two items of a class, and the batch is added all the same.
        """
        if self._is_synced:
            raise TorchMetricsUserError(f"{type(self).__name__} is synced; expected unsync() before the next batch")
        self.update(*args, **kwargs)
        whole = {name: getattr(self, name) for name in self._defaults}
        added = "gallery_" if kwargs.get("gallery") else ""
        for name, batches in whole.items():
            setattr(self, name, batches[-1:] if name in [added + state for state in _STATES] else [])
        try:
            with self.sync_context(dist_sync_fn=self.dist_sync_fn, should_sync=self.dist_sync_on_step):
                scores = self._scores()
        finally:
            for name, batches in whole.items():
                setattr(self, name, batches)
        self._forward_cache = scores  # type: ignore[assignment]
        return scores

    def compute(self) -> dict[str, Tensor]:
        """The means by name, in float64, and the number of "queries": of all batches of all processes."""
        return self._scores()

    @abstractmethod
    def _scores(self) -> dict[str, Tensor]:
        """The means by name, of the states as they are."""

    @contextmanager
    def sync_context(
        self,
        dist_sync_fn: Callable | None = None,
        process_group: Any | None = None,
        should_sync: bool = True,
        should_unsync: bool = True,
        distributed_available: Callable | None = None,
    ) -> Generator[None, None, None]:
        """As torchmetrics', and where `compute` raises each process has its own states again, too."""
        try:
            with super().sync_context(dist_sync_fn, process_group, should_sync, should_unsync, distributed_available):
                yield
        except Exception:
            self.unsync(should_unsync=self._is_synced and should_unsync)
            raise

    def merge_state(self, incoming_state: dict[str, Any] | Metric) -> None:
        """As torchmetrics', and scores computed before are not those of the merged states."""
        super().merge_state(incoming_state)
        self._computed = None

    def set_dtype(self, dst_type: str | torch.dtype) -> Metric:
        """As torchmetrics', of the embeddings alone: labels and indices are integers."""
        whole = {name: getattr(self, name) for name in self._defaults if not name.endswith("embeddings")}
        super().set_dtype(dst_type)
        for name, batches in whole.items():
            setattr(self, name, batches)
        return self

    def _items(self) -> tuple[Tensor, ...]:
        """(query, labels) or (query, labels, gallery, gallery_labels)."""
        if not len(self.embeddings):
            raise ValueError(f"{type(self).__name__} has no embeddings; expected batches by update first")
        query = self._once("")
        return (*query, *self._once("gallery_")) if len(self.gallery_embeddings) else query

    def _once(self, prefix: str) -> tuple[Tensor, Tensor]:
        batches = getattr(self, prefix + "embeddings")
        if isinstance(batches, list):  # rather than one tensor of all processes
            for batch in batches[1:]:  # merge_state takes those of any metric
                checks.same_length(embeddings=batches[0], merged_embeddings=batch)
        embeddings, labels, indices = (dim_zero_cat(getattr(self, prefix + name)) for name in _STATES)
        indices, order = indices.sort(stable=True)
        first = torch.cat([indices[:1] >= -1, indices[1:] != indices[:-1]]) | (indices < 0)
        return embeddings[order[first]], labels[order[first]]


class RetrievalMetric(_Collected):
    """Recall@k, R-precision, MAP@R and mAP as `geomdml.metrics.retrieval` has them, of all batches of all processes.

    Args:
        space, ks, scores, ties, memory_limit: as `geomdml.metrics.retrieval`.
        kwargs: those of `torchmetrics.Metric`, such as `compute_on_cpu=True`, which keeps embeddings off the GPU.

    Raises:
        ValueError, TypeError: from `compute`, as `retrieval`; from `update`, batches that do not match.

    Source: `geomdml.metrics.retrieval`.

    >>> metric = RetrievalMetric(ks=(1,), scores=("recall", "r_precision"))
    >>> metric.update(torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([0, 0, 1]), torch.tensor([0, 1, 2]))
    >>> metric.update(torch.tensor([[3.0], [10.0], [11.0]]), torch.tensor([1, 1, 1]), torch.tensor([2, 3, 4]))
    >>> {name: float(value) for name, value in metric.compute().items()}
    {'recall@1': 0.8, 'r_precision': 0.8, 'queries': 5.0}
    """

    def __init__(
        self,
        space: Space | None = None,
        *,
        ks: Collection[int] = (1, 2, 4, 8),
        scores: Collection[Score] = ("recall", "r_precision", "map_at_r"),
        ties: Ties = "expected",
        memory_limit: int | float = MEMORY,
        **kwargs: Any,
    ) -> None:
        super().__init__(space, memory_limit, **kwargs)
        self.ks, self.scores, self.ties = ks, scores, ties

    def _scores(self) -> dict[str, Tensor]:
        """ "recall@1" and so on, "r_precision", "map_at_r", "mean_ap", and "queries"."""
        found = self._by_query().mean()
        recall = {f"recall@{k}": value for k, value in (found.recall or {}).items()}
        return _numbers(recall | {k: v for k, v in found._asdict().items() if k != "recall"})

    def by_query(self) -> QueryScores:
        """The scores of each query, for means by class and intervals; of all processes, each of which must ask."""
        with self.sync_context(dist_sync_fn=self.dist_sync_fn, should_sync=not self._is_synced):
            return self._by_query()

    def _by_query(self) -> QueryScores:
        return retrieval_by_query(
            *self._items(),
            space=self.space,
            ks=self.ks,
            scores=self.scores,
            ties=self.ties,
            memory_limit=self.memory_limit,
        )


class ShrecMetric(_Collected):
    """The scores of SHREC as `geomdml.metrics.shrec` has them, of all batches of all processes.

    Args:
        space, scores, memory_limit: as `geomdml.metrics.shrec`.
        kwargs: those of `torchmetrics.Metric`.

    Raises:
        ValueError, TypeError: from `compute`, as `shrec`; from `update`, batches that do not match.

    Source: `geomdml.metrics.shrec`.

    >>> metric = ShrecMetric(scores=("nn", "ft"))
    >>> metric.update(torch.tensor([[0.0], [1.0], [3.0], [10.0], [11.0]]), torch.tensor([0, 0, 1, 1, 1]))
    >>> {name: float(value) for name, value in metric.compute().items()}
    {'nn': 0.8, 'ft': 0.8, 'queries': 5.0}
    """

    def __init__(
        self,
        space: Space | None = None,
        *,
        scores: Collection[ShrecScore] = get_args(ShrecScore),
        memory_limit: int | float = MEMORY,
        **kwargs: Any,
    ) -> None:
        super().__init__(space, memory_limit, **kwargs)
        self.scores = scores

    def _scores(self) -> dict[str, Tensor]:
        """Single scores; the curve as "precision@0.05" to "precision@1.00"; and "queries"."""
        found = shrec(*self._items(), space=self.space, scores=self.scores, memory_limit=self.memory_limit)
        curve = dict(zip(found.recall, found.precision or (), strict=False))
        single = {k: v for k, v in found._asdict().items() if k not in ("precision", "recall")}
        return _numbers(single | {f"precision@{level:.2f}": value for level, value in curve.items()})


def _numbers(values: dict[str, Any]) -> dict[str, Tensor]:
    return {k: torch.tensor(float(v), dtype=torch.float64) for k, v in values.items() if v is not None}


def _gather(tensor: Tensor, group: Any = None) -> list[Tensor]:
    """The tensors of all processes; of one that has had no batch, none, in the form of the others."""
    forms: list[Any] = [None] * distributed.get_world_size(group)
    distributed.all_gather_object(forms, (len(tensor), tensor.dtype, tensor.shape[1:]), group=group)
    filled = [(dtype, shape) for length, dtype, shape in forms if length]
    if not filled:
        return [tensor]
    dtype, shape = filled[0]
    if any(form != (dtype, shape) for form in filled):
        raise ValueError(
            f"processes hold {', '.join(f'{form[0]} {tuple(form[1])}' for form in filled)}; expected one form"
        )
    return gather_all_tensors(tensor if len(tensor) else tensor.new_empty((0, *shape), dtype=dtype), group)
