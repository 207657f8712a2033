"""The kernels in C say what the torch code beside them says, wherever points lie; and they are used."""

import math
from functools import partial
from typing import Any

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from torch import Tensor

import geomdml
from geomdml import _native, euclidean, lorentz, poincare, tangent
from geomdml._core.all_pairs import native as all_pairs
from geomdml._core.one_to_one import native as one_to_one

C = 0.7
MODULES = {"tangent": tangent, "ball": poincare, "lorentz": lorentz}

pytestmark = pytest.mark.skipif(_native.library is None, reason="no compiler made the kernels")


def place(chart: str, vectors: Tensor) -> Tensor:
    """Points of a chart, by tangent vectors."""
    if chart == "tangent":
        return vectors
    if chart == "ball":
        return tangent.to_ball(vectors, c=C)
    length = vectors.double().norm(dim=-1, keepdim=True)
    return (torch.sinh(2 * C**0.5 * length) / (C**0.5 * length.clamp(min=1e-30)) * vectors).float()


def points(chart: str, x: tuple[int, ...], y: tuple[int, ...], radius: float, near: float, seed: int) -> list[Tensor]:
    """Points at one radius, of which many pairs nearly agree, are equal, opposite, on one ray or at the origin."""
    generator = torch.Generator().manual_seed(seed)
    u, v = (torch.nn.functional.normalize(torch.randn(shape, generator=generator), dim=-1) * radius for shape in (x, y))
    flat_u, flat_v = u.view(-1, x[-1]), v.view(-1, y[-1])
    count = min(len(flat_u), len(flat_v))
    flat_v[: count // 2] = flat_u[: count // 2] * (1 + near * torch.randn(count // 2, x[-1], generator=generator))
    for i in range(0, count, 5):
        flat_v[i] = (1.0, 2.0, -1.0, 0.0)[i // 5 % 4] * flat_u[0]
    return [place(chart, u), place(chart, v)]


def asked(function: Any, x: Tensor, y: Tensor, native: bool) -> list[Tensor]:
    """Distances, and their gradients by the points and c, each pair with a weight of its own."""
    x, y, c = (
        x.clone().requires_grad_(),
        y.clone().requires_grad_(),
        torch.tensor(C, dtype=torch.float64, requires_grad=True),
    )
    with _native.kernels(native):
        distances = function(x, y, c=c)
        weights = torch.linspace(0.5, 2.0, distances.numel(), dtype=distances.dtype).view(distances.shape)
        return [distances.detach(), *torch.autograd.grad((distances * weights).sum(), (x, y, c))]


def same(found: list[Tensor], expected: list[Tensor], gradient: float) -> None:
    for mine, theirs in zip(found[:1], expected[:1], strict=True):
        assert torch.allclose(mine, theirs, rtol=2e-7, atol=0)
    for mine, theirs in zip(found[1:3], expected[1:3], strict=True):
        error = (mine.double() - theirs.double()).norm(dim=-1)
        assert (error <= gradient * theirs.double().norm(dim=-1)).all(), error
    rounding = 1e-13 * float(expected[0].sum())  # of terms that cancel for short vectors
    assert math.isclose(float(found[3]), float(expected[3]), rel_tol=1e-5, abs_tol=rounding)


charts, counts = st.sampled_from(list(MODULES)), st.integers(1, 40)
radii = st.sampled_from([1e-6, 1e-2, 0.5, 2.0, 4.0])
far = st.sampled_from([6.0, 20.0])
steps = st.sampled_from([1e-8, 1e-6, 1e-4, 1e-2, 1.0])


@given(charts, radii, steps, st.sampled_from([1, 2, 3, 17, 64]), counts, counts, st.integers(0, 9))
def test_all_pairs(chart: str, radius: float, near: float, d: int, b: int, p: int, seed: int) -> None:
    x, y = points(chart, (b, d), (p, d), radius, near, seed)
    function = MODULES[chart].pairwise_dist
    same(asked(function, x, y, True), asked(function, x, y, False), 2e-7)


@given(st.sampled_from(["tangent", "lorentz"]), far, steps, st.integers(0, 9))
def test_all_pairs_far_out(chart: str, radius: float, near: float, seed: int) -> None:
    x, y = points(chart, (20, 5), (30, 5), radius, min(near, 0.1), seed)
    function = MODULES[chart].pairwise_dist
    same(asked(function, x, y, True), asked(function, x, y, False), 2e-6)


@pytest.mark.parametrize("chart", MODULES)
@pytest.mark.parametrize("shape", [(1100, 40, 12), (60, 2100, 9)])
@pytest.mark.parametrize("near", [1e-5, 1.0])  # many near pairs: products in float64; few: in float32
def test_all_pairs_of_many(chart: str, shape: tuple[int, int, int], near: float) -> None:
    b, p, d = shape
    assert b * p * d > all_pairs.SMALL
    x, y = points(chart, (b, d), (p, d), 1.5, near, 0)
    function = MODULES[chart].pairwise_dist
    same(asked(function, x, y, True), asked(function, x, y, False), 2e-6)


SHAPES = [((7,), (7,)), ((4, 1), (4, 19)), ((4, 19), (4, 1)), ((1, 6), (5, 1)), ((), (40,)), ((3, 1, 3), (1, 6, 3))]
SHAPES += [((2, 1), (2, 83)), ((2, 83), (2, 1)), ((3, 1), (1, 83))]  # longer than what the gradient takes together


@given(charts, radii, steps, st.sampled_from([1, 2, 5, 70]), st.sampled_from(SHAPES), st.integers(0, 9))
def test_one_to_one(chart: str, radius: float, near: float, d: int, shapes: Any, seed: int) -> None:
    x, y = points(chart, (*shapes[0], d), (*shapes[1], d), radius, near, seed)
    function = MODULES[chart].dist
    same(asked(function, x, y, True), asked(function, x, y, False), 2e-7)


@pytest.mark.parametrize("function", [tangent.pairwise_dist, tangent.dist])
def test_second_derivatives_go_through_the_kernels(function: Any) -> None:
    x, y = points("tangent", (3, 2), (3, 2), 1.0, 1.0, 0)

    def penalty(native: bool) -> Tensor:
        u = x.clone().requires_grad_()
        with _native.kernels(native):
            (slope,) = torch.autograd.grad(function(u, y, c=C).square().sum(), u, create_graph=True)
        return torch.autograd.grad(slope.square().sum(), u)[0]

    assert torch.allclose(penalty(True), penalty(False), rtol=1e-5)


def test_what_the_kernels_take() -> None:
    x = torch.randn(3, 4)
    assert all_pairs.takes(x, x) and one_to_one.takes(x, x)
    for other in (x.double(), x.half(), x[:0]):
        assert not all_pairs.takes(x, other)
    seen = []
    torch.func.vmap(lambda row: seen.append(one_to_one.takes(row, row)) or row)(x)
    torch.func.grad(lambda rows: seen.append(all_pairs.takes(rows, rows)) or rows.sum())(x)
    assert seen == [False, False]
    with _native.kernels(False):
        assert not all_pairs.takes(x, x)


def test_what_is_not_ordinary_is_left_to_torch() -> None:
    """Points nearer to the origin than the weights of a float32 product reach, and NaN that nobody checks."""
    x = torch.tensor([[1e-35, 0.0], [1.0, 2.0]])
    same(asked(tangent.pairwise_dist, x, x + 1.0, True), asked(tangent.pairwise_dist, x, x + 1.0, False), 0.0)
    with geomdml.validation(False):
        assert tangent.pairwise_dist(torch.full((2, 2), torch.nan), x, c=C).isnan().all()


def test_pairs_that_broadcast_in_more_than_two_ways_are_left_to_torch() -> None:
    assert one_to_one.grid(torch.Size((4, 1, 3)), torch.Size((1, 6, 3))) is None
    assert one_to_one.grid(torch.Size((4, 1, 3)), torch.Size((4, 6, 1))) is None
    assert one_to_one.grid(torch.Size((5, 1)), torch.Size((5, 7))) == ((5, 7), 5, 7, (1, 7), (0, 1))
    assert one_to_one.grid(torch.Size(()), torch.Size((2, 3))) == ((2, 3), 1, 6, (0, 0), (0, 1))


@given(
    steps,
    st.sampled_from([0.0, 10.0]),
    st.sampled_from([1e-6, 1.0, 1e6]),
    st.booleans(),
    counts,
    counts,
    st.integers(0, 9),
)
def test_euclidean(near: float, off: float, radius: float, squared: bool, b: int, p: int, seed: int) -> None:
    x, y = (z + radius * off for z in points("tangent", (b, 5), (p, 5), radius, near, seed))
    function = partial(euclidean.pairwise_dist, squared=squared)

    def ask(native: bool) -> list[Tensor]:
        return asked(lambda x, y, c: function(x, y) + 0 * c, x, y, native)

    found, expected = ask(True), ask(False)
    assert torch.allclose(found[0], expected[0], rtol=2e-7, atol=0)
    for mine, theirs in zip(found[1:3], expected[1:3], strict=True):
        assert ((mine - theirs).norm(dim=-1) <= 2e-6 * theirs.norm(dim=-1)).all()


EACH = pytest.mark.parametrize(
    "function",
    [partial(tangent.pairwise_dist, c=C), partial(tangent.dist, c=C), euclidean.pairwise_dist],
    ids=["all pairs", "one to one", "euclidean"],
)


@EACH
def test_gradients_of_a_batch_of_gradients(function: Any) -> None:
    """torch maps the backward pass of what the kernels computed."""
    x, y = points("tangent", (4, 3), (4, 3), 1.0, 1.0, 0)
    distances = function(x.requires_grad_(), y)
    directions = torch.eye(distances.numel()).view(-1, *distances.shape)
    (mapped,) = torch.autograd.grad(distances, x, directions, is_grads_batched=True, retain_graph=True)
    singly = [torch.autograd.grad(distances, x, g, retain_graph=True)[0] for g in directions]
    assert torch.allclose(mapped, torch.stack(singly), rtol=1e-5, atol=1e-6)


@EACH
@pytest.mark.parametrize("d", [3, 400])  # few pairs in one call, and tiles
def test_another_default_device(function: Any, d: int) -> None:
    x, y = points("tangent", (70, d), (70, d), 1.0, 1.0, 0)
    expected = asked(lambda x, y, c: function(x, y) + 0 * c, x, y, True)
    with torch.device("meta"):
        u, v = x.clone().requires_grad_(), y.clone().requires_grad_()
        distances = function(u, v)
        by_u, by_v = torch.autograd.grad(distances.sum(), (u, v))
    assert torch.equal(distances.detach(), expected[0]) and by_u.isfinite().all() and by_v.isfinite().all()


@pytest.mark.filterwarnings("ignore:`torch.jit.trace` is deprecated")
def test_what_is_traced_is_left_to_torch() -> None:
    seen = []
    torch.jit.trace(lambda x: seen.append(all_pairs.takes(x, x)) or x + 1, torch.randn(3, 4), check_trace=False)
    assert seen == [False]
