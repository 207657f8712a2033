"""What a run shows at the end: the table of scores against its baselines, and report.html."""

from typing import Any

import lightning as L
import torch
from torch import Tensor

from apps.chest_vit.data import RetrievalData
from apps.chest_vit.hierarchical_scores import PRECISION, hierarchical_scores
from apps.chest_vit.hierarchy_section import figures, section
from apps.chest_vit.model import CHEST
from apps.evaluation.scores import radius_spread, scores
from apps.networks import pretrained
from apps.report.page import Output, Report, Similarities, Table
from apps.report.results import AfterTest, Scores, curves
from apps.training.sampling import seed_of
from geomdml.losses.functional import in_mean_units, soft_triple_similarity
from geomdml.spaces import Euclidean, Space

SIMILARITY_SAMPLE = 512
CURVES = {
    "%": {f"val/{output}/Recall@1": f"validation Recall@1, {output}" for output in ("E", "H")},
    "loss": {"loss": "training loss"},
    "radius": {
        "val/radius/p05": "radius, 5th percentile",
        "val/radius/median": "radius, median",
        "val/radius/p95": "radius, 95th percentile",
    },
}
DEFAULT_CLIP = 1.0  # of the model
MOSTLY = 0.9  # the share of clipped embeddings from which they are all but on one shell
RAW_PIXELS = 64  # the side that images are averaged down to before their pixels are compared
# Of more images a quarter of that side is compared, and nothing with the tree: 60,000 take an hour and 3 GB otherwise.
MOST_RAW = 10_000


class Results(AfterTest):
    """After a test: scores raw pixels and the frozen backbone on the same images, prints the table, writes the files.

    The run folder gets results.json (scores and facts) and report.html.
    """

    caption = "Retrieval on the test classes, %"

    def report(self, trainer: L.Trainer, model: CHEST, data: RetrievalData) -> tuple[Report, Scores]:
        outputs = {name: tensor.cpu() for name, tensor in model.test_outputs.items()}
        labels = outputs["labels"]
        embeddings: dict[str, tuple[Tensor, Space]]
        protocol: dict[str, Any] = {"labels": labels, "ks": data.hparams["ks"], "queries": data.split.queries}
        tree = data.class_tree

        embeddings = {name: (tensor, Euclidean()) for name, tensor in self.baselines(model, data).items()}
        hierarchical = dict(model.hierarchical)
        if tree is not None and len(data.test) <= MOST_RAW:
            hierarchical |= {
                name: hierarchical_scores(tensor, space=space, above=tree, classes=data.test.classes, **protocol)
                for name, (tensor, space) in embeddings.items()
            }
        embeddings |= {name: (outputs[name], space) for name, space in model.cpu().spaces.items()}
        rows = {
            name: scores(tensor, space=space, **protocol) | hierarchical.get(name, {})
            for name, (tensor, space) in embeddings.items()
        }
        directions = torch.nn.functional.normalize(outputs["H"])
        one_shell = scores(directions * outputs["H"].norm(dim=-1).median(), space=model.space, **protocol)
        facts = {
            **data.facts(),
            "backbone": f"{model.hparams['backbone']}, weights {model.hparams['weights']}",
            "training": f"{int(model.trained_steps):,} steps to the checkpoint, seed {model.hparams['seed']}",
            "loss": loss_in_words(model),
            "chosen output": model.choice_in_words(),
            "hyperbolic space": f"c = {model.space.curvature:g}, radii "
            + describe_radii(outputs["radius"], model.head.clip),
            "use of the radii": f"Recall@1 of H is {rows['H']['Recall@1']:.1f} with the points' own radii, "
            f"{one_shell['Recall@1']:.1f} with one radius for all",
        }
        columns = [*one_shell, *([PRECISION] if tree is not None else [])]
        table = Table(columns, {name: [row.get(column) for column in columns] for name, row in rows.items()})
        clip_is_near = model.head.clip < 2 * float(outputs["radius"].max())  # else it would squeeze the histogram
        report = Report(
            title=f"CHEST on {facts['data']}",
            facts=facts,
            table=table,
            labels=labels,
            classes=data.test.classes,
            image=data.test.image,
            outputs=[
                Output("H", outputs["H"], model.space, clip=model.head.clip if clip_is_near else None),
                Output("E", outputs["E"], Euclidean()),
            ],
            curves=curves(trainer, CURVES),
            similarities=class_similarities(model, data),
            sections=[] if tree is None else [section(tree, data.test.classes, protocol["ks"], rows, figures(model))],
            notes=notes(labels, outputs["radius"], model.head.clip, data.split.queries),
            seed=model.hparams["seed"],
        )
        return report, rows

    @torch.no_grad()
    def baselines(self, model: CHEST, data: RetrievalData) -> dict[str, Tensor]:
        """Raw pixels at no more than 64 px (16 px of many images), and the features of the backbone before training.

        The features are at unit norm: their distances then rank as the cosine does, the better score for them.
        """
        name, weights = model.hparams["backbone"], model.hparams["weights"]
        side = RAW_PIXELS if len(data.test) <= MOST_RAW else RAW_PIXELS // 4
        torch.manual_seed(model.hparams["seed"])  # for random weights
        frozen = pretrained.backbone(name, weights, **(model.hparams["backbone_args"] or {})).eval()
        trained, model.backbone = model.backbone, frozen.to(model.device)
        pixels, features = [], []
        try:
            for batch in data.whole_test_dataloader():
                pixels.append(_at_most(side, batch.images.float() / 255).flatten(1))
                features.append(model.features(batch.images.to(model.device)).float().cpu())
        finally:
            model.backbone = trained
        return {"raw pixels": torch.cat(pixels), "frozen backbone": torch.nn.functional.normalize(torch.cat(features))}


