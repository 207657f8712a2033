"""The losses as pure functions of distances, one formula a function.

They compute in float32 at least, whatever they are given. An empty batch is refused: its mean is not defined.
"""

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from geomdml._core import checks
from geomdml._core.numerics import diagonal, result_dtype
from geomdml._core.soft_minimum import soft_minimum
from geomdml.losses._mined import Indices, chosen_pairs

__all__ = [
    "Reduction",
    "batch_transport",
    "closure",
    "contrastive",
    "entailment",
    "hierarchical_triplet",
    "hyphc",
    "in_mean_units",
    "pairwise_cross_entropy",
    "proxy_anchor",
    "soft_triple",
    "soft_triple_similarity",
]


def __dir__() -> list[str]:
    return __all__


Reduction = Literal["mean", "sum", "none"]


def soft_triple_similarity(dist: Float[Tensor, "B C K"], *, gamma: float) -> Float[Tensor, "B C"]:
    """Similarity of points and classes: minus the soft minimum of the distances to the K proxies of a class.

    S = −Σ_k softmax_k(−d_k/γ)·d_k. A small γ takes the nearest proxy, a large one the mean.

    Args:
        dist: (B, C, K) distances from B points to the K proxies of C classes.
        gamma: γ > 0, in the unit of the distances.

    Returns:
        (B, C) similarities, ≤ 0.

    Raises:
        ValueError, TypeError: a shape other than (B, C, K), γ ≤ 0.

    Source: CHEST (arXiv 2510.05643) equations (5) and (6); SoftTriple, Qian et al. (2019), with distances.

    >>> soft_triple_similarity(torch.tensor([[[1.0, 3.0]]]), gamma=1e-3)
    tensor([[-1.]])
    """
    (dist,) = _full(dist=dist)
    if dist.ndim != 3 or 0 in dist.shape:
        raise ValueError(
            f"dist has shape {tuple(dist.shape)}; expected (B, C, K), none of them 0: points, classes, proxies a class"
        )
    checks.positive(gamma=gamma)
    return -soft_minimum(dist, gamma)


def soft_triple(
    dist: Float[Tensor, "B C K"],
    labels: Int[Tensor, " B"] | Float[Tensor, "B C"],
    *,
    gamma: float,
    scale: float | Tensor,
    margin: float,
    reduction: Reduction = "mean",
) -> Float[Tensor, ""] | Float[Tensor, " B"]:
    """Cross-entropy over classes of scale·(S − margin·[class = label]), S the `soft_triple_similarity`.

    Args:
        dist: (B, C, K) distances from B points to the K proxies of C classes.
        labels: (B,) class indices, or (B, C) target distributions; the margin is then multiplied by the target.
        gamma, margin: in the unit of the distances.
        scale: λ > 0, one over a distance.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError, TypeError: shapes that do not match, labels outside 0…C−1, γ ≤ 0, scale ≤ 0.

    Source: CHEST (arXiv 2510.05643) section 3.3.

    >>> dist = torch.tensor([[[1.0], [1.0]]])
    >>> soft_triple(dist, torch.tensor([0]), gamma=1.0, scale=1.0, margin=0.0)  # log 2
    tensor(0.6931)
    """
    similarity = soft_triple_similarity(dist, gamma=gamma)
    checks.positive(scale=scale)
    checks.numbers(torch.Size(), margin=margin)
    if isinstance(labels, Tensor) and labels.is_floating_point() and labels.ndim == 2:
        if labels.shape != similarity.shape:
            raise ValueError(
                f"labels has shape {tuple(labels.shape)}; expected (B, C) = {tuple(similarity.shape)} targets"
            )
        targets = labels.to(similarity)
        if checks.values_are_checked(targets) and not bool((targets >= 0).all()):
            raise ValueError("labels has targets that are below 0 or NaN; expected a distribution in each row")
        return F.cross_entropy(scale * (similarity - margin * targets), targets, reduction=reduction)
    targets = checks.labels(*similarity.shape, device=similarity.device, labels=labels)
    own = torch.arange(len(targets), device=targets.device), targets
    logits = scale * similarity.index_put(own, similarity[own] - margin)
    return F.cross_entropy(logits, targets, reduction=reduction)


