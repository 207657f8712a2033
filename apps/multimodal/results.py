"""What a run shows at the end: the table of its heads, report.html with the curves, and the class relation.

And the table of a prediction.
"""

import csv
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor

from apps.evaluation.classifiers import classification
from apps.evaluation.scores import Collector, shrec_scores
from apps.io.atomic import replacing
from apps.multimodal.data import MultimodalData
from apps.multimodal.model import RESHAPERS, Multimodal
from apps.multimodal.network import MODALITIES
from apps.report.figures import Illustration, relation
from apps.report.page import Output, Report, Table
from apps.report.results import AfterTest, Scores, curves
from apps.training.loading import data_of

COLUMNS = ("accuracy", "kNN", "SVM", "mAP", "Recall@1", "FT", "ST", "E", "DCG")
CURVES = {
    "accuracy on validation shapes, %": {"val/fused": "fused", "val/views": "views", "val/points": "points"},
    "difficulty, nats": {
        **{f"difficulty/{name}": f"{name}, plain labels" for name in MODALITIES},
        **{f"difficulty/{name}/reshaped": f"{name}, reshaped" for name in MODALITIES},
    },
    "α, share moved to the class relation": {f"alpha/{name}": name for name in MODALITIES},
    "loss": {"loss": "all", "loss/fused": "fused", "loss/views": "views", "loss/points": "points"},
}


class Results(AfterTest):
    """After a test: the table, results.json and report.html. After a prediction: predictions.csv. In the run folder."""

    caption = "On the test shapes, %"

    def __init__(self) -> None:
        self.predicted = Collector()

    def report(self, trainer: L.Trainer, model: Multimodal, data: MultimodalData) -> tuple[Report, Scores]:
        model = model.cpu().eval()
        model.network.memory = {row: maps.cpu() for row, maps in model.network.memory.items()}
        test = {name: values.cpu() for name, values in model.test_outputs.items()}
        train, labels, h = embed(model, data, "train"), test["labels"], model.hparams
        rows = {}
        for name in dict.fromkeys(("fused", *model.modalities)):
            rows[name] = {"accuracy": model.test_scores[name]} | shrec_scores(test[name], labels, model.space)
            rows[name] |= classification(train[name], train["labels"], test[name], labels)
        test_rows = data.parts["test"].tolist()
        report = Report(
            title=f"{h['method']} on {data.whole.shapes.title}",
            facts=data.facts() | facts(model),
            table=Table(COLUMNS, {name: [found.get(column) for column in COLUMNS] for name, found in rows.items()}),
            labels=labels,
            classes=data.classes,
            image=lambda i: data.image(test_rows[i]),
            outputs=[Output(name, test[name], model.space) for name in rows],
            curves=curves(trainer, CURVES),
            illustrations=[class_relation(model, data.classes)],
            seed=h["seed"],
        )
        return report, rows

    def on_predict_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, *args: Any, **kwargs: Any
    ) -> None:
        self.predicted.add(**outputs)

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        path, found = Path(trainer.log_dir or ".") / "predictions.csv", self.predicted.take()
        if trainer.is_global_zero:
            write_predictions(path, found, data_of(trainer))
            print(f"classes of the test shapes: {path}", flush=True)


def write_predictions(path: Path, found: dict[str, Tensor], data: MultimodalData) -> None:
    """A line a shape: its name, its class, and the class that each head takes it for, with its probability."""
    heads = [name.removesuffix("/logits") for name in found if name.endswith("/logits")]
    guesses = {name: found[f"{name}/logits"].float().softmax(-1).max(-1) for name in heads}
    with replacing(path) as part, part.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["shape", "class", *(word for name in heads for word in (name, f"{name} probability"))])
        for i, (row, label) in enumerate(zip(found["rows"].tolist(), found["labels"].tolist(), strict=True)):
            of_heads = ((data.classes[int(top.indices[i])], f"{float(top.values[i]):.3f}") for top in guesses.values())
            writer.writerow(
                [data.whole.shapes.names[row], data.classes[label], *(word for pair in of_heads for word in pair)]
            )


@torch.no_grad()
def embed(model: Multimodal, data: MultimodalData, part: str) -> dict[str, Tensor]:
    """What the model makes of a part of the shapes, in order, and their labels."""
    found = [model.network(batch) | {"labels": batch.labels} for batch in data.in_order(part)]
    return {name: torch.cat([each[name] for each in found]) for name in found[0]}


def facts(model: Multimodal) -> dict[str, str]:
    """The network and its training, in words; of reshaping, where it had come to."""
    h, now = model.hparams, model.reshaper.balance()
    more = {"smoothing": f" by {list(h['smoothing'])}", "ogm_ge": f", α = {h['ogm_alpha']:g}"}
    found = {
        "network": f"views by {h['backbone']} (weights {h['weights']}, frozen), points by PointNet "
        f"{list(h['point_widths'])}; embeddings of {h['dim']} in {model.space}",
        "heads": f"{h['head']}; fusion {h['fusion']}",
        "method": h["method"] + more.get(h["method"], ""),
        "training": f"SGD, learning rate {h['lr']:g}, seed {h['seed']}",
    }
    if h["method"] in RESHAPERS:
        pairs = zip(model.modalities, now.alpha.tolist(), now.before.tolist(), now.after.tolist(), strict=True)
        found["reshaping at this checkpoint"] = "; ".join(
            f"{name}: α = {alpha:.3f}, difficulty {before:.3f} before and {after:.3f} after"
            for name, alpha, before, after in pairs
        )
    return found


def class_relation(model: Multimodal, classes: tuple[str, ...]) -> Illustration:
    """What the modalities together take each class for, in training."""
    return relation(
        model.reshaper.balance().relation.numpy(),
        classes,
        "Class relation R: what the modalities together took training shapes of a class (rows) for (columns), in "
        "percent, a running mean. The own class, on the diagonal, is left blank.",
    )
