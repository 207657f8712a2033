"""What a report says of clipped embeddings: of our default why, of another radius that it hides the geometry."""

import inspect

import torch

from apps.chest_vit.model import CHEST
from apps.chest_vit.results import DEFAULT_CLIP, describe_radii, notes

LABELS, LONG = torch.tensor([0, 0, 1, 1]), torch.full((4,), 20.0)


def test_the_default_is_explained_and_not_warned_of():
    assert inspect.signature(CHEST).parameters["clip"].default == DEFAULT_CLIP
    assert notes(LABELS, LONG, DEFAULT_CLIP, None) == []
    assert describe_radii(LONG, DEFAULT_CLIP).count("on purpose") == 1
    assert "on purpose" not in describe_radii(LONG / 100, DEFAULT_CLIP)


def test_another_clipping_radius_is_warned_of():
    (note,) = notes(LABELS, LONG, 2.3, None)
    assert "100% of the test embeddings are clipped" in note
    assert "on purpose" not in describe_radii(LONG, 2.3)
    assert notes(LABELS, LONG, 30.0, None) == []
