"""Gradients of every field in every mode against finite differences, zero weights and penalties included."""

import pytest
import torch
from torch.autograd import forward_ad

from geomdml.transport import exact, sinkhorn, sinkhorn_divergence
from tests.generators.transport import weights

N, M, REG, STEP = 5, 4, 0.1, 1e-5
FIELDS = {"envelope": ["value"], "implicit": ["value", "linear", "plan", "potentials"]}
CASES = [(mode, field) for mode in ("envelope", "implicit", "unroll") for field in FIELDS.get(mode, FIELDS["implicit"])]
Inputs = list[torch.Tensor]


def problem(zeros: int, batch: tuple[int, ...] = ()) -> Inputs:
    generator = torch.Generator().manual_seed(zeros)
    cost = torch.rand(*batch, N, M, dtype=torch.float64, generator=generator)
    return [cost, weights(N, generator, zeros), 1.0 * weights(M, generator, zeros)]


def number(inputs: Inputs, mode: str, field: str, **options) -> torch.Tensor:
    """A number made of one field, with fixed random coefficients."""
    result = sinkhorn(inputs[0], REG, *inputs[1:], grad=mode, tol=1e-13, **options)
    parts = {"value": [result.value], "linear": [result.linear], "plan": [result.plan], "potentials": result[3:5]}
    generator, total = torch.Generator().manual_seed(9), torch.zeros((), dtype=torch.float64)
    for part in parts[field]:
        coefficients = torch.randn(part.shape, dtype=torch.float64, generator=generator)
        total = total + (part.masked_fill(part.isinf(), 0.0) * coefficients).sum()
    return total


def directions(inputs: Inputs, balanced: bool, one_sided: bool = False) -> Inputs:
    """One random change of each input, which leaves the sums of the weights, and those that are 0, as they are."""
    generator = torch.Generator().manual_seed(3)
    cost, *marginals = (torch.randn(x.shape, dtype=torch.float64, generator=generator) for x in inputs)
    for change, w in zip(marginals, inputs[1:], strict=True):
        change[w == 0] = change[w == 0].abs() if one_sided else 0
        if balanced:
            change[w > 0] -= change.sum() / (w > 0).sum()
    return [cost, *marginals]


