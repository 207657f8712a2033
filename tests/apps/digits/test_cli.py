"""The app through its command line, on a small folder in MNIST's layout: real files, real runs."""

import csv
import pickle
import struct

import numpy as np
import pytest
import torch

from apps.compare.harness import Trial
from apps.datasets import cifar10
from apps.digits.__main__ import main
from apps.digits.data import DigitBatch, DigitsData
from apps.digits.experiment import CANDIDATES, OF_MODEL, DigitsExperiment
from apps.digits.model import Digits
from tests.apps.command_line import App, assert_complete, assert_same_weights, results
from tests.apps.options import assert_options_win

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's; a user's process shows or hides them by its own rules
app = App("digits")


def test_a_run_leaves_its_scores_report_and_checkpoints(finished):
    assert_complete(finished)
    found = results(finished)
    assert list(found["scores"]) == ["raw pixels", "untrained network", "trained network"]
    assert set(found["scores"]["trained network"]) == {"Recall@1", "FT", "ST", "E", "DCG", "mAP", "kNN", "SVM"}
    assert found["scores"]["trained network"]["mAP"] > found["scores"]["untrained network"]["mAP"]
    assert found["facts"]["images"].startswith("train 200, validation 100, test 100")
    header = (finished / "metrics.csv").read_text().splitlines()[0]
    assert {"plan/entropy", "plan/positive_mass", "val/mAP"} <= set(header.split(","))


def test_options_beside_a_checkpoint_win_or_are_refused(finished, tmp_path):
    assert_options_win(main, finished, tmp_path, "--model.widths", "[24, 12]")


def test_a_checkpoint_tests_to_the_same_scores_and_predicts(finished, tmp_path):
    app.assert_tests_to_the_same_scores(finished, tmp_path)
    app.after("predict", finished, tmp_path)
    with np.load(tmp_path / "version_1/embeddings.npz", allow_pickle=False) as found:
        assert found["embeddings"].shape == (100, 16)
        assert np.array_equal(found["labels"], np.arange(100) % 10)


def test_the_same_seed_gives_the_same_run_and_resuming_goes_on(finished, root, tmp_path):
    app("fit", root, tmp_path)
    assert results(tmp_path / "version_0")["scores"] == results(finished)["scores"]
    app("fit", root, tmp_path, "--trainer.max_epochs", "1")
    app("fit", root, tmp_path, "--ckpt_path", str(tmp_path / "version_1/checkpoints/last.ckpt"))
    assert_same_weights(tmp_path / "version_0", tmp_path / "version_2")


def test_compare_writes_its_tables_and_goes_on(root, tmp_path, capsys):
    app.assert_compares(capsys, root, tmp_path, "transport", "n_pairs", "--search_steps", "3", "--moments", "[2]")
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


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("fit --data.root nowhere", "is missing, with and without .gz"),
        ("fit --data.name cifar10", "data_batch_1 is missing"),
        ("fit --data.batch_size 1", "--data.batch_size = 1; expected at least 2"),
        ("fit --data.batch_size 5000", "batches of 5000 images from 200"),
        ("fit --model.loss_args '{margn: 1}'", "loss 'transport' has no setting 'margn'"),
        ("compare --candidates [tripplet]", "there is no candidate 'tripplet'"),
        ("fit --model.lr -1", "--model.lr = -1"),
        ("fit --data.root TINY", "too small for two convolutions"),
    ],
)
def test_a_mistake_gets_one_clear_line(root, tmp_path, monkeypatch, line, message):
    monkeypatch.chdir(tmp_path)
    tiny = tmp_path / "TINY"
    tiny.mkdir()
    for part in ("train", "t10k"):
        (tiny / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">4B3I", 0, 0, 8, 3, 300, 9, 9) + bytes(300 * 81))
        (tiny / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">4BI", 0, 0, 8, 1, 300) + bytes(range(10)) * 30)
    app.assert_refused(line, message, root, tmp_path)


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
    found = results(tmp_path / "runs/version_0")
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
