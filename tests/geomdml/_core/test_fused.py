"""Triton's kernels, by its interpreter on the CPU, give what torch's operations give; and they compile for GPUs."""

import importlib
import json
import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geomdml import _native, lorentz, poincare, tangent, validation
from geomdml._core import all_pairs as pairs
from geomdml._core.all_pairs import fused
from geomdml._core.soft_minimum import soft_minimum
from geomdml.testing import laws, strategies
from geomdml.testing.laws import BALL, LORENTZ, TANGENT

triton = pytest.importorskip("triton", reason="Triton is made for Linux alone")

CHARTS = pytest.mark.parametrize("chart", [tangent, poincare, lorentz], ids=["tangent", "ball", "lorentz"])


@pytest.fixture(autouse=True, scope="module")
def interpreted():
    """Triton asks whether to interpret a kernel where it is declared, so when the module is imported."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")
        importlib.reload(_kernels())
    assert type(_kernels().distances).__name__ == "InterpretedFunction"
    with fused.kernels(True), _native.kernels(False):
        yield
    importlib.reload(_kernels())


def _kernels():
    return importlib.import_module("geomdml._core.all_pairs._kernels")


def points(chart, count: int, dim: int, seed: int, dtype=torch.float32) -> torch.Tensor:
    """Of radii from 0 to 6, the origin among them."""
    generator = torch.Generator().manual_seed(seed)
    u = torch.nn.functional.normalize(torch.randn(count, dim, generator=generator, dtype=torch.float64))
    u = (6 * torch.rand(count, 1, generator=generator, dtype=torch.float64) * u).index_fill_(0, torch.tensor(0), 0.0)
    return (tangent.to_ball(u, c=1.0) if chart is poincare else u).to(dtype)


def with_gradients(chart, x, y, g):
    inputs = [t.clone().requires_grad_() for t in (x, y, torch.tensor(0.7, dtype=torch.float64))]
    matrix = chart.pairwise_dist(*inputs[:2], c=inputs[2])
    return [matrix.detach(), *torch.autograd.grad(matrix, inputs, g)]


@pytest.mark.parametrize("f, draw", [(TANGENT, "tangent_pairs"), (BALL, "point_pairs"), (LORENTZ, "lorentz_pairs")])
@settings(max_examples=settings().max_examples // 2)  # the interpreter is slow
@given(data=st.data())
def test_kernels_are_exact(f, draw, data):
    chart = {"tangent_pairs": tangent, "point_pairs": poincare, "lorentz_pairs": lorentz}[draw]
    x, y, c = data.draw(getattr(strategies, draw)())
    laws.is_exact(chart, f["pairwise_dist"], x, y, c=c)
    laws.gradients_are_finite(chart, f["pairwise_dist"], x, y, c=c)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@CHARTS
def test_values_and_gradients_are_those_of_torch(chart, dtype, monkeypatch):
    """Over tiles that no program fills, with duplicates, near pairs, the origin, and gradients of any strides."""
    x, y = points(chart, 35, 6, 0, dtype), points(chart, 70, 6, 1, dtype)
    x[3], y[9], y[10] = y[5], x[20], x[20] * (1 + 1e-6)
    uneven = torch.rand(70, 35, generator=torch.Generator().manual_seed(2), dtype=dtype).T
    gradients = [uneven, torch.ones((), dtype=dtype).expand(35, 70)]
    monkeypatch.setattr(pairs, "BLOCK", 40)
    launched = []
    launch = _kernels().launch
    monkeypatch.setattr(_kernels(), "launch", lambda kernel, *given: launched.append(kernel) or launch(kernel, *given))
    for g in gradients:
        found = with_gradients(chart, x, y, g)
        assert set(launched) == {_kernels().distances, _kernels().weights}, "the kernels were not asked"
        with fused.kernels(False):
            wanted = with_gradients(chart, x, y, g)
        for a, b in zip(found, wanted, strict=True):
            assert (a - b).double().norm() <= (2e-7 if dtype == torch.float32 else 1e-13) * b.double().norm()
        assert found[0][3, 5] == 0 and found[0][20, 9] == 0


@CHARTS
def test_nothing_is_kept_without_gradients(chart):
    x, y = points(chart, 5, 3, 0), points(chart, 4, 3, 1)
    with torch.no_grad():
        plain = chart.pairwise_dist(x, y, c=1.0)
    assert torch.equal(plain, chart.pairwise_dist(x, y, c=1.0))


def test_nan_stays_nan():
    x = torch.tensor([[torch.nan, 0.0], [1.0, 0.0]])
    with validation(False):
        assert torch.equal(tangent.pairwise_dist(x, x, c=1.0).isnan(), torch.tensor([[True, True], [True, False]]))


@pytest.mark.parametrize("shape", [(3, 5, 1), (20, 70, 2), (2, 3, 10)])
@pytest.mark.parametrize("gamma", [0.2, 5.0, 1e-3])
def test_soft_minima_and_their_derivatives_are_those_of_torch(shape, gamma):
    """From strided distances, equal ones among them; second derivatives too."""
    generator = torch.Generator().manual_seed(0)
    dist = 3 * torch.rand(shape[1], shape[0], shape[2], generator=generator).transpose(0, 1)
    dist[0, 0] = 0.7
    g = torch.rand(shape[:2], generator=generator)

    def derivatives(dist):
        leaf = dist.clone().requires_grad_()
        value = soft_minimum(leaf, gamma)
        (first,) = torch.autograd.grad(value, leaf, g.to(value), retain_graph=True)
        (graph,) = torch.autograd.grad(value, leaf, g.to(value), create_graph=True)
        return value.detach(), first, *torch.autograd.grad(graph.square().sum(), leaf)

    found = derivatives(dist)
    with fused.kernels(False):
        theirs, exact = derivatives(dist), derivatives(dist.double())
    for a, b, wanted in list(zip(found, theirs, exact, strict=True))[: 3 if gamma > 0.1 else 2]:  # else it is next to 0
        rounding = 1e-6 * wanted.norm() + (b - wanted).norm()  # torch rounds d/γ before it subtracts
        assert (a - wanted).norm() <= rounding


COMPILE = """
import json, sys
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from geomdml._core.all_pairs import _kernels

