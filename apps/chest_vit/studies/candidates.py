"""What the studies of CHEST train: rows of the paper's ablation, rival losses, settings to sweep."""

import itertools
from typing import NamedTuple

from apps.compare.harness import SearchSpace, Setting

ONE: SearchSpace = {"centers_per_class": [1], "tau": [0.0]}
TWO: SearchSpace = {"centers_per_class": [2], "tau": [0.0]}
ALL: SearchSpace = {"centers_per_class": [2], "tau": [0.5]}
UNCLIPPED: SearchSpace = {"clip": [10.0]}  # beyond all radii that LayerNorm leaves
FLAT: SearchSpace = {"c": [1e-3]}
ABLATION: dict[str, SearchSpace] = {
    "H": {"eta_e": [0.0], **ONE},
    "E": {"eta_h": [0.0], **ONE},
    "H + E": ONE,
    "H, K = 2": {"eta_e": [0.0], **TWO},
    "E, K = 2": {"eta_h": [0.0], **TWO},
    "H + E, K = 2": TWO,
    "H, K = 2, HypHC": {"eta_e": [0.0], **ALL},
    "CHEST": ALL,
    # what the curvature does: with c = 0.001 the hyperbolic half is a Euclidean one of clipped vectors
    "H, flat": {"eta_e": [0.0], **ONE, **FLAT},
    "H + E, flat": {**ONE, **FLAT},
    "H, unclipped": {"eta_e": [0.0], **ONE, **UNCLIPPED},
    "H + E, unclipped": {**ONE, **UNCLIPPED},
    "H + E, K = 10": {"centers_per_class": [10], "tau": [0.0]},
    "CHEST, HypHC as printed": {**ALL, "hyphc_form": ["distance"]},
    "CHEST, the paper's head": {**ALL, "norm": ["none"], "clip": [2.3]},
    "CHEST, learned c": {**ALL, "learn_c": [True]},
}


class Row(NamedTuple):
    """A row of the ablation: its name, what is trained, which output is scored, and the paper's Recall@1."""

    name: str
    candidate: str
    output: str
    cars196: str = ""
    in_shop: str = ""


# The first eleven are those of tables 6 and 7, with their figures.
ROWS = (
    Row("Hyperbolic", "H", "H", "84.5", "91.4"),
    Row("Euclidean", "E", "E", "83.1", "92.0"),
    Row("Hyperbolic + Euclidean", "H + E", "E", "88.3", "93.2"),
    Row("Hyperbolic + Euclidean", "H + E", "H", "88.8", "93.3"),
    Row("Hyperbolic + Multi", "H, K = 2", "H", "85.2", "91.2"),
    Row("Euclidean + Multi", "E, K = 2", "E", "83.4", "91.9"),
    Row("Hyperbolic + Euclidean + Multi", "H + E, K = 2", "E", "88.4", "93.2"),
    Row("Hyperbolic + Euclidean + Multi", "H + E, K = 2", "H", "89.0", "93.4"),
    Row("Hyperbolic + Multi + HypHC", "H, K = 2, HypHC", "H", "85.0", "91.1"),
    Row("CHEST loss", "CHEST", "E", "88.5", "93.4"),
    Row("CHEST loss", "CHEST", "H", "89.1", "93.5"),
    Row("Hyperbolic, flat (c = 0.001)", "H, flat", "H"),
    Row("Hyperbolic + Euclidean, flat", "H + E, flat", "E"),
    Row("Hyperbolic + Euclidean, flat", "H + E, flat", "H"),
    Row("Hyperbolic, unclipped", "H, unclipped", "H"),
    Row("Hyperbolic + Euclidean, unclipped", "H + E, unclipped", "E"),
    Row("Hyperbolic + Euclidean, unclipped", "H + E, unclipped", "H"),
    Row("Hyperbolic + Euclidean, K = 10", "H + E, K = 10", "E"),
    Row("Hyperbolic + Euclidean, K = 10", "H + E, K = 10", "H"),
    Row("CHEST, HypHC as printed", "CHEST, HypHC as printed", "H"),
    Row("CHEST, the paper's head", "CHEST, the paper's head", "H"),
    Row("CHEST, learned c", "CHEST, learned c", "H"),
)
RATES: SearchSpace = {"lr": [3e-4, 1e-3, 3e-3], "head_lr": [1e-4, 1e-3]}
EUCLIDEAN: SearchSpace = {"eta_h": [0.0], "tau": [0.0], **RATES}
COSINE: SearchSpace = {**EUCLIDEAN, "loss_distance": ["cosine"]}
# Twelve settings each: rates of the backbone and of the head, and two values of what matters most in the loss.
RIVALS: dict[str, SearchSpace] = {
    "CHEST": {**RATES, "clip": [1.0, 10.0]},
    "SoftTriple": {**EUCLIDEAN, "loss": ["soft_triple"], "scale_e": [10.0, 20.0]},
    "SoftTriple, CHEST's settings": {  # CHEST's rates and λ
        **EUCLIDEAN,
        "lr": [1e-3],
        "head_lr": [1e-4],
        "loss": ["soft_triple"],
        "scale_e": [20.0],
    },
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


def grid(**values: list[Setting]) -> dict[str, SearchSpace]:
    """A candidate for each combination.

    >>> list(grid(c=[0.1, 0.5], clip=[2.3]))
    ['c 0.1, clip 2.3', 'c 0.5, clip 2.3']
    """
    combined = (dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values()))
    return {
        ", ".join(f"{k} {v}" for k, v in chosen.items()): {k: [v] for k, v in chosen.items()} for chosen in combined
    }


SWEEP: dict[str, SearchSpace] = {
    **grid(margin_h=[0.0, 0.1, 0.3], margin_e=[0.0, 0.1, 0.3]),
    **grid(c=[0.05, 0.5, 2.0], clip=[0.5, 1.0, 2.3, 10.0]),
    **grid(norm=["none"], clip=[2.3, 10.0]),
    **grid(scale_h=[5.0, 10.0, 40.0]),
    **grid(scale_e=[5.0, 10.0, 40.0]),
    # the paper's head, raw distances and margins
    **grid(
        relative=[False],
        gamma_h=[5.0],
        gamma_e=[5.0],
        norm=["none"],
        clip=[2.3],
        margin_h=[1.0, 5.0, 10.0, 20.0],
        margin_e=[1.0, 5.0, 10.0, 20.0],
    ),
}
