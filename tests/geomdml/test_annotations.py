"""The shapes in the signatures are true: jaxtyping and beartype check every call of a tour through the library."""

import subprocess
import sys
import textwrap

TOUR = """
    import jaxtyping
    jaxtyping.install_import_hook("geomdml", "beartype.beartype")
    import torch, geomdml
    from geomdml import euclidean, hierarchy, lorentz, poincare, tangent
    from geomdml.losses import (
        BatchTransportLoss, CHESTLoss, ClosureLoss, HIERLoss, HypHCLoss, MultiProxyAnchorLoss,
        PairwiseCrossEntropyLoss, SoftTripleLoss, functional
    )
    from geomdml.metrics import retrieval, shrec
    from geomdml.nn import HyperbolicHead
    from geomdml.pml import SpaceDistance
    from geomdml.reshaping import LabelReshaper, class_relation, difficulty
    from geomdml.spaces import Euclidean, Hyperbolic

    u, v, labels = 0.3 * torch.randn(6, 4), 0.3 * torch.randn(5, 4), torch.tensor([0, 0, 1, 1, 2, 2])
    for c in (0.5, torch.tensor(0.5)):
        x, y = tangent.to_ball(u, c=c), tangent.to_ball(v, c=c)
        X, Y = lorentz.from_tangent(u, c=c), lorentz.from_ball(y, c=c)
        for chart, a, b in ((tangent, u, v), (poincare, x, y), (lorentz, X, Y)):
            assert chart.pairwise_dist(a, b, c=c).shape == (6, 5)
            assert chart.dist(a[:, None], b, c=c).shape == (6, 5)
        lorentz.inner(X[:5], Y, c=c), lorentz.pairwise_inner(X, Y, c=c)
        lorentz.to_tangent(X, c=c), lorentz.to_ball(X, c=c)
        tangent.from_ball(x, c=c), tangent.lca_depth(u[:5], v, c=c), poincare.mobius_add(x[:5], y, c=c)
        for move in (poincare.gyration, poincare.parallel_transport):
            assert move(x[:5], y, v, c=c).shape == (5, 4)
        poincare.expmap(x, u, c=c), poincare.logmap(x[:5], y, c=c), poincare.mobius_matvec(torch.ones(3, 4), x, c=c)
        for number in (0.5, torch.rand(5), torch.rand(2, 1)):
            poincare.geodesic(x[:5], y, number, c=c), poincare.mobius_scalar_mul(number, y, c=c)
        poincare.midpoint(x, c=c), poincare.midpoint(x.expand(2, 6, 4), torch.rand(6), c=c)
        poincare.project(u, c=c), poincare.conformal_factor(x, c=c), poincare.dist0(x, c=c), poincare.logmap0(x, c=c)
    euclidean.pairwise_dist(u, v, squared=True), euclidean.dist(u[:5], v), geomdml.clip_norm(u, 0.1)
    curved = [Hyperbolic(c=0.5, chart=chart) for chart in ("ball", "lorentz", "tangent")]
    for space in (Euclidean(), *curved, Hyperbolic(c=0.5, learnable=True)):
        space.pairwise_dist(u, v), space.dist(u[:5], v), retrieval(u, labels, space=space)
        SoftTripleLoss(3, 4, space=space if getattr(space, "chart", "tangent") == "tangent" else None)(u, labels)
        BatchTransportLoss(space=space).terms(u, labels), shrec(u, labels, space=space)
        BatchTransportLoss(space=space, reduction="none")(u, labels, None, v, labels[:5])
        SpaceDistance(space)(u, v), SpaceDistance(space).pairwise_distance(u[:5], v)
    head = HyperbolicHead(4, 3, space=Hyperbolic())
    loss = CHESTLoss(3, 4)
    loss.proxies.start_at(u, labels)
    loss(u, labels, head=head).backward()
    HypHCLoss(space=Hyperbolic())(torch.randn(3, 2, 4))
    pairs, hier = PairwiseCrossEntropyLoss(), HIERLoss(3, space=Hyperbolic(), num_proxies=4, neighbors=3)
    ClosureLoss(space=Hyperbolic())(u, torch.randn(6, 3, 4)), functional.closure(torch.rand(6, 3), reduction="none")
    tree = torch.tensor([[1, 0], [2, 1], [3, 1]])
    dist = Hyperbolic().pairwise_dist(u, u)
    hierarchy.reconstruction(u, hierarchy.closure(tree), space=Hyperbolic()), hierarchy.distortion(dist, 1 + dist)
    hierarchy.delta_hyperbolicity(dist), hierarchy.delta_hyperbolicity(u, space=Euclidean())
    linkage = hierarchy.decode(u, c=0.5)
    hierarchy.dasgupta_cost(linkage, (dist + dist.T)), hierarchy.dendrogram_purity(linkage, labels)
    retrieval(u, torch.ones(6, 5), v), retrieval(u, torch.ones(6, 6).to_sparse())
    pairs(u, labels, None, v, labels[:5]), MultiProxyAnchorLoss(3, 4)(u, labels)
    CHESTLoss(3, 4, euclidean=pairs, regulariser=hier)(u, labels, head=head).backward()
    functional.hierarchical_triplet(torch.rand(6, 3), torch.rand(6, 3), margin=0.1, reduction="none")
    functional.soft_triple(torch.rand(6, 3, 2), torch.rand(6, 3), gamma=1.0, scale=1.0, margin=0.0, reduction="none")
    reshaper, logits = LabelReshaper(3, 2), torch.randn(2, 6, 3)
    now = [reshaper(logits, labels), reshaper(list(logits), labels), reshaper.balance()][-1]
    difficulty(now.alpha, class_relation(reshaper.predictions()), reshaper.predictions())
    SoftTripleLoss(3, 4).logits(u)
    try:
        tangent.pairwise_dist(u, u[0], c=0.5)
    except jaxtyping.TypeCheckError:
        print("checked")
"""


def test_every_call_of_a_tour_has_the_shapes_it_says():
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(TOUR)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip() == "checked"
