"""The harness that compares losses: the same seeds, the same search budget, chosen on validation data, resumable.

An app hands in an `Experiment`: named candidates with the settings that may be chosen, and a generator that trains one
trial. Each candidate gets as many trials of its settings, drawn with the seed and scored on validation data, and where
these trials are short the best of them may train to the end before one is chosen; the best setting is then trained
once for each seed and scored on test data. Every finished trial is a JSON file named by
all that decides it, so that a comparison stopped anywhere goes on where it was, and one with other settings does not
take its files for its own.
"""

import hashlib
import itertools
import json
import math
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from apps.io.atomic import write_file
from apps.training.sampling import seed_of

Setting = float | int | str | bool
Settings = Mapping[str, Setting]
SearchSpace = Mapping[str, Sequence[Setting]]  # the values that each setting may have
Stage = Literal["search", "final"]


def choose_candidates(spaces: Mapping[str, SearchSpace], wanted: Collection[str] | None) -> dict[str, SearchSpace]:
    """The candidates wanted, in their own order; None, or none, wants all.

    Raises:
        ValueError: a name that is not among them.
    """
    if unknown := set(wanted or ()) - spaces.keys():
        raise ValueError(f"there is no candidate {min(unknown)!r}; expected some of {'; '.join(spaces)}")
    return {name: space for name, space in spaces.items() if not wanted or name in wanted}


class Evaluation(NamedTuple):
    """Scores after so many steps; `epoch` is what part of an epoch, or how many, that is."""

    step: int
    epoch: float
    scores: dict[str, float]


@dataclass(frozen=True)
class Trial:
    """One training: what to train, with which settings and seed, and where it is scored.

    stage: "search" scores on validation data, "final" on test data.
    moments: steps after which to score, beside the end of every epoch and the last step; 0 is before the first.
    steps: how many steps to train; None is all that the app's training has.
    """

    candidate: str
    settings: Settings
    seed: int
    stage: Stage
    moments: tuple[int, ...]
    steps: int | None


class Experiment(Protocol):
    """What an app compares.

    candidates: the settings each may be given, every one with its possible values.
    fixed: all else that decides the scores (data, network, epochs, ...), as JSON: part of a trial's identity.
    score: the score that chooses settings and is drawn, higher is better.
    """

    @property
    def candidates(self) -> Mapping[str, SearchSpace]: ...
    @property
    def fixed(self) -> Mapping[str, Any]: ...
    @property
    def score(self) -> str: ...
    def train(self, trial: Trial) -> Iterator[Evaluation]:
        """Train from the start, and give the scores as they come."""
        ...


@dataclass(frozen=True)
class Run:
    """A finished trial, its scores over the steps and the seconds it took."""

    trial: Trial
    history: tuple[Evaluation, ...]
    seconds: float


@dataclass(frozen=True)
class Comparison:
    """For each candidate the settings that validation chose, the runs of its search and its runs on test data.

    finalists: where more than one of a search was trained to the end to choose from, these runs.
    """

    score: str
    searches: dict[str, list[Run]]
    chosen: dict[str, Settings]
    finals: dict[str, list[Run]]
    finalists: dict[str, list[Run]] = field(default_factory=dict)


def compare(
    experiment: Experiment,
    folder: str | Path,
    *,
    seeds: Sequence[int],
    budget: int,
    search_steps: int | None,
    finalists: int = 1,
    moments: Sequence[int] = (),
    tested: bool = True,
) -> Comparison:
    """Search settings for every candidate, train the chosen ones from each seed, and give all the runs.

    A candidate with one setting has nothing to search.

    Args:
        experiment: what is compared.
        folder: where finished trials are kept, and taken from when they are already there.
        seeds: of the final runs; settings are searched with the first.
        budget: trials of settings that each candidate gets; it must have at least as many, and all do then get as many.
        search_steps: steps of a trial in the search; None trains it to the end.
        finalists: the best of the search that are trained to the end on validation data, to choose among; 1 takes the
            best as it is. What is ahead after a few steps need not be in the end.
        moments: steps after which to score.
        tested: score the final runs on test data; else on validation data, to choose among the candidates by.

    Raises:
        ValueError: no seed, a budget below 1, finalists not between 1 and the budget, or a candidate with fewer
            settings than the budget; a score that is missing; a candidate none of whose settings gives a finite score.
    """
    if not seeds or len(set(seeds)) != len(seeds) or budget < 1:
        raise ValueError(
            f"seeds = {list(seeds)}, budget = {budget}; expected at least one seed, none twice, and 1 trial"
        )
    if not 1 <= finalists <= budget:
        raise ValueError(f"finalists = {finalists}; expected 1 to the budget, {budget}")
    spaces = experiment.candidates
    chosen = {name: next(iter(draw_settings(space, 1, 0))) for name, space in spaces.items() if _size(space) == 1}
    drawn = {name: draw_settings(space, budget, seeds[0], name) for name, space in spaces.items() if name not in chosen}
    full = finalists if finalists > 1 else 0
    with _Shown(len(drawn) * (budget + full) + len(spaces) * len(seeds), experiment.score) as shown:

        def run(name: str, settings: Settings, seed: int, stage: Stage, steps: int | None) -> Run:
            trial = Trial(name, settings, seed, stage, tuple(moments), steps)
            return run_trial(experiment, trial, Path(folder), shown)

        searches: dict[str, list[Run]] = {name: [] for name in chosen}
        ahead: dict[str, list[Run]] = {}
        for name, options in drawn.items():
            searches[name] = [run(name, settings, seeds[0], "search", search_steps) for settings in options]
            leading = rank(searches[name], experiment.score)
            if full:
                ahead[name] = [run(name, short.trial.settings, seeds[0], "search", None) for short in leading[:full]]
                leading = rank(ahead[name], experiment.score)
            chosen[name] = leading[0].trial.settings
        finals: dict[str, list[Run]] = {name: [] for name in spaces}
        for seed in seeds:  # all candidates of one seed first: what is stopped early can still be compared
            for name in spaces:
                finals[name].append(run(name, chosen[name], seed, "final" if tested else "search", None))
    return Comparison(experiment.score, searches, chosen, finals, ahead)


