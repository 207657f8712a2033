"""The harness: equal budgets, equal seeds, chosen on validation, resumable run by run."""

import csv
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from apps.compare.harness import Evaluation, Run, Trial, compare, draw_settings, rank
from apps.compare.tables import by_moment, mean_sd, write_comparison

SPACE = {"lr": [0.1, 0.2, 0.3], "margin": [1, 2]}


class Climb:
    """A score that rises to a height of the settings; it notes what was trained, and stops where told."""

    score = "mAP"

    def __init__(self, **candidates):
        self.candidates = candidates or {"fast": SPACE, "slow": SPACE}
        self.fixed = {"epochs": 2}
        self.trained: list[Trial] = []
        self.stop_after = math.inf

    def train(self, trial):
        if len(self.trained) >= self.stop_after:
            raise KeyboardInterrupt
        self.trained.append(trial)
        last = trial.steps or 8
        for step in sorted({s for s in (*trial.moments, 4, 8, last) if s <= last}):
            yield Evaluation(step, step / 4, {"mAP": height(trial) - 8 / step, "other": float(step)})


def height(trial):
    bonus = 10 if trial.candidate == "fast" else 0
    test = 5 if trial.stage == "final" else 0
    return 50 + bonus + test + 100 * trial.settings["lr"] - trial.settings["margin"] + trial.seed


OPTIONS = dict(seeds=(3, 4), budget=4, search_steps=2, moments=(1,))


def test_every_candidate_gets_the_same_budget_and_seeds(tmp_path):
    climb = Climb()
    compare(climb, tmp_path, **OPTIONS)
    for name in climb.candidates:
        searched = [t for t in climb.trained if t.candidate == name and t.stage == "search"]
        assert len(searched) == 4 == len({json.dumps(t.settings) for t in searched})
        assert {(t.seed, t.steps) for t in searched} == {(3, 2)}
        finals = [t for t in climb.trained if t.candidate == name and t.stage == "final"]
        assert [(t.seed, t.steps) for t in finals] == [(3, None), (4, None)]
    settings = [
        [t.settings for t in climb.trained if (t.candidate, t.stage) == (n, "search")] for n in climb.candidates
    ]
    assert settings[0] == settings[1]  # of equal spaces the same are drawn


def test_a_single_setting_is_not_searched_for(tmp_path):
    climb = Climb(only={"lr": [0.1], "margin": [1]}, fast=SPACE)
    found = compare(climb, tmp_path, **OPTIONS)
    assert found.searches["only"] == [] and found.chosen["only"] == {"lr": 0.1, "margin": 1}
    assert [t.stage for t in climb.trained if t.candidate == "only"] == ["final"] * 2
    assert list(found.finals) == ["only", "fast"]
    write_comparison(found, tmp_path)
    assert "only" not in (tmp_path / "table.md").read_text().partition("Settings, chosen")[2]


def test_without_a_test_all_is_scored_on_validation_data(tmp_path):
    climb = Climb()
    compare(climb, tmp_path, **OPTIONS, tested=False)
    assert {t.stage for t in climb.trained} == {"search"}


def test_the_best_on_validation_is_trained_to_the_end(tmp_path):
    climb = Climb()
    found = compare(climb, tmp_path, **OPTIONS)
    for name, runs in found.searches.items():
        top = max(runs, key=lambda run: run.history[-1].scores["mAP"])
        assert found.chosen[name] == top.trial.settings
        assert all(run.trial.settings == top.trial.settings for run in found.finals[name])
        assert [[e.step for e in run.history] for run in found.finals[name]] == [[1, 4, 8]] * 2


def test_finalists_are_trained_to_the_end_before_one_is_chosen(tmp_path):
    class Tortoise(Climb):
        """The lowest rate is behind after two steps, and ahead of all in the end."""

        def train(self, trial):
            for e in super().train(trial):
                yield e._replace(scores={"mAP": e.scores["mAP"] - (100 * trial.settings["lr"] * (e.step - 2))})

    options = {**OPTIONS, "budget": 6}
    hasty = compare(Tortoise(), tmp_path / "hasty", **options)
    assert [chosen["lr"] for chosen in hasty.chosen.values()] == [0.3, 0.3]
    climb = Tortoise()
    found = compare(climb, tmp_path / "patient", **options, finalists=4)
    for name in climb.candidates:
        ahead = [t for t in climb.trained if t.candidate == name and t.stage == "search" and t.steps is None]
        assert [t.settings["lr"] for t in ahead] == [0.3, 0.3, 0.2, 0.2] and {t.seed for t in ahead} == {3}
        assert [run.trial for run in found.finalists[name]] == ahead
        assert found.chosen[name] == {"lr": 0.2, "margin": 1}
    write_comparison(found, tmp_path)
    assert "| worst | finalists at the end |" in (tmp_path / "table.md").read_text()


