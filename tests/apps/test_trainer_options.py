"""What a user adds to the trainer is used beside what an app has, or refused by name; and what a config may import."""

import csv
import sys
from pathlib import Path

import pytest
import torch
import yaml

import apps.io.trusted
from tests.apps import tiny
from tests.apps.tiny import BATCHES, best, error, last, run, scores

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's; a user's process shows or hides them by its own rules


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["app"])
    monkeypatch.delenv("GEOMDML_LOSSES", raising=False)


def early(monitor: str, patience: int, mode: str = "max") -> str:
    options = f"{{monitor: {monitor}, mode: {mode}, patience: {patience}}}"
    return f"{{class_path: EarlyStopping, init_args: {options}}}"


def fit(*words: object, epochs: int = 6) -> dict:
    """The last checkpoint of a new run in runs/."""
    before = set(Path("runs").glob("*"))
    run("fit", *words, "--out", "runs", "--trainer.max_epochs", epochs)
    [folder] = set(Path("runs").glob("*")) - before
    return torch.load(last(folder), weights_only=True)


def test_training_stops_early_and_a_run_that_stopped_goes_on_with_more_patience_alone():
    words = ("--model.falling", "true", "--trainer.callbacks", early("val/score", 2))
    assert fit(*words)["global_step"] == 3 * BATCHES
    recorded = yaml.safe_load(Path("runs/version_0/config.yaml").read_text())["trainer"]["callbacks"]
    assert recorded["class_path"].endswith("EarlyStopping") and recorded["init_args"]["patience"] == 2
    config = ("--config", "runs/version_0/config.yaml", "--ckpt_path", "runs/version_0/checkpoints/last.ckpt")
    assert fit(*config)["global_step"] == 3 * BATCHES
    assert fit(*config, "--trainer.callbacks", early("val/score", 4))["global_step"] == 5 * BATCHES


def test_a_run_that_goes_on_stops_where_an_unbroken_one_does():
    words = ("--model.falling", "true", "--trainer.callbacks", early("val/score", 3))
    whole = fit(*words)
    fit(*words, epochs=2)
    resumed = fit(*words, "--ckpt_path", "runs/version_1/checkpoints/last.ckpt")
    assert resumed["global_step"] == whole["global_step"] == 4 * BATCHES
    assert all(torch.equal(resumed["state_dict"][name], value) for name, value in whole["state_dict"].items())
    [ours, theirs] = [
        {name: state for name, state in saved["callbacks"].items() if "Early" in name} for saved in (resumed, whole)
    ]
    assert ours == theirs and len(ours) == 1


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--data.validates", "false"),
        ("--trainer.limit_val_batches", 0),
        ("--data.validates", "false", "--trainer.check_val_every_n_epoch", 2),
    ],
)
def test_a_value_that_nobody_logs_ends_the_run_by_its_name(options):
    found = error("fit", "--out", "runs", "--trainer.max_epochs", 4, *options, "--trainer.callbacks", early("val/x", 1))
    assert found.startswith("trainer.callbacks: EarlyStopping watches a value that is not logged")
    assert "`val/x`" in found and "`loss`" in found


def test_a_checkpoint_callback_without_its_value_is_named():
    words = "{class_path: ModelCheckpoint, init_args: {monitor: val/x}}"
    found = error("fit", "--out", "runs", "--trainer.max_epochs", 1, "--trainer.callbacks", words)
    assert "monitor='val/x'" in found


def test_loggers_of_the_user_get_what_ours_get(monkeypatch):
    monkeypatch.setattr(tiny.Fake, "lines", [])
    csv_logger = "{class_path: CSVLogger, init_args: {save_dir: mine}}"
    words = ("--trainer.logger", f"[{csv_logger}, {{class_path: tests.apps.tiny.Fake}}]")
    fit(*words, "--trainer.callbacks", "LearningRateMonitor", "--trainer.log_every_n_steps", 1)
    assert scores(Path("runs/version_0")) == scores(Path("mine/lightning_logs/version_0"))
    rates = [metrics["lr-SGD"] for _, metrics in tiny.Fake.lines if "lr-SGD" in metrics]
    assert rates[:2] == [0.1, 0.05] and any("test/weight" in metrics for _, metrics in tiny.Fake.lines)
    rows = csv.DictReader(Path("runs/version_0/metrics.csv").read_text().splitlines())
    assert [float(row["lr-SGD"]) for row in rows if row["lr-SGD"]] == rates
    recorded = yaml.safe_load(Path("runs/version_0/config.yaml").read_text())["trainer"]["logger"]
    assert [each["class_path"].rpartition(".")[2] for each in recorded] == ["CSVLogger", "Fake"]


