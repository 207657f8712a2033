"""The losses that can take the place of CHEST's halves and of its regulariser, by name or by class."""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from pytorch_metric_learning.distances import CosineSimilarity
from pytorch_metric_learning.losses import BaseMetricLossFunction
from torch import Tensor, nn

from apps.io.trusted import import_trusted
from geomdml.distributed import CrossBatchMemory
from geomdml.losses import CHESTLoss, TreeProxyLoss
from geomdml.losses.functional import in_mean_units
from geomdml.losses.proxies import Proxies
from geomdml.nn import HyperbolicHead
from geomdml.pml import SpaceDistance
from geomdml.spaces import Space

Spec = dict[str, Any] | str

NAMED: dict[str, dict[str, Any]] = {
    "proxy_anchor": {"class_path": "pytorch_metric_learning.losses.ProxyAnchorLoss"},
    "multi_proxy_anchor": {"class_path": "geomdml.losses.MultiProxyAnchorLoss"},
    "multi_similarity": {"class_path": "pytorch_metric_learning.losses.MultiSimilarityLoss"},
    "triplet": {"class_path": "pytorch_metric_learning.losses.TripletMarginLoss", "init_args": {"margin": 0.1}},
    "pairwise_cross_entropy": {"class_path": "geomdml.losses.PairwiseCrossEntropyLoss"},
    "tree_proxies": {"class_path": "geomdml.losses.TreeProxyLoss"},
    "hier": {"class_path": "geomdml.losses.HIERLoss"},
}


class RelativeDistance(SpaceDistance):
    """The distances of a space in units of their mean over the batch, for the losses of pytorch-metric-learning."""

    def compute_mat(self, query_emb: Tensor, ref_emb: Tensor) -> Tensor:
        return in_mean_units(super().compute_mat(query_emb, ref_emb))


def build(
    spec: Spec,
    *,
    own: str = "soft_triple",
    num_classes: int,
    dim: int,
    space: Space,
    relative: bool,
    parents: Tensor | None = None,
    place: Callable[[Tensor], Tensor] | None = None,
) -> nn.Module | None:
    """A loss of (embeddings, labels) in a space; None for CHEST's own, which shares its proxies.

    Args:
        spec: a name of NAMED, the path of a class, or {"class_path": ..., "init_args": {...}}. What the class asks for
            by these names and is not given, it gets: num_classes, in_features or embedding_size (dim), space, relative,
            parents, place; a loss of pytorch-metric-learning gets the space as its distance, or with distance "cosine"
            the cosine.
        own: the name of CHEST's own part, which needs no other loss.
        num_classes, dim: training classes, dimension of the embeddings.
        space: where the embeddings live.
        relative: measure distances in units of their mean over the batch.
        parents: the tree above the training classes, see `geomdml.class_trees`; None without one.
        place: what the embeddings have gone through, such as clipping, for a loss that puts proxies through it too.

    Raises:
        ValueError: an unknown name or class, one that may not be imported, arguments that it does not take, a loss that
            needs a tree where there is none.

    >>> from geomdml.spaces import Hyperbolic
    >>> build("triplet", num_classes=5, dim=8, space=Hyperbolic(), relative=True).distance
    RelativeDistance(
      (space): Hyperbolic(c=0.5, chart='tangent')
    )
    """
    if spec == own:
        return None
    given = NAMED.get(spec, {"class_path": spec}) if isinstance(spec, str) else spec
    if unknown := given.keys() - {"class_path", "init_args"}:
        raise ValueError(f"a loss has {', '.join(map(repr, sorted(unknown)))}; expected class_path and init_args")
    loss = _class(str(given.get("class_path", "")), own)
    arguments = dict(given.get("init_args") or {})
    known = {
        "num_classes": num_classes,
        "in_features": dim,
        "embedding_size": dim,
        "space": space,
        "relative": relative,
        "parents": parents,
        "place": place,
    }
    asked = inspect.signature(loss).parameters
    if "parents" in asked and parents is None and "parents" not in arguments:
        raise ValueError(f"loss {_name(spec)} needs a tree above the classes; give --data.hierarchy")
    defaults: dict[str, Any] = {name: value for name, value in known.items() if name in asked}
    if issubclass(loss, BaseMetricLossFunction):
        defaults["distance"] = (RelativeDistance if relative else SpaceDistance)(space)
        if arguments.get("distance") == "cosine":
            arguments["distance"] = CosineSimilarity()
    try:
        return loss(**(defaults | arguments))
    # A loss that is wrong for a space says so in its own way.
    except Exception as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ValueError(f"loss {given['class_path']} cannot be made with {arguments} in {space}: {reason}") from error