def proxy_anchor(
    similarity: Float[Tensor, "B C"], labels: Int[Tensor, " B"], *, scale: float, margin: float
) -> Float[Tensor, ""]:
    """Each class draws the samples of its own towards it, the least similar most, and pushes all others away.

    L = mean_{c in the batch} log(1 + Σ_{y_i = c} e^(−λ(s_ic − δ))) + mean_c log(1 + Σ_{y_i ≠ c} e^(λ(s_ic + δ)))

    Args:
        similarity: (B, C) similarities of samples and classes.
        labels: (B,) class indices.
        scale: λ > 0, one over a similarity.
        margin: δ, in the unit of the similarities.

    Raises:
        ValueError, TypeError: shapes that do not match, an empty batch, labels outside 0…C−1, scale ≤ 0.

    Source: Kim et al., "Proxy anchor loss for deep metric learning" (2020), equation (4).

    >>> proxy_anchor(torch.zeros(1, 2), torch.tensor([0]), scale=1.0, margin=0.0)  # log 2 + (0 + log 2)/2
    tensor(1.0397)
    """
    (similarity,) = _full(similarity=similarity)
    if similarity.ndim != 2 or 0 in similarity.shape:
        raise ValueError(f"similarity has shape {tuple(similarity.shape)}; expected (B, C), neither of them 0")
    checks.positive(scale=scale)
    checks.numbers(torch.Size(), margin=margin)
    classes = checks.labels(*similarity.shape, device=similarity.device, labels=labels)
    own = F.one_hot(classes, similarity.shape[1]).bool()
    least = torch.finfo(similarity.dtype).min  # rather than −∞: its gradient is 0 where a class has no sample, not NaN
    draw = (-scale * (similarity - margin)).masked_fill(~own, least).logsumexp(0)
    push = (scale * (similarity + margin)).masked_fill(own, least).logsumexp(0)
    return F.softplus(draw).sum() / own.any(0).sum() + F.softplus(push).mean()


def hyphc(
    similarity: Float[Tensor, "M 3"],
    depth: Float[Tensor, "M 3"],
    *,
    gamma: float,
    reduction: Reduction = "mean",
) -> Float[Tensor, ""] | Float[Tensor, " M"]:
    """Triplet loss of hyperbolic hierarchical clustering: similar pairs should have the deepest common ancestor.

    L = Σ S_jk − Σ S_jk·softmax_jk(depth_jk/γ), over the pairs 12, 13, 23 of a triplet.

    Args:
        similarity: (M, 3) similarities of the pairs 12, 13, 23. Detach them, or every pair is pushed apart.
        depth: (M, 3) depths of their lowest common ancestors (`geomdml.tangent.lca_depth`).
        gamma: temperature > 0, in the unit of the depths.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError, TypeError: a shape other than (M, 3), shapes that differ, γ ≤ 0.

    Source: CHEST (arXiv 2510.05643) equation (9), with the depth in the softmax, as in the work it cites (Chami et al.,
    2020); the distance, which it prints, pushes the most similar pair apart.

    >>> hyphc(torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([[9.0, 0.0, 0.0]]), gamma=0.1)
    tensor(0.)
    """
    similarity, depth = _triplets(similarity=similarity, depth=depth)
    checks.positive(gamma=gamma)
    loss = similarity.sum(-1) - (similarity * torch.softmax(depth / gamma, dim=-1)).sum(-1)
    return _reduce(loss, reduction)


