"""The losses of proxies where each of several processes has some of the classes: what they tell each other.

With `group` None there is one process, and each is the formula of `geomdml.losses.functional`. Else the distances are
those of all samples to the classes of this process, and a label is −1 where another process has the class.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from geomdml._core.processes import Group, exchange, gather, rank_and_size, total
from geomdml.losses import functional
from geomdml.losses.functional import Reduction, soft_triple_similarity


def in_mean_units(dist: Float[Tensor, "B S K"], group: Group | None) -> Float[Tensor, "B S K"]:
    """Distances divided by their mean over the proxies of all processes."""
    if group is None:
        return functional.in_mean_units(dist)
    mean = total(dist.sum(), group) / total(dist.new_tensor(dist.numel()), group)
    return dist / mean.clamp_min(torch.finfo(dist.dtype).tiny)


def soft_triple(
    dist: Float[Tensor, "B S K"],
    labels: Tensor,
    *,
    gamma: float,
    scale: float,
    margin: float,
    reduction: Reduction,
    group: Group | None,
) -> Tensor:
    """`functional.soft_triple`: the log-sum-exp of each process and the logit of the own class are put together."""
    if group is None:
        return functional.soft_triple(dist, labels, gamma=gamma, scale=scale, margin=margin, reduction=reduction)
    similarity = soft_triple_similarity(dist, gamma=gamma)
    here = (labels >= 0).nonzero().squeeze(1)
    at = here, labels[here]
    logits = scale * similarity.index_put(at, similarity[at] - margin)
    own = total(logits.new_zeros(len(logits)).index_put((here,), logits[at]), group)
    everywhere = gather(logits.logsumexp(1).unsqueeze(0), group).logsumexp(0)
    loss = everywhere - own
    return loss if reduction == "none" else loss.sum() if reduction == "sum" else loss.mean()


def proxy_anchor(
    similarity: Float[Tensor, "B S"], labels: Int[Tensor, " B"], *, scale: float, margin: float, group: Group | None
) -> Tensor:
    """`functional.proxy_anchor`: a sum over classes, to which each process adds its own."""
    if group is None:
        return functional.proxy_anchor(similarity, labels, scale=scale, margin=margin)
    own = labels.unsqueeze(1) == torch.arange(similarity.shape[1], device=labels.device)
    least = torch.finfo(similarity.dtype).min
    draw = (-scale * (similarity - margin)).masked_fill(~own, least).logsumexp(0)
    push = (scale * (similarity + margin)).masked_fill(own, least).logsumexp(0)
    counts = total(similarity.new_tensor([int(own.any(0).sum()), similarity.shape[1]]), group)
    sums = total(torch.stack([F.softplus(draw).sum(), F.softplus(push).sum()]), group)
    return (sums / counts).sum()


def columns_of_all(matrix: Float[Tensor, "B S"], group: Group | None) -> Float[Tensor, "B C"]:
    """The columns that the processes have, one after another."""
    return matrix if group is None else gather(matrix.T, group).T


def class_counts(proxies: Float[Tensor, "C K D"], group: Group | None) -> list[int]:
    """How many classes each process has."""
    classes = len(proxies)
    return [classes] if group is None else gather(torch.tensor([classes], device=proxies.device), group).tolist()


def own_triplets(
    points: Float[Tensor, "N D"], triplets: Int[Tensor, "M 3"], counts: list[int], group: Group | None
) -> tuple[Float[Tensor, "_ D"], Int[Tensor, "_ 3"]]:
    """The triplets whose anchor this process has, and the points that they are of: its own, and others' negatives.

    Args:
        points: of this process.
        triplets: indices into the points of all, an anchor and a positive of one process and a negative of any.
        counts: how many points each process has.
    """
    rank, size = rank_and_size(group)
    ends = torch.tensor(counts).cumsum(0)
    owner = torch.searchsorted(ends, triplets[:, [0, 2]].cpu(), right=True)
    anchors, negatives = owner.unbind(1)
    start = int(ends[rank]) - counts[rank]
    wanted = [triplets[(anchors == to) & (negatives == rank), 2] - start for to in range(size)]
    mine, of = triplets[anchors == rank], negatives[anchors == rank]
    received = torch.bincount(of, minlength=size).tolist()
    theirs = exchange(points[torch.cat(wanted)], [len(rows) for rows in wanted], received, group)
    arrived = torch.empty_like(of)
    arrived[of.argsort(stable=True)] = torch.arange(len(of))  # they come process by process
    local = torch.cat([mine[:, :2] - start, counts[rank] + arrived.to(mine).unsqueeze(1)], dim=1)
    return torch.cat([points, theirs]), local
