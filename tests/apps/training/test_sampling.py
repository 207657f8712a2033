"""Batches are class-balanced, and every choice in them is a function of (seed, epoch, step, slot)."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from apps.training.sampling import ClassBalanced, Shuffled, seed_of


@st.composite
def samplers(draw):
    sizes = draw(st.lists(st.integers(1, 6), min_size=2, max_size=12))
    labels = np.repeat(np.arange(len(sizes)), sizes)
    return labels, ClassBalanced(
        labels,
        classes=draw(st.integers(2, len(sizes))),
        per_class=draw(st.integers(1, 5)),
        steps=draw(st.integers(1, 6)),
        seed=draw(st.integers(0, 2**32)),
    )


@given(samplers())
def test_each_batch_has_its_classes_and_images(drawn):
    labels, sampler = drawn
    batches = list(sampler)
    assert len(batches) == len(sampler) == sampler.steps
    for batch in batches:
        found, counts = np.unique(labels[[draw.image for draw in batch]], return_counts=True)
        assert len(found) == sampler.classes and (counts == sampler.per_class).all()
        for label in found:  # an image repeats only where its class is too small
            members = [draw.image for draw in batch if labels[draw.image] == label]
            assert len(set(members)) == min(sampler.per_class, (labels == label).sum())


@given(samplers(), st.integers(0, 5))
def test_a_batch_depends_on_nothing_before_it(drawn, epoch):
    _labels, sampler = drawn
    sampler.set_epoch(epoch)
    for step, batch in enumerate(sampler):
        assert batch == sampler.batch(epoch, step)
    seeds = [draw.seed for batch in sampler for draw in batch]
    assert len(set(seeds)) == len(seeds)
    sampler.set_epoch(epoch + 1)
    assert not {draw.seed for batch in sampler for draw in batch} & set(seeds)


@given(samplers())
def test_all_classes_are_seen_before_one_returns(drawn):
    labels, sampler = drawn
    per_pass = len(np.unique(labels)) // sampler.classes
    seen = [labels[draw.image] for step in range(per_pass) for draw in sampler.batch(0, step)]
    assert len(np.unique(seen)) == per_pass * sampler.classes


def test_seeds_differ_by_every_part_of_the_key():
    keys = [(a, b, c) for a in range(5) for b in range(5) for c in range(5)]
    assert len({seed_of(*key) for key in keys}) == len(keys)
    assert all(0 <= seed_of(*key) < 2**63 for key in keys)


@pytest.mark.parametrize("classes", [0, 1, 4])
def test_a_batch_of_one_class_is_refused(classes):
    with pytest.raises(ValueError, match=f"classes_per_batch = {classes}: a batch needs at least 2 classes"):
        ClassBalanced(np.array([0, 1, 2]), classes=classes, per_class=2, steps=1, seed=0)


@given(st.integers(1, 50), st.data(), st.integers(0, 2**32), st.integers(0, 100))
def test_shuffled_takes_each_row_at_most_once_an_epoch(count, data, seed, epoch):
    sampler = Shuffled(count, size=data.draw(st.integers(1, count)), seed=seed)
    sampler.set_epoch(epoch)
    batches = [batch.tolist() for batch in sampler]
    rows = [row for batch in batches for row in batch]
    assert len(batches) == len(sampler) and {len(batch) for batch in batches} == {sampler.size}
    assert len(set(rows)) == len(rows) > count - sampler.size and set(rows) <= set(range(count))
    again = Shuffled(count, size=sampler.size, seed=seed)
    again.set_epoch(epoch)
    assert [batch.tolist() for batch in again] == batches
    first = data.draw(st.integers(0, len(batches)))
    again.set_epoch(epoch, first)
    assert [batch.tolist() for batch in again] == batches[first:]


def test_seed_and_epoch_decide_the_order():
    orders = set()
    for seed, epoch in ((0, 0), (0, 1), (1, 0)):
        sampler = Shuffled(100, size=100, seed=seed)
        sampler.set_epoch(epoch)
        orders.add(tuple(torch.cat(list(sampler)).tolist()))
    assert len(orders) == 3


@pytest.mark.parametrize("size", [0, 6])
def test_batches_that_the_data_cannot_fill_are_refused(size):
    with pytest.raises(ValueError, match=f"batches of {size} images from 5; expected 1 to 5"):
        Shuffled(5, size=size, seed=0)
