"""The studies of CHEST: the paper's ablation, rival losses, and sweeps over settings."""

import itertools
from collections.abc import Callable, Collection, Mapping

import lightning as L

from apps.chest_vit.data import RetrievalData
from apps.chest_vit.experiment import ChestExperiment
from apps.chest_vit.model import CHEST
from apps.chest_vit.portraits import portraits
from apps.common.cli import Study
from apps.common.compare import Comparison, Setting, Space, chosen_from
from apps.common.compare_report import Titled, final_scores, mean_sd

ONE: Space = {"centers_per_class": [1], "tau": [0.0]}
TWO: Space = {"centers_per_class": [2], "tau": [0.0]}
ALL: Space = {"centers_per_class": [2], "tau": [0.5]}
UNCLIPPED: Space = {"clip": [10.0]}  # beyond all radii that LayerNorm leaves
ABLATION: dict[str, Space] = {
    "H": {"eta_e": [0.0], **ONE},
    "E": {"eta_h": [0.0], **ONE},
    "H + E": ONE,
    "H, K = 2": {"eta_e": [0.0], **TWO},
    "E, K = 2": {"eta_h": [0.0], **TWO},
    "H + E, K = 2": TWO,
    "H, K = 2, HypHC": {"eta_e": [0.0], **ALL},
    "CHEST": ALL,
    "CHEST, HypHC as printed": {**ALL, "hyphc_form": ["distance"]},
    "CHEST, the paper's head": {**ALL, "norm": ["none"], "clip": [2.3]},
    "CHEST, learned c": {**ALL, "learn_c": [True]},
    "H, unclipped": {"eta_e": [0.0], **ONE, **UNCLIPPED},
    "H + E, unclipped": {**ONE, **UNCLIPPED},
    "CHEST, unclipped": {**ALL, **UNCLIPPED},
}
# The eleven rows of tables 6 and 7: what the paper calls them, what is trained, and which output is scored.
ROWS = (
    ("Hyperbolic", "H", "H"),
    ("Euclidean", "E", "E"),
    ("Hyperbolic + Euclidean", "H + E", "E"),
    ("Hyperbolic + Euclidean", "H + E", "H"),
    ("Hyperbolic + Multi", "H, K = 2", "H"),
    ("Euclidean + Multi", "E, K = 2", "E"),
    ("Hyperbolic + Euclidean + Multi", "H + E, K = 2", "E"),
    ("Hyperbolic + Euclidean + Multi", "H + E, K = 2", "H"),
    ("Hyperbolic + Multi + HypHC", "H, K = 2, HypHC", "H"),
    ("CHEST loss", "CHEST", "E"),
    ("CHEST loss", "CHEST", "H"),
    ("CHEST, HypHC as printed", "CHEST, HypHC as printed", "H"),
    ("CHEST, the paper's head", "CHEST, the paper's head", "H"),
    ("CHEST, learned c", "CHEST, learned c", "H"),
    ("Hyperbolic, unclipped", "H, unclipped", "H"),
    ("Hyperbolic + Euclidean, unclipped", "H + E, unclipped", "E"),
    ("Hyperbolic + Euclidean, unclipped", "H + E, unclipped", "H"),
    ("CHEST, unclipped", "CHEST, unclipped", "E"),
    ("CHEST, unclipped", "CHEST, unclipped", "H"),
)
RATES: Space = {"lr": [3e-4, 1e-3], "head_lr": [1e-4, 1e-3]}
EUCLIDEAN: Space = {"eta_h": [0.0], "tau": [0.0], **RATES}
COSINE: Space = {**EUCLIDEAN, "loss_distance": ["cosine"]}
# Eight settings each: two rates of two parts, and two values of what matters most in the loss.
RIVALS: dict[str, Space] = {
    "CHEST": {**RATES, "clip": [1.0, 10.0]},
    "SoftTriple": {**EUCLIDEAN, "loss": ["soft_triple"], "scale_e": [10.0, 20.0]},
    "ProxyAnchor": {**COSINE, "loss": ["proxy_anchor"], "loss_alpha": [16.0, 32.0]},
    "multi-similarity": {**COSINE, "loss": ["multi_similarity"], "loss_base": [0.5, 0.7]},
    "triplet": {**EUCLIDEAN, "loss": ["triplet"], "loss_margin": [0.1, 0.3]},
    "Hyp-ViT": {
        **RATES,
        "eta_e": [0.0],
        "tau": [0.0],
        "loss": ["pairwise_cross_entropy"],
        "loss_temperature": [0.1, 0.2],
    },
}


def grid(**values: list[Setting]) -> dict[str, Space]:
    """A candidate for each combination.

    >>> list(grid(c=[0.1, 0.5], clip=[2.3]))
    ['c 0.1, clip 2.3', 'c 0.5, clip 2.3']
    """
    combined = (dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values()))
    return {
        ", ".join(f"{k} {v}" for k, v in chosen.items()): {k: [v] for k, v in chosen.items()} for chosen in combined
    }


SWEEP: dict[str, Space] = {
    **grid(margin_h=[0.0, 0.1, 0.3], margin_e=[0.0, 0.1, 0.3]),  # margins of 0.1, and all else, are the defaults
    **grid(c=[0.1, 1.0, 2.0]),
    **grid(clip=[0.5, 1.0, 1.4]),
    **grid(c=[0.01, 0.1, 2.0], clip=[0.5, 1.0, 2.3]),
    **grid(norm=["none"], clip=[2.3, 10.0]),
    **grid(scale_h=[5.0, 10.0, 40.0]),
    **grid(scale_e=[5.0, 10.0, 40.0]),
    # the paper's own grid, where distances are raw
    **grid(
        relative=[False], gamma_h=[5.0], gamma_e=[5.0], margin_h=[1.0, 5.0, 10.0, 20.0], margin_e=[1.0, 5.0, 10.0, 20.0]
    ),
}


def experiment(candidates: Mapping[str, Space]) -> Callable[..., ChestExperiment]:
    """What makes the experiment with these candidates from what the command line hands over."""

    def make(model: CHEST, data: RetrievalData, trainer: L.Trainer, wanted: Collection[str] | None) -> ChestExperiment:
        return ChestExperiment(
            model,
            data,
            chosen_from(candidates, wanted),
            epochs=int(trainer.max_epochs or 1),
            clip_gradients=trainer.gradient_clip_val,
            device=trainer.strategy.root_device,
        )

    return make


def ablation_rows(comparison: Comparison) -> list[Titled]:
    """The rows of the paper, with the radii and the clipped share beside each."""
    columns = ["space", "Recall@1", "MAP@R", "Recall@1 with one radius", "radii, 5 % to 95 %", "clipped"]
    rows = []
    for name, candidate, output in ROWS:
        if candidate not in comparison.finals:
            continue
        found = final_scores(comparison.finals[candidate])
        one = mean_sd(found["H, one radius, Recall@1"]) if output == "H" else ""
        radii = f"{found['radius, p05'].mean():.2f} to {found['radius, p95'].mean():.2f}" if output == "H" else ""
        clipped = f"{found['radius, clipped'].mean():.0%}" if output == "H" else ""
        main = [mean_sd(found[f"{output}, {score}"]) for score in ("Recall@1", "MAP@R")]
        rows.append((name, [output, *main, one, radii, clipped]))
    return [("The rows of the paper's ablation", columns, rows)]


STUDIES = {
    "ablate": Study(experiment(ABLATION), tables=ablation_rows, pictures=portraits),
    "sweep": Study(experiment(SWEEP), tested=False),
    "compare": Study(experiment(RIVALS)),
}
