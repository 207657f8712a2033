"""Splits by class, seeded augmentation, and what is refused."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from apps.chest_vit.data import RetrievalData
from apps.datasets.split import split_classes


@given(st.integers(8, 2000), st.floats(0.01, 0.5), st.integers(0, 100))
def test_splits_share_no_class(count, validation, seed):
    try:
        parts = split_classes(count, validation, seed)
    except ValueError:
        assert count < 16
        return
    joined = sorted(index for part in parts.values() for index in part)
    assert joined == list(range(count))
    assert len(parts["train"]) + len(parts["validation"]) == count // 2
    assert parts == split_classes(count, validation, seed)


def test_the_first_half_of_the_seeded_shuffle_trains():
    parts = split_classes(10, 0.2, 0)
    order = np.random.default_rng(0).permutation(10)
    assert parts["train"] + parts["validation"] != [] and set(order[:5]) == set(parts["train"] + parts["validation"])


def test_too_few_classes_are_refused():
    with pytest.raises(ValueError, match="7 classes leave fewer than 2 for train"):
        split_classes(7, 0.1, 0)


@pytest.fixture
def tree(tmp_path):
    for label in range(10):
        folder = tmp_path / f"class {label}"
        folder.mkdir()
        for index in range(3):
            pixels = np.random.default_rng((label, index)).integers(0, 255, (20, 30, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{index}.png")
    return tmp_path


def test_batches_of_a_folder(tree):
    data = RetrievalData(str(tree), size=16, classes_per_batch=3, per_class=2, steps=4, rotate=5)
    batches = list(data.train_dataloader())
    assert len(batches) == 4
    assert all(b.images.shape == (6, 3, 16, 16) and b.images.dtype == torch.uint8 for b in batches)
    assert data.num_classes == 3 and {int(x) for b in batches for x in b.labels} == {0, 1, 2}
    assert sum(len(b.labels) for b in data.test_dataloader()) == 5 * 3


@pytest.mark.parametrize("workers", [0, 2])
def test_augmentation_is_a_function_of_its_seed(tree, workers):
    def batches(seed):
        data = RetrievalData(str(tree), size=16, classes_per_batch=2, steps=3, rotate=5, seed=seed, workers=workers)
        return [(b.images, b.labels) for b in data.train_dataloader()]

    torch.manual_seed(1)
    first = batches(0)
    torch.manual_seed(2)  # the state of the global generator does not matter
    for (x, y), (x2, y2) in zip(first, batches(0), strict=True):
        assert torch.equal(x, x2) and torch.equal(y, y2)
    assert not torch.equal(first[0][0], batches(1)[0][0])


def test_test_images_keep_their_centre(tree):
    data = RetrievalData(str(tree), size=10, centre_crop=0.5)
    assert next(iter(data.test_dataloader())).images.shape[2:] == (10, 10)


@pytest.mark.parametrize(
    ("option", "value"), [("size", 0), ("validation", 0.9), ("crop_scale", 0.0), ("centre_crop", 2.0), ("workers", -1)]
)
def test_options_out_of_range_are_refused(option, value):
    with pytest.raises(ValueError, match=rf"--data.{option} = {value}; expected"):
        RetrievalData(**{option: value})


def test_a_benchmark_has_its_query_and_gallery(layouts, tmp_path):
    layouts["inshop"](tmp_path)
    data = RetrievalData(str(tmp_path), size=16, validation=0, classes_per_batch=2, steps=1, ks=(1, 10))
    assert data.benchmark == "inshop" and data.num_classes == 6 and not data.validates
    assert data.val_dataloader() == [] and len(next(iter(data.train_dataloader())).labels) == 8
    labels = torch.cat([batch.labels for batch in data.test_dataloader()])
    assert labels.tolist() == data.test.labels.tolist() and len(labels) == 15
    assert data.split.queries == 10 and sorted(labels[:10].unique()) == sorted(labels[10:].unique())
    assert sum(len(batch.labels) for batch in data.predict_dataloader()) == 33
    facts = data.facts()
    assert facts["data"] == "In-shop Clothes Retrieval" and facts["protocol"] == "each query in the gallery"
    assert facts["classes"].startswith("train 6, query 5, gallery 5 (as published")


def test_validation_is_kept_out_of_a_benchmark(layouts, tmp_path):
    layouts["sop"](tmp_path)
    data = RetrievalData(str(tmp_path), size=16, validation=0.4)
    assert data.validates and data.num_classes == 4
    assert sum(len(batch.labels) for batch in data.val_dataloader()) == 2 * 3
    assert data.facts()["images"] == "train 12, validation 6, query 15, 16 px"


def test_a_folder_by_images_tests_the_classes_it_trains(tree):
    data = RetrievalData(str(tree), size=16, split="images", validation=0, classes_per_batch=2)
    with pytest.raises(ValueError, match="no class has two images for test"):
        data.num_classes  # noqa: B018
    for label in range(10):
        for index in range(3):
            image = tree / f"class {label}" / f"{index}.png"
            image.with_name(f"{index + 3}.png").write_bytes(image.read_bytes())
    data = RetrievalData(str(tree), size=16, split="images", validation=0, classes_per_batch=2)
    assert data.train.classes == data.test.classes and len(data.train) == len(data.test) == 30
    assert "those of training" in data.facts()["classes"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"benchmark": "cub"}, r"--data\.benchmark cub needs --data\.root"),
        ({"benchmark": "emoji", "root": "somewhere"}, r"emoji is packaged: leave out --data\.root"),
        ({"benchmark": "furniture", "root": "somewhere"}, r"furniture is packaged: leave out --data\.root"),
        ({"benchmark": "sop", "root": "."}, r"Ebay_train\.txt' is missing"),
    ],
)
def test_a_benchmark_that_is_not_there(options, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        RetrievalData(**options).num_classes  # noqa: B018