def check(inputs: Inputs, mode: str, field: str, balanced: bool = True, **options) -> None:
    leaves = [x.clone().requires_grad_() for x in inputs]
    total = number(leaves, mode, field, **options)
    gradients = torch.autograd.grad(total, leaves)
    for i, (gradient, change) in enumerate(zip(gradients, directions(inputs, balanced), strict=True)):
        plus, minus = ([x + sign * STEP * change if i == j else x for j, x in enumerate(inputs)] for sign in (1, -1))
        slope = (number(plus, "none", field, **options) - number(minus, "none", field, **options)) / (2 * STEP)
        assert bool(gradient.isfinite().all())
        assert float((gradient * change).sum()) == pytest.approx(float(slope), rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("zeros", [0, 1, 2])
@pytest.mark.parametrize("mode, field", CASES)
def test_against_finite_differences(mode, field, zeros):
    check(problem(zeros), mode, field)


@pytest.mark.parametrize("penalty", [0.5, (0.2, 3.0), (None, 0.4)])
@pytest.mark.parametrize("mode, field", CASES)
def test_unbalanced(mode, field, penalty):
    inputs = problem(1)
    check([inputs[0], inputs[1], 1.3 * inputs[2]], mode, field, balanced=False, marginal_penalty=penalty)


@pytest.mark.parametrize("mode, field", CASES)
def test_batch_with_shared_weights(mode, field):
    """Weights without a batch dimension get the sum of what each problem gives them."""
    check(problem(1, batch=(2, 3)), mode, field)


@pytest.mark.parametrize("field", ["linear", "plan"])
def test_implicit_knows_the_slope_at_a_weight_of_zero(field):
    """One-sided: mass moved to where there was none. The plan and its cost are smooth there; the value is not."""
    inputs = problem(2)
    leaves = [x.clone().requires_grad_() for x in inputs]
    gradients = torch.autograd.grad(number(leaves, "implicit", field), leaves)
    changes = directions(inputs, balanced=True, one_sided=True)
    for i in (1, 2):
        step = 1e-7
        moved = [x + step * changes[i] if i == j else x for j, x in enumerate(inputs)]
        slope = float(number(moved, "none", field) - number(inputs, "none", field)) / step
        assert float((gradients[i] * changes[i]).sum()) == pytest.approx(slope, rel=1e-4, abs=1e-5)


def test_rows_may_outnumber_columns_or_not():
    """Newton and the implicit rule work on the shorter side."""
    cost, a, b = problem(1)
    gradients = []
    for turn in (False, True):
        leaf = cost.clone().requires_grad_()
        result = sinkhorn(leaf.T, REG, b, a, grad="implicit") if turn else sinkhorn(leaf, REG, a, b, grad="implicit")
        gradients.append(torch.autograd.grad(result.linear, leaf)[0])
    torch.testing.assert_close(*gradients)


def test_the_envelope_is_plan_and_potentials():
    inputs = [x.requires_grad_() for x in problem(1)]
    result = sinkhorn(inputs[0], REG, *inputs[1:])
    cost, a, b = torch.autograd.grad(result.value, inputs)
    torch.testing.assert_close(cost, result.plan)
    for gradient, potential in ((a, result.f), (b, result.g)):
        torch.testing.assert_close(gradient, potential.masked_fill(potential.isinf(), 0.0))


EVERY = ["plan", "value", "linear", "f", "g"]


def test_what_each_mode_leaves_constant():
    cost = problem(0)[0].requires_grad_()
    for mode, fields in {"envelope": EVERY, "implicit": EVERY, "unroll": EVERY, "none": []}.items():
        assert [name for name, part in sinkhorn(cost, REG, grad=mode)._asdict().items() if part.requires_grad] == fields


@pytest.mark.parametrize("of", [0, 1, 2], ids=["cost", "a", "b"])
@pytest.mark.parametrize("field", ["plan", "linear", "f", "g"])
@pytest.mark.parametrize("penalty", [None, 0.5])
def test_what_the_envelope_does_not_offer_is_refused_beside_what_it_does(penalty, field, of):
    """In a sum with the value and with something else the gradient would be wrong, and nobody would know."""
    inputs = problem(0, batch=(2,))
    inputs[of].requires_grad_()
    result = sinkhorn(inputs[0], REG, *inputs[1:], marginal_penalty=penalty)
    total = result.value.sum() + getattr(result, field).sum() + inputs[of].sum()
    with pytest.raises(NotImplementedError, match=r'plan, linear, f and g .* grad="implicit", .* their .detach'):
        total.backward()
    (result.value.sum() + getattr(result, field).detach().sum()).backward()


@pytest.mark.parametrize("field", ["plan", "f", "g"])
def test_exact_refuses_them_likewise(field):
    cost = problem(0)[0].requires_grad_()
    for result in (exact(cost), exact(cost[:4]), exact(cost, *problem(1)[1:])):
        with pytest.raises(NotImplementedError, match='sinkhorn with grad="implicit"'):
            (result.value + getattr(result, field).sum()).backward()


TRANSPORT = {
    "sinkhorn": lambda cost: sinkhorn(cost, REG).value,
    "implicit": lambda cost: sinkhorn(cost, REG, grad="implicit").plan.square().sum(),
    "unroll": lambda cost: sinkhorn(cost, REG, grad="unroll", tol=1e-3).linear,
    "none": lambda cost: sinkhorn(cost, REG, grad="none").value,
    "weights": lambda cost: sinkhorn(torch.ones(5, 4, dtype=torch.float64), REG, cost.sum(1), cost.sum(0)).value,
    "exact": lambda cost: exact(cost).value,
    "divergence": lambda cost: sinkhorn_divergence(cost, cost + 1, REG),
}
TRANSFORMS = {
    "grad": torch.func.grad,
    "vjp": lambda f: lambda x: torch.func.vjp(f, x),
    "jacrev": torch.func.jacrev,
    "vmap": lambda f: lambda x: torch.func.vmap(f)(torch.stack([x, x])),
    "jvp": lambda f: lambda x: torch.func.jvp(f, (x,), (x,)),
    "jacfwd": torch.func.jacfwd,
    "hessian": torch.func.hessian,
    "forward_ad": lambda f: lambda x: forward_gradient(f, x),
}


def forward_gradient(f, x):
    with forward_ad.dual_level():
        return f(forward_ad.make_dual(x, x))


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:FutureWarning")  # torch's own, in forward mode
@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS.keys())
@pytest.mark.parametrize("f", TRANSPORT.values(), ids=TRANSPORT.keys())
def test_transforms_are_refused_in_one_line(f, transform):
    """Forward mode used to give a tangent of None, and torch's own text said that a jvp must be implemented."""
    with pytest.raises(NotImplementedError, match=r"(jvp, jacfwd, hessian)") as error:
        transform(f)(problem(0)[0])
    assert "expected torch." in str(error.value) and "\n" not in str(error.value)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:FutureWarning")  # torch's own, in forward mode
