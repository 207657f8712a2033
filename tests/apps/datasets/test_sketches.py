"""Data sets of sketches: pictograms from a package in the form of the real one, and their pairing with shapes."""

import json
from collections import Counter

import numpy as np
import pytest

from apps.datasets import furniture, pictograms, shrec_sketches, sketched_shapes
from apps.io import workers
from apps.io.packages import FetchError
from apps.shapes.labelled_shapes import Shapes, mark_test
from apps.shapes.meshes import MeshFile

BODY = '<path fill="currentColor" d="M0 0h4v4H0z"/>'


@pytest.fixture
def package(tmp_path, monkeypatch):
    """12 chairs, 11 lamps and a sofa, in two sets of which one has boxes of its own."""
    counts = {"chair": 12, "lamp": 11, "sofa": 1}
    sets = ("plain", "wide")
    rows = [f"{name},{sets[i % 2]},{name}-{i}" for name, count in counts.items() for i in range(count)]
    (tmp_path / "list.csv").write_text("class,set,icon\n" + "\n".join(rows) + "\n")
    icons = {row.split(",")[2]: {"body": BODY} for row in rows}
    for name, size in (("plain", {"width": 4, "height": 4}), ("wide", {"width": 8, "height": 4})):
        path = tmp_path / "npm/package/json" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"icons": icons, **size}))
    info = {"name": "N", "author": {"name": "A"}, "license": {"title": "MIT"}}
    (tmp_path / "npm/package/collections.json").write_text(json.dumps({"plain": info, "wide": info}))
    monkeypatch.setattr(pictograms, "LIST", tmp_path / "list.csv")
    monkeypatch.setattr(pictograms, "npm_package", lambda *_: tmp_path / "npm/package")
    monkeypatch.setattr(workers, "cores", lambda: 1)
    monkeypatch.setenv("GEOMDML_DATA", str(tmp_path / "cache"))
    return tmp_path


def test_pictograms_are_rendered_from_the_package_once(package):
    images = pictograms.load(8)
    assert images.classes == ("chair", "lamp", "sofa") and np.bincount(images.labels).tolist() == [12, 11, 1]
    assert images.names[:2] == ("chair/plain/chair-0", "chair/wide/chair-1")
    assert images.image(0).max() == 0  # all of its box
    assert images.image(1)[0, 2:6, :4].max() == 0 and images.image(1)[0, 0].min() == 255
    assert not (package / "npm").exists()  # what is not used is not kept
    assert pictograms.load(16).image(0).shape == (3, 16, 16)
    [licences] = (package / "cache").rglob("LICENSES.txt")
    assert licences.read_text().count("MIT") == 2


def test_another_package_than_expected_is_said(package):
    (package / "npm/package/json/wide.json").write_text('{"icons": {}}')
    with pytest.raises(FetchError, match="does not hold the pictograms"):
        pictograms.load(8)
    assert not list((package / "cache").rglob("drawings.json"))


def test_classes_with_ten_of_both_are_paired(package, monkeypatch):
    names = ("armchair", "chair", "sofa", "lamp")
    labels = np.repeat(np.arange(4), [10, 12, 10, 9])

    def load(*, test: float) -> Shapes:
        sources = tuple(MeshFile(package / f"{i}.off") for i in range(41))
        marks = mark_test(labels, test=test)
        return Shapes("furniture", labels, names, tuple(map(str, range(41))), marks, sources)

    monkeypatch.setattr(furniture, "load", load)
    pair = sketched_shapes.packaged(8, test=0.25)
    assert pair.classes == pair.sketches.classes == pair.shapes.classes == ("chair",)  # too few lamps, and sofas
    assert len(pair.sketches) == 12 and pair.test.sum() == 3
    assert pair.shapes.names == tuple(map(str, range(10, 22))) and not pair.shapes.test.any()
    assert "not free-hand sketches" in pair.notes[0]


def test_the_list_of_pictograms():
    rows = pictograms.LIST.read_text().splitlines()
    assert rows[0] == "class,set,icon" and len(rows) == 1241 == len(set(rows))
    drawings, models = (
        Counter(row.partition(",")[0] for row in path.read_text().splitlines()[1:])
        for path in (pictograms.LIST, furniture.LIST)
    )
    both = [name for name in drawings if min(drawings[name], models[name]) >= 10]
    assert len(drawings) == 28 and len(both) == 19
    assert sum(drawings[name] for name in both) == 1085 and sum(models[name] for name in both) == 435


@pytest.mark.parametrize("missing", ["train", "test"])
def test_a_folder_without_sketches_says_what_is_wanted(tmp_path, missing):
    kept = "test" if missing == "train" else "train"
    path = tmp_path / "bed" / kept / "1.png"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=rf"has no CLASS/{missing}/\*\.png in it: .*SHREC14LSSTB_SKETCHES"):
        shrec_sketches.load(tmp_path)
    with pytest.raises(ValueError, match="does not exist"):
        shrec_sketches.load(tmp_path / "nowhere")
