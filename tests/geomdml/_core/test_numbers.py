"""Numbers of NumPy's, and tensors of one, wherever a function takes a number of Python's."""

import dataclasses

import numpy as np
import pytest
import torch

import geomdml
from geomdml import losses, nn
from geomdml._core import checks
from geomdml.hierarchy import closure, delta_hyperbolicity, nested_balls
from geomdml.metrics import RetrievalMetric, retrieval, retrieval_by_query
from geomdml.reshaping import LabelReshaper
from geomdml.search import HyperbolicIndex, knn
from geomdml.spaces import Hyperbolic
from geomdml.transport import sinkhorn, sinkhorn_divergence

X = torch.randn(7, 2, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 0, 1, 1, 1, 0, 2])
EDGES = torch.tensor([[1, 0], [2, 0], [3, 1]])
SPACE = Hyperbolic(0.5)


def index(dim, k):
    found = HyperbolicIndex(SPACE, dim)
    found.add(0.1 * X)
    return found.search(0.1 * X, k, effort=k)


def metric(k):
    found = RetrievalMetric(ks=(k,))
    found.update(X, LABELS)
    return found.compute()


def seeded(make):
    torch.manual_seed(0)
    return make()


INTEGERS = {
    "retrieval": lambda k: retrieval(X, LABELS, ks=(1, k)),
    "RetrievalMetric": metric,
    "interval": lambda k: retrieval_by_query(X, LABELS, ks=[k]).interval(resamples=k, seed=k),
    "knn": lambda k: knn(X, X, k),
    "HyperbolicIndex": lambda k: index(k, k),
    "sinkhorn": lambda k: sinkhorn(X @ X.T, 10.0, max_iter=100 * k),
    "nested_balls": lambda k: nested_balls(EDGES, k, count=2 * k, seed=k),
    "closure": lambda k: closure(EDGES, most=2 * k),
    "delta_hyperbolicity": lambda k: delta_hyperbolicity(X, space=SPACE, samples=2 * k, repeats=k, seed=k),
    "origin": SPACE.origin,
    "LabelReshaper": lambda k: LabelReshaper(k, k).balance(),
    "SoftTriple": lambda k: seeded(lambda: losses.SoftTripleLoss(k + 1, k, centers_per_class=k)(X, LABELS)),
    "MultiProxyAnchor": lambda k: seeded(lambda: losses.MultiProxyAnchorLoss(k + 1, k)(X, LABELS)),
    "CHEST": lambda k: seeded(
        lambda: losses.CHESTLoss(k + 1, k, triplets=k)(X, LABELS, head=nn.HyperbolicHead(k, k, space=SPACE))
    ),
    "HIER": lambda k: seeded(
        lambda: losses.HIERLoss(k, space=SPACE, num_proxies=2 * k, neighbors=k, triplets_per_point=k)(X, LABELS)
    ),
    "MetricNetwork": lambda k: seeded(lambda: nn.MetricNetwork(k, k, k)(X)),
}
FLOATS = {
    "c": lambda t: geomdml.tangent.dist(X, -X, c=t),
    "space": lambda t: Hyperbolic(t).dist(X, -X),
    "learned": lambda t: Hyperbolic(t, learnable=True).dist(X, -X),
    "geodesic": lambda t: geomdml.poincare.geodesic(0.1 * X, -0.1 * X, t, c=t),
    "scalar product": lambda t: geomdml.poincare.mobius_scalar_mul(t, 0.1 * X, c=t),
    "clip_norm": lambda t: geomdml.clip_norm(X, t),
    "head": lambda t: seeded(lambda: nn.HyperbolicHead(2, 2, space=SPACE, clip=t)(X)),
    "sinkhorn": lambda t: sinkhorn(X @ X.T, 10 * t, tol=t, marginal_penalty=t),
    "divergence": lambda t: sinkhorn_divergence(X, -X, 10 * t, p=t, tol=t),
    "BatchTransport": lambda t: losses.BatchTransportLoss(
        margin=t, form="margin", positive_margin=t, sharpness=t, reg=t, power=t
    )(X, LABELS),
    "PairwiseCrossEntropy": lambda t: losses.PairwiseCrossEntropyLoss(temperature=t)(X, LABELS),
    "Closure": lambda t: losses.ClosureLoss(temperature=t)(X[:2], X[:4].view(2, 2, 2)),
    "SoftTriple": lambda t: seeded(lambda: losses.SoftTripleLoss(3, 2, gamma=t, scale=t, margin=t)(X, LABELS)),
    "MultiProxyAnchor": lambda t: seeded(lambda: losses.MultiProxyAnchorLoss(3, 2, scale=t, margin=t)(X, LABELS)),
    "HypHC": lambda t: seeded(lambda: losses.HypHCLoss(space=SPACE, gamma=t)(X[:6].view(3, 2, 2))),
    "CHEST": lambda t: seeded(
        lambda: losses.CHESTLoss(3, 2, eta_h=t, eta_e=t, tau=t, gamma_hyp=t, proxy_radius=t)(
            X, LABELS, head=nn.HyperbolicHead(2, 2, space=SPACE)
        )
    ),
    "HIER": lambda t: seeded(
        lambda: losses.HIERLoss(2, space=SPACE, num_proxies=4, neighbors=3, margin=t, temperature=t)(X, LABELS)
    ),
    "LabelReshaper": lambda t: LabelReshaper(2, 2, momentum=t, floor=t, max_alpha=t)([X, -X], LABELS % 2),
    "interval": lambda t: retrieval_by_query(X, LABELS).interval(t),
    "memory_limit": lambda t: retrieval(X, LABELS, memory_limit=60_000 * t),
}


def parts(result):
    """What a result is made of, its tensors as dtype and numbers."""
    if isinstance(result, torch.Tensor):
        return result.dtype, result.detach().tolist()
    if dataclasses.is_dataclass(result):
        return parts(vars(result))
    if isinstance(result, dict):
        return {key: (type(key), parts(value)) for key, value in result.items()}
    return [parts(part) for part in result] if isinstance(result, tuple | list) else result


@pytest.mark.parametrize("kind", [np.int64, np.uint8, torch.tensor], ids=["int64", "uint8", "tensor"])
@pytest.mark.parametrize("f", INTEGERS.values(), ids=INTEGERS.keys())
def test_an_integer_is_an_integer(f, kind):
    assert parts(f(kind(2))) == parts(f(2))


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize("f", FLOATS.values(), ids=FLOATS.keys())
def test_a_number_is_a_number(f, kind):
    assert parts(f(kind(0.5))) == parts(f(0.5))


@pytest.mark.parametrize(
    "value", [True, np.True_, torch.tensor(True), 2.0, np.float64(2), torch.tensor(2.0), "2", None]
)
def test_what_is_no_integer_is_refused(value):
    with pytest.raises(TypeError, match=f"k is a {type(value).__name__}; expected an integer"):
        checks.integer(k=value)
    with pytest.raises(ValueError, match="k = 0; expected at least 1"):
        checks.integer(1, k=np.int8(0))
