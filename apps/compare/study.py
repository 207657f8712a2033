"""A subcommand that compares: what an app declares, and the command that runs it."""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, NamedTuple

import lightning as L

from apps.compare.harness import Comparison, Experiment, compare
from apps.compare.tables import Titled, write_comparison

MakeExperiment = Callable[[Any, Any, L.Trainer, Collection[str] | None], Experiment]


class Study(NamedTuple):
    """A comparison that an app offers as a subcommand.

    make: makes the experiment from the model, the data, the trainer and the names of the candidates.
    about: the line that the help shows.
    tables: the tables shown beside those of every comparison.
    tested: whether the final runs are scored on test data; else on validation data.
    images: (experiment, folder, seed) writes further files into the folder, and gives their paths.
    """

    make: MakeExperiment
    about: str = "Train rival losses from the same seeds with the same search budget; write tables, a CSV and a figure."
    tables: Callable[[Comparison], list[Titled]] = lambda comparison: []
    tested: bool = True
    images: Callable[[Any, Path, int], list[Path]] = lambda experiment, folder, seed: []


def with_trainer(experiment: Callable[..., Experiment]) -> MakeExperiment:
    """Make an experiment of (model, data, epochs, device, candidates) from the trainer of a command line."""

    def make(model: Any, data: Any, trainer: L.Trainer, wanted: Collection[str] | None) -> Experiment:
        return experiment(model, data, int(trainer.max_epochs or 1), trainer.strategy.root_device, wanted)

    return make


def run_study(
    study: Study,
    model: L.LightningModule,
    datamodule: L.LightningDataModule,
    trainer: L.Trainer,
    first_seed: int,
    folder: str = "runs/compare",
    candidates: list[str] | None = None,
    seeds: int = 3,
    budget: int = 8,
    search_steps: int | None = 150,
    finalists: int = 1,
    moments: tuple[int, ...] = (20, 60, 150),
    reference: str | None = None,
) -> None:
    """Compare the candidates of a study, and print the paths of what is written.

    The arguments from `folder` on are the options of the subcommand.

    Args:
        study: What is compared.
        model: The model of the command line.
        datamodule: The data of the command line.
        trainer: The trainer of the command line.
        first_seed: The seed of the first final run.
        folder: Folder of the finished trials, from which a stopped comparison resumes, and of the tables.
        candidates: What to compare; without it all that the app has.
        seeds: Final runs of each candidate, seeded from seed_everything on.
        budget: Settings that each candidate may try on validation data.
        search_steps: Steps of each of these trials.
        finalists: The best of these that train to the end on validation data, to choose among; 1 takes the best.
        moments: Steps after which to score, beside the last step, 0 before the first; some apps score the end of each
            epoch too.
        reference: A candidate from which the others' differences are shown, seed by seed.
    """
    experiment = study.make(model, datamodule, trainer, candidates)
    comparison = compare(
        experiment,
        folder,
        seeds=range(first_seed, first_seed + seeds),
        budget=budget,
        search_steps=search_steps,
        finalists=finalists,
        moments=moments,
        tested=study.tested,
    )
    for path in write_comparison(comparison, folder, reference=reference, more=study.tables(comparison)):
        print(path, flush=True)
    for path in study.images(experiment, Path(folder), first_seed):
        print(path, flush=True)


# The arguments of `run_study` that are no options of the subcommand.
GIVEN: set[str | int] = {"study", "model", "datamodule", "trainer", "first_seed"}
