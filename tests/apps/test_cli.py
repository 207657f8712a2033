"""The shared command line: the subcommands are Lightning's and those that an app declares, by any name."""

import json

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

import apps.chest_vit.__main__ as chest
import apps.cli
import apps.shape3d.__main__ as shape3d
import apps.sketch.__main__ as sketch
from apps.chest_vit.studies.commands import STUDIES
from apps.compare.harness import Evaluation
from apps.compare.study import Study, with_trainer
from apps.training.module import AppModule

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's, of its own parser


class Line(AppModule):
    """One weight.

    Args:
        slope: Where it starts.
        seed: Seed.
    """

    def __init__(self, slope: float = 1.0, seed: int = 0) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.weight = nn.Parameter(torch.tensor(slope))


class Points(apps.cli.L.LightningDataModule):
    """No data.

    Args:
        seed: Seed.
    """

    def __init__(self, seed: int = 0) -> None:
        super().__init__()

    def train_dataloader(self) -> DataLoader:
        return DataLoader([])


class Slopes:
    """An experiment whose score is the slope that the command line gave."""

    score, fixed = "slope", {}

    def __init__(self, model, data, epochs, device, wanted):
        self.slope, self.epochs, self.candidates = model.settings["slope"], epochs, {"only": {"x": [1]}}
        assert wanted == ["only"] and str(device) == "cpu" and isinstance(data, Points)

    def train(self, trial):
        yield Evaluation(self.epochs, 1.0, {"slope": self.slope + trial.seed})


def run(*words: str) -> None:
    apps.cli.run(
        Line,
        Points,
        results=apps.cli.Callback(),
        studies={"rummage": Study(with_trainer(Slopes), about="Look for slopes.")},
        args=list(words),
    )


def test_a_study_is_a_subcommand_under_the_name_that_the_app_gives_it(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["app"])
    words = ("--model.slope", "2.5", "--folder", str(tmp_path / "found"), "--out", str(tmp_path), "--seeds", "2")
    more = ("--seed_everything", "7", "--trainer.max_epochs", "3", "--trainer.accelerator", "cpu")
    run("rummage", *words, *more, "--candidates", "[only]")
    found = [json.loads(path.read_text()) for path in sorted((tmp_path / "found/final").glob("*.json"))]
    assert [trial["trial"]["seed"] for trial in found] == [7, 8]
    assert [trial["history"][-1]["scores"]["slope"] for trial in found] == [9.5, 10.5]
    assert [trial["history"][-1]["step"] for trial in found] == [3, 3]


def test_no_app_has_the_studies_of_another(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["app"])
    with pytest.raises(SystemExit):
        run("ablate")
    assert "ablate" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run("--help")
    assert "Look for slopes." in capsys.readouterr().out


def test_settings_make_the_module_again():
    line = Line(slope=4.0)
    assert line.settings == {"slope": 4.0, "seed": 0} and Line(**line.settings).weight == 4.0


def test_the_commands_of_an_app_are_lightnings_its_studies_and_its_own():
    lightning = {"fit", "validate", "test", "predict"}
    assert set(chest.LIGHTNING) == lightning | STUDIES.keys()
    for app in (shape3d, sketch):
        assert set(app.LIGHTNING) == lightning - {"predict"} | {"compare"}
    for app in (chest, shape3d, sketch):
        assert not set(app.OWN) & set(app.LIGHTNING)
        with pytest.raises(SystemExit, match=f"error: no command 'chekc': one of .*{app.OWN[-1]} is expected"):
            app.main(["chekc"])


def test_help_begins_with_every_command(capsys):
    for app in (chest, shape3d, sketch):
        with pytest.raises(SystemExit, match="0"):
            app.main(["--help"])
        about = capsys.readouterr().out.partition("options:")[0]
        for command in (*app.OWN, *app.LIGHTNING):
            assert command in about or command == "draw"  # an earlier name of serve


def test_a_wrong_option_is_not_hidden_by_the_usage(capsys):
    with pytest.raises(SystemExit, match="2"):
        run("fit", "--model.slopes", "1")
    error = capsys.readouterr().err
    assert "--model.slopes" in error and "usage" not in error and error.count("\n") == 2