def test_forward_mode_elsewhere_leaves_a_constant_transport_alone():
    cost = problem(0)[0]
    with forward_ad.dual_level():
        scale = forward_ad.make_dual(torch.ones(()), torch.ones(()))
        tangent = forward_ad.unpack_dual(scale * sinkhorn(cost, REG).value).tangent
    torch.testing.assert_close(tangent, sinkhorn(cost, REG).value)


@pytest.mark.parametrize("penalty", [None, 0.5, (None, 0.4)])
@pytest.mark.parametrize("mode", ["envelope", "implicit", "unroll"])
def test_the_hessian_of_the_value_is_the_slope_of_its_gradient(mode, penalty):
    """Weights of 0 included; along changes that keep the sums, where the marginals are met."""
    inputs = problem(1, batch=(2,))
    along = directions(inputs, balanced=penalty is None)

    def sloping(inputs: Inputs) -> tuple[Inputs, torch.Tensor]:
        """The inputs as leaves, and ⟨gradient, change⟩."""
        leaves = [x.detach().requires_grad_() for x in inputs]
        value = sinkhorn(leaves[0], REG, *leaves[1:], grad=mode, tol=1e-13, marginal_penalty=penalty).value
        found = torch.autograd.grad(value.square().sum(), leaves, create_graph=True)
        return leaves, sum((gradient * change).sum() for gradient, change in zip(found, along, strict=True))

    leaves, slope = sloping(inputs)
    products = torch.autograd.grad(slope, leaves)
    for i, (product, change) in enumerate(zip(products, along, strict=True)):
        plus, minus = (
            sloping([x + sign * STEP * change if i == j else x for j, x in enumerate(inputs)])[1] for sign in (1, -1)
        )
        assert product.isfinite().all()
        bend = float((plus - minus).detach()) / (2 * STEP)
        assert float((product * change).sum()) == pytest.approx(bend, rel=1e-5, abs=1e-6)


def test_a_divergence_has_a_hessian():
    x = torch.rand(3, 2, dtype=torch.float64, requires_grad=True)
    y = torch.rand(4, 2, dtype=torch.float64)
    assert torch.autograd.gradgradcheck(lambda x: sinkhorn_divergence(x, y, 0.3, tol=1e-13), x)


@pytest.mark.parametrize(
    "number",
    [
        lambda cost: sinkhorn(cost, REG, grad="implicit").linear,
        lambda cost: exact(cost).value,
        lambda cost: torch.autograd.grad(sinkhorn(cost, REG).value, cost, torch.ones(()), create_graph=True)[0].norm(),
    ],
    ids=["implicit", "exact", "the third of the value"],
)
def test_what_has_no_further_derivative_says_so(number):
    cost = problem(0)[0].requires_grad_()
    (gradient,) = torch.autograd.grad(number(cost), cost, create_graph=True)
    with pytest.raises(NotImplementedError, match="no further derivative"):
        gradient.sum().backward()


def test_implicit_at_small_reg_and_in_float32():
    generator = torch.Generator().manual_seed(0)
    cost = torch.rand(20, 30, dtype=torch.float64, generator=generator)
    found = []
    for dtype in (torch.float64, torch.float32):
        leaf = cost.to(dtype).requires_grad_()
        found.append(torch.autograd.grad(sinkhorn(leaf, 0.01, grad="implicit", tol=1e-6).linear, leaf)[0])
    torch.testing.assert_close(found[1].double(), found[0], atol=2e-3 * float(found[0].abs().max()), rtol=0)
