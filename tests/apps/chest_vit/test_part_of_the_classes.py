"""Training with part of the classes a step, and with the classes divided among processes."""

import json
import re
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest
import torch

from apps.chest_vit.own_proxies import clip_gradients
from geomdml.losses import SoftTripleLoss
from tests.apps.processes import finish, ranks, run, start

SMOKE = Path(__file__).parents[3] / "apps/chest_vit/configs/smoke.yaml"
SMALL = ("--data.steps", 3, "--data.classes_per_batch", 3, "--data.per_class", 2, "--data.validation", 0)
SMALL += ("--checkpoint_every", 1, "--trainer.log_every_n_steps", 1, "--trainer.max_epochs", 1)
SMALL += ("--trainer.accelerator", "cpu", "--trainer.gradient_clip_val", 0.1)
TOGETHER = ("--trainer.strategy", "ddp", "--trainer.devices")


@pytest.fixture(scope="module")
def fit(tree):
    return ("fit", "--config", SMOKE, "--data.root", tree, *SMALL)


def last(run: Path) -> dict:
    return torch.load(run / "checkpoints/last.ckpt", weights_only=True)


def assert_same_training(ours: Path, theirs: Path) -> None:
    """Weights and states of the optimiser after the last step, to 1e-3 of their norm: float32, Adam's first steps."""
    mine, other = last(ours), last(theirs)
    assert mine["global_step"] == other["global_step"] == 3
    assert mine["state_dict"].keys() == other["state_dict"].keys()
    for name, value in other["state_dict"].items():
        assert float((mine["state_dict"][name] - value).norm()) <= 1e-3 * float(value.norm()), name
    states = [saved["optimizer_states"][0]["state"] for saved in (mine, other)]
    assert states[0].keys() == states[1].keys()
    for number, state in states[1].items():
        assert {name: getattr(value, "shape", None) for name, value in state.items()} == {
            name: getattr(value, "shape", None) for name, value in states[0][number].items()
        }


def start_together(
    count: int, *words: object, folder: Path, strikes: Mapping[int, str] = MappingProxyType({}), step: int = 0
):
    return [
        start(*words, *TOGETHER, count, folder=folder, environment=rank, strike=strikes.get(index, ""), step=step)
        for index, rank in enumerate(ranks(count))
    ]


def test_a_killed_process_ends_the_others_and_the_run_goes_on_with_two(fit, tmp_path):
    """Three with a third of the classes each; the last is killed in step 2. Two end what one process would have."""
    options = ("--model.shard_classes", "true", "--model.tau", 0.5)
    one = tmp_path / "one"
    one.mkdir()
    whole = finish(*fit, folder=one)
    running = start_together(3, *fit, *options, folder=tmp_path, strikes={2: "SIGKILL"}, step=2)
    running[2].join(200)
    killed = time.monotonic()
    for process in running:
        process.join(30)
    assert [process.exitcode for process in running] == [1, 1, -signal.SIGKILL], time.monotonic() - killed
    output = (tmp_path / "output.txt").read_text()
    assert "Traceback" not in output and re.search(
        r"^error: another process of this run has ended[^\n]*$", output, re.M
    )
    assert "Go on with: fit" in output

    running = start_together(2, *fit, *options, "--ckpt_path", "last", folder=tmp_path)
    for process in running:
        process.join(300)
    assert [process.exitcode for process in running] == [0, 0], (tmp_path / "output.txt").read_text()
    assert_same_training(tmp_path / "runs/version_1", whole)
    # one process reads what two have written, with the classes divided or not
    best = tmp_path / "runs/version_1/checkpoints/best.ckpt"
    scores = []
    for shard in ("true", "false"):
        words = ("test", "--ckpt_path", best, "--data.root", fit[4], "--model.shard_classes", shard)
        code, output = run(*words, "--out", f"runs-{shard}", folder=tmp_path)
        assert code == 0, output
        scores.append(json.loads((tmp_path / f"runs-{shard}/version_0/results.json").read_text())["scores"])
    assert scores[0] == scores[1]


@pytest.mark.parametrize("others", ["random", "nearest"])
def test_sampled_training_goes_on_bitwise_from_a_checkpoint(fit, others, tmp_path):
    words = (*fit, "--model.class_sample", 0.6, "--model.class_others", others)
    (whole := tmp_path / "whole").mkdir()
    theirs = last(finish(*words, folder=whole))
    code, output = run(*words, folder=tmp_path, strike="SIGTERM", step=2)
    assert code == 128 + signal.SIGTERM, output
    code, output = run(*words, "--ckpt_path", "last", folder=tmp_path)
    assert code == 0, output
    ours = last(tmp_path / "runs/version_1")
    assert any(name.endswith("sampler.means") for name in theirs["state_dict"]) == (others == "nearest")
    assert ours["global_step"] == theirs["global_step"] == 3
    for name, value in theirs["state_dict"].items():
        assert torch.equal(ours["state_dict"][name], value), name


def test_gradients_are_clipped_by_the_norm_of_all_of_them():
    loss = SoftTripleLoss(20, 4, sample=0.3)
    dense = torch.nn.Parameter(torch.zeros(3))
    (loss(torch.randn(2, 4), torch.tensor([1, 5])) + 3 * dense.sum()).backward()
    model = torch.nn.ModuleList([loss, torch.nn.ParameterList([dense])])
    before = [parameter.grad.to_dense().clone() for parameter in model.parameters()]
    copies = [torch.nn.Parameter(torch.zeros_like(gradient)) for gradient in before]
    for copy, gradient in zip(copies, before, strict=True):
        copy.grad = gradient.clone()
    for most in (1e6, 0.5):
        clip_gradients(model, most)
        torch.nn.utils.clip_grad_norm_(copies, most)
        for parameter, copy in zip(model.parameters(), copies, strict=True):
            torch.testing.assert_close(parameter.grad.to_dense(), copy.grad)


def test_fsdp_is_refused(fit, tmp_path):
    strategy = '{"class_path": "tests.apps.processes.ShardedOnCPU"}'
    words = ("--model.shard_classes", "true", "--trainer.strategy", strategy, "--trainer.devices", 1)
    code, output = run(*fit, *words, folder=tmp_path)
    assert code == 1 and re.search(r"^error: --trainer.strategy fsdp beside [^\n]+$", output, re.M), output
