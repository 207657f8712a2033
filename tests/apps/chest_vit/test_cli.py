"""The app through its command line, as a user runs it: real processes, real files."""

import inspect
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from apps.chest_vit.__main__ import main
from apps.chest_vit.data import RetrievalData
from apps.chest_vit.model import CHEST
from tests.apps.options import assert_options_win

ROOT = Path(__file__).parents[3]
SMOKE = ROOT / "apps/chest_vit/configs/smoke.yaml"


def app(*arguments: object, folder: Path, check: bool = True) -> subprocess.CompletedProcess:
    done = subprocess.run(
        [sys.executable, "-m", "apps.chest_vit", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def tree(tree) -> Path:
    """With one image that is broken."""
    (tree / "class-00" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    return tree


ENDLESS = ("--data.classes_per_batch", "3", "--data.steps", "3", "--trainer.max_epochs", "100000")
TINY = ("--data.size", 32, "--data.steps", 2, "--data.classes_per_batch", 3, "--trainer.max_epochs", 1)


@pytest.fixture(scope="module")
def finished(tree, tmp_path_factory) -> tuple[Path, str]:
    """A finished run on the small tree: its folder and what it printed."""
    folder = tmp_path_factory.mktemp("run")
    done = app("fit", "--config", SMOKE, "--data.root", tree, *TINY, folder=folder)
    return folder / "runs/version_0", done.stdout + done.stderr


def test_the_packaged_images_run_through(tmp_path):
    done = app("fit", "--config", SMOKE, folder=tmp_path)
    results = json.loads((tmp_path / "runs/version_0/results.json").read_text())
    assert list(results["scores"]) == ["raw pixels", "frozen backbone", "E", "H"]
    assert 25 < results["scores"]["raw pixels"]["Recall@1"] < 35  # the images are what they should be
    assert "test classes are unseen" in results["facts"]["classes"]
    assert "validation Recall@1" in done.stdout and "MAP@R" in done.stdout


def test_a_run_leaves_its_table_report_logs_and_checkpoints(finished):
    folder, output = finished
    for name in ("results.json", "report.html", "metrics.csv", "config.yaml", "checkpoints/best.ckpt"):
        assert (folder / name).stat().st_size > 0
    assert re.search(r"│ +H +│", output) and "frozen backbone" in output
    assert "broken.png" in output  # reported by its path, not fatal
    header = (folder / "metrics.csv").read_text().splitlines()[0]
    assert {"val/radius/clipped", "val/radius/p05", "val/radius/p95"} <= set(header.split(","))


def test_a_checkpoint_is_plain_data_and_tests_to_the_same_scores(finished, tree):
    folder, _ = finished
    checkpoint = folder / "checkpoints/best.ckpt"
    torch.load(checkpoint, weights_only=True)
    app("test", "--config", folder / "config.yaml", "--ckpt_path", checkpoint, folder=folder.parents[1])
    first, second = (json.loads((folder.parent / f"version_{k}/results.json").read_text()) for k in (0, 1))
    assert first["scores"] == second["scores"]


@pytest.mark.filterwarnings("ignore")  # Lightning's; a user's process shows or hides them by its own rules
def test_options_beside_a_checkpoint_win_or_are_refused(finished, tmp_path):
    assert_options_win(main, finished[0], tmp_path, "--model.dim", "24")


@pytest.mark.filterwarnings("ignore")
def test_a_curvature_that_is_given_and_classes_that_are_others_need_no_training(finished, tree, tmp_path):
    words = ("--ckpt_path", str(finished[0] / "checkpoints/best.ckpt"), "--out", str(tmp_path / "runs"))
    main(["predict", *words, "--model.c", "5"])
    with safe_open(tmp_path / "runs/version_0/embeddings.safetensors", "pt") as file:
        assert file.metadata()["c"] == "5.0"
    for label in range(8):  # 4 train and 4 are tested; the run had more
        (tmp_path / "fewer").mkdir(exist_ok=True)
        shutil.copytree(tree / f"class-{label:02}", tmp_path / f"fewer/class-{label:02}")
    main(["test", *words, "--data.root", str(tmp_path / "fewer"), "--data.validation", "0"])
    found = json.loads((tmp_path / "runs/version_1/results.json").read_text())
    assert found["facts"]["classes"].startswith("train 4, ")


def test_a_checkpoint_that_would_run_code_is_refused(finished, tmp_path):
    class Bomb:
        def __reduce__(self):
            return Path.touch, (tmp_path / "it ran",)

    torch.save({"state_dict": Bomb()}, tmp_path / "bomb.ckpt")
    config = finished[0] / "config.yaml"
    done = app("test", "--config", config, "--ckpt_path", tmp_path / "bomb.ckpt", folder=tmp_path, check=False)
    assert done.returncode != 0 and not (tmp_path / "it ran").exists()


def test_the_same_seed_gives_the_same_run(finished, tree, tmp_path):
    folder, _ = finished
    app("fit", "--config", SMOKE, "--data.root", tree, *TINY, folder=tmp_path)
    first, second = (json.loads((run / "results.json").read_text()) for run in (folder, tmp_path / "runs/version_0"))
    assert first["scores"] == second["scores"]


def test_ctrl_c_leaves_a_checkpoint_to_go_on_from(tree, tmp_path):
    with subprocess.Popen(
        [
            sys.executable,
            "-m",
            "apps.chest_vit",
            "fit",
            "--config",
            SMOKE,
            "--data.root",
            tree,
            "--data.classes_per_batch",
            "3",
            "--data.steps",
            "3",
            "--trainer.max_epochs",
            "100000",
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # A shell starts its background jobs with SIGINT ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        output = ""
        for line in process.stdout:
            output += line
            if line.startswith("epoch 2/"):
                process.send_signal(signal.SIGINT)
                break
        output += process.stdout.read()
        assert process.wait(timeout=60) == 128 + signal.SIGINT
        assert "stopped at step" in output and "Traceback" not in output, output
    checkpoint = tmp_path / "runs/version_0/checkpoints/last.ckpt"
    saved = torch.load(checkpoint, weights_only=True)
    assert saved["global_step"] >= 6
    epochs = saved["epoch"] + 3
    config = tmp_path / "runs/version_0/config.yaml"
    app("fit", "--config", config, "--trainer.max_epochs", epochs, "--ckpt_path", checkpoint, folder=tmp_path)
    last = torch.load(tmp_path / "runs/version_1/checkpoints/last.ckpt", weights_only=True)
    assert last["global_step"] > saved["global_step"]


def test_help_explains_every_option(tmp_path):
    text = " ".join(app("fit", "--help", folder=tmp_path).stdout.split())
    for group, owner in (("model", CHEST), ("data", RetrievalData)):
        explained = dict(re.findall(r"^        (\w+): (\S+ \S+ \S+)", owner.__doc__, flags=re.M))
        for name in set(inspect.signature(owner).parameters) - {
            "num_classes",
            "seed",
            "queue",
            "class_tree",
        }:  # linked, so not options
            assert re.search(rf"--{group}\.{name} .{{0,300}}{re.escape(explained[name])}", text), name


@pytest.mark.filterwarnings("ignore")  # Lightning's; a user's process shows or hides them by its own rules
@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ("nowhere", ("--data.root", "nowhere")),
        ("timm has no backbone 'vit_smol'", ("--model.backbone", "vit_smol")),
        ("τ = 0.5 with centers_per_class = 1", ("--model.centers_per_class", "1")),
        ("classes_per_batch = 1: a batch needs at least 2 classes", ("--data.classes_per_batch", "1")),
        ("--data.size = 0; expected", ("--data.size", "0")),
        ("no/such.pth", ("--model.weights", "no/such.pth")),
        ("EMPTY", ("--data.root", "EMPTY")),
    ],
)
def test_a_mistake_gets_one_clear_line(tree, tmp_path, monkeypatch, message, arguments):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "EMPTY").mkdir()
    with pytest.raises(SystemExit) as exit:
        main(["fit", "--config", str(SMOKE), "--data.root", str(tree), *map(str, TINY), *arguments])
    assert re.match(rf"error: [^\n]*{re.escape(message)}[^\n]*$", str(exit.value))


def test_classes_of_one_image_are_counted(tree, tmp_path):
    root = tmp_path / "few"
    for folder in tree.iterdir():
        (root / folder.name).mkdir(parents=True)
        for path in sorted(folder.glob("[0-3].png"))[: 1 if folder.name < "class-05" else 3]:
            (root / folder.name / path.name).write_bytes(path.read_bytes())
    app("fit", "--config", SMOKE, "--data.root", root, *TINY, folder=tmp_path)
    assert "test classes have one image" in (tmp_path / "runs/version_0/report.html").read_text()
