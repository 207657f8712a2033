"""BatchTransportLoss against a loop written from the equations, its control, and its limits."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from geomdml.losses import BatchTransportLoss
from geomdml.losses.functional import batch_transport
from geomdml.metric_matrix import importance_weights, metric_matrix, same_class
from geomdml.spaces import Euclidean, Hyperbolic

SPACES = [Euclidean(), Hyperbolic(c=0.5), Hyperbolic(c=0.5, chart="ball"), Hyperbolic(c=0.5, chart="lorentz")]
FORMS = ["squared_distance", "margin"]
seeds = st.integers(0, 2**31)


def normal(shape: tuple[int, ...], seed: int, scale: float = 0.3) -> Tensor:
    return scale * torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def classes(count: int, classes: int, seed: int) -> Tensor:
    return torch.randint(classes, (count,), generator=torch.Generator().manual_seed(seed))


def slow_loss(x, y, labels, ref_labels, *, form, margin, sharpness, reg, against_itself) -> float:
    """Section 5 of MATH.md in loops; transport by plain Sinkhorn iterations over the pairs that are allowed."""
    n, m = len(x), len(y)
    pairs = [(i, j) for i in range(n) for j in range(m) if not (against_itself and i == j)]
    M = {}
    for i, j in pairs:
        d = math.dist(x[i], y[j])
        if form == "squared_distance":
            M[i, j] = d**2 if labels[i] == ref_labels[j] else max(0.0, margin - d**2)
        else:
            M[i, j] = d**2 if labels[i] == ref_labels[j] else max(0.0, margin - d) ** 2
    s = len(M) / sum(M.values()) if sharpness == "relative" else sharpness
    kernel = np.zeros((n, m))
    for i, j in pairs:
        kernel[i, j] = math.exp(-math.exp(-s * M[i, j]) / reg)
    v = np.ones(m)
    for _ in range(20_000):
        u = 1 / n / (kernel @ v)
        v = 1 / m / (kernel.T @ u)
    return sum(u[i] * kernel[i, j] * v[j] * M[i, j] for i, j in pairs)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("sharpness", ["relative", 10.0])
@pytest.mark.parametrize("against_itself", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_loss_equals_the_loop(form, sharpness, against_itself, seed):
    x, labels = normal((7, 3), seed), classes(7, 3, seed)
    y, ref_labels = (x, labels) if against_itself else (normal((5, 3), seed + 10), classes(5, 3, seed + 10))
    settings = {"form": form, "margin": 0.8, "sharpness": sharpness, "reg": 0.05}
    loss = BatchTransportLoss(**settings)
    value = loss(x, labels) if against_itself else loss(x, labels, None, y, ref_labels)
    lists = (t.tolist() for t in (x, y, labels, ref_labels))
    assert value.item() == pytest.approx(slow_loss(*lists, **settings, against_itself=against_itself), rel=1e-7)


@pytest.mark.parametrize("space", SPACES, ids=repr)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("against_itself", [False, True])
def test_gradient_is_that_of_the_weighted_sum_with_a_constant_plan(space, form, against_itself):
    x, y = normal((5, 3), 0, 0.2).requires_grad_(), normal((4, 3), 1, 0.2).requires_grad_()
    labels, ref_labels = torch.tensor([0, 0, 1, 1, 2]), torch.tensor([0, 1, 1, 3])
    other, other_labels = (x, labels) if against_itself else (y, ref_labels)
    exclude = torch.eye(5, dtype=torch.bool) if against_itself else None

    def matrix(x: Tensor, y: Tensor) -> Tensor:
        same = same_class(labels, other_labels)
        return metric_matrix(space.pairwise_dist(x, y), same, margin=1.0, form=form)

    plan = importance_weights(matrix(x, other), exclude=exclude).plan
    inputs = (x,) if against_itself else (x, y)
    weighted = lambda *points: (plan * matrix(points[0], points[-1])).sum()  # noqa: E731
    assert torch.autograd.gradcheck(weighted, inputs, atol=1e-6)
    reference = () if against_itself else (y, ref_labels)
    value = BatchTransportLoss(space=space, form=form, margin=1.0)(x, labels, None, *reference)
    expected = weighted(*inputs)
    torch.testing.assert_close(value, expected)
    for actual, wanted in zip(torch.autograd.grad(value, inputs), torch.autograd.grad(expected, inputs), strict=True):
        torch.testing.assert_close(actual, wanted)


@pytest.mark.parametrize("space", SPACES, ids=repr)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_at_duplicates_are_finite(space, form, dtype):
    x = normal((6, 4), 0).to(dtype)
    for embeddings in (x[[0, 0, 1, 1, 2, 2]], torch.zeros_like(x), torch.cat([x, x])):
        labels = torch.arange(len(embeddings)) // 3 % 3
        embeddings = embeddings.clone().requires_grad_()
        loss = BatchTransportLoss(space=space, form=form, margin=1.0)
        (loss(embeddings, labels) + loss(embeddings, labels, None, embeddings.detach(), labels)).backward()
        assert embeddings.grad.isfinite().all()


@given(st.integers(1, 9), st.integers(1, 9), seeds, st.sampled_from(FORMS), st.booleans())
def test_the_control_is_the_plain_mean(rows, columns, seed, form, against_itself):
    x, labels = normal((rows + 1, 3), seed), classes(rows + 1, 3, seed)
    reference = () if against_itself else (normal((columns, 3), seed + 1), classes(columns, 3, seed + 1))
    y, ref_labels = reference or (x, labels)
    matrix = metric_matrix(Euclidean().pairwise_dist(x, y), same_class(labels, ref_labels), margin=0.5, form=form)
    if against_itself:
        matrix = matrix[~torch.eye(len(x), dtype=torch.bool)]
    control = BatchTransportLoss(form=form, margin=0.5, plan="uniform").terms(x, labels, None, *reference)
    torch.testing.assert_close(control.total, matrix.mean())
    torch.testing.assert_close(control.uniform, matrix.mean())
    torch.testing.assert_close(control.entropy, torch.tensor(1.0).double())
    torch.testing.assert_close(control.positive_mass, control.positive_share)


@given(st.integers(2, 9), seeds, st.sampled_from(["transport", "uniform"]))
def test_terms(size, seed, plan):
    x, labels = normal((size, 3), seed), classes(size, 3, seed)
    terms = BatchTransportLoss(margin=0.5, plan=plan).terms(x, labels)
    torch.testing.assert_close(terms.positive + terms.negative, terms.total)
    assert 0 < terms.entropy <= 1 + 1e-9
    assert 0 <= terms.positive_mass <= 1 + 1e-9
    pairs = [labels[i] == labels[j] for i in range(size) for j in range(size) if i != j]
    assert terms.positive_share.item() == pytest.approx(sum(map(int, pairs)) / len(pairs))


def test_entropy_of_a_matching_is_half_of_the_largest():
    """Two batches without a common class, all far apart but for a permutation: only its pairs are hard."""
    x, labels = 100.0 * torch.arange(8.0).double().unsqueeze(1), torch.arange(8)
    terms = BatchTransportLoss(margin=9.0, sharpness=10.0, reg=0.02).terms(x, labels, None, x.roll(3, 0), labels + 8)
    assert terms.entropy.item() == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize("dimension", [8, 64, 512])
def test_default_regularisation_emphasises_hard_pairs_and_the_published_does_not(dimension):
    x = torch.nn.functional.normalize(normal((128, dimension), dimension), dim=1)
    labels = classes(128, 10, dimension)
    batches = (x[:64], labels[:64], None, x[64:], labels[64:])
    ours, published = (BatchTransportLoss(margin=1.0, reg=reg).terms(*batches) for reg in (0.05, 100.0))
    assert ours.total > 4 * ours.uniform
    assert published.total / published.uniform == pytest.approx(1, abs=0.01)
    assert published.entropy > 0.9999 > 0.9 > ours.entropy
    assert ours.positive_mass > 3 * ours.positive_share


@given(st.integers(2, 8), st.integers(1, 8), seeds)
def test_the_order_of_a_batch_does_not_matter(rows, columns, seed):
    x, labels = normal((rows, 3), seed), classes(rows, 3, seed)
    y, ref_labels = normal((columns, 3), seed + 1), classes(columns, 3, seed + 1)
    loss = BatchTransportLoss(margin=0.5, reduction="none")
    shuffle = torch.Generator().manual_seed(seed)
    i, j = torch.randperm(rows, generator=shuffle), torch.randperm(columns, generator=shuffle)
    torch.testing.assert_close(loss(x[i], labels[i]), loss(x, labels)[i], atol=1e-7, rtol=0)
    two = loss(x, labels, None, y, ref_labels)
    torch.testing.assert_close(loss(x[i], labels[i], None, y[j], ref_labels[j]), two[i], atol=1e-7, rtol=0)
    swapped = BatchTransportLoss(margin=0.5)(y, ref_labels, None, x, labels)
    torch.testing.assert_close(swapped, two.mean(), atol=1e-7, rtol=0)


def test_reductions_and_power():
    x, labels = normal((6, 3), 0), classes(6, 2, 0)
    losses = {reduction: BatchTransportLoss(reduction=reduction)(x, labels) for reduction in ("none", "mean", "sum")}
    torch.testing.assert_close(losses["none"].mean(), losses["mean"])
    torch.testing.assert_close(losses["none"].sum(), losses["sum"])
    matrix = metric_matrix(Euclidean().pairwise_dist(x, x), same_class(labels, labels), margin=5.0)
    plan = importance_weights(matrix, exclude=torch.eye(6, dtype=torch.bool)).plan
    torch.testing.assert_close(BatchTransportLoss(power=2)(x, labels), (plan * matrix**2).sum())


@pytest.mark.parametrize("labels", [[0] * 6, [0, 1, 2, 3, 4, 5], [0, 0, 0, 0, 0, 1]], ids=["one", "all", "lone"])
@pytest.mark.parametrize("space", SPACES, ids=repr)
def test_classes_of_every_size(labels, space):
    x, labels = normal((6, 4), 0).requires_grad_(), torch.tensor(labels)
    terms = BatchTransportLoss(space=space, margin=0.5).terms(x, labels)
    terms.total.backward()
    assert x.grad.isfinite().all()
    if len(labels.unique()) == 1:
        assert terms.negative == 0 and terms.positive_mass.item() == pytest.approx(1)
    if len(labels.unique()) == 6:
        assert terms.positive == 0 and terms.positive_mass == 0


def test_smallest_batches():
    x, y = torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0]])
    zero, one = torch.tensor([0]), torch.tensor([1])
    for terms in (
        BatchTransportLoss().terms(x, zero, None, y, zero),
        BatchTransportLoss().terms(torch.cat([x, y]), torch.tensor([0, 0])),
    ):
        torch.testing.assert_close(terms.total, torch.tensor(25.0))
        assert terms.entropy == 1
    assert BatchTransportLoss(form="margin", margin=7.0)(x, zero, None, y, one).item() == pytest.approx(4)


def test_a_batch_without_hard_pairs_costs_nothing():
    x = torch.tensor([[0.0], [0.0], [9.0], [9.0]], requires_grad=True)
    loss = BatchTransportLoss()(x, torch.tensor([0, 0, 1, 1]))
    loss.backward()
    assert loss == 0 and (x.grad == 0).all()


def test_charts_of_one_space_agree():
    u, labels = normal((8, 3), 0), classes(8, 3, 0)
    loss = BatchTransportLoss(space=SPACES[1], margin=0.5)(u, labels)
    for space in SPACES[2:]:
        points = SPACES[1].to(space.chart, u)
        torch.testing.assert_close(BatchTransportLoss(space=space, margin=0.5)(points, labels), loss)
    near = 1e-3 * u  # where hyperbolic space is flat, distances twice the Euclidean ones
    curved = BatchTransportLoss(space=SPACES[1], margin=4e-6)(near, labels)
    flat = BatchTransportLoss(margin=1e-6)(near, labels)
    torch.testing.assert_close(curved, 4 * flat, rtol=1e-4, atol=0)


def test_curvature_is_learned():
    space = Hyperbolic(c=0.5, learnable=True)
    loss = BatchTransportLoss(space=space)
    loss(normal((6, 3), 0).float(), classes(6, 2, 0)).backward()
    assert list(loss.parameters()) and space.log_c.grad.abs() > 0


@pytest.mark.parametrize("space", SPACES[:2], ids=repr)
def test_low_precision(space):
    """Autocast changes nothing, and half-precision embeddings are float32 on the rounded ones."""
    x, labels = normal((32, 8), 0).bfloat16(), classes(32, 4, 0)
    loss = BatchTransportLoss(space=space, margin=1.0)
    expected = loss(x.float(), labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        in_autocast = loss(x.float(), labels)
    torch.testing.assert_close(in_autocast, expected)
    torch.testing.assert_close(loss(x, labels), expected)
    torch.testing.assert_close(loss(x.double(), labels).float(), expected, rtol=1e-3, atol=0)


@pytest.mark.parametrize("space", [None, Hyperbolic(c=0.1)])
@pytest.mark.parametrize("plan", ["transport", "uniform"])
def test_learns_to_tell_classes_apart(space, plan):
    x, labels = normal((24, 2), 0, 1.0).float().requires_grad_(), torch.arange(24) % 3
    loss = BatchTransportLoss(space=space, margin=4.0, plan=plan)
    optimizer = torch.optim.Adam([x], lr=0.1)
    for _ in range(100):
        optimizer.zero_grad()
        loss(x, labels).backward()
        optimizer.step()
    assert loss.terms(x, labels).uniform < 0.05


X, Y = torch.randn(3, 2), torch.tensor([0, 0, 1])
LOSS = BatchTransportLoss()


@pytest.mark.parametrize(
    ("error", "message", "call"),
    [
        (ValueError, r"embeddings has shape \(0, 2\); expected", lambda: LOSS(X[:0], Y[:0])),
        (ValueError, r"embeddings has shape \(1, 2\); expected at least 2,", lambda: LOSS(X[:1], Y[:1])),
        (ValueError, r"ref_emb has shape \(0, 2\); expected", lambda: LOSS(X, Y, None, X[:0], Y[:0])),
        (ValueError, "ref_emb and ref_labels go together", lambda: LOSS(X, Y, None, X)),
        (ValueError, "ref_emb and ref_labels go together", lambda: LOSS(X, Y, None, None, Y)),
        (ValueError, r"labels has shape \(2,\); expected \(3,\)", lambda: LOSS(X, Y[:2])),
        (ValueError, r"ref_labels has shape \(2,\); expected \(3,\)", lambda: LOSS(X, Y, None, X, Y[:2])),
        (TypeError, "labels has dtype torch.float32", lambda: LOSS(X, Y.float())),
        (TypeError, "embeddings has dtype torch.int64", lambda: LOSS(X.long(), Y)),
        (ValueError, "last dimensions differ", lambda: LOSS(X, Y, None, X[:, :1], Y)),
        (ValueError, "NaN or infinite", lambda: LOSS(X / 0, Y)),
        (
            ValueError,
            "plan = 'learned'; expected one of 'transport', 'uniform'",
            lambda: BatchTransportLoss(plan="learned"),
        ),
        (ValueError, "form = 'cosine'", lambda: BatchTransportLoss(form="cosine")),
        (ValueError, "margin = -1", lambda: BatchTransportLoss(margin=-1)),
        (ValueError, "reg = 0", lambda: BatchTransportLoss(reg=0)),
        (ValueError, "sharpness = 0", lambda: BatchTransportLoss(sharpness=0)),
        (ValueError, "power = 0", lambda: BatchTransportLoss(power=0)),
        (ValueError, r"expected \(B, P\) for both", lambda: batch_transport(torch.rand(2, 3), torch.rand(3, 2))),
    ],
)
def test_a_mistake_is_named(error, message, call):
    with pytest.raises(error, match=message):
        call()
