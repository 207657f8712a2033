"""Random points have the distribution that they should have: the radial one is known exactly."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from geomdml import tangent
from geomdml.hierarchy import distortion
from geomdml.sampling import tree_like, uniform_in_ball


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("c", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("radius", [0.1, 2.0, 12.0])
@pytest.mark.parametrize("dim", [1, 2, 3, 8, 64])
def test_the_distances_from_the_origin_have_their_distribution(dim, radius, c):
    """F(r) = ∫ sinh(√c s)^(D−1) ds from 0 to r, over that to R, by quadrature."""
    u = uniform_in_ball(2000, dim, radius, c=c, dtype=torch.float64, generator=seeded(dim))
    r = (2 * u).norm(dim=1).numpy()
    assert r.max() <= radius * (1 + 1e-12)
    grid = np.linspace(0, radius, 20001)
    with np.errstate(divide="ignore"):
        log_density = (dim - 1) * (np.log(np.sinh(math.sqrt(c) * grid)) if dim > 1 else 0 * grid)
    cdf = integrate.cumulative_simpson(np.exp(log_density - log_density.max()), x=grid, initial=0)
    assert stats.kstest(r, lambda x: np.interp(x, grid, cdf / cdf[-1])).pvalue > 1e-3


def test_in_the_plane_the_distribution_is_that_of_areas():
    """The share of points within r is the share of area, (cosh r − 1)/(cosh R − 1), wherever its centre is."""
    u = uniform_in_ball(20_000, 2, 3.0, c=1.0, dtype=torch.float64, generator=seeded())
    for centre, r in ((0.0, 2.0), (0.5, 1.5), (1.0, 1.0)):
        inside = tangent.dist(u, torch.tensor([centre / 2, 0.0], dtype=torch.float64), c=1.0) < r
        share = (math.cosh(r) - 1) / (math.cosh(3.0) - 1)
        assert abs(float(inside.double().mean()) - share) < 4 * math.sqrt(share / 20_000)


def test_far_out_nothing_overflows_and_directions_are_even():
    u = uniform_in_ball(1000, 16, 2000.0, c=1.0, generator=seeded())
    assert u.dtype == torch.float32 and bool(u.isfinite().all())
    assert float((2 * u).norm(dim=1).min()) > 1990
    assert float(torch.nn.functional.normalize(u, dim=1).mean(0).norm()) < 0.1
    assert uniform_in_ball(0, 3, 1.0, c=1.0).shape == (0, 3)


def binary_tree(depth):
    return torch.tensor([-1, *((node - 1) // 2 for node in range(1, 2 ** (depth + 1) - 1))])


@pytest.mark.parametrize("dim", [2, 3, 16])
@pytest.mark.parametrize("c", [0.5, 2.0])
def test_children_are_an_edge_from_their_parents_and_distances_near_those_along_the_tree(dim, c):
    parents, depth = binary_tree(4), torch.tensor([0, 1, 1, *[2] * 4, *[3] * 8, *[4] * 16])
    along = torch.zeros(31, 31)
    for i in range(31):
        ups = {int(i): 0}
        node, steps = i, 0
        while node:
            node, steps = int(parents[node]), steps + 1
            ups[node] = steps
        for j in range(31):
            node, steps = j, 0
            while node not in ups:
                node, steps = int(parents[node]), steps + 1
            along[i, j] = steps + ups[node]
    assert torch.equal(along[0], depth.float())
    saved = []
    for edge in (2 / c**0.5, 4 / c**0.5, 6 / c**0.5):
        u = tree_like(parents, dim, edge=edge, c=c, dtype=torch.float64, generator=seeded())
        d = tangent.pairwise_dist(u, u, c=c)
        torch.testing.assert_close(
            d[range(1, 31), parents[1:]], torch.full((30,), edge, dtype=torch.float64), rtol=0, atol=1e-4
        )

        saved.append(float((edge * along - d).max()))
        assert float((d - edge * along).max()) < 1e-4
    assert saved[2] == pytest.approx(saved[1], rel=0.3)  # what geodesics save does not grow with the edges
    assert distortion(d, along.double()).mean < 0.15


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: uniform_in_ball(-1, 2, 1.0, c=1.0), "count = -1"),
        (lambda: uniform_in_ball(1, 0, 1.0, c=1.0), "dim = 0"),
        (lambda: uniform_in_ball(1, 2, 0.0, c=1.0), "radius = 0.0"),
        (lambda: tree_like(torch.tensor([-1, 0]), 1, edge=1.0, c=1.0), "dim = 1"),
        (lambda: tree_like(torch.tensor([-1, -1]), 2, edge=1.0, c=1.0), "parents name 2 roots"),
        (lambda: tree_like(torch.tensor([-1, 2, 1]), 2, edge=1.0, c=1.0), "parents have a cycle: 2 nodes"),
        (lambda: tree_like(torch.tensor([-1, 5]), 2, edge=1.0, c=1.0), "indices below 2"),
    ],
)
def test_what_cannot_be_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
