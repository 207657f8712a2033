"""In every app: what is struck down, for real, goes on to the numbers of what is not, and leaves no part of a file."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.apps.processes import APPS, finish, run
from tests.apps.small_data import DATA, command
from tests.apps.small_disk import small_disk


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


STOPS = ("SIGTERM", "SIGINT", "SIGKILL")
# Two candidates of each study; a trial of the search, where there is one, has two steps.
ONE_SETTING = ("--budget", 1, "--search_steps", 2, "--moments", "[]", "--seeds", 1, "--trainer.max_epochs", 1)
STUDIES = [
    ("chest_vit", "ablate", "[H, E]", "SIGTERM"),
    ("chest_vit", "compare", "[SoftTriple, triplet]", "SIGKILL"),
    ("digits", "compare", "[transport, n_pairs]", "SIGINT"),
    ("multimodal", "compare", "[joint, points]", "SIGTERM"),
    ("shape3d", "compare", "[softmax, triplet]", "SIGKILL"),
    ("sketch", "compare", "[triplet, contrastive]", "SIGINT"),
]


@pytest.mark.parametrize(("app", "study", "candidates", "stop"), STUDIES, indirect=["app"])
def test_a_study_goes_on_with_the_trials_it_has(app, study, candidates, stop, data, cache, tmp_path):
    """Struck down within a trial, once some are done, a study ends with the scores of one that was not."""
    chosen = ("--candidates", candidates, *ONE_SETTING)

    def words(folder: str) -> tuple[object, ...]:
        return command(app, study, data, *chosen, "--folder", folder)

    code, output = run(*words("whole"), app=app, folder=tmp_path, environment=cache)
    assert code == 0, output
    struck = {"strike": stop, "step": 5}  # in the third trial, or the second where nothing is searched
    code, output = run(*words("struck"), app=app, folder=tmp_path, environment=cache, **struck)
    assert code == (-9 if stop == "SIGKILL" else 128 + signal.Signals[stop]), output
    assert "Traceback" not in output and not list(tmp_path.rglob("*.part*"))
    done = {path: path.stat().st_mtime_ns for path in (tmp_path / "struck").rglob("*.json")}
    code, output = run(*words("struck"), app=app, folder=tmp_path, environment=cache)
    assert code == 0, output
    assert done and {path: path.stat().st_mtime_ns for path in done} == done
    scores = [(tmp_path / folder / "results.csv").read_text() for folder in ("whole", "struck")]
    assert scores[0] == scores[1] and len(scores[0].splitlines()) > 2
    assert not (tmp_path / "runs").exists()  # a study is no run


@pytest.mark.parametrize("app", ["digits"], indirect=True)
def test_outside_of_training_a_signal_ends_the_process_at_once(app, unbroken, cache, tmp_path):
    words = ("test", "--config", unbroken / "config.yaml", "--ckpt_path", unbroken / "checkpoints/best.ckpt")
    for stop in ("SIGTERM", "SIGINT"):
        struck = {"strike": stop, "step": 1, "within": "apps.digits.model:Digits.test_step"}
        code, output = run(*words, app=app, folder=tmp_path, environment=cache, **struck)
        assert code == 128 + signal.Signals[stop] and "Traceback" not in output, output
        assert not list(tmp_path.rglob("results.json"))


WRITTEN = "apps.io.atomic:Aside.finish"  # a file is written, and has not yet its name
# What `predict` writes, and what strikes it.
PREDICTIONS = [
    ("chest_vit", STOPS, ("embeddings.safetensors", "embeddings.parquet")),
    ("digits", ("SIGTERM",), ("embeddings.npz",)),
    ("taxonomy", ("SIGINT",), ("embeddings.safetensors", "embeddings.parquet", "vectors.tsv", "metadata.tsv")),
]


@pytest.mark.parametrize(("app", "stops", "files"), PREDICTIONS, indirect=["app"])
def test_a_prediction_is_whole_or_not_there(app, stops, files, unbroken, cache, tmp_path):
    words = ("predict", "--config", unbroken / "config.yaml", "--ckpt_path", unbroken / "checkpoints/best.ckpt")
    for version, stop in enumerate(stops):
        code, output = run(*words, app=app, folder=tmp_path, strike=stop, step=1, within=WRITTEN, environment=cache)
        assert code == (-9 if stop == "SIGKILL" else 128 + signal.Signals[stop]), output
        folder = tmp_path / f"runs/version_{version}"
        assert folder.is_dir() and not any((folder / file).exists() for file in files)
        assert "Traceback" not in output and (stop == "SIGKILL" or not list(tmp_path.rglob("*.part*")))
    code, output = run(*words, app=app, folder=tmp_path, environment=cache)
    assert code == 0, output
    assert all((tmp_path / f"runs/version_{len(stops)}" / file).stat().st_size > 0 for file in files)


@pytest.mark.parametrize("app", ["chest_vit"], indirect=True)
def test_an_exported_network_is_whole_or_not_there(app, unbroken, cache, tmp_path):
    words = ("export", "--checkpoint", unbroken / "checkpoints/best.ckpt", "--to", "torch", "--out", "network.pt2")
    code, output = run(*words, app=app, folder=tmp_path, strike="SIGTERM", step=1, within=WRITTEN, environment=cache)
    assert code == 128 + signal.SIGTERM and "Traceback" not in output, output
    assert [path.name for path in tmp_path.iterdir()] == ["output.txt"]
    with small_disk(tmp_path / "disk", 40_960) as disk:
        code, output = run(*words[:-1], disk / "network.pt2", app=app, folder=tmp_path, environment=cache)
        assert code == 1 and "network.pt2 could not be written: No space left on device" in output, output
        assert not list(disk.iterdir())


@pytest.mark.parametrize("app", ["chest_vit"], indirect=True)
@pytest.mark.parametrize("batch", [1, 2])
def test_a_prediction_on_a_full_disk_gets_one_line_and_leaves_nothing(app, batch, unbroken, cache, tmp_path):
    words = ("predict", "--config", unbroken / "config.yaml", "--ckpt_path", unbroken / "checkpoints/best.ckpt")
    full = {"strike": "disk", "step": batch, "within": "apps.evaluation.embedding_files:Writer.add"}
    code, output = run(*words, "--data.eval_batch", 8, app=app, folder=tmp_path, environment=cache, **full)
    assert code == 1 and "Traceback" not in output, output
    [error] = [line for line in output.splitlines() if line.startswith("error:")]
    assert "runs/version_0/embeddings." in error and "could not be written: File too large" in error
    assert not [path for path in tmp_path.rglob("*") if "embeddings" in path.name]


@pytest.mark.parametrize("app", ["digits"], indirect=True)
def test_a_fit_that_has_no_room_to_begin_says_so(app, fit, cache, tmp_path):
    with small_disk(tmp_path / "disk", 4096):
        code, output = run(*fit, "--out", "disk", app=app, folder=tmp_path, environment=cache)
    assert code == 1 and "Traceback" not in output, output
    assert "error: a file could not be written: No space left on device; make room, or name another place" in output


@pytest.mark.parametrize("app", ["shape3d"], indirect=True)
def test_the_table_of_a_prediction_stays_until_the_next_is_whole(app, unbroken, data, cache, tmp_path):
    table = tmp_path / "predictions.csv"
    table.write_text("of last week")
    words = ("predict", "--ckpt_path", unbroken / "checkpoints/best.ckpt", "--meshes", data, "--out", table)
    between = {"step": 3, "within": "apps.shape3d.trained:Trained.outputs"}
    for stop in STOPS:
        code, output = run(*words, app=app, folder=tmp_path, strike=stop, environment=cache, **between)
        assert code == (-9 if stop == "SIGKILL" else 128 + signal.Signals[stop]), output
        assert table.read_text() == "of last week"
        assert "Traceback" not in output and (stop == "SIGKILL" or not list(tmp_path.glob(".*")))
    code, output = run(*words, app=app, folder=tmp_path, environment=cache)
    assert code == 0, output
    assert len(table.read_text().splitlines()) == 1 + 31


@pytest.mark.parametrize("app", ["shape3d"], indirect=True)
def test_rendering_goes_on_where_it_was(app, data, tmp_path):
    environment = {"GEOMDML_DATA": str(tmp_path / "cache")}
    words, kept = ("check", "--data.root", data, "--size", 16), {"SIGTERM": 5, "SIGINT": 10, "SIGKILL": 10}
    for stop in STOPS:  # each in the sixth shape that it renders; of those not yet on the disk a SIGKILL loses all
        struck = {"strike": stop, "step": 6, "within": "apps.shapes.store:Store.add"}
        code, output = run(*words, app=app, folder=tmp_path, environment=environment, **struck)
        assert code == (-9 if stop == "SIGKILL" else 128 + signal.Signals[stop]), output
        [index] = (tmp_path / "cache").rglob("index.jsonl")
        assert "Traceback" not in output and len(index.read_text().splitlines()) == 1 + kept[stop]
    code, output = run(*words, app=app, folder=tmp_path, environment=environment)
    assert code == 0 and "30 shapes in 3 classes" in output, output
    [images] = (tmp_path / "cache").rglob("views.u8")
    whole = {"GEOMDML_DATA": str(tmp_path / "whole")}
    code, output = run(*words, app=app, folder=tmp_path, environment=whole)
    assert code == 0, output
    [others] = (tmp_path / "whole").rglob("views.u8")
    assert images.read_bytes() == others.read_bytes()


# Options under which a resumed run could go astray, and the step in which the run is stopped.
OPTIONS: list[tuple[str, tuple[object, ...], int]] = [
    ("digits", ("--trainer.accumulate_grad_batches", 2), 1),
    ("digits", ("--trainer.val_check_interval", 2), 2),
    ("digits", ("--trainer.limit_train_batches", 2, "--trainer.reload_dataloaders_every_n_epochs", 1), 3),
    ("digits", ("--model.optimizer", "sgd", "--model.lr_decay", 0.5, "--trainer.gradient_clip_val", 0.1), 5),
    ("shape3d", ("--model.softmax_epochs", 1, "--model.frozen", 5, "--model.pooling", "attention"), 5),
    ("multimodal", ("--model.method", "ogm_ge"), 2),
    ("taxonomy", ("--model.optimizer", "sgd", "--model.burn_in", 4, "--model.learn_c", "true"), 4),
    ("chest_vit", ("--model.class_sample", 0.8, "--model.learn_c", "true"), 2),
    ("chest_vit", ("--model.loss", "pairwise_cross_entropy", "--model.tau", 0, "--data.queue", 40), 2),
]


@pytest.mark.parametrize(("app", "options", "step"), OPTIONS, indirect=["app"], ids=lambda v: str(v) if v else "")
def test_resuming_is_bitwise_under_other_options(app, options, step, fit, cache, tmp_path):
    for folder, words in (("whole", fit), ("parts", fit)):
        (tmp_path / folder).mkdir()
        struck = {"strike": "SIGTERM", "step": step} if folder == "parts" else {}
        code, output = run(*words, *options, app=app, folder=tmp_path / folder, environment=cache, **struck)
        assert code == (128 + signal.SIGTERM if struck else 0), output
    parts = tmp_path / "parts"
    code, output = run(*fit, *options, "--ckpt_path", "last", app=app, folder=parts, environment=cache)
    assert code == 0, output
    assert last(parts / "runs/version_0")["global_step"] == step
    ours, theirs = last(parts / "runs/version_1"), last(tmp_path / "whole/runs/version_0")
    for part in ("global_step", "state_dict", "optimizer_states", "lr_schedulers"):
        assert equal(ours[part], theirs[part]), part