def batch_transport(
    matrix: Float[Tensor, "B P"], plan: Float[Tensor, "B P"], *, reduction: Reduction = "mean"
) -> Float[Tensor, ""] | Float[Tensor, " B"]:
    """Σ_ij T_ij·M_ij: the metric matrix M of two batches under a plan T, which is constant in the backward pass.

    Args:
        matrix: (B, P) metric matrix (`geomdml.metric_matrix.metric_matrix`).
        plan: (B, P) plan of mass 1 (`geomdml.metric_matrix.importance_weights`), or uniform weights.
        reduction: "mean" is the sum above; "none" gives the B losses B·Σ_j T_ij·M_ij, one an embedding, whose mean it
            is; "sum" adds them.

    Raises:
        ValueError, TypeError: shapes other than (B, P), or that differ.

    Source: arXiv 1903.08923.

    >>> batch_transport(torch.tensor([[3.0, 1.0]]), torch.tensor([[0.75, 0.25]]))
    tensor(2.5000)
    """
    matrix, plan = _full(matrix=matrix, plan=plan)
    if matrix.ndim != 2 or matrix.shape != plan.shape or 0 in matrix.shape:
        raise ValueError(
            f"matrix has shape {tuple(matrix.shape)}, plan {tuple(plan.shape)}; expected (B, P) for both, neither of "
            "them 0"
        )
    return _reduce(len(matrix) * (plan.detach() * matrix).sum(-1), reduction)


def _reduce(loss: Tensor, reduction: Reduction) -> Tensor:
    """The losses of the samples, or their mean or sum.

    >>> _reduce(torch.tensor([1.0, 3.0]), "mean")
    tensor(2.)
    """
    if reduction not in get_args(Reduction):
        raise ValueError(f"reduction = {reduction!r}; expected one of {', '.join(map(repr, get_args(Reduction)))}")
    return loss if reduction == "none" else loss.sum() if reduction == "sum" else loss.mean()


def in_mean_units(dist: Tensor) -> Tensor:
    """Distances divided by their mean: what scale, margin and γ mean no longer depends on the backbone or the space.

    Gradients flow through the mean, so the result is invariant to a common factor in its derivative too.

    >>> in_mean_units(torch.tensor([10.0, 30.0]))
    tensor([0.5000, 1.5000])
    """
    return dist / dist.mean().clamp_min(torch.finfo(dist.dtype).tiny)


def pairwise_cross_entropy(
    dist: Float[Tensor, "N P"],
    labels: Int[Tensor, " N"],
    ref_labels: Int[Tensor, " P"] | None = None,
    *,
    temperature: float,
    indices_tuple: Indices | None = None,
    reduction: Reduction = "mean",
) -> Float[Tensor, ""] | Float[Tensor, " pairs"]:
    """Cross-entropy of finding the positive of each pair among it and all negatives, by distance.

    For each pair (i, j) of one class, L = −log(e^(−d_ij/T) / (e^(−d_ij/T) + Σ_k e^(−d_ik/T))), k of another class than
    i. With two of a class, as the paper has it, k runs over all but i and j; where there are more, the other positives
    of i stay out of the sum, as they do in the authors' code.

    Args:
        dist: (N, P) distances; without ref_labels (N, N), of the points to themselves, and no point pairs with itself.
        labels: (N,) classes of the points, integers.
        ref_labels: (P,) classes of the points in the columns, where these are others.
        temperature: T > 0, in the unit of the distances.
        indices_tuple: which pairs (i, j) and which negatives (i, k) count, of rows and columns, as a miner of
            pytorch-metric-learning names them. None: those that the labels make. If a miner found none the loss is 0.
        reduction: "mean" or "sum" over the pairs, or "none": (pairs,), row after row.

    Raises:
        ValueError, TypeError: shapes that do not match, T ≤ 0, no two points of one class.

    Source: Hyp-ViT, Ermolov et al. (2022), its pairwise cross-entropy loss.

    >>> dist = torch.tensor([[0.0, 1.0, 1.0], [1.0, 0.0, 9.0], [1.0, 9.0, 0.0]])
    >>> pairwise_cross_entropy(dist, torch.tensor([0, 0, 1]), temperature=1.0, reduction="none")  # log 2, nearly 0
    tensor([6.9315e-01, 3.3541e-04])
    """
    (dist,) = _full(dist=dist)
    if dist.ndim != 2 or 0 in dist.shape or (ref_labels is None and dist.shape[0] != dist.shape[1]):
        raise ValueError(
            f"dist has shape {tuple(dist.shape)}; expected (N, P), neither of them 0, and (N, N) without ref_labels"
        )
    checks.positive(temperature=temperature)
    classes = checks.labels(len(dist), device=dist.device, labels=labels)
    others = classes
    if ref_labels is not None:
        others = checks.labels(dist.shape[1], device=dist.device, ref_labels=ref_labels)
    if indices_tuple is None:
        same = classes.unsqueeze(1) == others
        negative = ~same
        positive = same if ref_labels is not None else same & ~diagonal(same)
        if checks.values_are_checked(dist) and not bool(positive.any()):
            raise ValueError("labels has no two of one class; expected at least one pair to bring together")
    else:
        positive, negative = chosen_pairs(indices_tuple, dist)
    logits = -dist / temperature
    # the least number rather than −∞: its gradient is 0 where a point has no negatives, not NaN
    negatives = logits.masked_fill(~negative, torch.finfo(logits.dtype).min).logsumexp(1, keepdim=True)
    loss = F.softplus(negatives - logits)[positive]
    if indices_tuple is not None and reduction == "mean":
        return loss.sum() / positive.sum().clamp_min(1)
    return _reduce(loss, reduction)


