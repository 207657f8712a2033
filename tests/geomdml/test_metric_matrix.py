"""The metric matrix against its equations, the importance weights against optimality and closed forms."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from geomdml.metric_matrix import importance_weights, metric_matrix, same_class

seeds = st.integers(0, 2**31)
sizes = st.tuples(st.integers(1, 9), st.integers(1, 9))


def draw(shape: tuple[int, ...], seed: int, scale: float = 1.0) -> Tensor:
    return scale * torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def assert_is_the_plan(plan: Tensor, matrix: Tensor, sharpness: float | str, reg: float, allowed: Tensor) -> None:
    """The optimum is the one plan with these marginals that is exp((f_i + g_j − G_ij)/reg) on the allowed pairs."""
    n, m = matrix.shape
    assert (plan[~allowed] == 0).all()
    torch.testing.assert_close(plan.sum(1), torch.full((n,), 1 / n, dtype=torch.float64), atol=2e-9, rtol=0)
    torch.testing.assert_close(plan.sum(0), torch.full((m,), 1 / m, dtype=torch.float64), atol=2e-9, rtol=0)
    mean = float(matrix[allowed].mean())
    cost = torch.exp(-matrix * ((1 / mean if mean else 1.0) if sharpness == "relative" else sharpness))
    i, j = torch.nonzero(allowed, as_tuple=True)
    potentials = torch.cat([torch.eye(n)[i], torch.eye(m)[j]], 1).double()  # maps (f, g) to the f_i + g_j
    wanted = (plan.log() * reg + cost)[i, j].unsqueeze(1)
    fitted = potentials @ torch.linalg.lstsq(potentials, wanted, driver="gelsd").solution
    torch.testing.assert_close(fitted, wanted, atol=1e-9 * max(1.0, reg), rtol=0)


# ---- the metric matrix


def test_same_class_compares_integers_of_any_size():
    labels = torch.tensor([2**24, 2**24 + 1, -(2**62)])
    assert torch.equal(same_class(labels, labels), torch.eye(3, dtype=torch.bool))
    assert torch.equal(same_class(labels[:1].int(), labels), torch.tensor([[True, False, False]]))


@given(sizes, seeds, st.floats(0.1, 9.0), st.floats(0.0, 4.0), st.sampled_from(["squared_distance", "margin"]))
def test_metric_matrix_equals_the_loop(shape, seed, margin, positive_margin, form):
    dist, same = draw(shape, seed, 5.0), draw(shape, seed + 1) < 0.4
    if form == "squared_distance":
        positive_margin = 0.0
    expected = torch.empty(shape, dtype=torch.float64)
    for i in range(shape[0]):
        for j in range(shape[1]):
            d = float(dist[i, j])
            if form == "squared_distance":
                expected[i, j] = d * d if same[i, j] else max(0.0, margin - d * d)
            else:
                expected[i, j] = max(0.0, d - positive_margin if same[i, j] else margin - d) ** 2
    actual = metric_matrix(dist, same, margin=margin, positive_margin=positive_margin, form=form)
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("form", ["squared_distance", "margin"])
def test_gradient_of_the_metric_matrix(form):
    dist, same = draw((4, 5), 0, 4.0).requires_grad_(), draw((4, 5), 1) < 0.5
    assert torch.autograd.gradcheck(lambda d: metric_matrix(d, same, margin=3.0, form=form), (dist,))


# ---- the plan


@given(sizes, seeds, st.sampled_from([0.03, 0.05, 0.2, 1.0, 100.0]), st.sampled_from(["relative", 0.5, 10.0]))
def test_weights_are_the_optimal_plan(shape, seed, reg, sharpness):
    matrix = draw(shape, seed, 3.0)
    plan = importance_weights(matrix, sharpness=sharpness, reg=reg).plan
    assert_is_the_plan(plan, matrix, sharpness, reg, torch.ones(shape, dtype=torch.bool))


@given(st.integers(2, 9), seeds, st.sampled_from([0.03, 0.05, 1.0, 100.0]), st.sampled_from(["relative", 10.0]))
def test_weights_off_the_diagonal_are_the_optimal_plan_of_the_other_pairs(size, seed, reg, sharpness):
    matrix, diagonal = draw((size, size), seed, 3.0), torch.eye(size, dtype=torch.bool)
    plan = importance_weights(matrix + matrix.T, sharpness=sharpness, reg=reg, exclude=diagonal).plan
    assert_is_the_plan(plan, matrix + matrix.T, sharpness, reg, ~diagonal)


@given(sizes, seeds, st.floats(1e-3, 1e3))
def test_laws_of_the_plan(shape, seed, factor):
    """Uniform marginals; transposed and permuted as the matrix is; the same in any unit where sharpness is relative."""
    matrix = draw(shape, seed, 3.0)
    plan = importance_weights(matrix).plan
    for axis in (0, 1):
        marginal = torch.full((shape[1 - axis],), 1 / shape[1 - axis], dtype=torch.float64)
        torch.testing.assert_close(plan.sum(axis), marginal, atol=2e-9, rtol=0)
    shuffle = torch.Generator().manual_seed(seed)
    rows, columns = (torch.randperm(n, generator=shuffle) for n in shape)
    for other, expected in (
        (matrix.T, plan.T),
        (matrix[rows][:, columns], plan[rows][:, columns]),
        (matrix * factor, plan),
    ):
        torch.testing.assert_close(importance_weights(other).plan, expected, atol=1e-8, rtol=0)


@pytest.mark.parametrize("size", [3, 4, 10])
@pytest.mark.parametrize("reg", [0.05, 0.5, 100.0])
@pytest.mark.parametrize("against_itself", [False, True])
def test_closed_form_of_one_hard_pair_a_row(size, reg, against_itself):
    """One very hard pair in each row and column, all others equally easy: these have exp(−1/reg) of its mass each."""
    hard = torch.eye(size, dtype=torch.bool).roll(1, 0)
    exclude = torch.eye(size, dtype=torch.bool) if against_itself else None
    easy = size - 1 - against_itself
    plan = importance_weights(1e4 * hard.double(), sharpness=10.0, reg=reg, exclude=exclude).plan
    mass = 1 / (size * (1 + easy * math.exp(-1 / reg)))
    expected = mass * torch.exp((hard.double() - 1) / reg)
    if exclude is not None:
        expected = expected.masked_fill(exclude, 0.0)
    torch.testing.assert_close(plan, expected, atol=1e-9, rtol=0)


@pytest.mark.parametrize("seed", range(3))
def test_published_regularisation_makes_the_plan_uniform_and_ours_does_not(seed):
    matrix = draw((64, 64), seed, 5.0)
    for sharpness in ("relative", 10.0):
        published = importance_weights(matrix, sharpness=sharpness, reg=100.0).plan * 64**2
        assert 1e-4 < (published - 1).abs().max() < 0.01
    ours = importance_weights(matrix).plan
    assert (ours * matrix).sum() > 1.5 * matrix.mean()
    hardest = matrix > matrix.quantile(0.9)
    assert ours[hardest].sum() > 0.5


def test_a_fixed_sharpness_tells_no_hard_pairs_apart_a_relative_one_does():
    matrix = 3 + draw((20, 20), 0, 5.0)
    torch.testing.assert_close(importance_weights(matrix, sharpness=10.0).plan * 400, torch.ones(20, 20).double())
    assert importance_weights(matrix).plan.max() * 400 > 2


def test_batches_of_matrices_are_weighed_one_by_one():
    matrices = draw((3, 5, 6), 0, 3.0) * torch.tensor([1.0, 10.0, 100.0]).view(3, 1, 1)
    together = importance_weights(matrices).plan
    one_by_one = torch.stack([importance_weights(matrix).plan for matrix in matrices])
    torch.testing.assert_close(together, one_by_one, atol=1e-8, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("value", [0.0, 1e-40, 7.0, 1e30])
def test_equal_pairs_weigh_the_same(dtype, value):
    for sharpness in ("relative", 10.0):
        plan = importance_weights(torch.full((4, 6), value, dtype=dtype), sharpness=sharpness).plan
        torch.testing.assert_close(plan, torch.full((4, 6), 1 / 24, dtype=dtype))


def test_the_plan_is_a_constant():
    assert not importance_weights(draw((3, 4), 0).requires_grad_()).plan.requires_grad


# ---- mistakes

M, SAME, LABELS = torch.rand(2, 3), torch.zeros(2, 3, dtype=torch.bool), torch.tensor([0, 1])


@pytest.mark.parametrize(
    ("error", "message", "call"),
    [
        (TypeError, "labels has dtype torch.float32; expected integers", lambda: same_class(LABELS.float(), LABELS)),
        (TypeError, "ref_labels is a list", lambda: same_class(LABELS, [0, 1])),
        (ValueError, r"labels has shape \(2, 1\); expected one row", lambda: same_class(LABELS[:, None], LABELS)),
        (ValueError, r"dist has shape \(2, 3\), same \(3, 2\)", lambda: metric_matrix(M, SAME.T, margin=1.0)),
        (ValueError, r"dist has shape \(3,\)", lambda: metric_matrix(M[0], SAME[0], margin=1.0)),
        (TypeError, "same is torch.float32; expected a torch.Tensor of", lambda: metric_matrix(M, M, margin=1.0)),
        (TypeError, "same is list", lambda: metric_matrix(M, [[True]], margin=1.0)),
        (TypeError, "dist has dtype torch.bool", lambda: metric_matrix(SAME, SAME, margin=1.0)),
        (ValueError, "margin = 0.0", lambda: metric_matrix(M, SAME, margin=0.0)),
        (ValueError, "form = 'l2'; expected one of", lambda: metric_matrix(M, SAME, margin=1.0, form="l2")),
        (
            ValueError,
            'positive_margin = 0.5 with form="squared_distance"',
            lambda: metric_matrix(M, SAME, margin=1.0, positive_margin=0.5),
        ),
        (
            ValueError,
            "positive_margin = -1.0; expected at least 0",
            lambda: metric_matrix(M, SAME, margin=1.0, positive_margin=-1.0, form="margin"),
        ),
        (ValueError, r"matrix has shape \(3,\)", lambda: importance_weights(M[0])),
        (ValueError, r"matrix has shape \(0, 3\)", lambda: importance_weights(M[:0])),
        (ValueError, "matrix has entries that are below 0 or NaN", lambda: importance_weights(M - 1)),
        (ValueError, "matrix has entries that are below 0 or NaN", lambda: importance_weights(M * torch.nan)),
        (ValueError, "sharpness = -1.0", lambda: importance_weights(M, sharpness=-1.0)),
        (ValueError, "sharpness = 'soft'; expected a number", lambda: importance_weights(M, sharpness="soft")),
        (ValueError, "reg = 0.0", lambda: importance_weights(M, reg=0.0)),
        (ValueError, r"exclude is torch.bool of shape \(3, 2\)", lambda: importance_weights(M, exclude=SAME.T)),
        (ValueError, "exclude is torch.float32", lambda: importance_weights(M, exclude=M)),
        (ValueError, "exclude leaves too few pairs", lambda: importance_weights(M, exclude=~SAME)),
        (
            ValueError,
            "exclude leaves too few pairs",
            lambda: importance_weights(M, exclude=SAME | (LABELS[:, None] > 0)),
        ),
    ],
)
def test_a_mistake_is_named(error, message, call):
    with pytest.raises(error, match=message):
        call()
