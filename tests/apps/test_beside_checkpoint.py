"""Options beside a checkpoint: the command line wins over the config, the config over the checkpoint; or one line."""

from pathlib import Path

import pytest
import torch
import yaml

from tests.apps.tiny import BATCHES, Net, best, error, last, run, scores

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's; a user's process shows or hides them by its own rules


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["app"])


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """Trained with options that are none of the defaults."""
    folder = tmp_path_factory.mktemp("runs")
    options = ("--model.width", 5, "--model.clip", 2, "--data.scale", 3, "--data.names", "abc", "--model.c", 0.25)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["app"])
        run("fit", "--out", folder, "--trainer.max_epochs", 2, "--seed_everything", 7, *options)
    return folder / "version_0"


def config(folder: Path) -> dict:
    return yaml.safe_load((folder / "config.yaml").read_text())


def test_without_a_config_the_options_are_those_of_the_checkpoint(finished, tmp_path):
    run("test", "--ckpt_path", best(finished), "--out", "runs")
    assert scores(Path("runs/version_0")) == scores(finished)
    found, trained = config(Path("runs/version_0")), config(finished)
    assert found["model"] == trained["model"] and found["data"] == trained["data"] and found["seed_everything"] == 7


def test_the_config_wins_over_the_checkpoint_and_the_command_line_over_both(finished):
    Path("some.yaml").write_text("{model: {clip: 3.0, c: 4.0}, seed_everything: 8}")
    run("test", "--config", "some.yaml", "--ckpt_path", best(finished), "--model.c", 9, "--out", "runs")
    found, shown = config(Path("runs/version_0")), scores(Path("runs/version_0"))
    assert (found["model"]["clip"], found["model"]["c"], found["model"]["width"]) == (3, 9, 5)
    assert (shown["test/clip"], shown["test/c"], shown["test/seed"]) == (3, 9, 8)  # not the config's words alone
    assert shown["test/weight"] == scores(finished)["test/weight"]


def test_what_is_printed_is_what_would_be_used(finished, capsys):
    with pytest.raises(SystemExit) as end:
        run("test", "--ckpt_path", best(finished), "--model.clip", 4, "--print_config")
    found = yaml.safe_load(capsys.readouterr().out)
    assert not end.value.code
    assert (found["model"]["width"], found["model"]["clip"], found["data"]["scale"]) == (5, 4, 3)


def test_training_goes_on_with_the_options_that_are_given(finished):
    options = ("--model.clip", 4, "--model.lr", 0.01, "--model.weight_decay", 0.5, "--trainer.max_epochs", 3)
    run("fit", "--config", finished / "config.yaml", "--ckpt_path", last(finished), *options, "--out", "runs")
    run_folder = Path("runs/version_0")
    saved = torch.load(last(run_folder), weights_only=True)
    [group] = saved["optimizer_states"][0]["param_groups"]
    assert (group["initial_lr"], group["weight_decay"]) == (0.01, 0.5)
    assert group["lr"] == 0.01 * (1 / (1 + 3 * BATCHES)) and saved["lr_schedulers"][0]["base_lrs"] == [0.01]
    assert config(run_folder)["model"]["clip"] == saved["hyper_parameters"]["clip"] == 4
    assert scores(run_folder)["test/clip"] == 4


@pytest.mark.parametrize(
    ("command", "options", "named"),
    [
        ("test", ("--model.width", 4), "--model.width 4 (the checkpoint has 5): the weights of "),
        ("predict", ("--model.width", 4, "--model.lr", 9), "--model.width 4 (the checkpoint has 5): the weights of "),
        ("fit", ("--model.frozen", "true"), "--model.frozen True (the checkpoint has False): the weights and opt"),
        ("fit", ("--data.names", "abcd"), "classes of the data ['a', 'b', 'c', 'd'] (the checkpoint has ['a', 'b', '"),
        ("test", ("--model.c", 2, "--model.learn_c", "true"), "--model.c 2.0 (the checkpoint has 0.25): a curvature "),
    ],
)
def test_what_does_not_fit_the_weights_is_named(finished, command, options, named):
    path = last(finished)
    found = error(command, "--config", finished / "config.yaml", "--ckpt_path", path, *options, "--out", "runs")
    assert found.startswith(named) and str(path) in found
    assert not Path("runs").exists()