def closure(
    dist: Float[Tensor, "B N"], *, temperature: float = 1.0, reduction: Reduction = "mean"
) -> Float[Tensor, ""] | Float[Tensor, " B"]:
    """Cross-entropy of finding a node's ancestor among it and nodes that are no ancestors, by distance.

    L = −log(e^(−d_0/T) / Σ_k e^(−d_k/T))

    Args:
        dist: (B, 1 + K) distances of B nodes: from an ancestor of each in the first column, then from K that are none.
        temperature: T > 0, in the unit of the distances.
        reduction: "mean", "sum" or "none" over the nodes.

    Raises:
        ValueError, TypeError: a shape other than (B, 1 + K), T ≤ 0.

    Source: Nickel and Kiela, "Poincaré embeddings for learning hierarchical representations" (2017), equation (6),
    with the pair itself in the sum, as in their code.

    >>> closure(torch.tensor([[2.0, 2.0]]))  # log 2
    tensor(0.6931)
    """
    (dist,) = _full(dist=dist)
    if dist.ndim != 2 or 0 in dist.shape:
        raise ValueError(f"dist has shape {tuple(dist.shape)}; expected (B, 1 + K), neither of them 0")
    checks.positive(temperature=temperature)
    logits = -dist / temperature
    return _reduce(logits.logsumexp(1) - logits[:, 0], reduction)


def contrastive(
    dist: Float[Tensor, "N N"], *, temperature: float | Tensor, reduction: Reduction = "mean"
) -> Float[Tensor, ""] | Float[Tensor, " N"]:
    """Cross-entropy of finding each item's partner among all partners, in both directions, by distance.

    L = (CE(−d/T) + CE(−dᵀ/T))/2, the partners on the diagonal.

    Args:
        dist: (N, N) distances of N items from their N partners; the partner of item i is partner i.
        temperature: T > 0, in the unit of the distances; a 0-d tensor has a gradient.
        reduction: "mean", "sum" or "none" over the pairs.

    Raises:
        ValueError, TypeError: a shape other than (N, N) with N > 0, T ≤ 0.

    Source: Desai et al., "Hyperbolic image-text representations" (MERU, 2023), section 3.2.

    >>> contrastive(torch.ones(2, 2), temperature=0.1)  # log 2
    tensor(0.6931)
    """
    (dist,) = _full(dist=dist)
    if dist.ndim != 2 or dist.shape[0] != dist.shape[1] or not dist.numel():
        raise ValueError(f"dist has shape {tuple(dist.shape)}; expected (N, N) with N > 0")
    checks.positive(temperature=temperature)
    logits = -dist / temperature
    own = logits.diagonal()
    return _reduce((logits.logsumexp(0) + logits.logsumexp(1)) / 2 - own, reduction)


