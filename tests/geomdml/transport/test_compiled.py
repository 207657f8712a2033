"""Transport in torch.compile: one graph, also for problems of other sizes, with the values and gradients of eager."""

import pytest
import torch

from geomdml.transport import exact, sinkhorn, sinkhorn_divergence

COST = torch.rand(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
GRAPH = {"fullgraph": True, "backend": "aot_eager"}


@pytest.fixture(autouse=True)
def fresh():
    torch.compiler.reset()


def every_solver(cost: torch.Tensor) -> torch.Tensor:
    """Weighted or not, unbalanced, a batch, and points against themselves; each way to a gradient but "unroll"."""
    a, b = cost.sum(1), cost.sum(0)
    batch = sinkhorn(torch.stack([cost, 2 * cost]), torch.tensor([0.1, 0.2]), marginal_penalty=(0.5, None))
    plan = sinkhorn(cost, 0.1, a, b, grad="implicit").plan
    constant = (cost * sinkhorn(cost, 0.1).plan.detach()).sum()
    matched = exact(cost[:4]).value + exact(cost, a, b).value
    return batch.value.sum() + plan.square().sum() + constant + matched + sinkhorn_divergence(cost, cost + 1, 0.1)


def test_values_and_gradients_are_those_of_eager_torch():
    for found, expected in zip(
        *(
            (value, *torch.autograd.grad(value, cost))
            for f in (torch.compile(every_solver, **GRAPH), every_solver)
            for cost in [COST.clone().requires_grad_()]
            for value in [f(cost)]
        ),
        strict=True,
    ):
        torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_one_graph_serves_all_sizes():
    graphs = []

    def count(graph, _):
        graphs.append(graph)
        return graph

    compiled = torch.compile(every_solver, fullgraph=True, backend=count, dynamic=True)
    for size in range(4, 9):
        cost = torch.rand(size + 1, size, dtype=torch.float64)
        torch.testing.assert_close(compiled(cost), every_solver(cost), rtol=0, atol=0)
    assert len(graphs) == 1


def test_what_has_no_gradient_is_refused_where_it_is_used_and_warnings_are_given():
    """A compiled function that returns all of it is asked for a gradient of 0 by what is not used."""
    compiled = torch.compile(lambda cost: sinkhorn(cost, 1e-3, max_iter=2), **GRAPH)
    cost = COST.clone().requires_grad_()
    with pytest.warns(RuntimeWarning, match="1 of 1 problems did not converge"):
        result = compiled(cost)
    (gradient,) = torch.autograd.grad(result.value, cost, retain_graph=True)
    torch.testing.assert_close(gradient, result.plan)
    with pytest.raises(NotImplementedError, match="plan, linear, f and g have no gradient here"):
        (result.value + result.plan.sum()).backward()


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # torch's own
def test_unroll_breaks_the_graph_and_gives_the_same():
    def f(cost: torch.Tensor) -> torch.Tensor:
        return 2 * sinkhorn(cost, 0.1, grad="unroll", tol=1e-3).plan.square().sum()

    gradients = [
        torch.autograd.grad(g(cost), cost)[0]
        for g in (torch.compile(f, backend="aot_eager"), f)
        for cost in [COST.clone().requires_grad_()]
    ]
    torch.testing.assert_close(*gradients, rtol=0, atol=0)
    with pytest.raises(torch._dynamo.exc.Unsupported, match="unrolled"):
        torch.compile(f, **GRAPH)(COST)