def test_callbacks_of_the_user_are_called_in_a_test_too(monkeypatch):
    monkeypatch.setattr(tiny.Noted, "seen", [])
    monkeypatch.setenv("GEOMDML_LOSSES", "tests")
    fit("--trainer.callbacks", "tests.apps.tiny.Noted", epochs=1)
    run("test", "--config", "runs/version_0/config.yaml", "--ckpt_path", best(Path("runs/version_0")), "--out", "runs")
    assert tiny.Noted.seen == ["fit", "test", "test"]


def test_the_mean_of_the_weights_is_saved_and_tested_and_goes_on():
    averaging = "{class_path: StochasticWeightAveraging, init_args: {swa_lrs: 0.05, swa_epoch_start: 2}}"
    saved = fit("--trainer.callbacks", averaging, epochs=4)
    folder = Path("runs/version_0")
    averaged = torch.load(folder / "checkpoints/averaged.ckpt", weights_only=True)["state_dict"]
    [state] = [state for name, state in saved["callbacks"].items() if name == "StochasticWeightAveraging"]
    assert state["n_averaged"] == 3
    assert torch.equal(averaged["layer.weight"], state["average_model_state"]["layer.weight"])
    assert not torch.equal(averaged["layer.weight"], saved["state_dict"]["layer.weight"])
    assert scores(folder)["test/weight"] == pytest.approx(float(averaged["layer.weight"].sum()))
    resumed = fit("--config", folder / "config.yaml", "--ckpt_path", last(folder), epochs=5)
    assert resumed["global_step"] == 5 * BATCHES


def test_a_running_mean_of_the_weights_is_what_is_tested():
    saved = fit("--trainer.callbacks", "{class_path: EMAWeightAveraging, init_args: {decay: 0.5}}", epochs=2)
    mean, current = saved["state_dict"]["layer.weight"], saved["current_model_state"]["layer.weight"]
    assert not torch.equal(mean, current)
    assert scores(Path("runs/version_0"))["test/weight"] == pytest.approx(float(mean.sum()))


@pytest.mark.parametrize("given", ["Timer", "{class_path: Timer, init_args: {duration: '00:12:00:00'}}"])
def test_a_timer_is_used_and_recorded(given):
    """Its default is an enumeration of Lightning's, which YAML does not know."""
    assert fit("--trainer.callbacks", given, epochs=1)["global_step"] == BATCHES
    config = yaml.safe_load(Path("runs/version_0/config.yaml").read_text())
    assert config["trainer"]["callbacks"]["init_args"]["interval"] == "step"
    assert fit("--config", "runs/version_0/config.yaml", epochs=2)["global_step"] == 2 * BATCHES


def test_a_predict_that_nobody_writes_is_refused(monkeypatch):
    assert error("predict", "--out", "runs").startswith("tests.apps has no predict: nothing would be written")
    assert "no predict" in error("predict", "--out", "runs", "--trainer.callbacks", "RichProgressBar")
    assert not Path("runs").exists()
    monkeypatch.setenv("GEOMDML_LOSSES", "tests")
    run("predict", "--out", "runs", "--trainer.callbacks", "tests.apps.tiny.Written")
    assert tiny.Written.seen == list(range(BATCHES))


@pytest.mark.parametrize("bar", ["RichProgressBar", "TQDMProgressBar"])
def test_a_progress_bar_takes_the_place_of_ours(bar):
    assert fit("--trainer.callbacks", bar, epochs=1)["global_step"] == BATCHES


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--trainer.default_root_dir", "here"), "--trainer.default_root_dir here: expected --out"),
        (("--trainer.logger", "false"), "--trainer.logger false"),
        (("--trainer.enable_checkpointing", "false"), "--trainer.enable_checkpointing false"),
        (("--trainer.fast_dev_run", "true"), "--trainer.fast_dev_run"),
        (("--trainer.plugins", "AsyncCheckpointIO"), "--trainer.plugins AsyncCheckpointIO"),
        (("--trainer.logger", "tests.apps.processes.Nothing"), ""),
    ],
)
def test_what_a_run_cannot_do_with_is_refused_by_name(options, message):
    if not message:  # jsonargparse says it, with the usage
        with pytest.raises(SystemExit, match="2"):
            run("fit", *options, "--out", "runs")
    else:
        assert error("fit", *options, "--out", "runs").startswith(message)
    assert not Path("runs").exists()


