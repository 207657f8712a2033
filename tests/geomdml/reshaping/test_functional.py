"""Labels that balance modalities: the definitions, and what they must have for any predictions."""

import math
import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import rel_entr
from torch import Tensor
from torch.testing import assert_close

from geomdml.reshaping import balance, class_relation, difficulty, reshaped_labels

KINDS = ("random", "sharp", "uniform", "perfect", "wrong", "half unseen", "as the last", "nearly as the last")
GRID = torch.linspace(0, 0.5, 101, dtype=torch.float64)


@st.composite
def class_wise_predictions(draw, kinds=KINDS, most: int = 4) -> Tensor:
    """(M, C, C): modalities from useless to perfect, and some that are equal or nearly so."""
    classes = draw(st.integers(2, 6))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32 - 1)))
    floor = draw(st.sampled_from((1e-2, 1e-6, 0.5)))
    uniform, own = torch.full((classes, classes), 1 / classes).double(), torch.eye(classes).double()
    means: list[Tensor] = []
    for kind in draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=most)):
        random = torch.randn(classes, classes, generator=generator).double()
        last = means[-1] if means else uniform
        near = random.softmax(-1)
        mean = {
            "random": (random + 2 * own).softmax(-1),
            "sharp": (30 * random).softmax(-1),
            "uniform": uniform,
            "perfect": own,
            "wrong": own.roll(1, 0),
            "half unseen": torch.where(torch.arange(classes)[:, None] % 2 == 0, uniform, own),
            "as the last": last,
            "nearly as the last": last + 1e-9 * (near - last),
        }[kind]
        means.append(mean)
    return (1 - floor) * torch.stack(means) + floor / classes


def curve(predictions: Tensor, alphas: Tensor) -> Tensor:
    """(len(alphas), M): the difficulties, from their definition."""
    relation, classes = class_relation(predictions), predictions.shape[1]
    labels = reshaped_labels(torch.arange(classes), alphas, relation).numpy()
    divergence = rel_entr(labels[:, None], predictions.numpy()).sum(-1).mean(-1)
    return torch.from_numpy(divergence)


@given(class_wise_predictions())
def test_the_relation_is_the_normalised_geometric_mean(predictions):
    product = np.prod(predictions.numpy() ** (1 / len(predictions)), axis=0)
    assert_close(class_relation(predictions), torch.from_numpy(product / product.sum(-1, keepdims=True)))


@given(class_wise_predictions(), st.floats(0, 1))
def test_difficulty_is_the_mean_divergence(predictions, share):
    for alpha in (0.0, share, 1.0):
        alphas = torch.full((len(predictions),), alpha, dtype=torch.float64)
        found = difficulty(alphas, class_relation(predictions), predictions)
        assert_close(found, curve(predictions, alphas[:1])[0], rtol=1e-12, atol=1e-13)


@given(class_wise_predictions(), st.floats(0.01, 0.5))
def test_reshaped_labels_are_distributions_with_the_own_class_on_top(predictions, max_alpha):
    result, classes = balance(predictions, max_alpha=max_alpha), predictions.shape[1]
    assert bool(((result.alpha >= 0) & (result.alpha <= max_alpha)).all())
    labels = reshaped_labels(torch.arange(classes), result.alpha, result.relation)
    assert bool((labels >= 0).all())
    assert_close(labels.sum(-1), torch.ones(labels.shape[:2]).double(), rtol=0, atol=1e-14)
    for rows in (labels, labels.float()):
        own = rows.diagonal(dim1=1, dim2=2)
        others = rows.masked_fill(torch.eye(classes, dtype=torch.bool), -1.0).amax(-1)
        assert bool((own > others).all())


@given(class_wise_predictions())
def test_half_is_never_too_much(predictions):
    """MATH's bound on ᾱ, 1/(1 + max R_k − R_c), is above ½ for every relation: ½ needs no look at it."""
    relation = class_relation(predictions)
    own = relation.diagonal()
    others = relation.masked_fill(torch.eye(len(own), dtype=torch.bool), 0.0).amax(-1)
    assert bool((1 / (1 + others - own) > 0.5).all())


