"""The studies of CHEST: the paper's ablation, rival losses and sweeps over settings, and the tables they show."""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping

import lightning as L
import numpy as np

from apps.chest_vit.data import RetrievalData
from apps.chest_vit.model import CHEST
from apps.chest_vit.studies.candidates import ABLATION, RIVALS, ROWS, SWEEP
from apps.chest_vit.studies.experiment import ChestExperiment
from apps.chest_vit.studies.portraits import portraits
from apps.compare.harness import Comparison, SearchSpace, choose_candidates
from apps.compare.study import Study
from apps.compare.tables import Titled, final_scores, mean_sd

OBSERVED = ("gradient, H", "gradient, E", "gradient, cosine", "radius ~ class size", "radius ~ ambiguity")


def experiment(candidates: Mapping[str, SearchSpace]) -> Callable[..., ChestExperiment]:
    """A function that makes the experiment with these candidates, as a `Study` needs it."""

    def make(model: CHEST, data: RetrievalData, trainer: L.Trainer, wanted: Collection[str] | None) -> ChestExperiment:
        return ChestExperiment(
            model,
            data,
            choose_candidates(candidates, wanted),
            epochs=int(trainer.max_epochs or 1),
            clip_gradients=trainer.gradient_clip_val,
            device=trainer.strategy.root_device,
        )

    return make


def ablation_rows(comparison: Comparison) -> list[Titled]:
    """The rows of the paper, with radii (before clipping) and the clipped share; gradients, and what radii go with."""
    rows, seen = [], {}
    for name, candidate, output, *paper in ROWS:
        if candidate not in comparison.finals:
            continue
        found = defaultdict(lambda: np.array([np.nan]), final_scores(comparison.finals[candidate]))
        one = found["H, one radius, Recall@1" if output == "H" else "E, cosine, Recall@1"]
        main = [found[f"{output}, {score}"] for score in ("Recall@1", "MAP@R")]
        low, high, clipped = (found[f"radius, {name}"].mean() for name in ("p05", "p95", "clipped"))
        where = [f"{low:.2f} to {high:.2f}", f"{clipped:.0%}"] if output == "H" else ["", ""]
        rows.append((name, [output, *map(mean_sd, (*main, one)), *where, *paper]))
        seen[candidate] = [mean_sd(found[score], digits=2) for score in OBSERVED]
    columns = ["space", "Recall@1", "MAP@R", "Recall@1 with one radius", "radii, 5 % to 95 %", "clipped"]
    columns += ["Recall@1 in the paper: Cars196", "In-shop"]
    return [
        ("The rows of the paper's ablation", columns, rows),
        (
            "Gradients at the features (means of the last steps), and what radii go with (rank correlation)",
            list(OBSERVED),
            list(seen.items()),
        ),
    ]


def sweep_tables(comparison: Comparison) -> list[Titled]:
    """A table of Recall@1 for every two settings that were varied together."""
    groups: dict[tuple[str, ...], dict[tuple[str, ...], str]] = {}
    for candidate, chosen in comparison.chosen.items():
        score = mean_sd(final_scores(comparison.finals[candidate])[comparison.score])
        groups.setdefault(tuple(chosen), {})[tuple(map(str, chosen.values()))] = score
    tables = []
    for names, cells in groups.items():
        values = [list(dict.fromkeys(column)) for column in zip(*cells, strict=True)]
        varied = [place for place, several in enumerate(values) if len(several) > 1]
        if len(varied) != 2 or len(cells) != len(values[varied[0]]) * len(values[varied[1]]):
            continue
        down, across = varied
        found = {(key[down], key[across]): score for key, score in cells.items()}
        fixed = ", ".join(f"{names[p]} {several[0]}" for p, several in enumerate(values) if p not in varied)
        title = f"{comparison.score} by {names[down]} (down) and {names[across]}" + (f"; {fixed}" if fixed else "")
        rows = [(y, [found[y, x] for x in values[across]]) for y in values[down]]
        tables.append((title, values[across], rows))
    return tables


def output_table(comparison: Comparison) -> list[Titled]:
    """How well each output of each candidate retrieves, whichever of them it is about."""
    columns = [f"{output}, {score}" for score in ("Recall@1", "MAP@R") for output in ("H", "E", "E, cosine")]
    rows = []
    for candidate, runs in comparison.finals.items():
        found = final_scores(runs)
        rows.append((candidate, [mean_sd(found.get(column, np.array([np.nan]))) for column in columns]))
    return [("Each output at the end", columns, rows)]


STUDIES = {
    "ablate": Study(
        experiment(ABLATION),
        about="Train the rows of the paper's ablation from the same seeds; write tables, a CSV and figures.",
        tables=ablation_rows,
        images=portraits,
    ),
    "sweep": Study(
        experiment(SWEEP),
        about="Train CHEST under each of many settings; write tables of the scores on validation data.",
        tables=sweep_tables,
        tested=False,
    ),
    "compare": Study(experiment(RIVALS), tables=output_table),
}