def _size(space: SearchSpace) -> int:
    return math.prod(map(len, space.values()))


def draw_settings(space: SearchSpace, budget: int, seed: int, name: str = "") -> list[Settings]:
    """`budget` different settings from all combinations of a space, drawn with the seed; all in order if that is all.

    >>> draw_settings({"lr": [0.1, 0.2], "margin": [1]}, 2, seed=0)
    [{'lr': 0.1, 'margin': 1}, {'lr': 0.2, 'margin': 1}]
    """
    every = [dict(zip(space, values, strict=True)) for values in itertools.product(*space.values())]
    if len(every) < budget:
        raise ValueError(
            f"candidate {name!r} has {len(every)} settings to try; expected at least the budget, {budget}, of each"
        )
    chosen = np.random.default_rng(seed_of(seed)).permutation(len(every))[:budget]
    return [every[index] for index in sorted(chosen)]


def rank(runs: Sequence[Run], score: str) -> list[Run]:
    """The runs by their last score, the highest first and equals as they come, without those that have no finite one.

    Raises:
        ValueError: none of them has a finite score.
    """
    finite = [run for run in runs if math.isfinite(run.history[-1].scores[score])]
    if not finite:
        raise ValueError(
            f"no setting of {runs[0].trial.candidate!r} gives a finite {score}; its search has to be wider"
        )
    return sorted(finite, key=lambda run: run.history[-1].scores[score], reverse=True)


def identify(experiment: Experiment, trial: Trial) -> tuple[str, str]:
    """All that decides a trial, as JSON, and the name of its file."""
    identity = json.dumps({"trial": asdict(trial), "fixed": experiment.fixed}, sort_keys=True, default=str)
    return identity, f"{trial.candidate}-seed{trial.seed}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"


def run_trial(experiment: Experiment, trial: Trial, folder: Path, shown: "_Shown | None" = None) -> Run:
    """The run of a trial: read where its file is there, else trained and written, whole or not at all."""
    identity, name = identify(experiment, trial)
    path = folder / trial.stage / f"{name}.json"
    if path.is_file():
        run = _read(path, trial)
    else:
        started, history = time.monotonic(), []
        for evaluation in experiment.train(trial):
            history.append(evaluation)
            if shown:
                shown.step(trial, evaluation)
        if not history or experiment.score not in history[-1].scores:
            raise ValueError(f"training {trial.candidate!r} gave no {experiment.score!r} at its end")
        run = Run(trial, tuple(history), time.monotonic() - started)
        _write(path, run, json.loads(identity))
    if shown:
        shown.done(run)
    return run


def _write(path: Path, run: Run, identity: Mapping[str, Any]) -> None:
    history = [evaluation._asdict() for evaluation in run.history]
    content = json.dumps({**identity, "history": history, "seconds": run.seconds}, indent=1)
    write_file(path, lambda part: part.write_text(content))


def _read(path: Path, trial: Trial) -> Run:
    try:
        content = json.loads(path.read_bytes())
        history = tuple(Evaluation(e["step"], e["epoch"], dict(e["scores"])) for e in content["history"])
        return Run(trial, history, float(content["seconds"]))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} is no finished trial ({error}): delete it to train it again") from error


class _Shown:
    """A bar over all trials on a terminal; elsewhere a line for each that is done. Both go to stderr."""

    def __init__(self, trials: int, score: str) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self.bar = Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty())
        self.trials, self.score, self.count = trials, score, 0

    def __enter__(self) -> "_Shown":
        self.bar.start()
        self.task: TaskID = self.bar.add_task("trials", total=self.trials)
        return self

    def __exit__(self, *_: Any) -> None:
        self.bar.stop()

    def step(self, trial: Trial, evaluation: Evaluation) -> None:
        value = evaluation.scores.get(self.score, math.nan)
        line = f"{trial.stage} {trial.candidate} seed {trial.seed}, step {evaluation.step}: {self.score} {value:.1f}"
        self.bar.update(self.task, description=line)

    def done(self, run: Run) -> None:
        self.count += 1
        self.bar.advance(self.task)
        if self.bar.disable:
            t, last = run.trial, run.history[-1]
            settings = ", ".join(f"{name} {value}" for name, value in t.settings.items())
            print(
                f"{self.count}/{self.trials} {t.stage} {t.candidate} seed {t.seed} ({settings}): "
                f"{self.score} {last.scores[self.score]:.2f} at step {last.step}, {run.seconds:.0f} s",
                file=sys.stderr,
                flush=True,
            )
