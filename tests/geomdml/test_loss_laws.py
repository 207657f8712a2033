"""The laws of losses: ours keep them, and each finds a loss that does not."""

import math

import pytest
import torch
from torch import nn

from geomdml.losses import (
    BatchTransportLoss,
    MultiProxyAnchorLoss,
    PairwiseCrossEntropyLoss,
    SoftTripleLoss,
)
from geomdml.spaces import Euclidean, Hyperbolic, Product
from geomdml.testing import __main__ as runner
from geomdml.testing import loss_laws

OURS = {
    "pairwise cross-entropy": PairwiseCrossEntropyLoss(),
    "pairwise cross-entropy, hyperbolic": PairwiseCrossEntropyLoss(space=Hyperbolic(c=0.5)),
    "pairwise cross-entropy, product": PairwiseCrossEntropyLoss(
        space=Product([Hyperbolic(c=1.0, learnable=True), Euclidean()], [5, 3])
    ),
    "soft triple": SoftTripleLoss(4, 8, space=Hyperbolic(c=0.5, learnable=True)),
    "proxy anchor": MultiProxyAnchorLoss(4, 8),
}
ORDER, GRADIENT, EQUAL, HALF = loss_laws.LAWS


@pytest.mark.parametrize("loss", OURS.values(), ids=OURS)
def test_our_losses_keep_them(loss):
    for law in loss_laws.judge(loss, examples=2):
        assert law.holds, law


def test_a_plan_that_is_taken_for_constant_is_told():
    """As the paper has it: the gradient of the transport loss is not that of its value."""
    assert [law.name for law in loss_laws.judge(BatchTransportLoss(), examples=2) if not law.holds] == [GRADIENT]


def wide(x):
    return x.float() if x.element_size() == 2 else x


class Weighted(nn.Module):
    """The first sample counts twice."""

    def forward(self, x, labels):
        weights = torch.ones(len(x))
        weights[0] = 2
        return (weights * wide(x).square().sum(1)).mean()


def with_a_detached_part(x, labels):
    x = wide(x)
    return (x.square().sum(1) * x.norm(dim=1).detach()).mean()


def with_a_root(x, labels):
    x = wide(x)
    return (x - x.mean(0)).square().sum(1).sqrt().mean()


def in_its_inputs_precision(x, labels):
    return (x @ x.T).square().mean()


def raising(x, labels):
    raise RuntimeError("no luck\ntoday")


@pytest.mark.parametrize(
    ("loss", "broken"),
    [
        (Weighted(), {ORDER}),
        (with_a_detached_part, {GRADIENT}),
        (with_a_root, {EQUAL}),
        (in_its_inputs_precision, {HALF}),
        (raising, {ORDER, GRADIENT, EQUAL, HALF}),
    ],
    ids=["order", "gradient", "equal embeddings", "half precision", "all"],
)
def test_each_finds_who_breaks_it(loss, broken):
    found = loss_laws.judge(loss, examples=2)
    assert {law.name for law in found if not law.holds} == broken
    assert all(math.isinf(law.error) and "no luck" in str(law) for law in found) == (loss is raising)


def test_the_command_judges_a_loss(capsys):
    assert runner.main(["--loss", "geomdml.losses.functional:closure"]) == 1  # called otherwise
    assert runner.main(["--loss", "geomdml.losses:PairwiseCrossEntropyLoss"]) == 2
    said = capsys.readouterr()
    assert "is a class; expected a loss, called with embeddings" in said.err and "0 of 4 laws hold" in said.out
