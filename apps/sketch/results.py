"""What a run shows at its end: the table of scores in both directions beside the frozen backbone, and report.html."""

import lightning as L
import torch
from torch import Tensor
from torch.nn.functional import normalize

from apps.report.figures import Illustration, precision_recall
from apps.report.page import Output, Report, Table
from apps.report.results import AfterTest, Scores, curves
from apps.sketch.data import SketchData
from apps.sketch.model import DIRECTIONS, SIDES, SketchToShape, retrieval_scores
from apps.training.shape_data import contact_sheet
from geomdml.metrics import shrec
from geomdml.spaces import Euclidean, Space

COLUMNS = ("NN", "FT", "ST", "E", "DCG", "mAP")
CURVES = {"%": {"val/mAP": "validation mAP", "val/NN": "validation NN"}, "loss": {"loss": "training loss"}}


class Results(AfterTest):
    caption = "Test sketches and all shapes, %"

    def report(self, trainer: L.Trainer, model: SketchToShape, data: SketchData) -> tuple[Report, Scores]:
        model = model.cpu().eval()
        found = {side: {name: values.cpu() for name, values in model.test_outputs[side].items()} for side in SIDES}
        rows = {"chance, sketch → shape": {"NN": chance(found)}}
        rows |= {f"frozen features, {name}": scores for name, scores in frozen(model, data).items()}
        rows |= {f"trained, {name}": scores for name, scores in model.test_scores.items()}
        test, h = data.parts["test"].tolist(), model.hparams
        report = Report(
            title=f"{h['loss']} on {data.source.title}",
            facts=data.facts() | facts(model, data),
            table=Table(COLUMNS, {name: [scores.get(column) for column in COLUMNS] for name, scores in rows.items()}),
            labels=torch.cat([found[side]["labels"] for side in SIDES]),
            classes=data.classes,
            image=lambda i: (
                data.sketch(test[i]).expand(3, -1, -1)
                if i < len(test)
                else contact_sheet(data.gallery.views[i - len(test)][: len(data.look.directions)])
            ),
            outputs=[Output("embedding", torch.cat([found[side]["embeddings"] for side in SIDES]), model.space)],
            curves=curves(trainer, CURVES),
            illustrations=[illustration(found, model.space)],
            seed=h["seed"],
            queries=len(test),
        )
        return report, rows


def chance(found: dict[str, dict[str, Tensor]]) -> float:
    """NN in percent of a ranking at random: a sketch's class has so many of the shapes."""
    labels, shapes = found["sketches"]["labels"], found["shapes"]["labels"]
    return 100 * float((labels[:, None] == shapes).double().mean())


@torch.no_grad()
def frozen(model: SketchToShape, data: SketchData) -> dict[str, dict[str, float]]:
    """Scores of what the backbones give without training, at unit norm, the mean of a shape's views."""
    torch.manual_seed(model.hparams["seed"])  # for random weights
    untrained = SketchToShape(**model.settings).eval()
    found = {}
    for loader, side in zip(data.in_order("test"), SIDES, strict=True):
        branch, trained = untrained.branches[side], model.branches[side]
        branch.memory = trained.memory  # the frozen parts are the same
        parts = [(branch.maps(batch), batch.labels) for batch in loader]
        views = [branch.backbone.late(maps.flatten(0, 1)).unflatten(0, maps.shape[:2]) for maps, _ in parts]
        labels = torch.cat([labels for _, labels in parts])
        found[side] = {"embeddings": normalize(torch.cat([part.mean(1) for part in views])), "labels": labels}
    return {
        name: retrieval_scores(found[asking], found[asked], Euclidean()) for name, (asking, asked) in DIRECTIONS.items()
    }


def facts(model: SketchToShape, data: SketchData) -> dict[str, str]:
    h, d = model.hparams, data.hparams
    tuned = f"sketches {_frozen(h['sketch_frozen'])}, shapes {_frozen(h['shape_frozen'])}"
    return {
        "backbone": f"{h['backbone']}, weights {h['weights']}: {tuned}; {h['pooling']} of the views",
        "loss": f"{h['loss']} {h['loss_args'] or ''}".rstrip() + f" in {model.space}",
        "training": f"{d['classes_per_batch']} × {d['per_class']} sketches and as many shapes a step, "
        f"{d['steps']} steps an epoch, rate {h['lr']:g}, seed {h['seed']}",
    }


def illustration(found: dict[str, dict[str, Tensor]], space: Space) -> Illustration:
    """Precision against recall in both directions."""
    lines = []
    for name, (asking, asked) in DIRECTIONS.items():
        one, other = found[asking], found[asked]
        scores = shrec(one["embeddings"], one["labels"], other["embeddings"], other["labels"], space=space)
        assert scores.precision is not None  # all scores were asked for
        lines.append((name, scores.recall, scores.precision))
    return precision_recall(
        lines, "Mean over the test sketches that search all shapes, and over the shapes that search these."
    )


def _frozen(blocks: int) -> str:
    return "all frozen" if blocks == -1 else f"first {blocks} blocks frozen" if blocks else "all tuned"
