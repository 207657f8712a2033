"""The methods that `benchmarks.taxonomy` sets side by side: each trains an embedding of a taxonomy in `DIM` dimensions.

All that are trained in torch have the same batches, the same start (but for nested balls), the same loss, and a
learning rate that falls linearly to a hundredth. gensim draws batches and negatives of its own, sums its loss over a
batch, and keeps its rate after a burn-in. Each is scored in float64, by the distance of its own library.
"""

import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from apps.taxonomy.data import TaxonomyData
from apps.taxonomy.model import TaxonomyEmbedding
from geomdml.losses import ClosureLoss
from geomdml.optim import RowAdam
from geomdml.spaces import Space

DIM, START, LEAST_SHARE = 5, 1e-3, 0.01
NEGATIVES = 10  # gensim's default
BURN_IN = 10  # gensim's first tenth of the epochs, with a tenth of the rate


class Trained(NamedTuple):
    points: Tensor  # (N, D) in float64
    space: Space
    steps: int
    seconds: float
    step: float  # median seconds of one


class Learner(NamedTuple):
    """What is trained in torch."""

    loss: Callable[[Tensor], Tensor]  # of rows (node, ancestor, negatives…)
    optimizer: torch.optim.Optimizer
    points: Tensor
    space: Space
    relatives: float = 0.0  # share of the negatives


class Method(NamedTuple):
    """rates: the learning rates it may choose from; none where nothing is trained."""

    train: Callable[[TaxonomyData, float, int, int], Trained]  # of data, rate, steps and seed
    rates: tuple[float, ...]


class Broadcast(NamedTuple):
    """The space of a distance that broadcasts."""

    dist: Callable[[Tensor, Tensor], Tensor]

    def pairwise_dist(self, x: Tensor, y: Tensor) -> Tensor:
        return self.dist(x.unsqueeze(1), y.unsqueeze(0))


def in_torch(make: Callable[[TaxonomyData, float, int], Learner], rates: tuple[float, ...]) -> Method:
    def train(data: TaxonomyData, rate: float, steps: int, seed: int) -> Trained:
        start, times = time.perf_counter(), []
        learner = make(data, rate, seed)
        batches = data.batches(seed, relatives=learner.relatives)
        for step in range(steps):
            since = time.perf_counter()
            for group in learner.optimizer.param_groups:
                group["lr"] = rate * max(LEAST_SHARE, 1 - (1 - LEAST_SHARE) * step / steps)
            learner.optimizer.zero_grad()
            learner.loss(batches.batch(*divmod(step, len(batches)))).backward()
            learner.optimizer.step()
            times.append(time.perf_counter() - since)
        seconds = time.perf_counter() - start
        return Trained(learner.points.detach().double(), learner.space, steps, seconds, statistics.median(times or [0]))

    return Method(train, rates)


def ours(*rates: float, relatives: float = 0.0, **options: Any) -> Method:
    """The app's model with these options."""

    def make(data: TaxonomyData, rate: float, seed: int) -> Learner:
        model = TaxonomyEmbedding(data.nodes, dim=DIM, start=START, seed=seed, lr=rate or 1.0, **options)
        model.place(data.edges)
        return Learner(model, model.make_optimizer(), model.points.weight, model.space, relatives)

    return in_torch(make, rates)