@given(class_wise_predictions(), st.sampled_from((0.5, 0.25, 0.01)))
def test_balance_reaches_the_least_difficulty_by_the_smallest_root_or_stops_at_the_minimum(predictions, max_alpha):
    result = balance(predictions, max_alpha=max_alpha)
    grid = GRID * (max_alpha / 0.5)
    curves = curve(predictions, grid)
    assert_close(result.before, curves[0], rtol=1e-12, atol=1e-13)
    assert result.target == result.before.min()
    assert_close(result.after, difficulty(result.alpha, result.relation, predictions))
    for alpha, after, reached, values in zip(result.alpha, result.after, result.reached, curves.T, strict=True):
        if reached:
            assert_close(after, result.target, rtol=1e-12, atol=1e-13)
            assert bool((values[grid < alpha] > result.target - 1e-13).all())
        else:
            assert result.target < after < values[0]
            assert bool((values >= after - 1e-13).all())
            least = int(values.argmin())
            assert grid[max(least - 1, 0)] <= alpha <= grid[min(least + 1, len(grid) - 1)]


def test_balance_of_two_classes_has_an_exact_answer():
    """KL((p, 1 − p) ‖ (b, 1 − b)) = −log a: solved for a instead of p."""
    p, b = 0.9, 0.6
    target = p * math.log(p / b) + (1 - p) * math.log((1 - p) / (1 - b))
    a = math.exp(-target)
    moved = 1 / (1 + math.sqrt(a * b / ((1 - a) * (1 - b))))
    exact = torch.tensor([[[q, 1 - q], [1 - q, q]] for q in (a, b)], dtype=torch.float64)
    assert_close(balance(exact).alpha, torch.tensor([0.0, (1 - p) / moved], dtype=torch.float64), rtol=0, atol=1e-14)
    assert balance(exact).reached.tolist() == [True, True]
    assert balance(exact, max_alpha=0.3).alpha.tolist() == [0.0, 0.3]
    assert balance(exact, max_alpha=0.3).reached.tolist() == [True, False]


@given(class_wise_predictions())
def test_the_strongest_keeps_its_labels_and_only_it(predictions):
    result = balance(predictions)
    assert ((result.alpha == 0) == (result.before == result.target)).all()


@given(class_wise_predictions(most=1), st.integers(1, 4))
def test_equal_modalities_keep_their_labels(predictions, copies):
    result = balance(predictions.expand(copies, -1, -1))
    assert result.alpha.tolist() == [0.0] * copies
    assert result.reached.all()


@given(class_wise_predictions(most=1), st.integers(0, 2**32 - 1), st.integers(2, 4))
def test_alpha_goes_to_0_as_modalities_become_equal(predictions, seed, modalities):
    """By the chord of a convex curve: α ≤ β·(D(0) − D*)/(D(0) − D(β)) for every β with D(β) ≤ D*."""
    classes = predictions.shape[1]
    generator = torch.Generator().manual_seed(seed)
    others = torch.randn(modalities, classes, classes, generator=generator).double().softmax(-1)
    for t in (1e-1, 1e-3, 1e-5, 1e-7, 1e-9, 1e-12):
        near = predictions + t * (others - predictions)
        result, values = balance(near), curve(near, GRID)
        least, at = values.min(0)
        gap = result.before - result.target
        bound = GRID[at] * gap / (result.before - least)
        below = least <= result.target
        assert bool((result.alpha[below] <= bound[below] + 1e-12).all())
    assert bool((result.alpha < 1e-3).all())


