"""Divisions by class and by image, and what is kept out for validation."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from apps.datasets.labelled_images import LabelledImages
from apps.datasets.split import Split, by_classes, by_images, keep_out


def numbered(sizes: list[int]) -> LabelledImages:
    """Classes of these sizes; image i has i in all pixels."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    source = torch.arange(len(labels), dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 1, 1)
    return LabelledImages(
        labels, tuple(map(str, range(len(sizes)))), tuple(f"p{i}" for i in range(len(labels))), source
    )


def ids(images: LabelledImages | None) -> list[int]:
    found = [] if images is None else [int(images.image(i)[0, 0, 0]) for i in range(len(images))]
    assert images is None or [f"p{i}" for i in found] == list(images.names)
    return found


sizes = st.lists(st.integers(1, 12), min_size=2, max_size=20)


@given(sizes, st.sampled_from([0.0, 0.1, 0.5]), st.integers(0, 5))
def test_by_images_every_image_is_in_one_part(sizes, validation, seed):
    images = numbered(sizes)
    try:
        split = by_images(images, validation, seed)
    except ValueError as error:
        assert "no class has two images" in str(error)
        return
    parts = [ids(split.train), ids(split.validation), ids(split.test)]
    assert sorted(i for part in parts for i in part) == list(range(len(images)))
    assert split.train.classes == split.test.classes == images.classes
    assert (split.validation is None) == (validation == 0)
    assert np.unique(split.train.labels).tolist() == list(range(len(sizes)))  # each class trains
    assert [sum(split.test.labels == k) for k in range(len(sizes))] == [size // 2 for size in sizes]
    again = by_images(images, validation, seed)
    assert parts == [ids(again.train), ids(again.validation), ids(again.test)]


@pytest.mark.parametrize("sizes", [[6] * 54, [6] * 30 + [40] * 30, [5, 5, 100], [10] * 40 + [2, 1]])
def test_by_images_validation_is_the_share_that_is_asked_for(sizes):
    """And a class has two images there or none, so that each query has a match."""
    split = by_images(numbered(sizes), 0.1, 0)
    assert split.validation is not None
    share = len(split.validation) / (len(split.validation) + len(split.train))
    assert share == pytest.approx(0.1, abs=0.02)
    counted = np.bincount(split.validation.labels, minlength=len(sizes))
    assert set(counted[counted < 2]) <= {0} and (counted > 0).sum() >= 2 - (len(sizes) < 4)


@given(st.integers(8, 60), st.sampled_from([0.0, 0.1, 0.3]), st.integers(0, 5))
def test_by_classes_no_class_is_in_two_parts(count, validation, seed):
    try:
        split = by_classes(numbered([2] * count), validation, seed)
    except ValueError:
        assert count < 12
        return
    classes = [set(part.classes) for part in (split.train, split.test, split.validation) if part is not None]
    assert sum(map(len, classes)) == len(set.union(*classes)) == count
    assert (split.validation is None) == (validation == 0)


@given(st.integers(4, 60), st.floats(0.01, 0.5), st.integers(0, 5))
def test_what_is_kept_out_of_a_published_split_leaves_its_test_alone(count, share, seed):
    published = Split(numbered([2] * count), numbered([3] * 4))
    assert keep_out(published, 0, seed) is published
    split = keep_out(published, share, seed)
    assert split.validation is not None and split.query is published.query
    assert sorted(split.train.classes + split.validation.classes, key=int) == list(published.train.classes)
    assert len(split.validation.classes) == max(2, round(count * share))


def test_too_few():
    with pytest.raises(ValueError, match="no class has two images for test"):
        by_images(numbered([1, 2, 3]), 0, 0)
    with pytest.raises(ValueError, match="no class has two images for validation"):
        by_images(numbered([4, 4]), 0.1, 0)
    with pytest.raises(ValueError, match="3 training classes are too few to keep 2 of them out"):
        keep_out(Split(numbered([2, 2, 2]), numbered([2])), 0.1, 0)
