"""Every loss can be differentiated again: backward, forward, mapped, in a gradient penalty and in a step of MAML."""

import pytest
import torch
from torch import nn
from torch.func import functional_call

from geomdml import losses
from geomdml.losses import functional, hier
from geomdml.losses.hyphc import draw_triplets
from geomdml.losses.triplets import distances_and_depths
from geomdml.metric_matrix import importance_weights, metric_matrix, same_class
from geomdml.nn import HyperbolicHead
from geomdml.spaces import Euclidean, Hyperbolic, Product

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:FutureWarning")  # torch's own
B, C, D = 6, 3, 4
LABELS = torch.arange(B) % C


class WithHead(nn.Module):
    """CHEST, called as the others are."""

    def __init__(self, **settings):
        super().__init__()
        self.head = HyperbolicHead(D, D, space=Hyperbolic(c=0.5, learnable=True))
        self.loss = losses.CHESTLoss(C, D, triplets=5, **settings)

    def forward(self, x, labels):
        return self.loss(x, labels, head=self.head)


class OfPairs(nn.Module):
    """A loss of two modalities, or of nodes and their candidates, whose second part is made of the first."""

    def __init__(self, loss, second):
        super().__init__()
        self.loss, self.second = loss, second

    def forward(self, x, labels):
        return self.loss(x, self.second(x))


class OfProxies(nn.Module):
    def __init__(self, loss):
        super().__init__()
        self.loss = loss

    def forward(self, x, labels):
        return self.loss(x.reshape(C, 2, D))


def learned(chart="tangent"):
    return Hyperbolic(c=0.7, chart=chart, learnable=True)


def turned(x):
    return 1.3 * x.flip(-1) - 0.2


def candidates(x):
    return torch.stack([turned(x), x.flip(0) + 0.1, 0.5 * x.roll(1, 0)], 1)


LOSSES = {
    "contrastive": lambda: OfPairs(losses.ContrastiveLoss(space=learned(), temperature=0.7), turned),
    "contrastive, Lorentz": lambda: OfPairs(losses.ContrastiveLoss(space=learned("lorentz"), temperature=0.7), turned),
    "entailment": lambda: OfPairs(losses.EntailmentLoss(space=learned(), k=0.02), turned),
    "closure": lambda: OfPairs(losses.ClosureLoss(space=learned()), candidates),
    "tree proxies": lambda: losses.TreeProxyLoss(torch.tensor([C, C, C + 1, -1, -1]), D, space=learned()),
    "pairwise cross-entropy": lambda: losses.PairwiseCrossEntropyLoss(space=learned()),
    "pairwise cross-entropy, relative": lambda: losses.PairwiseCrossEntropyLoss(relative=True),
    "pairwise cross-entropy, product": lambda: losses.PairwiseCrossEntropyLoss(
        space=Product([learned(), Euclidean()], [3, 1])
    ),
    "soft triple": lambda: losses.SoftTripleLoss(C, D, space=learned()),
    "proxy anchor": lambda: losses.MultiProxyAnchorLoss(C, D, space=learned()),
    "batch transport, uniform": lambda: losses.BatchTransportLoss(space=learned(), plan="uniform"),
    "HypHC": lambda: OfProxies(losses.HypHCLoss(space=learned(), triplets=5, live=True)),
    "CHEST": lambda: WithHead(hyphc_live=True),
}
EACH = pytest.mark.parametrize("name", LOSSES)


def make(name):
    """f(x, *what is learned), seeded as it begins, and where to take it."""
    torch.manual_seed(0)
    module = LOSSES[name]().double()
    names, parameters = (
        zip(*module.named_parameters(), strict=True) if any(True for _ in module.parameters()) else ((), ())
    )
    x = 0.5 * torch.randn(B, D, dtype=torch.float64)

    def f(x, *parameters):
        torch.manual_seed(1)
        return functional_call(module, dict(zip(names, parameters, strict=True)), (x, LABELS))

    return f, (x, *(p.detach() for p in parameters))


def ways_of(leaves):
    generator = torch.Generator().manual_seed(2)
    return [torch.randn(z.shape, dtype=z.dtype, generator=generator) for z in leaves]


def slopes(f, leaves):
    leaves = [z.detach().requires_grad_() for z in leaves]
    return torch.autograd.grad(f(*leaves), leaves, materialize_grads=True)


def difference(g, step=2e-4):
    """g'(0) of a function of one number that gives tensors, to the fourth order of the step."""
    (a, b, c, d) = (g(step * k) for k in (-2, -1, 1, 2))
    return [(8 * (z - y) - (w - x)) / (12 * step) for x, y, z, w in zip(a, b, c, d, strict=True)]


def close(found, expected, rtol=1e-7):
    size = max(float(z.norm()) for z in expected)
    for a, b in zip(found, expected, strict=True):
        assert float((a - b).detach().norm()) <= rtol * float(b.norm()) + 1e-9 * size


@EACH
def test_backward_twice_forward_and_mapped(name):
    f, leaves = make(name)
    ways = ways_of(leaves)
    expected = difference(lambda s: slopes(f, [z + s * way for z, way in zip(leaves, ways, strict=True)]))

    points = [z.clone().requires_grad_() for z in leaves]
    first = torch.autograd.grad(f(*points), points, create_graph=True, materialize_grads=True)
    along = sum((slope * way).sum() for slope, way in zip(first, ways, strict=True))
    close(torch.autograd.grad(along, points, materialize_grads=True), expected)

    numbers = tuple(range(len(leaves)))
    gradient = torch.func.grad(f, argnums=numbers)
    close(torch.func.jvp(gradient, leaves, tuple(ways))[1], expected)
    (value, slope) = torch.func.jvp(f, leaves, tuple(ways))
    torch.testing.assert_close(value, f(*leaves), rtol=1e-12, atol=0)
    torch.testing.assert_close(slope, along.detach(), rtol=1e-9, atol=1e-12)
    many = torch.stack([leaves[0], leaves[0].flip(0)])
    mapped = torch.func.vmap(torch.func.grad(f), (0, *(None,) * (len(leaves) - 1)), randomness="same")
    torch.testing.assert_close(
        mapped(many, *leaves[1:]), torch.stack([slopes(f, (x, *leaves[1:]))[0] for x in many]), rtol=1e-9, atol=1e-12
    )