@torch.no_grad()
def class_similarities(model: CHEST, data: RetrievalData) -> list[Similarities]:
    """Similarities of training images to their own class and to the others, in hyperbolic space (figure 3).

    None where the hyperbolic half has no proxies of SoftTriple, or where the data to test have other training classes.
    """
    if data.num_classes != model.hparams["num_classes"]:
        return []
    if model.loss.proxies is None or model.loss.eta_h == 0 or model.loss.hyperbolic is not None:
        return []
    loader = data.whole_train_dataloader()
    batch = loader.collate_fn([loader.dataset[index] for index in similarity_sample(model, data)])
    own, others = similarities(model, model.test_proxies.cpu(), model(batch.images)["H"], batch.labels)
    return [Similarities("H", own.numpy(), others.numpy())]


def similarity_sample(model: CHEST, data: RetrievalData) -> list[int]:
    """The training images whose similarities to the classes are shown, drawn with the model's seed."""
    rng = torch.Generator().manual_seed(seed_of(model.hparams["seed"]))
    return torch.randperm(len(data.train), generator=rng)[:SIMILARITY_SAMPLE].tolist()


@torch.no_grad()
def similarities(model: CHEST, proxies: Tensor, vectors: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """SoftTriple's similarities, as the loss takes them, of tangent vectors to their own class and to all others.

    Args:
        proxies: (C, K, D), of all classes.
    """
    assert model.loss.proxies is not None
    dist = model.loss.proxies.distances(vectors, model.space, mapped=model.head(proxies))
    if model.loss.relative:
        dist = in_mean_units(dist)
    similarity = soft_triple_similarity(dist, gamma=model.hparams["gamma_h"])
    own = torch.nn.functional.one_hot(labels, similarity.shape[1]).bool()
    return similarity[own], similarity[~own]


def loss_in_words(model: CHEST) -> str:
    """What was trained, by the names of its parts and their weights."""
    h = model.hparams
    parts = (
        (h["eta_h"], "hyperbolic", h["loss_h"] or h["loss"]),
        (h["eta_e"], "Euclidean", h["loss_e"] or h["loss"]),
        (h["tau"], "regulariser", h["regulariser"]),
    )
    words = " + ".join(
        f"{weight:g} × {place} {spec if isinstance(spec, str) else spec['class_path']}"
        for weight, place, spec in parts
        if weight > 0
    )
    words += f"; pairs with {h['queue']:,} embeddings of earlier batches too" if h["queue"] else ""
    return words + (f"; labels softened by the hierarchy, β = {h['soft_labels']:g}" if h["soft_labels"] else "")


def notes(labels: Tensor, radius: Tensor, clip: float, queries: int | None) -> list[str]:
    """What a reader must know before trusting the scores."""
    found = []
    if queries is not None:
        found.append("The images below search all test images, queries and gallery; the scores the gallery alone.")
    alone = int((torch.bincount(labels) == 1).sum()) if queries is None else 0
    if alone:
        found.append(f"{alone} test classes have one image: it is in the gallery, but no query has a match for it.")
    clipped = radius_spread(radius, clip)["clipped"]
    if clipped > MOSTLY and clip != DEFAULT_CLIP:
        found.append(
            f"{clipped:.0%} of the test embeddings are clipped: they sit on one shell, where hyperbolic distance is a "
            "function of the cosine."
        )
    return found


def _at_most(side: int, images: Tensor) -> Tensor:
    return images if images.shape[-1] <= side else torch.nn.functional.adaptive_avg_pool2d(images, side)


def describe_radii(radius: Tensor, clip: float) -> str:
    """Their range, how many are clipped, and at our default radius why."""
    spread = radius_spread(radius, clip)
    between = f"{spread['p05']:.2f} to {spread['p95']:.2f} (5th to 95th percentile)"
    why = (
        ", on purpose: from one shell unseen classes were retrieved better than with free radii (docs/reports/study.md)"
    )
    chosen = clip == DEFAULT_CLIP and spread["clipped"] > MOSTLY
    return f"{between}, {spread['clipped']:.1%} clipped at {clip:g}" + (why if chosen else "")