@pytest.mark.parametrize("stop_after", [0, 1, 5, 9, 11])
def test_a_stopped_comparison_goes_on_where_it_was(tmp_path, stop_after):
    whole = Climb()
    expected = compare(whole, tmp_path / "whole", **OPTIONS)
    climb = Climb()
    climb.stop_after = stop_after
    with pytest.raises(KeyboardInterrupt):
        compare(climb, tmp_path / "stopped", **OPTIONS)
    climb.stop_after = math.inf
    found = compare(climb, tmp_path / "stopped", **OPTIONS)
    assert climb.trained == whole.trained  # each trial once, in the same order
    assert {name: [run.history for run in runs] for name, runs in found.finals.items()} == {
        name: [run.history for run in runs] for name, runs in expected.finals.items()
    }


def test_what_decides_a_trial_decides_its_file(tmp_path):
    climb = Climb()
    compare(climb, tmp_path, **OPTIONS)
    trials = len(climb.trained)
    compare(climb, tmp_path, **OPTIONS)
    assert len(climb.trained) == trials
    compare(climb, tmp_path, **{**OPTIONS, "seeds": (3, 4, 5)})
    assert len(climb.trained) == trials + 2  # the third seed of both
    climb.fixed = {"epochs": 3}
    compare(climb, tmp_path, **OPTIONS)
    assert len(climb.trained) == 2 * trials + 2


def test_a_trial_stopped_in_its_middle_leaves_no_file(tmp_path):
    class Broken(Climb):
        def train(self, trial):
            yield Evaluation(1, 0.25, {"mAP": 1.0})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare(Broken(), tmp_path, **OPTIONS)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("text", ["", '{"history": [', "5", "{}", '{"history": 5}', "[" * 100_000])
def test_a_damaged_file_is_named(tmp_path, text):
    compare(Climb(), tmp_path, **OPTIONS)
    path = next(tmp_path.glob("final/*.json"))
    path.write_text(text)
    with pytest.raises(ValueError, match=f"{path} is no finished trial .* delete it"):
        compare(Climb(), tmp_path, **OPTIONS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": ()}, "expected at least one seed"),
        ({"seeds": (1, 1)}, "none twice"),
        ({"budget": 0}, "budget = 0"),
        ({"finalists": 0}, "finalists = 0; expected 1 to the budget, 4"),
        ({"finalists": 5}, "finalists = 5"),
        ({"budget": 7}, "candidate 'fast' has 6 settings to try; expected at least the budget, 7"),
    ],
)
def test_a_mistake_is_told_before_anything_is_trained(tmp_path, changes, message):
    climb = Climb()
    with pytest.raises(ValueError, match=message):
        compare(climb, tmp_path, **{**OPTIONS, **changes})
    assert not climb.trained


def test_what_diverged_is_never_chosen():
    trial = Trial("fast", {"lr": 0.1}, 0, "search", (), None)
    runs = [
        Run(replace(trial, settings={"lr": lr}), (Evaluation(1, 1.0, {"mAP": value}),), 0.0)
        for lr, value in ((0.1, math.nan), (0.2, 1.0), (0.3, math.inf), (0.4, 2.0), (0.5, 2.0))
    ]
    assert [run.trial.settings["lr"] for run in rank(runs, "mAP")] == [0.4, 0.5, 0.2]
    with pytest.raises(ValueError, match="no setting of 'fast' gives a finite mAP"):
        rank(runs[:1], "mAP")


@given(st.lists(st.integers(1, 4), min_size=1, max_size=3), st.data(), st.integers(0, 5))
def test_draws_are_different_and_of_the_space(sizes, data, seed):
    space = {f"s{i}": list(range(size)) for i, size in enumerate(sizes)}
    budget = data.draw(st.integers(1, math.prod(sizes)))
    found = draw_settings(space, budget, seed)
    assert len({tuple(sorted(settings.items())) for settings in found}) == budget
    assert all(settings[name] in space[name] for settings in found for name in space)
    assert draw_settings(space, budget, seed) == found


def test_the_tables_say_what_the_runs_gave(tmp_path, capsys):
    found = compare(Climb(), tmp_path, **OPTIONS)
    paths = write_comparison(found, tmp_path, reference="slow")
    columns, rows = by_moment(found)
    assert columns == ["step 1", "epoch 1 (4)", "epoch 2 (8)"]
    values = [[e.scores["mAP"] for e in run.history] for run in found.finals["fast"]]
    assert dict(rows)["fast"] == [mean_sd(column) for column in np.transpose(values)]
    _, differences = by_moment(found, "slow")
    expected = height(found.finals["fast"][0].trial) - height(found.finals["slow"][0].trial)
    assert differences == [("fast", [f"{expected:.1f} ± 0.0"] * 3)]
    with paths[0].open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 2 * 2 * 3 * 2  # candidates, seeds, moments, scores
    assert {line["value"] for line in lines if line["score"] == "other"} == {"1.0000", "4.0000", "8.0000"}
    text = paths[1].read_text()
    assert f"| fast | {' | '.join(dict(rows)['fast'])} |" in text and "mAP above slow" in text
    with Image.open(paths[2]) as image:
        assert min(image.size) > 300 and len(image.convert("RGB").getcolors(2**20) or ()) > 10
    assert "Settings, chosen on validation data" in capsys.readouterr().out
