"""Every function goes through torch.compile in one graph, through torch.func.vmap and grad, and under a learned c."""

from functools import partial

import pytest
import torch

import geomdml
import geomdml.nn
from geomdml import _native, euclidean, lorentz, losses, poincare, tangent
from geomdml._core.exact import power_of_two
from geomdml.losses import functional

X = torch.tensor([[0.3, 0.4, 0.0], [0.1, -0.2, 0.5], [0.0, 0.0, 0.0], [0.3, 0.4, 0.0]])
Y = torch.tensor([[0.3, 0.4, 0.0], [-0.6, 0.1, 0.2], [0.2, 0.2, 0.2], [-0.3, -0.4, 0.1]])
V = torch.tensor([[1.0, 0.0, 2.0], [0.0, 0.5, 0.0], [0.1, 0.1, 0.1], [-1.0, 2.0, 0.5]])

FUNCTIONS = {
    "tangent.mobius_add": lambda x, y, v, c: tangent.mobius_add(x, y, c=c),
    "tangent.expmap": lambda x, y, v, c: tangent.expmap(x, v, c=c),
    "tangent.logmap": lambda x, y, v, c: tangent.logmap(x, y, c=c),
    "tangent.geodesic": lambda x, y, v, c: tangent.geodesic(x, y, 0.3, c=c),
    "tangent.midpoint": lambda x, y, v, c: tangent.midpoint(x, c=c),
    "tangent.dist": lambda x, y, v, c: tangent.dist(x, y, c=c),
    "tangent.pairwise_dist": lambda x, y, v, c: tangent.pairwise_dist(x, y, c=c),
    "tangent.to_ball": lambda x, y, v, c: tangent.to_ball(v, c=c),
    "tangent.from_ball": lambda x, y, v, c: tangent.from_ball(x, c=c),
    "tangent.lca_depth": lambda x, y, v, c: tangent.lca_depth(x, y, c=c),
    "poincare.dist": lambda x, y, v, c: poincare.dist(x, y, c=c),
    "poincare.pairwise_dist": lambda x, y, v, c: poincare.pairwise_dist(x, y, c=c),
    "poincare.dist0": lambda x, y, v, c: poincare.dist0(x, c=c),
    "poincare.conformal_factor": lambda x, y, v, c: poincare.conformal_factor(x, c=c),
    "poincare.project": lambda x, y, v, c: poincare.project(v, c=c),
    "poincare.expmap0": lambda x, y, v, c: poincare.expmap0(v, c=c),
    "poincare.logmap0": lambda x, y, v, c: poincare.logmap0(x, c=c),
    "poincare.expmap": lambda x, y, v, c: poincare.expmap(x, v, c=c),
    "poincare.logmap": lambda x, y, v, c: poincare.logmap(x, y, c=c),
    "poincare.mobius_add": lambda x, y, v, c: poincare.mobius_add(x, y, c=c),
    "poincare.mobius_scalar_mul": lambda x, y, v, c: poincare.mobius_scalar_mul(1.5, x, c=c),
    "poincare.mobius_matvec": lambda x, y, v, c: poincare.mobius_matvec(v, x, c=c),
    "poincare.gyration": lambda x, y, v, c: poincare.gyration(x, y, v, c=c),
    "poincare.parallel_transport": lambda x, y, v, c: poincare.parallel_transport(x, y, v, c=c),
    "poincare.geodesic": lambda x, y, v, c: poincare.geodesic(x, y, 0.3, c=c),
    "poincare.midpoint": lambda x, y, v, c: poincare.midpoint(x, c=c),
    "lorentz.inner": lambda x, y, v, c: lorentz.inner(x, y, c=c),
    "lorentz.pairwise_inner": lambda x, y, v, c: lorentz.pairwise_inner(x, y, c=c),
    "lorentz.mobius_add": lambda x, y, v, c: lorentz.mobius_add(x, y, c=c),
    "lorentz.expmap": lambda x, y, v, c: lorentz.expmap(x, v, c=c),
    "lorentz.logmap": lambda x, y, v, c: lorentz.logmap(x, y, c=c),
    "lorentz.geodesic": lambda x, y, v, c: lorentz.geodesic(x, y, 0.3, c=c),
    "lorentz.midpoint": lambda x, y, v, c: lorentz.midpoint(x, c=c),
    "lorentz.dist": lambda x, y, v, c: lorentz.dist(x, y, c=c),
    "lorentz.pairwise_dist": lambda x, y, v, c: lorentz.pairwise_dist(x, y, c=c),
    "lorentz.from_ball": lambda x, y, v, c: lorentz.from_ball(x, c=c),
    "lorentz.to_ball": lambda x, y, v, c: lorentz.to_ball(v, c=c),
    "lorentz.from_tangent": lambda x, y, v, c: lorentz.from_tangent(v, c=c),
    "lorentz.to_tangent": lambda x, y, v, c: lorentz.to_tangent(v, c=c),
    "euclidean.dist": lambda x, y, v, c: euclidean.dist(x, y),
    "euclidean.pairwise_dist": lambda x, y, v, c: euclidean.pairwise_dist(x, y),
    "clip_norm": lambda x, y, v, c: geomdml.clip_norm(v, 0.5),
    "SoftTriple on distances": lambda x, y, v, c: functional.soft_triple(
        tangent.pairwise_dist(x, y, c=c).reshape(4, 2, 2), torch.tensor([0, 1, 0, 1]), gamma=1.0, scale=5.0, margin=0.1
    ),
}
EACH = pytest.mark.parametrize("f", FUNCTIONS.values(), ids=FUNCTIONS.keys())