@given(class_wise_predictions(), st.randoms(use_true_random=False))
def test_permutation_of_classes_and_of_modalities(predictions, random):
    modalities, classes, _ = predictions.shape
    m, c = random.sample(range(modalities), modalities), random.sample(range(classes), classes)
    plain, permuted = balance(predictions), balance(predictions[m][:, c][:, :, c])
    assert_close(permuted.relation, plain.relation[c][:, c], rtol=1e-12, atol=0)
    assert_close(permuted.before, plain.before[m], rtol=1e-12, atol=1e-15)
    assert_close(permuted.after, plain.after[m], rtol=1e-12, atol=1e-13)
    # where the root is at the minimum, rounding by 1e-16 moves it by the square root of that, over the curvature
    assert_close(permuted.alpha, plain.alpha[m], rtol=0, atol=1e-4)


@pytest.mark.parametrize("modalities", [1, 2, 5])
@pytest.mark.parametrize("floor", [1e-6, 1e-2])
def test_limits(modalities, floor):
    """Nobody knows anything, everybody knows everything, one knows everything."""
    uniform, own = torch.full((4, 4), 0.25).double(), torch.eye(4).double()
    perfect = (1 - floor) * own + floor * uniform
    for all_of in (uniform, perfect):
        result = balance(all_of.expand(modalities, -1, -1))
        assert result.alpha.tolist() == [0.0] * modalities
        assert_close(result.relation, all_of)
        assert_close(result.before, -all_of[0, 0].log().expand(modalities))
    mixed = balance(torch.stack([perfect, *[uniform] * modalities]))
    assert mixed.alpha[0] == 0 and bool((mixed.alpha[1:] > 0).all())
    assert mixed.reached.tolist() == [True] + [False] * modalities
    assert bool((mixed.after[1:] < math.log(4)).all())


def test_nothing_has_a_gradient():
    predictions = torch.rand(2, 3, 3, requires_grad=True).softmax(-1)
    result = balance(predictions)
    labels = reshaped_labels(torch.tensor([0, 1]), result.alpha.requires_grad_(), result.relation)
    values = difficulty(result.alpha, result.relation, predictions)
    assert not any(x.requires_grad for x in (result.relation, result.after, result.before, labels, values))


def test_refusals():
    half, labels = torch.full((2, 2, 2), 0.5), torch.tensor([0, 1])
    alpha, relation = torch.zeros(2), half[0]
    for call, error, message in (
        (lambda: balance(half[0]), ValueError, "predictions has shape (2, 2); expected (M, C, C)"),
        (lambda: balance(half[:0]), ValueError, "predictions has shape (0, 2, 2)"),
        (lambda: balance(half[:, :1, :1]), ValueError, "predictions has shape (2, 1, 1)"),
        (lambda: balance(half.long()), TypeError, "predictions has dtype torch.int64"),
        (lambda: balance(torch.eye(2)[None]), ValueError, "predictions has entries that are not above 0"),
        (lambda: balance(half * float("nan")), ValueError, "predictions has entries that are not above 0"),
        (lambda: balance(2 * half), ValueError, "predictions has rows that miss the sum 1 by up to 1"),
        (lambda: balance(half, max_alpha=0.6), ValueError, "max_alpha = 0.6; expected at most 0.5"),
        (lambda: balance(half, max_alpha=0), ValueError, "max_alpha = 0.0; expected a finite number above 0"),
        (
            lambda: difficulty(alpha[:1], relation, half),
            ValueError,
            "alpha has shape (1,); expected (2,), one a modality",
        ),
        (lambda: difficulty(alpha - 1, relation, half), ValueError, "expected shares from 0 to 1"),
        (lambda: difficulty(alpha, relation[:1], half), ValueError, "relation has shape (1, 2); expected (2, 2)"),
        (lambda: reshaped_labels(labels + 1, alpha, relation), ValueError, "labels go from 1 to 2; expected 0 to 1"),
        (lambda: reshaped_labels(labels.float(), alpha, relation), TypeError, "labels has dtype torch.float32"),
        (lambda: reshaped_labels(labels, alpha.sum(), relation), ValueError, "alpha has shape (); expected (M,)"),
        (lambda: reshaped_labels(labels, alpha, torch.eye(2)), ValueError, "relation has entries that are not above"),
    ):
        with pytest.raises(error, match=re.escape(message)):
            call()