def start(data: TaxonomyData, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """The random points of `TaxonomyEmbedding`."""
    drawn = torch.randn(data.nodes, DIM, generator=torch.Generator().manual_seed(seed))
    return START * drawn.to(dtype)


def geoopt_points(optimizer: str, dtype: torch.dtype, *rates: float) -> Method:
    """Points of geoopt's Poincaré ball, with one of its optimizers."""

    def make(data: TaxonomyData, rate: float, seed: int) -> Learner:
        geoopt, ball = _geoopt(), geoopt_ball()
        points = geoopt.ManifoldParameter(start(data, seed, dtype), manifold=ball)
        space = Broadcast(ball.dist)
        loss = ClosureLoss(space=space)
        return Learner(
            lambda batch: loss(points[batch[:, 0]], points[batch[:, 1:]]),
            getattr(geoopt.optim, optimizer)([points], lr=rate),
            points,
            space,
        )

    return in_torch(make, rates)


def geoopt_tangent(dtype: torch.dtype, *rates: float) -> Method:
    """Tangent vectors with the app's Adam, mapped into geoopt's ball."""

    def make(data: TaxonomyData, rate: float, seed: int) -> Learner:
        ball = geoopt_ball()
        points = nn.Embedding(data.nodes, DIM, sparse=True, _weight=start(data, seed, dtype))
        loss = ClosureLoss(space=Broadcast(ball.dist))
        return Learner(
            lambda batch: loss(ball.expmap0(points(batch[:, 0])), ball.expmap0(points(batch[:, 1:]))),
            RowAdam(points.parameters(), lr=rate),
            points.weight,
            Broadcast(lambda x, y: ball.dist(ball.expmap0(x), ball.expmap0(y))),
        )

    return in_torch(make, rates)


def geoopt_ball() -> Any:
    """geoopt's ball of curvature −1, for points of any dtype."""
    return _geoopt().PoincareBall(c=1.0)


def _geoopt() -> Any:
    with warnings.catch_warnings(action="ignore", category=FutureWarning):  # torch.jit.script is deprecated
        import geoopt

    return geoopt


def gensim(data: TaxonomyData, rate: float, steps: int, seed: int) -> Trained:
    """gensim's PoincareModel with as many whole epochs as come nearest to the steps.

    It draws all negatives of a node again until they are distinct and none is an ancestor: 50 would take it forever.
    """
    from gensim.models.poincare import PoincareModel

    size = data.hparams["batch_size"]
    relations = [(str(node), str(ancestor)) for node, ancestor in data.known.tolist()]
    in_epoch = -(-len(relations) // size)
    epochs = max(2, round(steps / in_epoch))
    burn_in = max(1, epochs // BURN_IN)
    begun = time.perf_counter()
    model = PoincareModel(
        relations,
        size=DIM,
        alpha=rate,
        negative=NEGATIVES,
        burn_in=burn_in,
        burn_in_alpha=rate / 10,
        init_range=(-START, START),
        seed=seed,
    )
    model.train(epochs - burn_in, batch_size=size)
    seconds = time.perf_counter() - begun
    vectors = torch.from_numpy(model.kv.vectors).double()
    points = vectors[[model.kv.key_to_index[str(node)] for node in range(data.nodes)]]
    return Trained(points, Broadcast(_gensim_dist), epochs * in_epoch, seconds, seconds / (epochs * in_epoch))


def _gensim_dist(x: Tensor, y: Tensor) -> Tensor:
    """Its formula, arcosh(1 + 2‖x − y‖² / ((1 − ‖x‖²)(1 − ‖y‖²)))."""
    inside = (1 - x.square().sum(-1)) * (1 - y.square().sum(-1))
    return torch.arccosh(1 + 2 * (x - y).square().sum(-1) / inside)


ADAM = {"initial": "random", "optimizer": "adam"}
METHODS: dict[str, Method] = {
    "nested balls, polar steps": ours(0.01, 0.03, 0.1, 0.3, relatives=0.5),
    "nested balls, not trained": ours(),
    "tangent vectors, Adam": ours(0.03, 0.1, 0.3, 1.0, **ADAM),
    "geoopt tangent vectors, Adam, float32": geoopt_tangent(torch.float32, 0.03, 0.1, 0.3, 1.0),
    "geoopt tangent vectors, Adam, float64": geoopt_tangent(torch.float64, 0.03, 0.1, 0.3, 1.0),
    "geoopt RiemannianAdam, float32": geoopt_points("RiemannianAdam", torch.float32, 0.1, 0.3, 1.0, 3.0),
    "geoopt RiemannianAdam, float64": geoopt_points("RiemannianAdam", torch.float64, 0.1, 0.3, 1.0, 3.0),
    "geoopt RiemannianSGD, float32": geoopt_points("RiemannianSGD", torch.float32, 30, 100, 300, 1000),
    "geoopt RiemannianSGD, float64": geoopt_points("RiemannianSGD", torch.float64, 30, 100, 300, 1000),
    "gensim PoincareModel, float64": Method(gensim, (0.01, 0.03, 0.1, 0.3)),
    "Euclidean, Adam": ours(0.03, 0.1, 0.3, 1.0, space="euclidean", **ADAM),
}