def value_and_gradients(f, x=X, y=Y, v=V, c=0.5):
    inputs = [t.clone().requires_grad_() for t in (x, y, v, torch.tensor(c, dtype=torch.float64))]
    value = f(*inputs)
    gradients = torch.autograd.grad(value.sum(), inputs, allow_unused=True, materialize_grads=True)
    return [value.detach(), *gradients]


def test_no_public_function_is_left_out():
    modules = {"tangent": tangent, "poincare": poincare, "lorentz": lorentz, "euclidean": euclidean}
    public = {
        f"{name}.{function}"
        for name, module in modules.items()
        for function, value in vars(module).items()
        if callable(value) and getattr(value, "__module__", "") == module.__name__ and not function.startswith("_")
    }
    assert public - set(FUNCTIONS) == {"poincare.inside", "euclidean.clip_norm"}


@EACH
@_native.kernels(False)  # which compiled code does without, and which round otherwise
def test_compiled_in_one_graph(f):
    torch.compiler.reset()
    compiled = torch.compile(f, fullgraph=True, backend="aot_eager")
    for found, expected in zip(value_and_gradients(compiled), value_and_gradients(f), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=0)


@EACH
def test_mapped_over_batches(f):
    many = [torch.stack([t, 0.5 * t, -t]) for t in (X, Y, V)]
    mapped = torch.func.vmap(lambda x, y, v: f(x, y, v, 0.5))(*many)
    singly = [value_and_gradients(f, *inputs) for inputs in zip(*many, strict=True)]
    torch.testing.assert_close(mapped, torch.stack([values[0] for values in singly]))
    gradients = torch.func.vmap(torch.func.grad(lambda x, y, v: f(x, y, v, 0.5).sum(), argnums=(0, 1, 2)))(*many)
    for found, *expected in zip(gradients, *(values[1:4] for values in singly), strict=True):
        torch.testing.assert_close(found, torch.stack(expected))


@EACH
def test_mapped_over_curvatures(f):
    curvatures = torch.tensor([0.25, 0.5, 1.0], dtype=torch.float64)
    mapped = torch.func.vmap(lambda c: f(X, Y, V, c) + 0 * c)(curvatures)  # the last term for functions without c
    torch.testing.assert_close(mapped, torch.stack([f(X, Y, V, float(c)) for c in curvatures]), check_dtype=False)


def test_euclidean_distances_have_a_second_derivative():
    x = X[:2].double().requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x: euclidean.pairwise_dist(x, Y.double() + 1, squared=True), x)


@pytest.mark.parametrize("f", [poincare.expmap0, tangent.to_ball, lorentz.to_ball], ids=lambda f: f.__module__)
def test_maps_to_the_ball_have_second_derivatives(f):
    x = torch.tensor([[0.3, -0.8], [0.0, 0.0], [2.0, 1.0]], dtype=torch.float64, requires_grad=True)
    c = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x, c: f(x, c=c), (x, c))


SPACE = geomdml.spaces.Hyperbolic(c=0.5)
TWICE = {
    "tangent": lambda x: tangent.pairwise_dist(x, x, c=0.5),
    "ball": lambda x: poincare.pairwise_dist(x, x, c=0.5),
    "lorentz": lambda x: lorentz.pairwise_dist(x, x, c=0.5),
    "euclidean": lambda x: euclidean.pairwise_dist(x, x),
    "one to one": lambda x: tangent.dist(x, x, c=0.5),
    "ancestors": lambda x: tangent.lca_depth(x, x, c=0.5),
    "pairwise cross-entropy": lambda x: losses.PairwiseCrossEntropyLoss()(x, torch.arange(len(x)) % 2),
    "batch transport": lambda x: losses.BatchTransportLoss()(x, torch.arange(len(x)) % 2),
    "hyperbolic batch transport": lambda x: losses.BatchTransportLoss(space=SPACE)(x, torch.arange(len(x)) % 2),
}