def compile(kernel, types, capability):
    types = dict(zip(kernel.arg_names, [*types, "constexpr", "constexpr"], strict=True))
    sizes = {"ROWS": _kernels.ROWS, "COLUMNS": _kernels.COLUMNS}
    source = ASTSource(kernel, signature=types, constexprs=sizes)
    target = GPUTarget("cuda", capability, 32)
    return "cubin" in triton.compile(source, target=target, options={"enable_fp_fusion": False}).asm

def strided(*types):
    return [part for type in types for part in (type, "i32", "i32")]

wide, single, flag = "*fp64", "*fp32", "*i1"
proxies = [*strided(single), single, "i32", "i32", "i32"]
soft = ["i32", "i32", *proxies, "fp32", "i32"]
soft_gradient = ["i32", "i32", *proxies, single, "i32", "i32", "i32", "fp32", "i32"]
values = ["i32", "i32", *strided(wide, single, flag, wide, wide), wide, "fp32"]
weights = ["i32", "i32", *strided(wide, single, wide)]
kernels = {"distances": values, "weights": weights, "soft_minimum": soft, "soft_minimum_gradient": soft_gradient}
found = {c: all(compile(getattr(_kernels, k), types, c) for k, types in kernels.items()) for c in (80, 90, 100)}
print(json.dumps(found))
"""


def test_they_compile_for_gpus_that_are_not_here(tmp_path):
    environment = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path)}
    environment.pop("TRITON_INTERPRET", None)
    done = subprocess.run([sys.executable, "-c", COMPILE], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {capability: True for capability in ("80", "90", "100")}


def test_without_a_compiler_torch_serves_and_a_line_says_so(monkeypatch):
    def refuse(*arguments):
        raise RuntimeError("Failed to find C compiler.\nPlease set CC")

    monkeypatch.setattr(fused, "distances", refuse)
    with pytest.warns(UserWarning, match=r"cannot compile for cpu \(RuntimeError: Failed to find C compiler.\)"):
        assert not fused._runs_on.__wrapped__(torch.device("cpu"))
    monkeypatch.undo()
    assert fused._runs_on.__wrapped__(torch.device("cpu"))  # by the interpreter
