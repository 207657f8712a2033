"""What a run shows at the end: the table of scores against the frozen backbone and a linear probe, and report.html."""

import lightning as L
import numpy as np
import torch
from torch import Tensor

from apps.evaluation.classifiers import classification
from apps.evaluation.scores import shrec_scores
from apps.networks.view_backbone import ViewBackbone
from apps.report.figures import Illustration, confusion, precision_recall
from apps.report.page import Output, Report, Table
from apps.report.results import AfterTest, Scores, curves
from apps.shape3d.baselines import frozen_features, linear_probe
from apps.shape3d.model import Shape3D, accuracy
from apps.training.shape_data import ShapeData
from geomdml.metrics import shrec
from geomdml.spaces import Euclidean, Space

COLUMNS = ("accuracy", "kNN", "SVM", "mAP", "Recall@1", "FT", "ST", "E", "DCG")
CURVES = {
    "%": {"val/accuracy": "validation accuracy", "val/mAP": "validation mAP"},
    "loss": {"loss": "training loss", "loss/softmax": "softmax", "loss/metric": "metric loss"},
}


class Results(AfterTest):
    caption = "On the test shapes, %"

    def report(self, trainer: L.Trainer, model: Shape3D, data: ShapeData) -> tuple[Report, Scores]:
        model = model.cpu().eval()
        model.memory = {row: maps.cpu() for row, maps in model.memory.items()}
        test = {name: values.cpu() for name, values in model.test_outputs.items()}
        train, labels = embed(model, data, "train"), test["labels"]
        seen = data.labels[data.parts["train"]]
        rows, cost = baselines(model, data)
        rows["trained network"] = model.test_scores | classification(train, seen, test["embeddings"], labels)
        table = {name: [found.get(column) for column in COLUMNS] for name, found in rows.items()}
        h = model.hparams
        facts = data.facts() | {
            "backbone": f"{h['backbone']}, weights {h['weights']}, {_frozen(h['frozen'])}, {h['pooling']} of the views",
            "loss": in_words(model),
            "training": f"batches of {data.hparams['batch_size']} shapes, rates {h['backbone_lr']:g} (backbone) and "
            f"{h['lr']:g}, seed {h['seed']}",
            "linear probe": f"logistic regression on the frozen features, C = {cost:g} by cross-validation; its row is "
            "retrieved by its class probabilities, the frozen features by their cosine",
        }
        test_rows = data.parts["test"].tolist()
        report = Report(
            title=f"{h['loss']} on {data.whole.shapes.title}",
            facts=facts,
            table=Table(COLUMNS, table),
            labels=labels,
            classes=data.classes,
            image=lambda i: data.image(test_rows[i]),
            outputs=[Output("embedding", test["embeddings"], model.space)],
            curves=curves(trainer, CURVES),
            illustrations=illustrations(test, model.space, data.classes),
            seed=h["seed"],
        )
        scores = {name: {k: v for k, v in found.items() if v is not None} for name, found in rows.items()}
        return report, scores


@torch.no_grad()
def embed(model: Shape3D, data: ShapeData, part: str) -> Tensor:
    """Embeddings of a part of the shapes, in order."""
    return torch.cat([model.outputs(model.maps(batch))["embeddings"] for batch in data.in_order(part)])


def baselines(model: Shape3D, data: ShapeData) -> tuple[dict[str, dict[str, float]], float]:
    """Scores of the frozen features and of the linear probe on them, and the probe's cost."""
    h = model.hparams
    torch.manual_seed(h["seed"])  # for random weights
    start = ViewBackbone(h["backbone"], h["weights"], frozen=h["frozen"]).eval()
    features, labels = {}, {}
    for part in ("train", "test"):
        maps = [views for batch in data.in_order(part) for views in model.maps(batch)]
        features[part], labels[part] = frozen_features(start, maps, model.side_by_side), data.labels[data.parts[part]]
    probe = linear_probe(features["train"], labels["train"], features["test"], data.num_classes)
    rows = {
        "frozen features": shrec_scores(features["test"], labels["test"], Euclidean())
        | classification(features["train"], labels["train"], features["test"], labels["test"]),
        "linear probe": shrec_scores(probe.logits.softmax(1), labels["test"], Euclidean())
        | {"accuracy": accuracy({"logits": probe.logits, "labels": labels["test"]})},
    }
    return rows, probe.cost


def illustrations(test: dict[str, Tensor], space: Space, classes: tuple[str, ...]) -> list[Illustration]:
    """Precision against recall, and the confusion matrix of the classifier."""
    found = shrec(test["embeddings"], test["labels"], space=space)
    assert found.precision is not None  # all scores were asked for
    counts = np.zeros((len(classes), len(classes)), int)
    np.add.at(counts, (test["labels"].numpy(), test["logits"].argmax(1).numpy()), 1)
    return [
        precision_recall(
            [("trained network", found.recall, found.precision)],
            "Mean over the test shapes, each searching the others.",
        ),
        confusion(counts, classes, "Test shapes by class (rows) and by what the classifier takes them for (columns)."),
    ]


def in_words(model: Shape3D) -> str:
    """The loss, by the names of its parts and their weights."""
    h = model.hparams
    words = f"{h['softmax_weight']:g} × softmax"
    if h["loss"] != "softmax":
        words += f" + {h['weight']:g} × {h['loss']} {h['loss_args'] or ''}".rstrip() + f" in {model.space}"
    return words + (f", the latter after {h['softmax_epochs']} epochs" if h["softmax_epochs"] else "")


def _frozen(blocks: int) -> str:
    return "all of it frozen" if blocks == -1 else f"its first {blocks} blocks frozen" if blocks else "all of it tuned"
