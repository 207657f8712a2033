"""What every run shows at its end: the table and its facts in the terminal, results.json, the curves, report.html."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from rich.table import Table as RichTable

from apps.io.atomic import write_file
from apps.report.page import Curve, Report, Table, table_cells, write_report
from apps.training.callbacks import callbacks_of
from apps.training.loading import data_of
from apps.training.progress import Progress

Scores = Mapping[str, Mapping[str, float]]


def show(report: Report, scores: Scores, folder: Path, *, caption: str) -> None:
    """Print the table of a report and its facts; write results.json (scores and facts) and report.html."""
    console = Console(width=None if sys.stdout.isatty() else 110)
    for name, fact in report.facts.items():
        console.print(f"[bold]{name}[/bold]: {fact}", highlight=False)
    _print(console, report.table, caption)
    for section in report.sections:
        for table in section.tables:
            _print(console, table, table.title)
    content = json.dumps({"scores": scores, "facts": dict(report.facts)}, indent=1)
    write_file(folder / "results.json", lambda part: part.write_text(content))
    print(f"report: {write_report(report, folder / 'report.html')}", flush=True)


def _print(console: Console, table: Table, title: str) -> None:
    shown = RichTable(title=title)
    shown.add_column("")
    for column in table.columns:
        shown.add_column(column, justify="right")
    for name, cells in table_cells(table):
        shown.add_row(name, *(text for text, _ in cells))
    console.print(shown)


class AfterTest(Callback):
    """After a test: the table, results.json and report.html, in the run folder."""

    caption = "On the test images, %"

    def report(self, trainer: L.Trainer, model: Any, data: Any) -> tuple[Report, Scores]:
        """The report of a run, and the scores for results.json; an app's own."""
        raise NotImplementedError

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        folder = Path(trainer.log_dir or ".")  # asked for by every process: it is broadcast
        if trainer.is_global_zero:
            report, scores = self.report(trainer, pl_module, data_of(trainer))
            show(report, scores, folder, caption=self.caption)


def curves(trainer: L.Trainer, shown: Mapping[str, Mapping[str, str]]) -> list[Curve]:
    """Logged values over the steps of the run, as its `Progress` recorded them.

    Args:
        shown: {unit: {the name of a logged value: the curve's name}}; those that were not logged are left out.
    """
    history = [entry for progress in callbacks_of(trainer, Progress) for entry in progress.history]
    found = []
    for unit, names in shown.items():
        for key, name in names.items():
            points = [(step, values[key]) for step, values in history if key in values]
            if points:
                steps, values = zip(*points, strict=True)
                found.append(Curve(name, steps, values, unit))
    return found