def entailment(
    angle: Float[Tensor, " N"], aperture: Float[Tensor, " N"], *, reduction: Reduction = "mean"
) -> Float[Tensor, ""] | Float[Tensor, " N"]:
    """How far points lie outside cones, in radians.

    L = max(0, ψ − ω)

    Args:
        angle: (N,) exterior angles ψ of `geomdml.cones.exterior_angle`.
        aperture: (N,) half apertures ω of `geomdml.cones.half_aperture`.
        reduction: "mean", "sum" or "none" over the pairs.

    Raises:
        ValueError, TypeError: shapes other than one (N,) with N > 0.

    Source: Ganea, Bécigneul and Hofmann, "Hyperbolic entailment cones" (2018), equation (29).

    >>> entailment(torch.tensor([0.5, 0.1]), torch.tensor([0.2, 0.2]))
    tensor(0.1500)
    """
    angle, aperture = _full(angle=angle, aperture=aperture)
    if angle.ndim != 1 or angle.shape != aperture.shape or not angle.numel():
        raise ValueError(
            f"angle and aperture have shapes {tuple(angle.shape)} and {tuple(aperture.shape)}; expected (N,), N > 0"
        )
    return _reduce(torch.relu(angle - aperture), reduction)


def hierarchical_triplet(
    pair_ancestor: Float[Tensor, "M 3"],
    triplet_ancestor: Float[Tensor, "M 3"],
    *,
    margin: float,
    reduction: Reduction = "mean",
) -> Float[Tensor, ""] | Float[Tensor, " M"]:
    """Two related points should be nearer to their common ancestor than to that of a triplet, the third point farther.

    L = [d(i,ρ_ij) − d(i,ρ_ijk) + δ]₊ + [d(j,ρ_ij) − d(j,ρ_ijk) + δ]₊ + [d(k,ρ_ijk) − d(k,ρ_ij) + δ]₊

    Args:
        pair_ancestor: (M, 3) distances of i, j and k from the ancestor ρ_ij of i and j.
        triplet_ancestor: (M, 3) distances of i, j and k from the ancestor ρ_ijk of all three.
        margin: δ ≥ 0, in the unit of the distances.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError, TypeError: a shape other than (M, 3), shapes that differ.

    Source: HIER, Kim et al. (2023), the triplet loss of its hierarchical regularisation.

    >>> near, far = torch.tensor([[1.0, 1.0, 3.0]]), torch.tensor([[2.0, 2.0, 2.0]])
    >>> hierarchical_triplet(near, far, margin=0.5), hierarchical_triplet(far, near, margin=0.5)
    (tensor(0.), tensor(4.5000))
    """
    pair_ancestor, triplet_ancestor = _triplets(pair_ancestor=pair_ancestor, triplet_ancestor=triplet_ancestor)
    checks.numbers(torch.Size(), margin=margin)
    towards = pair_ancestor - triplet_ancestor
    signed = torch.cat([towards[:, :2], -towards[:, 2:]], dim=1)
    return _reduce(F.relu(signed + margin).sum(1), reduction)


def _full(**tensors: Tensor) -> list[Tensor]:
    """Floating-point tensors in float32 at least."""
    checks.floating(**tensors)
    return [tensor.to(result_dtype(tensor)) for tensor in tensors.values()]


def _triplets(**tensors: Tensor) -> list[Tensor]:
    """Two numbers of each side of at least one triplet."""
    full = _full(**tensors)
    if any(x.ndim != 2 or x.shape != full[0].shape or x.shape[1] != 3 or not len(x) for x in full):
        shapes = ", ".join(f"{name} has shape {tuple(tensor.shape)}" for name, tensor in tensors.items())
        raise ValueError(f"{shapes}; expected (M, 3) for both, M ≥ 1")
    return full