def test_a_test_needs_no_classes_of_the_training_unless_the_app_says_so(finished, monkeypatch):
    words = ("test", "--ckpt_path", best(finished), "--data.names", "abcdefg", "--out", "runs")
    run(*words)
    assert scores(Path("runs/version_0"))["test/weight"] == scores(finished)["test/weight"]
    monkeypatch.setattr(Net, "fixed", ("classes",))
    found = error(*words)
    assert found == (
        f"{str(best(finished))!r} was trained on data with classes ['a', 'b', 'c'], and these have "
        "['a', 'b', 'c', 'd', 'e', 'f', 'g']; expected the same"
    )


def test_training_goes_on_from_a_file_in_the_working_folder(finished):
    Path("some.ckpt").write_bytes(last(finished).read_bytes())
    run("fit", "--ckpt_path", "some.ckpt", "--trainer.max_epochs", 3, "--out", "runs")
    assert torch.load(last(Path("runs/version_0")), weights_only=True)["global_step"] == 3 * BATCHES


def test_weights_alone_are_tested_and_not_gone_on_from(finished):
    saved = torch.load(best(finished), weights_only=True)
    parts = ("state_dict", "hyper_parameters", "datamodule_hyper_parameters")
    torch.save({part: saved[part] for part in parts}, "weights.ckpt")
    run("test", "--ckpt_path", "weights.ckpt", "--out", "runs")
    assert scores(Path("runs/version_0")) == scores(finished)
    assert error("fit", "--ckpt_path", "weights.ckpt").startswith("'weights.ckpt' has weights and no state of a train")


def legacy(path: Path, saved: dict) -> None:
    torch.save({}, path, _use_new_zipfile_serialization=False)


def flipped(path: Path, saved: dict) -> None:
    """One bit of a weight."""
    content = bytearray(Path("good.ckpt").read_bytes())
    content[content.index(saved["state_dict"]["layer.weight"].numpy().tobytes())] ^= 1
    path.write_bytes(content)


def changed(part: str, **values):
    def write(path: Path, saved: dict) -> None:
        torch.save(saved | {part: saved[part] | values}, path)

    return write


@pytest.mark.parametrize("command", ["fit", "test"])
@pytest.mark.parametrize(
    "parts", [{"loops": {}}, {"loops": 3}, {"callbacks": 3}, {"pytorch-lightning_version": "0.1"}], ids=str
)
def test_what_lightning_cannot_restore_gets_one_line_with_its_name(finished, command, parts):
    torch.save(torch.load(last(finished), weights_only=True) | parts, "some.ckpt")
    assert error(command, "--ckpt_path", "some.ckpt", "--out", "runs").startswith("'some.ckpt' cannot be restored: ")


@pytest.mark.parametrize("command", ["fit", "test"])
@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path, saved: path.touch(), "cannot be read: it is empty"),
        (lambda path, saved: path.write_text("a text"), "cannot be read: torch did not write it"),
        (legacy, "cannot be read: it is an old pickle"),
        (lambda path, saved: path.write_bytes(Path("good.ckpt").read_bytes()[:-500]), "cannot be read: it is truncate"),
        (flipped, "cannot be read: it is damaged"),
        (lambda path, saved: path.mkdir(), "is a folder; expected a checkpoint of tests.apps"),
        (lambda path, saved: None, "does not exist; expected a checkpoint of tests.apps"),
        (lambda path, saved: path.symlink_to("/dev/null"), "is no file; expected a checkpoint of tests.apps"),
        (lambda path, saved: torch.save(saved["state_dict"], path), "is of something else"),
        (changed("hyper_parameters", nodes=3), "does not fit this version of tests.apps, or another app wrote it"),
        (changed("hyper_parameters", width="wide"), "does not fit this version of tests.apps"),
        (changed("hyper_parameters", width=-1), "does not fit this version of tests.apps"),
        (changed("datamodule_hyper_parameters", scale=[]), "does not fit this version of tests.apps"),
        (changed("state_dict", more=torch.ones(1)), "does not fit this version of tests.apps"),
    ],
)
def test_what_is_no_checkpoint_gets_one_line_with_its_name(finished, command, write, message):
    saved = torch.load(last(finished), weights_only=True)
    torch.save(saved, "good.ckpt")
    write(Path("some.ckpt"), saved)
    assert error(command, "--ckpt_path", "some.ckpt", "--out", "runs").startswith(f"'some.ckpt' {message}")
    assert not Path("runs").exists()
