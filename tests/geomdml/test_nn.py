"""Metric networks, the hyperbolic head, and clipping by norm."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geomdml import clip_norm
from geomdml.nn import HyperbolicHead, HyperplaneClassifier, MetricNetwork
from geomdml.spaces import Euclidean, Hyperbolic

SPACE = Hyperbolic(c=0.5)


@given(st.integers(0, 2**31), st.floats(-30, 30), st.floats(-3, 3), st.sampled_from([torch.float32, torch.float64]))
def test_clip_norm_cuts_length_and_keeps_direction(seed, log_length, log_radius, dtype):
    v = torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    v, radius = (v / v.norm(dim=-1, keepdim=True) * 10**log_length).to(dtype), 10**log_radius
    clipped = clip_norm(v, radius)
    length = v.double().norm(dim=-1)
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(clipped.double().norm(dim=-1), length.clamp(max=radius), rtol=4 * eps, atol=0.0)
    cosine = torch.nn.functional.cosine_similarity(
        clipped.double() / clipped.double().norm(), v.double() / v.double().norm()
    )
    torch.testing.assert_close(cosine, torch.ones(3, dtype=torch.float64), rtol=0, atol=1e-6)
    assert torch.equal(clipped[length < radius * (1 - eps)], v[length < radius * (1 - eps)])


def test_clip_norm_has_its_gradient_everywhere():
    v = torch.tensor([[0.0, 0.0], [0.3, 0.4], [30.0, 40.0]], dtype=torch.float64, requires_grad=True)
    jacobian = torch.autograd.functional.jacobian(lambda x: clip_norm(x, 1.0), v)
    assert torch.equal(jacobian[0, :, 0], torch.eye(2, dtype=torch.float64))  # the printed formula has NaN here
    assert torch.autograd.gradcheck(lambda x: clip_norm(x, 1.0), v)
    assert torch.equal(clip_norm(v, math.inf), v)
    for huge in (torch.full((2,), 3e38), torch.full((2,), 1e-45)):
        assert torch.isfinite(clip_norm(huge, 1.0)).all()


@pytest.mark.parametrize("in_features", [16, 384, 1280])
@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])
def test_points_start_inside_the_clipping_radius_on_any_backbone(in_features, scale):
    torch.manual_seed(0)
    head = HyperbolicHead(in_features, 128, space=SPACE, clip=2.3)
    features = scale * torch.rand(256, in_features)  # not centred, as after a ReLU
    radius = head.tangent(features).norm(dim=-1)
    assert radius.median().item() == pytest.approx(1.15, rel=0.2)
    assert (radius < 2.3).all()


def test_without_norm_it_is_the_layer_of_the_paper():
    torch.manual_seed(0)
    head = HyperbolicHead(1280, 384, space=SPACE, norm="none", clip=2.3)
    features = torch.randn(64, 1280) * 30 / math.sqrt(1280)
    torch.testing.assert_close(head.tangent(features), head.linear(features))
    clipped = head(features)
    torch.testing.assert_close(clipped.norm(dim=-1), torch.full((64,), 2.3))  # norm 30: all on one shell
    torch.testing.assert_close(clipped, clip_norm(head.linear(features), 2.3))


def test_the_head_carries_a_learned_curvature():
    space = Hyperbolic(c=0.5, learnable=True)
    head = HyperbolicHead(8, 4, space=space)
    u = head(torch.randn(6, 8))
    space.pairwise_dist(u, u.flip(0)).sum().backward()
    assert space.log_c.grad is not None and space.log_c.grad != 0
    assert "space.log_c" in head.state_dict()
    assert all(torch.isfinite(p.grad).all() for p in head.parameters())


def test_results_are_float32_under_autocast():
    head = HyperbolicHead(8, 4, space=SPACE)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert head(torch.randn(3, 8)).dtype == torch.float32
    assert head.double()(torch.randn(3, 8, dtype=torch.float64)).dtype == torch.float64


@pytest.mark.parametrize(
    ("message", "settings"),
    [
        ("space = Euclidean", {"space": Euclidean()}),
        ('expected Hyperbolic\\(..., chart="tangent"', {"space": Hyperbolic(chart="ball")}),
        ("norm = 'batch'", {"norm": "batch"}),
        ("clip = 0", {"clip": 0}),
        ("clip = nan", {"clip": math.nan}),
        ("out_features = 0", {"out_features": 0}),
    ],
)
def test_settings_that_cannot_work_are_refused(message, settings):
    with pytest.raises(ValueError, match=message):
        HyperbolicHead(**{"in_features": 8, "out_features": 4, "space": SPACE} | settings)


def test_clip_norm_refuses_by_name():
    for shape in ((), (2, 0)):
        with pytest.raises(ValueError, match="v has shape"):
            clip_norm(torch.ones(shape), 1.0)
    with pytest.raises(ValueError, match="max_norm = -1"):
        clip_norm(torch.ones(2), -1)
    with pytest.raises(TypeError, match=r"v has dtype torch\.int64"):
        clip_norm(torch.ones(2, dtype=torch.long), 1.0)


def test_a_metric_network_is_linear_maps_rectified_in_between():
    network = MetricNetwork(5, 4, 3, 2).double()
    x = torch.randn(7, 5, dtype=torch.float64)
    weights = [(layer.weight, layer.bias) for layer in network if isinstance(layer, torch.nn.Linear)]
    expected = x
    for index, (weight, bias) in enumerate(weights):
        expected = expected @ weight.T + bias
        if index < 2:
            expected = expected.clamp_min(0)
    assert len(weights) == 3 and torch.allclose(network(x), expected)
    assert bool((network(x) < 0).any())


@pytest.mark.parametrize(
    ("sizes", "message"), [((5,), "widths is empty"), ((5, 0), "layer 1 = 0"), ((-1, 3), "layer 0 = -1")]
)
def test_a_metric_network_without_layers_is_refused(sizes, message):
    with pytest.raises(ValueError, match=message):
        MetricNetwork(*sizes)


@pytest.mark.parametrize("chart", ["tangent", "ball", "lorentz"])
def test_a_classifier_has_the_same_logits_in_every_chart(chart):
    torch.manual_seed(0)
    classifier, space = HyperplaneClassifier(3, 4, space=Hyperbolic(c=0.5)), Hyperbolic(c=0.5, chart=chart)
    torch.nn.init.normal_(classifier.offsets)
    other = HyperplaneClassifier(3, 4, space=space)
    other.load_state_dict(classifier.state_dict())
    u = torch.randn(5, 3)
    torch.testing.assert_close(other(space.expmap0(u)), classifier(u), rtol=1e-4, atol=1e-5)


def test_the_limit_of_the_classifier_is_a_linear_layer():
    torch.manual_seed(0)
    flat, curved = HyperplaneClassifier(3, 4, space=Euclidean()), HyperplaneClassifier(3, 4, space=Hyperbolic(c=1e-10))
    torch.nn.init.normal_(flat.offsets)
    curved.load_state_dict(flat.state_dict(), strict=False)
    u = torch.randn(5, 3)
    torch.testing.assert_close(curved(u), flat(u), rtol=1e-4, atol=1e-4)


def test_the_classifier_learns_and_moves_the_curvature():
    """Four sectors of the plane, far out."""
    torch.manual_seed(0)
    angle = 2 * math.pi * torch.rand(400)
    points, labels = 2 * torch.stack([angle.cos(), angle.sin()], 1), (2 * angle / math.pi).long()
    space = Hyperbolic(c=0.5, learnable=True)
    classifier = HyperplaneClassifier(2, 4, space=space)
    optimizer = torch.optim.Adam(classifier.parameters(), lr=0.05)
    for _ in range(100):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(classifier(points), labels).backward()
        optimizer.step()
    assert (classifier(points).argmax(1) == labels).double().mean() > 0.95
    assert space.curvature != 0.5 and space in classifier.modules()


def test_mistakes_of_a_classifier_are_named():
    with pytest.raises(ValueError, match="num_classes = 0"):
        HyperplaneClassifier(3, 0, space=Euclidean())
    with pytest.raises(ValueError, match=r"expected Hyperbolic\(\.\.\.\) or Euclidean\(\)"):
        HyperplaneClassifier(3, 2, space=None)
