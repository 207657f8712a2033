"""What every app does with options beside a checkpoint, for the tests of each."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml


def assert_options_win(main: Callable, finished: Path, folder: Path, *misfit: str) -> None:
    """A test without a config is that of the run; a network of other sizes is refused; training takes a given rate.

    Args:
        finished: folder of a run that was tested.
        folder: an empty one.
        misfit: an option with a value that the weights do not fit.
    """
    best, last = (finished / f"checkpoints/{name}.ckpt" for name in ("best", "last"))
    main(["test", "--ckpt_path", str(best), "--out", str(folder)])
    ours, theirs = (json.loads((run / "results.json").read_text()) for run in (folder / "version_0", finished))
    assert ours["scores"] == theirs["scores"]
    with pytest.raises(SystemExit) as refused:
        main(["test", "--config", str(finished / "config.yaml"), "--ckpt_path", str(best), *misfit])
    found = rf"error: {misfit[0]} [^\n]+ \(the checkpoint has [^\n]+\): the weights of '{best}' do not fit[^\n]*"
    assert re.fullmatch(found, str(refused.value))
    config = yaml.safe_load((finished / "config.yaml").read_text())
    epochs = str(config["trainer"]["max_epochs"] + 1)
    given = ("--trainer.max_epochs", epochs, "--model.lr", "0.0123", "--seed_everything", "5")
    main(["fit", "--config", str(finished / "config.yaml"), "--ckpt_path", str(last), *given, "--out", str(folder)])
    saved = torch.load(folder / "version_1/checkpoints/last.ckpt", weights_only=True)
    recorded = yaml.safe_load((folder / "version_1/config.yaml").read_text())
    assert saved["hyper_parameters"]["lr"] == recorded["model"]["lr"] == 0.0123
    assert saved["hyper_parameters"]["seed"] == recorded["seed_everything"] == 5
    assert 0.0123 in [group["initial_lr"] for group in saved["optimizer_states"][0]["param_groups"]]
    (folder / "text.ckpt").write_text("no checkpoint")
    (folder / "part.ckpt").write_bytes(best.read_bytes()[: min(20_000, best.stat().st_size // 2)])
    for name in ("text", "part"):
        with pytest.raises(SystemExit, match=rf"^error: '{folder}/{name}\.ckpt' cannot be read: [^\n]*$"):
            main(["test", "--ckpt_path", str(folder / f"{name}.ckpt")])
