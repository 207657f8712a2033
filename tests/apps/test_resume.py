"""In every app: runs that are struck down within an epoch, for real, end with the numbers of an unbroken one."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.apps.processes import APPS, finish, run
from tests.apps.small_data import DATA, command


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> dict[str, str]:
    return {"GEOMDML_DATA": str(tmp_path_factory.mktemp("cache"))}


@pytest.fixture(scope="module", params=APPS)
def app(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def written() -> dict[Any, Path]:
    """The data sets that are there, by what wrote them: two apps share the meshes, and the cache of their views."""
    return {}


@pytest.fixture(scope="module")
def data(app, written, tmp_path_factory) -> Path:
    write = DATA[app][0]
    if write not in written:
        written[write] = write(tmp_path_factory.mktemp("data"))
    return written[write]


@pytest.fixture(scope="module")
def fit(app, data):
    """Two epochs of three steps or more, and a checkpoint after each step."""
    options = ("--checkpoint_every", 1, "--trainer.max_epochs", 2, "--trainer.log_every_n_steps", 1)
    return command(app, "fit", data, *options)


@pytest.fixture(scope="module")
def unbroken(app, fit, cache, tmp_path_factory) -> Path:
    return finish(*fit, app=app, folder=tmp_path_factory.mktemp("unbroken"), environment=cache)


def last(run: Path) -> dict[str, Any]:
    return torch.load(run / "checkpoints/last.ckpt", weights_only=True)


def equal(ours: Any, theirs: Any) -> bool:
    """Bitwise, within containers too."""
    if isinstance(theirs, torch.Tensor):
        return torch.equal(ours, theirs)
    if isinstance(theirs, dict):
        return ours.keys() == theirs.keys() and all(equal(ours[key], value) for key, value in theirs.items())
    if isinstance(theirs, list | tuple):
        return len(ours) == len(theirs) and all(map(equal, ours, theirs))
    return ours == theirs


def test_stopped_and_killed_within_epochs_a_run_ends_as_an_unbroken_one(app, fit, unbroken, cache, tmp_path):
    """By SIGTERM in its first step, by SIGINT in the second, and killed in the second step of the second epoch."""
    whole = last(unbroken)
    steps = whole["global_step"] // 2  # of an epoch
    assert whole["epoch"] == 1 and steps >= 3
    goes_on = (*fit, "--ckpt_path", "last")
    code, output = run(*fit, app=app, folder=tmp_path, strike="SIGTERM", step=1, environment=cache)
    assert code == 128 + signal.SIGTERM, output
    code, output = run(*goes_on, app=app, folder=tmp_path, strike="SIGINT", step=1, environment=cache)
    assert code == 128 + signal.SIGINT and "stopped at step 2; the last checkpoint is of step 2" in output, output
    code, output = run(*goes_on, app=app, folder=tmp_path, strike="SIGKILL", step=steps, environment=cache)
    assert code == -signal.SIGKILL
    runs = [tmp_path / f"runs/version_{version}" for version in range(4)]
    assert [last(each)["global_step"] for each in runs[:3]] == [1, 2, steps + 1]
    code, output = run(*goes_on, app=app, folder=tmp_path, environment=cache)
    assert code == 0 and "resumable" not in output, output

    resumed = last(runs[3])
    for part in ("global_step", "state_dict", "optimizer_states", "lr_schedulers", "callbacks"):
        assert equal(resumed[part], whole[part]), part
    assert (runs[3] / "metrics.csv").read_text() == (unbroken / "metrics.csv").read_text()
    results = [json.loads((folder / "results.json").read_text()) for folder in (runs[3], unbroken)]
    assert results[0] == results[1]
