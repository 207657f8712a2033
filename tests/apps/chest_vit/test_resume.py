"""Runs that are struck down in mid-epoch, for real, and go on: their numbers are those of an unbroken run."""

import io
import json
import signal
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from tests.apps.processes import finish, run

SMOKE = Path(__file__).parents[3] / "apps/chest_vit/configs/smoke.yaml"
# 2 epochs of 5 steps; checkpoints after steps 2, 4, 5 (validation), 6, 8 and 10 (validation).
SMALL = ("--data.steps", 5, "--data.classes_per_batch", 3, "--checkpoint_every", 2, "--data.validation", 0.3)
SMALL += ("--trainer.log_every_n_steps", 1, "--trainer.max_epochs", 2, "--trainer.accelerator", "cpu")


@pytest.fixture(scope="module")
def fit(tree):
    return ("fit", "--config", SMOKE, "--data.root", tree, *SMALL)


@pytest.fixture(scope="module")
def unbroken(fit, tmp_path_factory) -> Path:
    """The folder of a run that nothing befell."""
    return finish(*fit, folder=tmp_path_factory.mktemp("unbroken"))


def last(folder: Path, version: int) -> dict:
    return torch.load(folder / f"runs/version_{version}/checkpoints/last.ckpt", weights_only=True)


def test_killed_and_stopped_in_mid_epoch_it_ends_with_the_numbers_of_an_unbroken_run(fit, unbroken, tmp_path):
    """SIGTERM in step 1, SIGINT in step 3, SIGKILL in step 8, each time gone on from the last checkpoint."""
    code, output = run(*fit, folder=tmp_path, strike="SIGTERM", step=1)
    assert code == 128 + signal.SIGTERM and "stopped at step 1; the last checkpoint is of step 1" in output, output
    code, output = run(*fit, "--ckpt_path", "last", folder=tmp_path, strike="SIGINT", step=2)
    assert code == 128 + signal.SIGINT and "stopped at step 3; the last checkpoint is of step 3" in output, output
    code, output = run(*fit, "--ckpt_path", "last", folder=tmp_path, strike="SIGKILL", step=5)
    assert code == -signal.SIGKILL
    assert [last(tmp_path, version)["global_step"] for version in range(3)] == [1, 3, 6]  # of steps 6 and 7, 7 is lost
    code, output = run(*fit, "--ckpt_path", "last", folder=tmp_path)
    assert code == 0, output

    ours, theirs = last(tmp_path, 3), last(unbroken.parents[1], 0)
    assert ours["global_step"] == theirs["global_step"] == 10
    assert ours["state_dict"].keys() == theirs["state_dict"].keys()
    for name, value in theirs["state_dict"].items():
        assert torch.equal(ours["state_dict"][name], value), name
    for ours_of, theirs_of in zip(ours["optimizer_states"], theirs["optimizer_states"], strict=True):
        for index, state in theirs_of["state"].items():
            assert all(torch.equal(ours_of["state"][index][name], value) for name, value in state.items())
    assert ours["lr_schedulers"] == theirs["lr_schedulers"] and ours["callbacks"] == theirs["callbacks"]
    resumed = tmp_path / "runs/version_3"
    assert (resumed / "metrics.csv").read_text() == (unbroken / "metrics.csv").read_text()
    results = [json.loads((folder / "results.json").read_text()) for folder in (resumed, unbroken)]
    assert results[0] == results[1]


def tar(images: list[Path], path: Path) -> None:
    with tarfile.open(path.with_suffix(".tar"), "w") as archive:
        for image in images:
            member = tarfile.TarInfo(f"{image.parent.name}/{image.name}")
            member.size = image.stat().st_size
            archive.addfile(member, io.BytesIO(image.read_bytes()))


def parquet(images: list[Path], path: Path) -> None:
    rows = [{"bytes": image.read_bytes(), "path": image.name} for image in images]
    table = pa.table({"image": rows, "label": [image.parent.name for image in images]})
    pq.write_table(table, path.with_suffix(".parquet"), row_group_size=5)


@pytest.mark.parametrize(("write", "workers"), [(tar, 0), (parquet, 1)])
def test_killed_over_shards_it_goes_on_to_the_numbers_of_an_unbroken_run_over_their_files(
    write, workers, fit, tree, unbroken, tmp_path
):
    """Two files of the images, in their order; SIGKILL in step 8, in the middle of the second epoch."""
    (tmp_path / "shards").mkdir()
    images = sorted(tree.rglob("*.png"))
    write(images[:23], tmp_path / "shards/0")
    write(images[23:], tmp_path / "shards/1")
    words = (*fit, "--data.root", tmp_path / "shards", "--data.workers", workers)
    code, _ = run(*words, folder=tmp_path, strike="SIGKILL", step=8)
    assert code == -signal.SIGKILL and last(tmp_path, 0)["global_step"] == 6  # of steps 6 and 7, 7 is lost
    code, output = run(*words, "--ckpt_path", "last", folder=tmp_path)
    assert code == 0, output
    ours, theirs = last(tmp_path, 1), last(unbroken.parents[1], 0)
    assert ours["state_dict"].keys() == theirs["state_dict"].keys()
    assert all(torch.equal(ours["state_dict"][name], value) for name, value in theirs["state_dict"].items())
    logs = [(folder / "metrics.csv").read_text() for folder in (tmp_path / "runs/version_1", unbroken)]
    assert logs[0] == logs[1] and logs[0].count("\n") > 10


def test_a_finished_run_that_goes_on_has_nothing_to_do_but_its_test(fit, unbroken, tmp_path):
    checkpoint = unbroken / "checkpoints/last.ckpt"
    code, output = run(*fit, "--ckpt_path", checkpoint, folder=tmp_path)
    assert code == 0, output
    again = tmp_path / "runs/version_0"
    assert json.loads((again / "results.json").read_text()) == json.loads((unbroken / "results.json").read_text())
    assert (again / "metrics.csv").read_text() == (unbroken / "metrics.csv").read_text()


@pytest.mark.parametrize(
    ("strike", "options", "message"),
    [
        ("workers", ("--data.workers", 1), "error: a process that prepares images died"),
        ("disk", (), "last.ckpt could not be written: File too large; what was there before is whole"),
    ],
)
def test_what_ends_a_run_gets_one_line_and_leaves_its_checkpoint(fit, tmp_path, strike, options, message):
    code, output = run(*fit, *options, folder=tmp_path, strike=strike, step=3)
    assert code == 1 and "Traceback" not in output, output
    (error,) = [line for line in output.splitlines() if line.startswith("error:")]
    assert message in error
    assert "the last checkpoint is of step 2. Go on with: fit --config runs/version_0/config.yaml" in output
    assert last(tmp_path, 0)["global_step"] == 2
    assert not list(tmp_path.rglob("*.part*"))


def test_there_is_no_last_checkpoint_before_the_first_run(fit, tmp_path):
    code, output = run(*fit, "--ckpt_path", "last", folder=tmp_path)
    assert code == 1 and output.startswith("error: --ckpt_path last: no run in runs/"), output


def test_a_damaged_checkpoint_is_named(fit, tmp_path):
    (tmp_path / "half.ckpt").write_bytes(b"PK\x03\x04 and no more")
    code, output = run(*fit, "--ckpt_path", "half.ckpt", folder=tmp_path)
    assert code == 1 and output.startswith("error: 'half.ckpt' cannot be read: it is truncated"), output
