"""A backbone and a data set of the user's own, by the paths of their classes."""

import json
import sys
from pathlib import Path

import pytest

from apps.chest_vit.__main__ import main
from apps.chest_vit.checkpoint import load
from apps.chest_vit.data import RetrievalData
from apps.chest_vit.model import CHEST

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's; a user's process shows or hides them by its own rules
SMOKE = Path(__file__).parents[3] / "apps/chest_vit/configs/smoke.yaml"
PACKAGE = """
from pathlib import Path
import torch
from torch import nn
from apps.datasets import folder
from apps.datasets.split import by_classes

Path("it_ran").touch()

class Grid(nn.Module):
    def __init__(self, side=2, length=None):
        super().__init__()
        self.num_features = length or 4 * side**2
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(side), nn.Flatten())
    def forward(self, images):
        return self.layers(images)

class Data:
    def load(self, root, *, strict):
        return by_classes(folder.load(root, strict=strict), 0.3, seed=5)

class Wrong:
    def load(self, root, *, strict):
        return [root]
"""


@pytest.fixture(autouse=True)
def package(tmp_path, monkeypatch):
    (tmp_path / "my_package.py").write_text(PACKAGE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("GEOMDML_LOSSES", "my_package")
    monkeypatch.setattr(sys, "argv", ["apps.chest_vit"])
    yield
    sys.modules.pop("my_package", None)


def test_they_train_and_are_found_again(tree, tmp_path, monkeypatch):
    main(
        [
            *("fit", "--config", str(SMOKE), "--trainer.max_epochs", "1", "--data.steps", "2", "--data.size", "32"),
            *("--data.benchmark", "my_package.Data", "--data.root", str(tree), "--data.classes_per_batch", "3"),
            *("--model.backbone", "my_package.Grid", "--model.backbone_args", "{side: 3}", "--model.weights", "none"),
        ]
    )
    run = tmp_path / "runs/version_0"
    facts = json.loads((run / "results.json").read_text())["facts"]
    assert (
        facts["data"] == "my_package.Data" and "seed 5" in facts["classes"] and "my_package.Grid" in facts["backbone"]
    )
    (tmp_path / "it_ran").unlink()
    trained = load(run / "checkpoints/best.ckpt")
    assert trained.model.backbone.num_features == 36 and trained.images().split.by == "by class, seed 5"
    sys.modules.pop("my_package")
    monkeypatch.delenv("GEOMDML_LOSSES")
    with pytest.raises(ValueError, match=r"best\.ckpt' .*in the variable GEOMDML_LOSSES"):
        load(run / "checkpoints/best.ckpt")
    assert not (tmp_path / "it_ran").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("my_package.Wrong", "my_package.Wrong.load gives a list; expected an apps.datasets.split.Split"),
        ("my_package.Grid", "--data.benchmark my_package.Grid is no class with a method load"),
        ("my_package.by_classes", "--data.benchmark my_package.by_classes is no class with a method load"),
        ("my_package.None_", "--data.benchmark 'my_package.None_' does not exist"),
    ],
)
def test_data_that_do_not_fit_are_refused_by_name(tree, name, message):
    with pytest.raises(ValueError, match=message):
        RetrievalData(str(tree), benchmark=name).split  # noqa: B018


def test_an_unknown_name_is_refused_with_those_that_there_are(tree):
    for name in ("cubs", "others.Data"):
        with pytest.raises(ValueError, match=f"--data.benchmark {name}; expected one of cub, .*table, shards, emoji"):
            RetrievalData(str(tree), benchmark=name)


def test_features_of_another_length_than_it_says():
    model = CHEST(3, "my_package.Grid", backbone_args={"length": 17}, weights="none", tau=0.0)
    with pytest.raises(ValueError, match=r"'my_package.Grid' gives .*\[1, 16\]\) for one image; expected \(1, 17\)"):
        model.check_size(32)
    CHEST(3, "my_package.Grid", weights="none", tau=0.0).check_size(32)
