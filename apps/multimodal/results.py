"""What a run shows at the end: the table of its heads, report.html with the curves, and the class relation."""

import lightning as L
import torch
from torch import Tensor

from apps.evaluation.classifiers import classification
from apps.evaluation.scores import shrec_scores
from apps.multimodal.data import MultimodalData
from apps.multimodal.model import RESHAPERS, Multimodal
from apps.multimodal.network import MODALITIES
from apps.report.figures import Illustration, relation
from apps.report.page import Output, Report, Table
from apps.report.results import AfterTest, Scores, curves

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
    caption = "On the test shapes, %"

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
