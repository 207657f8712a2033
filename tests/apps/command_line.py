"""An app through its command line, on a small data set, and what holds for every app."""

import contextlib
import json
import re
import shlex
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).parents[2]


class App:
    """The command line of an app of this repository.

    Args:
        name: such as "digits".
        fit: options of the run that the fixture `finished` makes.
    """

    def __init__(self, name: str, *, fit: tuple[str, ...] = ()) -> None:
        self.name, self.options = name, fit

    def __call__(self, command: str, root: Path, folder: Path, *options: str, config: str = "smoke") -> None:
        """Run a command on the data at `root`; runs go into `folder`."""
        path = ROOT / f"apps/{self.name}/configs/{config}.yaml"
        self.main(command, "--config", str(path), "--data.root", str(root), "--out", str(folder), *options)

    def main(self, *words: str) -> None:
        import_module(f"apps.{self.name}.__main__").main(list(words))

    def after(self, command: str, run: Path, folder: Path) -> None:
        """Run a command on a run's configuration and best checkpoint."""
        config, checkpoint = run / "config.yaml", run / "checkpoints/best.ckpt"
        self.main(command, "--config", str(config), "--ckpt_path", str(checkpoint), "--out", str(folder))

    def assert_tests_to_the_same_scores(self, run: Path, folder: Path) -> None:
        torch.load(run / "checkpoints/best.ckpt", weights_only=True)
        self.after("test", run, folder)
        assert results(folder / "version_0")["scores"] == results(run)["scores"]

    def compare_twice(self, capsys: Any, root: Path, folder: Path, *options: str) -> tuple[list[Path], str]:
        """The files of a comparison, which the second call leaves as they are, and what the first call printed."""
        words, written = ("compare", root, folder, *options, "--folder", str(folder / "compare")), []
        for _ in range(2):
            self(*words)
            written.append({path: path.stat().st_mtime_ns for path in (folder / "compare").rglob("*.json")})
            written.append(capsys.readouterr().out)
        before, printed, after, _ = written
        assert after == before
        return list(before), printed

    def assert_compares(self, capsys: Any, root: Path, folder: Path, *words: str) -> None:
        """Two candidates, the first two words, and options: two trials of each, and a run of each from two seeds."""
        candidate, reference, *options = words
        named = (
            "--candidates",
            f"[{candidate},{reference}]",
            "--reference",
            reference,
            "--seeds",
            "2",
            "--budget",
            "2",
        )
        files, printed = self.compare_twice(capsys, root, folder, *named, "--seeds", "2", "--budget", "2", *options)
        assert len(files) == 2 * (2 + 2) and f"mAP above {reference}" in printed

    def assert_refused(self, line: str, message: str, root: Path, folder: Path) -> None:
        """A command with options, as one would type them in `folder`, ends with one line that has the message."""
        command, *options = shlex.split(line)
        with contextlib.chdir(folder), pytest.raises(SystemExit) as stop:
            self(command, root, folder, *options)
        assert re.match(rf"error: [^\n]*{re.escape(message)}[^\n]*$", str(stop.value))

    def refuses(self, *mistakes: tuple[str, str]) -> Callable[..., None]:
        """A test that each of these lines ends with its message."""

        @pytest.mark.parametrize(("line", "message"), mistakes)
        def a_mistake_gets_one_clear_line(root: Path, tmp_path: Path, line: str, message: str) -> None:
            self.assert_refused(line, message, root, tmp_path)

        return a_mistake_gets_one_clear_line


def results(run: Path) -> dict[str, Any]:
    return json.loads((run / "results.json").read_text())


def assert_complete(run: Path) -> None:
    """A run has left its scores, report, logs and checkpoints."""
    for name in ("report.html", "metrics.csv", "config.yaml", "checkpoints/best.ckpt", "checkpoints/last.ckpt"):
        assert (run / name).stat().st_size > 0


def assert_same_weights(*runs: Path) -> None:
    """Bitwise."""
    first, second = (torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"] for run in runs)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
