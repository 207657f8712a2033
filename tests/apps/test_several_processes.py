"""In every app: two processes that share each batch compute the losses, gradients and scores of one."""

import csv
import json
from pathlib import Path

import pytest
import torch

from tests.apps.processes import finish, ranks, start
from tests.apps.small_data import DATA, command

# What each process draws for its part of a batch (views, points and their noise) is left out: all views, all points.
SAME: dict[str, tuple[object, ...]] = {
    "chest_vit": (),
    "digits": (),
    "multimodal": ("--data.train_views", 4, "--data.train_points", 32, "--data.jitter", 0, "--data.scale", 0),
    "shape3d": ("--data.train_views", 4, "--model.frozen", 5),
    "sketch": ("--model.shape_frozen", 5),
    "taxonomy": (),
}
OGM_GE = ("--model.method", "ogm_ge")  # with noise of its own
CHEST = ("--model.space", "hyperbolic", "--model.loss", "chest", "--model.loss_args", "{tau: 0.5}")  # with triplets
CASES = [("digits", ()), ("multimodal", ()), ("multimodal", OGM_GE), ("shape3d", ()), ("shape3d", CHEST)]
CASES += [("sketch", ()), ("taxonomy", ())]
CASES += [("chest_vit", ("--model.class_sample", 0.7, "--model.class_others", kind)) for kind in ("random", "nearest")]


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> dict[str, str]:
    return {"GEOMDML_DATA": str(tmp_path_factory.mktemp("cache"))}


def first_update(run: Path) -> list[torch.Tensor]:
    """The first state of each weight: after one step the gradient of the whole batch, or a share of it."""
    saved = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    assert saved["global_step"] == 1
    states = [state for optimizer in saved["optimizer_states"] for state in optimizer["state"].values()]
    names = ("exp_avg", "momentum_buffer", "mean")
    return [next(state[name] for name in names if state.get(name) is not None) for state in states]


@pytest.mark.parametrize(("app", "options"), CASES, ids=lambda value: value if isinstance(value, str) else "")
def test_two_processes_are_one(app, options, cache, tmp_path):
    """After one step: gradients to 1e-4 of the norm of all; losses and scores to 1e-4, in float32."""
    data = tmp_path / "data"
    data.mkdir()
    root = DATA[app][0](data)
    one_step = ("--trainer.max_steps", 1, "--trainer.log_every_n_steps", 1, "--checkpoint_every", 1)
    words = command(app, "fit", root, *SAME[app], *options, *one_step)
    one = finish(*words, app=app, folder=tmp_path, environment=cache)
    together, folder = ("--trainer.strategy", "ddp", "--trainer.devices", 2), tmp_path / "two"
    folder.mkdir()
    parts = [start(*words, *together, app=app, folder=folder, environment=cache | rank) for rank in ranks(2)]
    for part in parts:
        part.join(300)
    assert [part.exitcode for part in parts] == [0, 0], (folder / "output.txt").read_text()
    two = folder / "runs/version_0"
    assert [path.name for path in two.parent.iterdir()] == ["version_0"]

    ours, theirs = first_update(one), first_update(two)
    whole = torch.stack([gradient.norm() for gradient in ours]).norm()
    assert whole > 0 and len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        assert float((mine - other).norm()) <= 1e-4 * float(whole)
    logs = [list(csv.DictReader((run / "metrics.csv").read_text().splitlines())) for run in (one, two)]
    assert len(logs[0]) == len(logs[1])
    for mine, other in zip(*logs, strict=True):
        for name, value in mine.items():
            assert value == other[name] or float(other[name]) == pytest.approx(float(value), rel=1e-4, abs=1e-4), name
    scores = [json.loads((run / "results.json").read_text())["scores"] for run in (one, two)]
    assert scores[0].keys() == scores[1].keys()
