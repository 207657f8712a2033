"""One of three processes is killed, for real: the others end with one line, and two go on where the three were."""

import csv
import json
import time
from pathlib import Path

import pytest
import torch

from tests.apps.processes import finish, ranks, start
from tests.apps.small_data import command, images

SECONDS = 30  # in which the others end
EPOCHS = ("--checkpoint_every", 2, "--trainer.max_epochs", 2, "--trainer.log_every_n_steps", 1)


@pytest.fixture(scope="module")
def fit(tmp_path_factory) -> tuple[object, ...]:
    """Two epochs of three steps, of batches that two processes can divide and three."""
    data = images(tmp_path_factory.mktemp("data"))
    return command("chest_vit", "fit", data, *EPOCHS, "--data.classes_per_batch", 3, "--data.per_class", 4)


def together(count: int, *words: object, folder: Path, strikes: dict[int, str] | None = None, step: int = 0) -> list:
    """So many processes of a run, some of which are struck at a step."""
    parallel = (*words, "--trainer.strategy", "ddp", "--trainer.devices", count)
    struck = strikes or {}
    return [
        start(*parallel, folder=folder, environment=environment, strike=struck.get(rank, ""), step=step)
        for rank, environment in enumerate(ranks(count))
    ]


def said(folder: Path, rank: int) -> list[str]:
    """The lines in which a process says that it ends."""
    output = (folder / (f"output-{rank}.txt" if rank else "output.txt")).read_text()
    assert "Traceback" not in output
    return [line for line in output.splitlines() if "error" in line or "stopped" in line]


@pytest.mark.parametrize(("killed", "asleep"), [(0, 1), (2, 0)])
def test_the_others_end_with_one_line_each(fit, tmp_path, killed, asleep):
    """Whether they wait for the killed one, as one of them does, or are busy with something else, as the other is."""
    strikes = {killed: "SIGKILL", asleep: "sleep"}
    processes = together(3, *fit, folder=tmp_path, strikes=strikes, step=4)
    processes[killed].join(300)
    assert processes[killed].exitcode == -9, said(tmp_path, killed)
    deadline = time.monotonic() + SECONDS
    for rank in {0, 1, 2} - {killed}:
        processes[rank].join(max(0, deadline - time.monotonic()))
        assert processes[rank].exitcode == 1
        (line,) = said(tmp_path, rank)
        assert line.startswith("error: another process of this run has ended, and this one with it")
        assert "of step 3. Go on with: fit --config runs/version_0/config.yaml --ckpt_path runs/version_0/ch" in line


OPTIONS = {
    "the classes are divided": ("--model.shard_classes", "true"),
    "a part of the classes": ("--model.class_sample", 0.7, "--model.class_others", "random"),
    "pairs with earlier batches": ("--model.loss", "pairwise_cross_entropy", "--model.tau", 0, "--data.queue", 30),
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_two_go_on_where_three_were(fit, tmp_path, options):
    """Their losses are those of one process that nothing befell, to 1e-4 after six steps in float32."""
    alone, three = tmp_path / "alone", tmp_path / "three"
    for folder in (alone, three):
        folder.mkdir()
    one = finish(*fit, *options, folder=alone)
    for process in together(3, *fit, *options, folder=three, strikes={1: "SIGKILL"}, step=4):
        process.join(300)
    two = together(2, *fit, *options, "--ckpt_path", "last", folder=three)
    for process in two:
        process.join(300)
    assert [process.exitcode for process in two] == [0, 0], (three / "output.txt").read_text()
    ours, theirs = (losses(run) for run in (one, three / "runs/version_1"))
    assert len(ours) == 6 and theirs == pytest.approx(ours, rel=1e-4)
    assert json.loads((three / "runs/version_1/results.json").read_text())["scores"]
    states = [last(run)["state_dict"] for run in (one, three / "runs/version_1")]
    assert {name: value.shape for name, value in states[0].items()} == {n: v.shape for n, v in states[1].items()}
    memories = [name for name in states[0] if name.endswith(("hyperbolic.embeddings", "euclidean.embeddings"))]
    assert len(memories) == 2 * ("--data.queue" in options)
    for name in memories:
        assert states[0][name].any(1).all() and torch.allclose(states[0][name], states[1][name], atol=1e-2)


def losses(run: Path) -> list[float]:
    """Those of the steps."""
    rows = csv.DictReader((run / "metrics.csv").read_text().splitlines())
    return [float(row["loss/total"]) for row in rows if row["loss/total"]]


def last(run: Path) -> dict:
    return torch.load(run / "checkpoints/last.ckpt", weights_only=True)