@pytest.mark.parametrize("f", TWICE.values(), ids=TWICE.keys())
@_native.kernels(False)
def test_one_input_may_be_given_twice(f):
    torch.compiler.reset()
    compiled = torch.compile(lambda x, y, v, c: f(x), fullgraph=True, backend="aot_eager")
    for found, expected in zip(value_and_gradients(compiled), value_and_gradients(lambda x, *_: f(x)), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=0)


HIER = losses.HIERLoss(3, space=SPACE, num_proxies=6, neighbors=3, triplets_per_point=4)
ANY_SIZE = {
    **{name: f for name, f in TWICE.items() if name not in ("ancestors", "hyperbolic batch transport")},
    "HIER": lambda x: HIER(x, torch.arange(len(x)) % 2),
}


@pytest.mark.parametrize("f", ANY_SIZE.values(), ids=ANY_SIZE.keys())
def test_one_graph_serves_all_batch_sizes(f):
    torch.compiler.reset()
    graphs = []

    def count(graph, _):
        graphs.append(graph)
        return graph

    compiled = torch.compile(f, fullgraph=True, backend=count, dynamic=True)
    for size in range(4, 14):
        compiled(torch.full((size, 3), 0.1) + torch.arange(size).unsqueeze(1) / 100)
    assert len(graphs) == 1


