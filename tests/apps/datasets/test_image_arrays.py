"""Stratified splits: laws that hold for any labels."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from apps.datasets.image_arrays import ImageArrays, hold_out

LABELS = st.lists(st.integers(0, 5), min_size=1, max_size=60).map(torch.tensor)


@given(LABELS, st.data(), st.integers(0, 10))
def test_a_split_parts_the_rows_by_class(labels, data, seed):
    held_out = data.draw(st.integers(0, len(labels) - 1))
    kept, held = hold_out(labels, held_out, seed)
    assert sorted([*kept.tolist(), *held.tolist()]) == list(range(len(labels)))
    assert len(held) == held_out
    for label in labels.unique():
        share = held_out * int((labels == label).sum()) / len(labels)
        assert abs(int((labels[held] == label).sum()) - share) < 1
    assert all(torch.equal(a, b) for a, b in zip(hold_out(labels, held_out, seed), (kept, held), strict=True))


def test_the_seed_decides_which():
    labels = torch.zeros(100, dtype=torch.int64)
    first, second = (hold_out(labels, 50, seed)[1] for seed in (0, 1))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("held_out", [-1, 3])
def test_more_than_there_is_cannot_be_held_out(held_out):
    with pytest.raises(ValueError, match=f"{held_out} of 3 images cannot be held out"):
        hold_out(torch.zeros(3, dtype=torch.int64), held_out, 0)


def test_what_does_not_fit_is_refused():
    pixels, labels = torch.zeros(2, 1, 3, 3, dtype=torch.uint8), torch.tensor([0, 1])
    with pytest.raises(TypeError, match="float32"):
        ImageArrays(pixels.float(), labels)
    with pytest.raises(ValueError, match="for 2 images"):
        ImageArrays(pixels, labels[:1])
    assert np.array_equal(ImageArrays(pixels, labels).of(torch.tensor([1])).labels, [1])
