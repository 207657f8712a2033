"""What the Poincaré ball does besides keeping the laws, for which see `test_laws.py`."""

from fractions import Fraction

import pytest
import torch

import geomdml
from geomdml import poincare


def test_a_refusal_says_how_far_outside_and_what_to_do():
    with pytest.raises(ValueError, match=r"y has 1 points outside .* = 1\.5.*project"):
        poincare.dist(torch.zeros(2), torch.tensor([1.5, 0.0]), c=1.0)


def test_leading_dimensions_that_do_not_broadcast_are_refused():
    with pytest.raises(ValueError, match=r"x \(2, 3\), y \(5, 3\)"):
        poincare.dist(torch.zeros(2, 3), torch.zeros(5, 3), c=1.0)


def test_values_go_unchecked_when_told_so():
    with geomdml.validation(False):
        assert poincare.dist(torch.tensor([2.0, 0.0]), torch.zeros(2), c=1.0).isnan()


def test_antipodes_near_the_boundary():
    """The example of the field's errors: geoopt says 16.64, Hyp-ViT 12.20, HypLL infinity."""
    x = torch.tensor([0.9999, 0.0])
    torch.testing.assert_close(poincare.dist(x, -x, c=1.0), torch.tensor(19.8065), atol=1e-4, rtol=0)


@pytest.mark.parametrize("length", [2, 512, 2048, 16384])
def test_the_gap_to_the_boundary_keeps_its_digits_in_any_dimension(length):
    x = torch.randn(length, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x = poincare.project(x / x.norm() * (1 + 1e-12), c=1.0)
    exact = 1 - sum(Fraction(float(entry)) ** 2 for entry in x)
    assert float(poincare.conformal_factor(x, c=1.0)) == pytest.approx(float(2 / exact), rel=4e-15)
