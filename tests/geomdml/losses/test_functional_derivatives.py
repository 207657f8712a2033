"""The functional forms by their numbers: backward, forward, again, mapped; and finite where they have kinks or ties."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from geomdml.losses import functional

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:FutureWarning")  # torch's own
B, C, K = 5, 3, 2
LABELS = torch.arange(B) % C
TARGETS = torch.softmax(torch.randn(B, C, dtype=torch.float64, generator=torch.Generator().manual_seed(1)), 1)
PLAN = torch.full((B, C), 1 / (B * C), dtype=torch.float64)

# Each with the shapes of what it is differentiated by.
FORMS = {
    "soft_triple_similarity": (lambda d: functional.soft_triple_similarity(d, gamma=0.3), [(B, C, K)]),
    "soft_triple": (lambda d: functional.soft_triple(d, LABELS, gamma=0.3, scale=3.0, margin=0.1), [(B, C, K)]),
    "soft_triple, targets": (
        lambda d: functional.soft_triple(d, TARGETS, gamma=0.3, scale=3.0, margin=0.1),
        [(B, C, K)],
    ),
    "proxy_anchor": (lambda s: functional.proxy_anchor(s, LABELS, scale=3.0, margin=0.1), [(B, C)]),
    "hyphc": (lambda s, depth: functional.hyphc(s, depth, gamma=0.5), [(B, 3), (B, 3)]),
    "batch_transport": (lambda m: functional.batch_transport(m, PLAN), [(B, C)]),
    "in_mean_units": (functional.in_mean_units, [(B, C)]),
    "pairwise_cross_entropy": (lambda d: functional.pairwise_cross_entropy(d, LABELS, temperature=0.5), [(B, B)]),
    "pairwise_cross_entropy, references": (
        lambda d: functional.pairwise_cross_entropy(d, LABELS, torch.arange(C), temperature=0.5),
        [(B, C)],
    ),
    "closure": (lambda d: functional.closure(d, temperature=0.5), [(B, C)]),
    "contrastive": (lambda d, log_t: functional.contrastive(d, temperature=log_t.exp()), [(B, B), ()]),
    "entailment": (lambda angle, aperture: functional.entailment(angle, aperture), [(B,), (B,)]),
    "hierarchical_triplet": (lambda a, b: functional.hierarchical_triplet(a, b, margin=0.2), [(B, 3), (B, 3)]),
}
EACH = pytest.mark.parametrize("name", FORMS)


def numbers(name):
    generator = torch.Generator().manual_seed(0)
    return [
        torch.rand(shape, dtype=torch.float64, generator=generator).add(0.1).requires_grad_()
        for shape in FORMS[name][1]
    ]


def test_every_form_is_among_these():
    assert {name.partition(",")[0] for name in FORMS} == {name for name in functional.__all__ if name.islower()}


@EACH
def test_all_derivatives_to_the_second(name):
    f, inputs = FORMS[name][0], numbers(name)
    assert gradcheck(f, inputs, check_forward_ad=True, check_batched_grad=True, check_batched_forward_grad=True)
    assert gradgradcheck(f, inputs, check_fwd_over_rev=True, check_batched_grad=True)


@EACH
@pytest.mark.parametrize("value", [0.0, 1.0, 1e4])
def test_where_all_numbers_are_equal_two_derivatives_are_finite(name, value):
    """Equal distances are ties, hinges at their kinks, and far out exponentials that vanish."""
    f, inputs = FORMS[name][0], [torch.full_like(x, value, requires_grad=True) for x in numbers(name)]
    if name == "contrastive":
        inputs[1] = torch.zeros((), dtype=torch.float64, requires_grad=True)  # of T = 1
    first = torch.autograd.grad(f(*inputs).sum(), inputs, create_graph=True)
    assert all(slope.isfinite().all() for slope in first)
    if any(slope.requires_grad for slope in first):
        second = torch.autograd.grad(sum(slope.square().sum() for slope in first), inputs, materialize_grads=True)
        assert all(bend.isfinite().all() for bend in second)
