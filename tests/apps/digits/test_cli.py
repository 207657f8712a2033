"""The app through its command line, on a small folder in MNIST's layout: real files, real runs."""

import csv
import json
import pickle
import re
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from apps.compare.harness import Trial
from apps.datasets import cifar10
from apps.digits.__main__ import main
from apps.digits.data import DigitBatch, DigitsData
from apps.digits.experiment import CANDIDATES, OF_MODEL, DigitsExperiment
from apps.digits.model import Digits
from tests.apps.options import assert_options_win

CONFIGS = Path(__file__).parents[3] / "apps/digits/configs"
pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's; a user's process shows or hides them by its own rules


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """Digits that are bars at ten heights, with noise."""
    folder = tmp_path_factory.mktemp("idx")
    for part, count in (("train", 300), ("t10k", 100)):
        rng = np.random.default_rng(count)
        labels = np.arange(count) % 10
        pixels = rng.integers(0, 60, (count, 28, 28), dtype=np.uint8)
        for row, label in zip(pixels, labels, strict=True):
            row[2 * label + 3 : 2 * label + 6] += 150
        (folder / f"{part}-images-idx3-ubyte").write_bytes(
            struct.pack(">4B3I", 0, 0, 8, 3, count, 28, 28) + pixels.tobytes()
        )
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(
            struct.pack(">4BI", 0, 0, 8, 1, count) + labels.astype(np.uint8).tobytes()
        )
    return folder


def app(command, root, folder, *arguments, config="smoke"):
    main(
        [
            command,
            "--config",
            str(CONFIGS / f"{config}.yaml"),
            "--data.root",
            str(root),
            "--out",
            str(folder),
            *arguments,
        ]
    )


@pytest.fixture(scope="module")
def finished(root, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    app("fit", root, folder)
    return folder / "version_0"


def test_a_run_leaves_its_scores_report_and_checkpoints(finished):
    found = json.loads((finished / "results.json").read_text())
    assert list(found["scores"]) == ["raw pixels", "untrained network", "trained network"]
    assert set(found["scores"]["trained network"]) == {"Recall@1", "FT", "ST", "E", "DCG", "mAP", "kNN", "SVM"}
    assert found["scores"]["trained network"]["mAP"] > found["scores"]["untrained network"]["mAP"]
    assert found["facts"]["images"].startswith("train 200, validation 100, test 100")
    for name in ("report.html", "metrics.csv", "config.yaml", "checkpoints/best.ckpt", "checkpoints/last.ckpt"):
        assert (finished / name).stat().st_size > 0
    header = (finished / "metrics.csv").read_text().splitlines()[0]
    assert {"plan/entropy", "plan/positive_mass", "val/mAP"} <= set(header.split(","))


def test_options_beside_a_checkpoint_win_or_are_refused(finished, tmp_path):
    assert_options_win(main, finished, tmp_path, "--model.widths", "[24, 12]")


def test_a_checkpoint_tests_to_the_same_scores_and_predicts(finished, root, tmp_path):
    checkpoint = finished / "checkpoints/best.ckpt"
    torch.load(checkpoint, weights_only=True)
    main(["test", "--config", str(finished / "config.yaml"), "--ckpt_path", str(checkpoint), "--out", str(tmp_path)])
    first, second = (json.loads((run / "results.json").read_text()) for run in (finished, tmp_path / "version_0"))
    assert first["scores"] == second["scores"]
    main(["predict", "--config", str(finished / "config.yaml"), "--ckpt_path", str(checkpoint), "--out", str(tmp_path)])
    with np.load(tmp_path / "version_1/embeddings.npz", allow_pickle=False) as found:
        assert found["embeddings"].shape == (100, 16)
        assert np.array_equal(found["labels"], np.arange(100) % 10)


def test_the_same_seed_gives_the_same_run_and_resuming_goes_on(finished, root, tmp_path):
    app("fit", root, tmp_path)
    first, second = (json.loads((run / "results.json").read_text()) for run in (finished, tmp_path / "version_0"))
    assert first["scores"] == second["scores"]
    app("fit", root, tmp_path, "--trainer.max_epochs", "1")
    app("fit", root, tmp_path, "--ckpt_path", str(tmp_path / "version_1/checkpoints/last.ckpt"))
    whole, resumed = (
        torch.load(tmp_path / f"version_{n}/checkpoints/last.ckpt", weights_only=True)["state_dict"] for n in (0, 2)
    )
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)  # bitwise


COMPARE = ("--candidates", "[transport,n_pairs]", "--seeds", "2", "--budget", "2", "--search_steps", "3")


