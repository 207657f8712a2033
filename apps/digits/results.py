"""What a run shows at the end: the table of scores against raw pixels and an untrained network, and report.html."""

from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor

from apps.datasets.image_arrays import hold_out
from apps.digits.data import DigitsData
from apps.digits.model import Digits
from apps.evaluation.classifiers import classification
from apps.evaluation.scores import Collector, shrec_scores
from apps.io.atomic import write_file
from apps.report.page import Output, Report, Table
from apps.report.results import AfterTest, Scores, curves
from geomdml.spaces import Euclidean

CLASSIFIED = 10_000  # training embeddings that the classifiers learn on
CURVES = {
    "%": {"val/mAP": "validation mAP", "val/Recall@1": "validation Recall@1"},
    "loss": {"loss": "training loss"},
    "share": {
        "plan/entropy": "entropy of the plan, 1 where uniform",
        "plan/positive_mass": "mass of the plan on positive pairs",
    },
}


class Results(AfterTest):
    """After a test: the table, results.json and report.html. After a prediction: embeddings.npz. In the run folder."""

    def __init__(self) -> None:
        self.predicted = Collector()

    def report(self, trainer: L.Trainer, model: Digits, data: DigitsData) -> tuple[Report, Scores]:
        model, test = model.cpu().eval(), data.parts["test"]
        embeddings, labels = (model.test_outputs[name].cpu() for name in ("embeddings", "labels"))
        train = data.parts["train"]
        train = train.of(hold_out(train.labels, min(CLASSIFIED, len(train) - 1), seed=0)[1])
        torch.manual_seed(model.hparams["seed"])
        untrained = Digits(**model.settings).eval()
        pixels = {"train": train.pixels.flatten(1).float(), "test": test.pixels.flatten(1).float()}
        start = {"train": embed(untrained, train.pixels), "test": embed(untrained, test.pixels)}
        rows: dict[str, dict[str, float]] = {}
        for name, found in (("raw pixels", pixels), ("untrained network", start)):
            rows[name] = shrec_scores(found["test"], labels, Euclidean())
            rows[name] |= classification(found["train"], train.labels, found["test"], labels)
        learnt = classification(embed(model, train.pixels), train.labels, embeddings, labels)
        rows["trained network"] = model.test_scores | learnt
        h = model.hparams
        facts = {
            **data.facts(),
            "loss": f"{h['loss']} {h['loss_args'] or ''}".strip(),
            "training": f"{h['optimizer']}, learning rate {h['lr']:g}, batches of {data.hparams['batch_size']}"
            f"{' as two' if h['two_batches'] else ''}, seed {h['seed']}",
            "classifiers": f"learnt on {len(train):,} training embeddings: 5 nearest neighbours, linear SVM with C = 1",
        }
        report = Report(
            title=f"{h['loss']} on {facts['data']}",
            facts=facts,
            table=Table(list(rows["raw pixels"]), {name: list(row.values()) for name, row in rows.items()}),
            labels=labels,
            classes=data.benchmark.classes,
            image=lambda i: test.pixels[i].expand(3, -1, -1),
            outputs=[Output("embedding", embeddings, Euclidean())],
            curves=curves(trainer, CURVES),
            seed=h["seed"],
        )
        return report, rows

    def on_predict_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, *args: Any, **kwargs: Any
    ) -> None:
        self.predicted.add(**outputs)

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        path = Path(trainer.log_dir or ".") / "embeddings.npz"
        found = {name: tensor.cpu().numpy() for name, tensor in self.predicted.take().items()}
        if trainer.is_global_zero:
            write_file(path, lambda part: np.savez(part, allow_pickle=False, **found))
            print(f"embeddings and labels of the test images: {path}", flush=True)


@torch.no_grad()
def embed(model: Digits, pixels: Tensor) -> Tensor:
    return torch.cat([model(part) for part in pixels.split(1000)])