def test_plugins_of_the_user_are_used():
    precision = "{class_path: lightning.pytorch.plugins.DoublePrecision}"
    saved = fit("--trainer.plugins", precision, epochs=1)
    assert saved["state_dict"]["layer.weight"].dtype == torch.float64


@pytest.fixture
def evil(tmp_path) -> str:
    """A module of the working folder that leaves a trace when it is imported."""
    (tmp_path / "evilmod.py").write_text(
        "from pathlib import Path\nfrom lightning.pytorch.callbacks import Callback\nPath('it_ran').touch()\n"
        "class Evil(Callback): pass\ndef called(*args): pass\n"
    )
    sys.path.insert(0, str(tmp_path))
    yield "evilmod"
    sys.path.remove(str(tmp_path))
    sys.modules.pop("evilmod", None)


NAMING = {
    "callback": "{trainer: {callbacks: [{class_path: evilmod.Evil}]}}",
    "one": "{trainer: {callbacks: evilmod.Evil}}",
    "logger": "{trainer: {logger: {class_path: evilmod.Evil}}}",
    "plugin": "{trainer: {plugins: [{class_path: evilmod.Evil}]}}",
    "strategy": "{trainer: {strategy: {class_path: evilmod.Evil}}}",
    "profiler": "{trainer: {profiler: {class_path: evilmod.Evil}}}",
    "accelerator": "{trainer: {accelerator: {class_path: evilmod.Evil}}}",
    "optimizer": "{optimizer: {class_path: evilmod.Evil}}",
    "schedule": "{lr_scheduler: {class_path: evilmod.Evil}}",
    "function": "{trainer: {callbacks: [{class_path: LambdaCallback, init_args: {setup: evilmod.called}}]}}",
}


@pytest.mark.parametrize("command", ["validate", "test", "predict"])
@pytest.mark.parametrize("naming", NAMING)
def test_a_config_of_somebody_else_imports_nothing(evil, command, naming):
    Path("theirs.yaml").write_text(NAMING[naming])
    found = error(command, "--config", "theirs.yaml", "--out", "runs")
    assert found.startswith("evilmod.") and "GEOMDML_LOSSES" in found
    assert not Path("it_ran").exists() and "evilmod" not in sys.modules


@pytest.mark.parametrize(
    "path", ["os.abort", "builtins.exec", "lightning.pytorch.callbacks.model_checkpoint.shutil.rmtree", "torch.load"]
)
def test_nor_does_it_reach_through_what_is_trusted(path):
    Path("theirs.yaml").write_text(
        f"{{trainer: {{callbacks: [{{class_path: LambdaCallback, init_args: {{setup: {path}}}}}]}}}}"
    )
    assert "importing it runs it" in error("test", "--config", "theirs.yaml", "--out", "runs")


def test_a_command_that_a_config_names_trusts_no_more(evil):
    Path("theirs.yaml").write_text("{subcommand: test, test: {trainer: {callbacks: [{class_path: evilmod.Evil}]}}}")
    assert error("--config", "theirs.yaml").startswith("evilmod.Evil")
    assert not Path("it_ran").exists()


def test_packages_that_the_user_trusts_and_those_that_train_are_imported(evil, monkeypatch):
    Path("mine.yaml").write_text(NAMING["callback"])
    fit("--config", "mine.yaml", epochs=1)
    assert Path("it_ran").exists()
    monkeypatch.setenv("GEOMDML_LOSSES", "others evilmod")
    run("test", "--config", "runs/version_0/config.yaml", "--out", "runs")
    monkeypatch.setenv("GEOMDML_LOSSES", "no-name")
    assert "'no-name'" in error("test", "--out", "runs")


def test_the_rule_ends_with_the_command():
    before = dict(apps.io.trusted.parsing_settings)
    run("test", "--out", "runs")
    assert apps.io.trusted.parsing_settings == before
