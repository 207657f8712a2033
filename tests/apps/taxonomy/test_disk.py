"""The Poincaré disk of a taxonomy: what of an embedding it keeps, and its geodesics."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from apps.taxonomy.model import TaxonomyEmbedding
from apps.taxonomy.plots import STEPS, geodesics
from apps.taxonomy.report import project
from geomdml import poincare

SPACES = ("tangent", "ball", "lorentz", "euclidean")


def embedded(space: str, dim: int, count: int = 40) -> TaxonomyEmbedding:
    return TaxonomyEmbedding(count, dim=dim, space=space, start=0.1)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("dim", [1, 2, 5])
def test_points_are_at_their_scaled_distance_from_the_origin_and_evenly_round_it(space, dim):
    model = embedded(space, dim)
    nodes = torch.arange(3, 30)
    points, scale = project(model, nodes)
    assert torch.allclose(2 * points.norm(dim=1).atanh(), scale * model.radii[nodes].double(), rtol=1e-5)
    turns = torch.atan2(points[:, 1], points[:, 0]).remainder(2 * math.pi).sort().values
    assert torch.allclose(turns.diff(), torch.full((26,), 2 * math.pi / 27, dtype=turns.dtype))


def test_in_two_dimensions_the_order_round_the_origin_is_kept_from_the_widest_gap_on():
    model = embedded("tangent", 2, 4)
    with torch.no_grad():
        turns = torch.tensor([3.1, -3.0, 2.0, -2.5])  # the widest gap ends at 2.0
        model.points.weight.copy_(torch.stack([turns.cos(), turns.sin()], 1))
    points, _ = project(model, torch.arange(4))
    found = torch.atan2(points[:, 1], points[:, 0]).remainder(2 * math.pi)
    assert torch.allclose(found.argsort().float(), torch.tensor([2.0, 0.0, 1.0, 3.0]))


numbers = st.complex_numbers(max_magnitude=0.95)


@given(numbers, numbers)
def test_geodesics_lead_from_point_to_point_at_even_pace(start, end):
    ends = torch.tensor([[z.real, z.imag] for z in (start, end)], dtype=torch.float64)
    way = geodesics(*(torch.tensor([z], dtype=torch.complex128).numpy() for z in (start, end)))[0]
    points = torch.view_as_real(torch.from_numpy(way))
    whole = poincare.dist(ends[:1], ends[1:], c=1.0)
    done = torch.linspace(0, 1, STEPS, dtype=torch.float64)
    assert torch.allclose(poincare.dist(ends[:1], points, c=1.0), done * whole, atol=1e-7)
    assert torch.allclose(poincare.dist(points, ends[1:], c=1.0), (1 - done) * whole, atol=1e-7)