@EACH
def test_the_hessian_in_both_modes(name):
    f, (x, *learned) = make(name)

    def of_a_row(row):
        return f(torch.cat([row.unsqueeze(0), x[1:]]), *learned)

    hessian = torch.func.jacfwd(torch.func.jacrev(of_a_row), randomness="same")(x[0])
    torch.testing.assert_close(hessian, hessian.T, rtol=1e-9, atol=1e-9)
    expected = torch.autograd.functional.hessian(of_a_row, x[0])
    torch.testing.assert_close(hessian, expected, rtol=1e-9, atol=1e-9)


@EACH
def test_a_gradient_penalty_has_the_gradient_of_its_value(name):
    f, (x, *learned) = make(name)
    way = ways_of([x])[0]

    def penalty(x):
        x = x.detach().requires_grad_()
        (slope,) = torch.autograd.grad(f(x, *learned), x, create_graph=True)
        return x, slope.square().sum()

    at, value = penalty(x)
    (found,) = torch.autograd.grad(value, at)
    (expected,) = difference(lambda s: [penalty(x + s * way)[1].detach()])
    assert float((found * way).sum()) == pytest.approx(float(expected), rel=1e-7)


@EACH
def test_a_step_of_maml_has_the_gradient_of_what_follows_it(name):
    """The loss after a step of the network that makes the embeddings, by the network before it."""
    f, (x, *learned) = make(name)
    start, way = torch.eye(D, dtype=x.dtype), ways_of([torch.empty(D, D, dtype=x.dtype)])[0]

    def after(weight):
        (slope,) = torch.autograd.grad(f(x @ weight, *learned), weight, create_graph=True)
        return f(x.flip(0) @ (weight - 0.01 * slope), *learned)

    weight = start.clone().requires_grad_()
    (found,) = torch.autograd.grad(after(weight), weight)
    (expected,) = difference(lambda s: [after((start + s * way).requires_grad_()).detach()])
    assert float((found * way).sum()) == pytest.approx(float(expected), rel=1e-7)


SPACE = Hyperbolic(c=0.7)


def with_a_plan(x):
    """The loss of batch-wise transport, and what it is with the plan that it has at x."""

    def matrix(x):
        return metric_matrix(SPACE.pairwise_dist(x, x), same_class(LABELS, LABELS), margin=5.0)

    plan = importance_weights(matrix(x), exclude=torch.eye(B, dtype=torch.bool)).plan
    loss = losses.BatchTransportLoss(space=SPACE)
    return lambda x: loss(x, LABELS), lambda x: functional.batch_transport(matrix(x), plan)


def with_similarities(x):
    """HypHC, and what it is with the similarities that it has at x."""
    torch.manual_seed(1)
    triplets = draw_triplets(C, 2, 5)
    similarity = torch.exp(-distances_and_depths(x, triplets, c=SPACE.c)[0])
    loss = losses.HypHCLoss(space=SPACE, triplets=5)

    def seeded(x):
        torch.manual_seed(1)
        return loss(x.reshape(C, 2, D))

    return seeded, lambda x: functional.hyphc(similarity, distances_and_depths(x, triplets, c=SPACE.c)[1], gamma=1.0)


def with_draws(x):
    """HIER, and what it is with each drawn ancestor a softmax and the constant that leads from it to the draw at x."""
    torch.manual_seed(0)
    loss = losses.HIERLoss(D, space=SPACE, num_proxies=5, neighbors=3, triplets_per_point=2).double()
    drawn = []

    def seeded(x):
        torch.manual_seed(1)
        return loss(x, LABELS)

    def softly(farthest, temperature):
        noise = -torch.empty_like(farthest).exponential_().log()
        soft = torch.softmax(noise - farthest / temperature, 1)
        if len(drawn) <= softly.calls:
            drawn.append(torch.nn.functional.one_hot(soft.argmax(1), soft.shape[1]) - soft.detach())
        softly.calls += 1
        return soft + drawn[softly.calls - 1]

    def with_constants(x):
        softly.calls = 0
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(hier, "draw_ancestors", softly)
            return seeded(x)

    with_constants(x)
    return seeded, with_constants


@pytest.mark.parametrize("make", [with_a_plan, with_similarities, with_draws])
def test_what_is_constant_in_the_gradient_is_constant_in_its_derivatives(make):
    torch.manual_seed(0)
    x = 0.5 * torch.randn(B, D, dtype=torch.float64)
    loss, expected = make(x)
    torch.testing.assert_close(loss(x), expected(x), rtol=1e-12, atol=0)
    close(slopes(loss, [x]), slopes(expected, [x]), rtol=1e-10)

    (way,) = ways_of([x])
    bends = difference(lambda s: slopes(expected, [x + s * way]))
    at = x.clone().requires_grad_()
    (first,) = torch.autograd.grad(loss(at), at, create_graph=True)
    close(torch.autograd.grad((first * way).sum(), at), bends)
    close([torch.func.jvp(torch.func.grad(loss), (x,), (way,))[1]], bends)
