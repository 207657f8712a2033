"""The app through its command line, on a folder of small meshes: real files, real runs."""

import csv
import json
import re
from pathlib import Path

import pytest
import torch
from PIL import Image

from apps.shape3d.__main__ import main
from tests.apps.options import assert_options_win

CONFIGS = Path(__file__).parents[3] / "apps/shape3d/configs"
# Lightning's warnings: a user's process shows or hides them by its own rules
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("own_cache")]


def app(command, root, folder, *arguments, config="smoke"):
    path = str(CONFIGS / f"{config}.yaml")
    main([command, "--config", path, "--data.root", str(root), "--out", str(folder), *arguments])


@pytest.fixture(scope="module")
def finished(root, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    app("fit", root, folder, "--data.validation", "0.3")
    return folder / "version_0"


def test_a_run_leaves_its_scores_report_and_checkpoints(finished):
    found = json.loads((finished / "results.json").read_text())
    assert list(found["scores"]) == ["frozen features", "linear probe", "trained network"]
    retrieved = {"Recall@1", "FT", "ST", "E", "DCG", "mAP"}
    assert set(found["scores"]["trained network"]) == {"accuracy", "kNN", "SVM"} | retrieved
    assert set(found["scores"]["linear probe"]) == {"accuracy"} | retrieved
    assert found["facts"]["data"].endswith("30 shapes in 3 classes; 1 broken and left out")
    assert found["facts"]["split"].startswith("train 14, validation 6, test 10")
    for name in ("metrics.csv", "config.yaml", "checkpoints/best.ckpt", "checkpoints/last.ckpt"):
        assert (finished / name).stat().st_size > 0
    page = (finished / "report.html").read_text()
    assert "Precision against recall" in page and "Confusion matrix" in page


def test_options_beside_a_checkpoint_win_or_are_refused(finished, tmp_path):
    assert_options_win(main, finished, tmp_path, "--model.widths", "[24, 12]")


def test_a_checkpoint_tests_to_the_same_scores(finished, tmp_path):
    checkpoint = finished / "checkpoints/best.ckpt"
    torch.load(checkpoint, weights_only=True)
    main(["test", "--config", str(finished / "config.yaml"), "--ckpt_path", str(checkpoint), "--out", str(tmp_path)])
    first, second = (json.loads((run / "results.json").read_text()) for run in (finished, tmp_path / "version_0"))
    assert first["scores"] == second["scores"]


def test_the_same_seed_gives_the_same_run(root, tmp_path):
    for _ in range(2):
        app("fit", root, tmp_path, "--model.loss", "centre")
    first, second = (
        torch.load(tmp_path / f"version_{n}/checkpoints/last.ckpt", weights_only=True)["state_dict"] for n in (0, 1)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)  # bitwise


def test_predict_names_classes_and_what_is_broken(finished, root, tmp_path):
    out = tmp_path / "found/predictions.csv"
    main(["predict", "--ckpt_path", str(finished / "checkpoints/best.ckpt"), "--meshes", str(root), "--out", str(out)])
    with out.open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 31
    [broken] = [line for line in lines if line["error"]]
    assert broken["mesh"].endswith("plate/broken.off") and not broken["class"]
    whole = [line for line in lines if not line["error"]]
    assert {line["class"] for line in whole} <= {"tower", "plate", "stick"}
    assert all(1 >= float(line["probability"]) >= float(line["second probability"]) >= 0 for line in whole)


@pytest.mark.parametrize("gallery", [True, False])
def test_search_finds_the_shape_itself_first(finished, root, tmp_path, capsys, gallery):
    out, mesh = tmp_path / "search.png", root / "stick/3.off"
    checkpoint = str(finished / "checkpoints/best.ckpt")
    where = ["--gallery", str(root)] if gallery else []
    main(["search", "--ckpt_path", checkpoint, "--mesh", str(mesh), *where, "--k", "4", "--out", str(out)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[0] == "1" and float(lines[0].split()[1]) < 1e-3
    assert lines[0].endswith("stick/3.off") and len(lines) == 5
    with Image.open(out) as image:
        assert image.size == (5 * 64 + 4 * 4, 64)


COMPARE = ("--candidates", "[transport,centre]", "--seeds", "2", "--budget", "2", "--search_steps", "3")


def test_compare_writes_its_tables_and_goes_on(root, tmp_path, capsys):
    arguments = (*COMPARE, "--moments", "[2]", "--folder", str(tmp_path / "compare"), "--reference", "centre")
    app("compare", root, tmp_path, *arguments)
    assert len(list((tmp_path / "compare").rglob("*.json"))) == 2 * (2 + 2)
    assert "mAP above centre" in capsys.readouterr().out
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "compare").rglob("*.json")}
    app("compare", root, tmp_path, *arguments)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "compare").rglob("*.json")} == before


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ("'nowhere' does not exist", ("fit", "--data.root", "nowhere")),
        ("--data.train_views = 9 of 4 views", ("fit", "--data.train_views", "9")),
        ("batches of 500 images from 20", ("fit", "--data.batch_size", "500")),
        ("loss 'transport' has no setting 'margn'", ("fit", "--model.loss_args", "{margn: 1}")),
        (
            "loss 'softmax' has no setting 'margin'",
            ("fit", "--model.loss", "softmax", "--model.loss_args", "{margin: 1}"),
        ),
        ("loss 'chest' does not work in", ("fit", "--model.loss", "chest")),
        ("--model.frozen = 9", ("fit", "--model.frozen", "9")),
        ("--model.frozen counts the blocks", ("fit", "--model.backbone", "resnet10t", "--model.frozen", "3")),
        ("there is no candidate 'tripplet'", ("compare", "--candidates", "[tripplet]")),
        ("--model.lr = -1", ("fit", "--model.lr", "-1")),
        ("1 of 31 shapes", ("fit", "--data.strict", "true")),
    ],
)
def test_a_mistake_gets_one_clear_line(root, tmp_path, monkeypatch, message, arguments):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit:
        app(arguments[0], root, tmp_path, *arguments[1:])
    assert re.match(rf"error: [^\n]*{re.escape(message)}[^\n]*$", str(exit.value))


@pytest.mark.parametrize("command", ["predict", "search"])
@pytest.mark.parametrize("content", [None, b"", b"no checkpoint", "pickle"])
def test_what_is_no_checkpoint_is_refused(root, tmp_path, command, content):
    path = tmp_path / "some.ckpt"
    if content == "pickle":
        torch.save({"hyper_parameters": {}, "run": print}, path)  # a function: never loaded
    elif content is not None:
        path.write_bytes(content)
    what = ["--meshes", str(root)] if command == "predict" else ["--mesh", str(root / "stick/3.off")]
    with pytest.raises(SystemExit, match=r"^error: '.*some\.ckpt' (does not exist|cannot be read)[^\n]*$"):
        main([command, "--ckpt_path", str(path), *what])


@pytest.mark.parametrize("config", ["modelnet10", "modelnet40"])
def test_the_configurations_fit_the_app(root, tmp_path, config):
    small = ("--data.size", "32", "--data.views", "2", "--data.train_views", "2", "--data.batch_size", "4")
    tiny = ("--model.weights", "none", "--model.widths", "[8, 4]", "--trainer.max_epochs", "1")
    app("fit", root, tmp_path, *small, *tiny, "--trainer.limit_train_batches", "1", config=config)
    assert (tmp_path / "version_0/results.json").is_file()