def test_compare_writes_its_tables_and_goes_on(root, tmp_path, capsys):
    arguments = (*COMPARE, "--moments", "[2]", "--folder", str(tmp_path / "compare"), "--reference", "n_pairs")
    app("compare", root, tmp_path, *arguments)
    assert len(list((tmp_path / "compare").rglob("*.json"))) == 2 * (2 + 2)
    with (tmp_path / "compare/results.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert {(line["candidate"], line["seed"]) for line in lines} == {
        (n, s) for n in ("transport", "n_pairs") for s in "01"
    }
    assert [
        line["step"] for line in lines if (line["candidate"], line["seed"], line["score"]) == ("n_pairs", "0", "mAP")
    ] == [
        "2",
        "6",
        "12",
    ]
    assert "mAP above n_pairs" in capsys.readouterr().out
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "compare").rglob("*.json")}
    app("compare", root, tmp_path, *arguments)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "compare").rglob("*.json")} == before


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ("is missing, with and without .gz", ("fit", "--data.root", "nowhere")),
        ("data_batch_1 is missing", ("fit", "--data.name", "cifar10")),
        ("--data.batch_size = 1; expected at least 2", ("fit", "--data.batch_size", "1")),
        ("batches of 5000 images from 200", ("fit", "--data.batch_size", "5000")),
        ("loss 'transport' has no setting 'margn'", ("fit", "--model.loss_args", "{margn: 1}")),
        ("there is no candidate 'tripplet'", ("compare", "--candidates", "[tripplet]")),
        ("--model.lr = -1", ("fit", "--model.lr", "-1")),
        ("too small for two convolutions", ("fit", "--data.root", "TINY")),
    ],
)
def test_a_mistake_gets_one_clear_line(root, tmp_path, monkeypatch, message, arguments):
    monkeypatch.chdir(tmp_path)
    tiny = tmp_path / "TINY"
    tiny.mkdir()
    for part in ("train", "t10k"):
        (tiny / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">4B3I", 0, 0, 8, 3, 300, 9, 9) + bytes(300 * 81))
        (tiny / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">4BI", 0, 0, 8, 1, 300) + bytes(range(10)) * 30)
    with pytest.raises(SystemExit) as exit:
        app(arguments[0], root, tmp_path, *arguments[1:])
    assert re.match(rf"error: [^\n]*{re.escape(message)}[^\n]*$", str(exit.value))


def test_what_diverges_says_so(root, tmp_path):
    with pytest.raises(
        SystemExit, match=r"^error: training diverged before step \d+: .* lower --model\.lr, or set [^\n]*$"
    ):
        app("fit", root, tmp_path, "--model.optimizer", "sgd", "--model.lr", "1e6")


@pytest.mark.parametrize("config", ["mnist", "fashion_mnist", "paper"])
def test_the_configurations_fit_the_app(root, tmp_path, config):
    small = ("--data.limit", "200", "--data.validation", "50", "--data.batch_size", "50", "--trainer.max_epochs", "1")
    app("fit", root, tmp_path, *small, config=config)
    assert (tmp_path / "version_0/results.json").is_file()


def test_cifar10_runs_through(tmp_path):
    rng = np.random.default_rng(0)
    for name in (*cifar10.TRAIN, cifar10.TEST):
        labels = np.arange(40) % 10
        data = (rng.integers(0, 40, (40, 3072)) + 20 * labels[:, None]).astype(np.uint8)
        (tmp_path / name).write_bytes(pickle.dumps({b"data": data, b"labels": labels.tolist()}, protocol=2))
    names = [f"class {n}".encode() for n in range(10)]
    (tmp_path / cifar10.META).write_bytes(pickle.dumps({b"label_names": names}, protocol=2))
    small = ("--data.validation", "50", "--data.batch_size", "50", "--trainer.max_epochs", "2")
    app("fit", tmp_path, tmp_path / "runs", *small, config="cifar10")
    found = json.loads((tmp_path / "runs/version_0/results.json").read_text())
    assert found["facts"]["images"].startswith("train 150, validation 50, test 40")


def test_every_candidate_trains_and_all_have_as_many_settings(root):
    data = DigitsData(root=str(root), validation=100, batch_size=20)
    model = Digits(data.shape, data.mean, data.std, widths=(8,))
    experiment = DigitsExperiment(model, data, 1, torch.device("cpu"), None)
    sizes = {name: int(np.prod([len(values) for values in space.values()])) for name, space in CANDIDATES.items()}
    assert set(sizes.values()) == {16}
    for name, space in experiment.candidates.items():
        loss = {setting: values[-1] for setting, values in space.items() if setting not in OF_MODEL}
        made = Digits(
            data.shape, data.mean, data.std, loss=space.get("loss", [name])[0], loss_args=loss, two_batches=True
        )
        batch = data.parts["train"].of(torch.arange(20))
        assert bool(made.loss(**made.pairs(DigitBatch(batch.pixels, batch.labels))).isfinite())


def test_what_diverges_in_a_comparison_scores_nothing(root):
    data = DigitsData(root=str(root), validation=100, batch_size=20)
    experiment = DigitsExperiment(
        Digits(data.shape, data.mean, data.std, optimizer="sgd"), data, 1, torch.device("cpu"), None
    )
    history = list(experiment.train(Trial("uniform", {"lr": 1e9}, 0, "final", (2, 9), None)))
    assert [evaluation.step for evaluation in history] == [2, 9, 10]
    assert np.isnan(history[-1].scores["mAP"])
