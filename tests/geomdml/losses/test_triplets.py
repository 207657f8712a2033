"""Distances and ancestors of triplets from their Gram matrices, against those of pairs one to one."""

import pytest
import torch

from geomdml import tangent
from geomdml.losses.triplets import FIRST, SECOND, distances_and_depths

C = torch.tensor(0.5, dtype=torch.float64)


def one_to_one(points, triplets, c):
    u, v = points[triplets][:, FIRST], points[triplets][:, SECOND]
    return tangent.dist(u, v, c=c), tangent.lca_depth(u, v, c=c)


def hard_points(radius: float, dtype: torch.dtype) -> torch.Tensor:
    """Random points, and a duplicate, the origin, an antipode, a point of one ray and two neighbours."""
    torch.manual_seed(0)
    points = radius * torch.nn.functional.normalize(torch.randn(40, 6, dtype=torch.float64))
    points[1], points[2], points[3], points[4] = points[0], 0, -points[0], 2 * points[0] / 3
    points[5], points[6] = points[0] * (1 + 1e-6), points[0] + 1e-7 * radius * points[7] / points[7].norm()
    return points.to(dtype)


@pytest.mark.parametrize("radius", [1e-20, 1e-6, 1e-3, 1.0, 5.0, 100.0, 300.0])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 3e-7), (torch.float64, 1e-13)])
def test_values_and_gradients_are_those_of_the_pairs(radius, dtype, tolerance):
    triplets = torch.cat([torch.cartesian_prod(*3 * [torch.arange(7)]), torch.randint(40, (700, 3))])
    values, gradients = [], []
    for function in (one_to_one, distances_and_depths):
        points, c = hard_points(radius, dtype).requires_grad_(), C.clone().requires_grad_()
        found = function(points, triplets, c=c)
        values.append(found)
        gradients.append([torch.autograd.grad(part.sum(), (points, c), retain_graph=True) for part in found])
    for expected, found in zip(*values, strict=True):
        assert ((found - expected).abs() <= tolerance * expected).all()
    for (by_points, by_c), (found_points, found_c) in zip(*gradients, strict=True):
        assert (found_points - by_points).norm() <= max(1e-6, tolerance) * by_points.norm()
        assert (found_c - by_c).abs() <= 1e-8 * by_c.abs() + 1e-15 * radius


def test_gradients_in_float64():
    torch.manual_seed(1)
    points, triplets = torch.randn(6, 3, dtype=torch.float64, requires_grad=True), torch.randint(6, (9, 3))
    c = C.clone().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda p, c: distances_and_depths(p, triplets[(triplets.diff() != 0).all(1)], c=c), (points, c)
    )


def test_blocks_do_not_show(monkeypatch):
    points, triplets = torch.randn(50, 4, requires_grad=True), torch.randint(50, (1000, 3))
    results = []
    for block in (7, 1000):
        monkeypatch.setattr("geomdml.losses.triplets._BLOCK", block)
        dist, depth = distances_and_depths(points, triplets, c=0.5)
        results.append((dist, depth, *torch.autograd.grad((dist + depth).sum(), points)))
    for some, whole in zip(*results, strict=True):
        torch.testing.assert_close(some, whole, rtol=1e-6, atol=1e-6)