def with_memory(halves: dict[str, tuple[nn.Module | None, int]], queue: int) -> dict[str, nn.Module | None]:
    """CHEST's halves, each with the dimension of its embeddings: those that compare pairs get a memory.

    Args:
        queue: how many embeddings of earlier batches it holds; 0 is none.

    Raises:
        ValueError: no half compares pairs.

    >>> from geomdml.losses import MultiProxyAnchorLoss, PairwiseCrossEntropyLoss
    >>> pairs, proxies = PairwiseCrossEntropyLoss(), MultiProxyAnchorLoss(5, 8)
    >>> [type(half).__name__ for half in with_memory({"H": (pairs, 4), "E": (proxies, 8)}, 16).values()]
    ['CrossBatchMemory', 'MultiProxyAnchorLoss']
    """
    found = {
        name: CrossBatchMemory(half, size=queue, in_features=dim)
        for name, (half, dim) in halves.items()
        if queue and half is not None and _compares_pairs(half, dim)
    }
    if queue and not found:
        raise ValueError(
            f"--data.queue {queue}: no loss compares pairs; expected --model.loss pairwise_cross_entropy or the like, "
            "or no queue"
        )
    return {name: found.get(name, half) for name, (half, _) in halves.items()}


@torch.no_grad()
def _compares_pairs(loss: nn.Module, dim: int) -> bool:
    """Whether a loss takes other points than the batch to compare it with; those of proxies refuse them."""
    embeddings, labels = torch.linspace(0.1, 1, 4 * dim).view(4, dim), torch.tensor([0, 0, 1, 1])
    try:
        with torch.random.fork_rng(devices=[]):
            loss(embeddings, labels, ref_emb=embeddings + 0.1, ref_labels=labels)
    # Each library refuses in its own way.
    except Exception:
        return False
    return True


@torch.no_grad()
def start_proxies(loss: CHESTLoss, head: HyperbolicHead, features: Tensor, labels: Tensor) -> None:
    """Put the proxies of a loss, shared ones and those of replaced halves, at the class means of the data."""
    if loss.proxies is not None:
        loss.proxies.start_at(features, labels)
    euclidean = features if loss.eta_h > 0 else head.tangent(features)
    for half, embeddings in ((loss.hyperbolic, head(features)), (loss.euclidean, euclidean)):
        own = getattr(half, "proxies", None)
        if isinstance(half, TreeProxyLoss):
            half.start_at(embeddings, labels)
        elif isinstance(own, Proxies):
            own.start_at(embeddings, labels)
        elif isinstance(own, nn.Parameter) and own.shape[1:] == embeddings.shape[1:]:
            means = Proxies(*own.shape, centers_per_class=1, radius=1.0).to(own)
            means.start_at(embeddings, labels)
            own.copy_(means.vectors[:, 0])


def _name(spec: Spec) -> str:
    return spec if isinstance(spec, str) else str(spec["class_path"])


def _class(path: str, own: str) -> type[nn.Module]:
    if "." not in path:
        raise ValueError(f"no loss is called {path!r}; expected {', '.join((own, *NAMED))} or the path of a class")
    found = import_trusted(path, "loss")
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise ValueError(f"{path!r} is no torch.nn.Module; expected the class of a loss")
    return found