@pytest.mark.parametrize("name", ["tangent.dist", "lorentz.inner", "poincare.conformal_factor"])
def test_the_default_backend_compiles_too(name):
    """What it makes of a function is C++, which no other test sees."""
    torch.compiler.reset()
    compiled = torch.compile(FUNCTIONS[name], fullgraph=True)
    for found, expected in zip(value_and_gradients(compiled), value_and_gradients(FUNCTIONS[name]), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_powers_of_two_are_compiled_without_the_operation_that_compilers_refuse():
    x = torch.tensor([3.0, 4.0, 1e-310, 0.0, 1e308], dtype=torch.float64)
    torch.compiler.reset()
    expected = x.new_tensor([4.0, 8.0, 2.0**-1022, 2.0**-1022, 2.0**1023])
    torch.testing.assert_close(torch.compile(power_of_two, fullgraph=True)(x), expected, rtol=0, atol=0)


def seeded(loss):
    """Random choices are the same in each call, and outside what torch compiles or maps."""

    def call(x):
        torch.manual_seed(0)
        return loss(x)

    return call


LABELS = torch.tensor([0, 1, 1, 0, 2, 2])
EMBEDDINGS = torch.tensor([[0.5, 0.1], [1.5, 0.2], [-1.0, 0.3], [0.0, 1.0], [0.5, -2.0], [-0.4, -0.3]])
LOSSES = {
    "PairwiseCrossEntropy": lambda: partial(losses.PairwiseCrossEntropyLoss(space=SPACE), labels=LABELS),
    "PairwiseCrossEntropy, relative": lambda: partial(losses.PairwiseCrossEntropyLoss(relative=True), labels=LABELS),
    "BatchTransport": lambda: partial(losses.BatchTransportLoss(space=SPACE), labels=LABELS),
    "BatchTransport, fixed sharpness": lambda: partial(losses.BatchTransportLoss(sharpness=0.7), labels=LABELS),
    "BatchTransport, two batches": lambda: (
        lambda x: losses.BatchTransportLoss()(x, LABELS, None, 1 - x[:5], LABELS[:5])
    ),
    "BatchTransport, uniform": lambda: partial(losses.BatchTransportLoss(plan="uniform"), labels=LABELS),
    "SoftTriple": lambda: partial(losses.SoftTripleLoss(3, 2, space=SPACE), labels=LABELS),
    "MultiProxyAnchor": lambda: partial(losses.MultiProxyAnchorLoss(3, 2, space=SPACE), labels=LABELS),
    "CHEST": lambda: partial(losses.CHESTLoss(3, 2), labels=LABELS, head=geomdml.nn.HyperbolicHead(2, 2, space=SPACE)),
    "HypHC": lambda: lambda x: losses.HypHCLoss(space=SPACE, triplets=50)(x.reshape(3, 2, 2)),
    "HypHC, distance": lambda: lambda x: losses.HypHCLoss(space=SPACE, form="distance")(x.reshape(3, 2, 2)),
    "HypHC, live": lambda: lambda x: losses.HypHCLoss(space=SPACE, live=True)(x.reshape(3, 2, 2)),
    "HypHC, near the origin": lambda: lambda x: losses.HypHCLoss(space=SPACE)((x * 1e-9).reshape(3, 2, 2)),
    "HypHC, duplicates": lambda: lambda x: losses.HypHCLoss(space=SPACE)(x[:, None].expand(-1, 2, -1)),
}


@pytest.mark.parametrize("make", LOSSES.values(), ids=LOSSES.keys())
def test_losses_under_transforms(make):
    """grad and vmap(grad) give what autograd gives."""
    torch.manual_seed(1)
    loss = seeded(make())
    batches = torch.stack([EMBEDDINGS, -0.5 * EMBEDDINGS, EMBEDDINGS.flip(0)])
    expected = torch.stack([torch.autograd.grad(loss(leaf), leaf)[0] for leaf in batches.clone().requires_grad_()])
    for transform in (torch.func.grad, torch.func.jacrev):
        torch.testing.assert_close(torch.stack([transform(loss)(x) for x in batches]), expected)
    mapped = torch.func.vmap(torch.func.grad(loss), randomness="same")(batches)
    # matrix products in another order, on some processors: CHEST's gradient, up to 6.6, is itself 7e-5 from float64's
    torch.testing.assert_close(mapped, expected, rtol=1.3e-6, atol=max(1e-5, 5e-6 * float(expected.abs().max())))


COMPILED = {
    "HypHC": LOSSES["HypHC"],
    "HIER": lambda: partial(
        losses.HIERLoss(2, space=SPACE, num_proxies=6, neighbors=3, triplets_per_point=4), labels=LABELS
    ),
    "Closure": lambda: lambda x: losses.ClosureLoss(space=SPACE)(x[:2], x[2:].reshape(2, 2, 2)),
    "CHEST": LOSSES["CHEST"],
    "SoftTriple": LOSSES["SoftTriple"],
    "MultiProxyAnchor": LOSSES["MultiProxyAnchor"],
    "PairwiseCrossEntropy, pairs of a miner": lambda: partial(
        losses.PairwiseCrossEntropyLoss(),
        labels=LABELS,
        indices_tuple=tuple(torch.tensor(some) for some in ([0, 1], [3, 2], [0, 1], [1, 4])),
    ),
}


@pytest.mark.parametrize("make", COMPILED.values(), ids=COMPILED.keys())
def test_losses_compile_in_one_graph(make):
    torch.manual_seed(1)
    loss = make()
    torch.compiler.reset()
    found, expected = (
        torch.autograd.grad(seeded(f)(x), x)[0]
        for f in (torch.compile(loss, fullgraph=True, backend="aot_eager"), loss)
        for x in [EMBEDDINGS.clone().requires_grad_()]
    )
    torch.testing.assert_close(found, expected)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:FutureWarning")  # torch's own, in forward mode
@pytest.mark.parametrize("make", LOSSES.values(), ids=LOSSES.keys())
def test_losses_are_right_or_refused_in_one_line_in_forward_mode(make):
    loss = seeded(make())
    try:
        _, slope = torch.func.jvp(loss, (EMBEDDINGS,), (EMBEDDINGS,))
    except NotImplementedError as error:
        assert "(jvp, jacfwd, hessian) are not offered; expected torch.func.grad" in str(error)
        return
    x = EMBEDDINGS.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(x), x)
    torch.testing.assert_close(slope, (gradient * EMBEDDINGS).sum(), rtol=1e-4, atol=1e-5, check_dtype=False)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:FutureWarning")
@EACH
def test_forward_mode_is_right_or_refused_in_one_line(f):
    inputs = (X, Y, V, torch.tensor(0.5, dtype=torch.float64))
    try:
        _, slope = torch.func.jvp(f, inputs, tuple(0.1 * x for x in inputs))
    except NotImplementedError as error:
        assert "(jvp, jacfwd, hessian) are not offered; expected torch.func.grad" in str(error)
        return
    along = sum(0.1 * (x * gradient).sum() for x, gradient in zip(inputs, value_and_gradients(f)[1:], strict=True))
    torch.testing.assert_close(slope.sum(), along, check_dtype=False, rtol=1e-5, atol=1e-5)
