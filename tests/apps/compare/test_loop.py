"""The training loop: when it scores, when it stops, when the schedule advances, and what a diverged step changes."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from apps.compare.harness import Trial
from apps.compare.loop import train
from apps.training.divergence import Diverged, check_finite


class Counted:
    """Batches that are (epoch, place)."""

    def __init__(self, size: int) -> None:
        self.size, self.epoch = size, -1

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.size

    def __iter__(self):
        return iter([(self.epoch, place) for place in range(self.size)])


class Training:
    """One weight under the loss w, by SGD whose rate halves each time the schedule advances; it notes all calls."""

    def __init__(self, diverges=()) -> None:
        self.weight = torch.nn.Parameter(torch.tensor(0.0))
        self.diverges, self.asked, self.progress, self.steps = diverges, [], [], None

    def step(self, batch, epoch, place):
        assert batch == (epoch, place)
        self.asked.append(batch)
        loss = self.weight * (torch.nan if len(self.asked) in self.diverges else 1.0)
        check_finite(loss, "the loss", step=len(self.asked))
        return loss

    def score(self, at_the_end):
        return {"weight": float(self.weight.detach()), "asked": len(self.asked), "at the end": at_the_end}

    def optimiser(self, steps):
        self.steps = steps
        self.sgd = torch.optim.SGD([self.weight], lr=1.0)
        return self.sgd, torch.optim.lr_scheduler.ExponentialLR(self.sgd, 0.5)

    def run(self, size, epochs, *, moments=(), steps=None, **options):
        trial = Trial("", {}, 0, "search", tuple(moments), steps)
        options = {"before_update": lambda optimizer, progress: self.progress.append(progress), **options}
        return list(train(trial, Counted(size), self.step, self.score, self.optimiser, epochs=epochs, **options))


@given(
    st.integers(1, 5),
    st.integers(1, 4),
    st.one_of(st.none(), st.integers(1, 12)),
    st.sets(st.integers(0, 20)),
    st.sampled_from(["step", "epoch"]),
)
def test_it_scores_at_the_moments_and_at_the_end(size, epochs, steps, moments, per):
    training, last = Training(), steps or epochs * size
    found = training.run(size, epochs, moments=moments, steps=steps, per=per)
    at_ends = set(range(size, last + 1, size)) if per == "epoch" else set()
    expected = sorted({m for m in moments if m <= last} | at_ends | {last})
    assert [e.step for e in found] == [e.scores["asked"] for e in found] == expected
    assert [e.epoch for e in found] == [round(step / size, 4) for step in expected]
    assert [e.scores["at the end"] for e in found] == [step == last for step in expected]
    assert training.asked == [divmod(step, size) for step in range(last)] and training.steps == last
    assert training.progress == [step / last for step in range(last)]


@pytest.mark.parametrize(("per", "expected"), [("step", [1.0, 1.5, 1.75, 1.875]), ("epoch", [1.0, 2.0, 2.5, 3.0])])
def test_the_schedule_advances_per_step_or_per_epoch(per, expected):
    found = Training().run(2, 2, moments=(1, 2, 3), per=per)
    assert [-e.scores["weight"] for e in found] == expected


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")
def test_a_step_that_diverges_changes_nothing_and_the_training_is_scored_to_its_end():
    training = Training(diverges=(1, 3))
    found = training.run(4, 1, moments=(1, 2, 3))
    assert [-e.scores["weight"] for e in found] == [0.0, 0.5, 0.5, 0.625]
    assert training.progress == [0.25, 0.75]


def test_what_is_not_finite_is_named():
    check_finite(torch.ones(3), "an embedding", step=1)
    with pytest.raises(Diverged, match=r"training diverged before step 7: the loss is nan; lower --model\.lr"):
        check_finite(torch.tensor(torch.nan), "the loss", step=7)
    with pytest.raises(Diverged, match="an embedding has NaN or infinite values"):
        check_finite(torch.tensor([1.0, torch.inf]), "an embedding", step=1)
