"""What a run shows at the end: the table of scores, results.json, report.html; and the files of a prediction."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from apps.io.atomic import write_file
from apps.report.results import curves
from apps.taxonomy.data import TaxonomyData
from apps.taxonomy.export import export
from apps.taxonomy.model import TaxonomyEmbedding
from apps.taxonomy.report import write_report
from apps.taxonomy.scores import Scores, published, scores, table
from apps.training.loading import data_of

CURVES = {
    "%": {"val/MAP": "MAP of the validated nodes"},
    "rank": {"val/mean_rank": "mean rank of the validated nodes"},
    "loss": {"loss": "training loss"},
    "median distance from the origin": {f"radius/depth_{depth}": f"depth {depth}" for depth in range(100)},
}


class Results(Callback):
    """After a test: the table, results.json and report.html. After a prediction: files of embeddings."""

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        folder = Path(trainer.log_dir or ".")  # asked for by every process: it is broadcast
        if not trainer.is_global_zero:
            return
        data: TaxonomyData = data_of(trainer)
        assert isinstance(pl_module, TaxonomyEmbedding) and pl_module.found is not None
        model, taxonomy, h = pl_module.cpu().eval(), data.taxonomy, pl_module.hparams
        of_data, steps = data.hparams, h["euclidean_steps"]
        rows = {f"trained embedding, {h['dim']}-d": scores(model, data, pl_module.found)}
        if model.holds_trees:
            placed = TaxonomyEmbedding(**model.settings | {"initial": "balls"})
            placed.place(data.edges)
            name = f"placed by construction, {h['dim']}-d, not trained"
            rows[name] = scores(placed, data)
        if steps and h["space"] != "euclidean":
            name = f"Euclidean, {h['dim']}-d, {steps:,} steps"
            euclidean = trained_in_euclidean_space(model, data, steps)
            rows[name] = scores(euclidean, data)
        rows |= published(taxonomy, h["dim"])
        facts = {
            **data.facts(),
            "space": f"{model.space}, {h['dim']} dimensions",
            "start": {"balls": "nested balls", "random": "random points"}.get(model.initial_kind, model.initial_kind),
            "training": f"{model.optimizer_kind}, learning rate {h['lr']:g}, seed {h['seed']}; batches of "
            f"{of_data['batch_size']} pairs with {of_data['negatives']} negatives, {of_data['relatives']:.0%} of them "
            f"relatives, the others by degree^{of_data['power']:g}",
            "radii": f"distances from the origin up to {float(model.radii.max()):.1f}",
        }
        show(rows, facts, folder)
        path = write_report(folder / "report.html", model, taxonomy, rows, facts, curves(trainer, CURVES))
        print(f"report: {path}", flush=True)

    def on_predict_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, *args: Any, **kwargs: Any
    ) -> None:
        folder = Path(trainer.log_dir or ".")
        if trainer.is_global_zero:
            assert isinstance(pl_module, TaxonomyEmbedding)
            for path in export(folder, outputs.cpu(), data_of(trainer).taxonomy, pl_module.space):
                print(path, flush=True)


@torch.inference_mode(False)
@torch.enable_grad()
def trained_in_euclidean_space(model: TaxonomyEmbedding, data: TaxonomyData, steps: int) -> TaxonomyEmbedding:
    """The same pairs and schedule in Euclidean space of the same dimension, by Adam from random points.

    Its negatives are drawn among all nodes: relatives make it worse (of the mammals, MAP 13 in place of 23).
    """
    lr = model.hparams["euclidean_lr"]
    plain = {"space": "euclidean", "learn_c": False, "optimizer": "adam", "initial": "random", "lr": lr}
    other = TaxonomyEmbedding(**model.settings | plain)
    optimizer, batches = other.make_optimizer(), data.batches(model.hparams["seed"], relatives=0.0)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = lr * other.lr_share(step, steps)
        optimizer.zero_grad()
        other(batches.batch(*divmod(step, len(batches)))).backward()
        optimizer.step()
    return other


def show(rows: Mapping[str, Scores], facts: Mapping[str, str], folder: Path) -> None:
    """Print the table and its facts; write results.json."""
    scored = "the pairs that training saw" if "held out" in facts else "the ancestors of all nodes"
    console = Console(width=None if sys.stdout.isatty() else 110)
    for name, fact in facts.items():
        console.print(f"[bold]{name}[/bold]: {escape(fact)}", highlight=False)
    columns, cells = table(rows)
    shown = Table(title=f"Reconstruction of {scored}")
    shown.add_column("")
    for column in columns:
        shown.add_column(column, justify="right")
    for name, numbers in cells.items():
        shown.add_row(escape(name), *numbers)
    console.print(shown)
    content = {"scores": {name: row._asdict() for name, row in rows.items()}, "facts": dict(facts)}
    write_file(folder / "results.json", lambda part: part.write_text(json.dumps(content, indent=1)))
