import json
import os
import pickle
import sys
from collections import Counter

import numpy as np
import pytest
import torch

from apps.datasets import emoji, iconify
from apps.io.packages import cache_folder

SQUARE = '<path fill="#f00" d="M0 0h4v4H0z"/>'
SIZE = 32


@pytest.fixture(scope="module")
def images():
    return emoji.load(SIZE)


def test_the_counts_are_those_of_the_pinned_sets(images):
    assert len(images.classes) == 1185
    assert len(images) == len(images.labels) == 8080
    assert Counter(name.partition("/")[0] for name in images.names).keys() == emoji.SETS.keys()


def test_every_class_has_at_least_five_vendors_each_once(images):
    assert np.bincount(images.labels).min() == 5
    assert np.bincount(images.labels).max() == 8
    assert len(set(images.names)) == len(images)


def test_images_are_sorted_by_emoji_then_vendor(images):
    keys = [tuple(reversed(name.split("/"))) for name in images.names]
    assert keys == sorted(keys)
    assert [images.classes[label] for label in images.labels] == [name for name, _ in keys]


def test_skin_tones_and_flags_are_left_out(images):
    assert not [name for name in images.classes if "skin-tone" in name or "flag" in name]


def test_every_image_shows_something_on_white(images):
    for i in range(len(images)):
        image = images.image(i)
        assert image.shape == (3, SIZE, SIZE) and image.dtype == torch.uint8
        assert image.min() < image.max(), images.names[i]


def test_a_red_heart_is_red_on_white(images):
    hearts = [i for i, name in enumerate(images.names) if name.endswith("/red-heart")]
    assert len(hearts) >= 5
    for i in hearts:
        image = images.image(i)
        red, green, blue = image[:, SIZE // 2, SIZE // 2].tolist()
        assert red > 150 and red - green > 75 and red - blue > 75, images.names[i]
        assert image[:, -1, 0].tolist() == [255, 255, 255]


def test_the_second_load_only_maps_the_file(images, monkeypatch):
    def called(*_):
        raise AssertionError("rendered again")

    monkeypatch.setattr(emoji, "_make", called)
    again = emoji.load(SIZE)
    assert again.names == images.names
    assert torch.equal(again.image(7), images.image(7))


def test_images_cached_by_an_older_version_are_found(tmp_path):
    images = torch.arange(3 * 8 * 8, dtype=torch.uint8).view(1, 3, 8, 8)
    np.save(tmp_path / "pictures.npy", images.numpy())
    assert torch.equal(iconify.rendered_in(tmp_path)[0], images[0])


def test_images_travel_to_workers_as_a_path(images):
    sent = pickle.dumps(images.of_classes(range(0, 1185, 2)))
    assert len(sent) < 1_000_000
    assert torch.equal(pickle.loads(sent).image(0), images.image(0))


def test_an_image_may_be_changed_without_changing_the_set(images):
    images.image(0).zero_()
    assert images.image(0).max() == 255


def test_the_licence_of_every_set_lies_beside_the_images(images):
    text = (images.source.path.parent / "LICENSES.txt").read_text()
    assert images.source.path.is_relative_to(cache_folder())
    for vendor, (version, _) in emoji.SETS.items():
        assert f"@iconify-json/{vendor} {version}" in text
    assert text.count("creativecommons.org/licenses/by-sa/4.0") == 2


@pytest.mark.parametrize("size", [7, 513])
def test_a_size_out_of_bounds_is_refused(size):
    with pytest.raises(ValueError, match=f"size is {size}; expected 8 to 512"):
        emoji.load(size)


def icons(**changes):
    """A set with a red square, and what must not be shown."""
    kept = {"square": {"body": SQUARE}, "wide": {"body": SQUARE, "width": 8}}
    left_out = {
        "hidden": {"body": SQUARE, "hidden": True},
        "hand-dark-skin-tone": {"body": SQUARE},
        "flag-red": {"body": SQUARE},
    }
    return {"icons": kept | left_out | changes, "aliases": {"box": {"parent": "square"}}, "width": 4, "height": 4}


@pytest.mark.parametrize("cores", [{0}, {0, 1}])
def test_exactly_what_the_rule_keeps_is_rendered(tmp_path, monkeypatch, capsys, cores):
    def package(name, version, sha256):
        vendor = name.removeprefix("@iconify-json/")
        folder = tmp_path / vendor
        folder.mkdir()
        rare = {"rare": {"body": SQUARE}} if vendor.startswith(("emojione", "noto")) else {}
        broken = {"square": {"body": "<path"}} if vendor == "openmoji" else {}
        (folder / "icons.json").write_text(json.dumps(icons(**rare, **broken)))
        author = {"name": "A", "url": "U"}
        licence = {"title": "T", "spdx": "S", "url": "U"}
        (folder / "info.json").write_text(json.dumps({"name": vendor, "author": author, "license": licence}))
        return folder

    monkeypatch.setenv("GEOMDML_DATA", str(tmp_path / "cache"))
    monkeypatch.setattr(emoji, "npm_package", package)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: cores, raising=False)
    images = emoji.load(8)
    vendors = sorted(emoji.SETS)
    assert images.classes == ("square", "wide")
    assert images.names == (
        *(f"{vendor}/square" for vendor in vendors if vendor != "openmoji"),
        *(f"{vendor}/wide" for vendor in vendors),
    )
    red = torch.tensor([255, 0, 0], dtype=torch.uint8).view(3, 1, 1).expand(3, 8, 8)
    wide = torch.full((3, 8, 8), 255, dtype=torch.uint8)
    wide[:, 2:6, :4] = red[:, 2:6, :4]
    for i, label in enumerate(images.labels):
        assert torch.equal(images.image(i), wide if label else red)
    told = capsys.readouterr().err
    assert "1 of 16 emoji could not be rendered and are left out: openmoji/square (" in told
    assert "16/16" in told
