"""The history of a run goes on where it is resumed, and is not cut off by a test of an earlier checkpoint."""

from apps.training.progress import Progress


def test_a_checkpoint_brings_its_history_but_takes_none_away():
    before, progress = [(1, {"loss": 3.0}), (2, {"loss": 2.0})], Progress(shown={})
    progress.load_state_dict({"history": before})
    assert progress.history == before
    progress.history.append((3, {"loss": 1.0}))
    progress.load_state_dict({"history": before})
    assert progress.history == [*before, (3, {"loss": 1.0})]
