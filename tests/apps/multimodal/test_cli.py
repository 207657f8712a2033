"""The app through its command line, on a folder of small meshes: real files, real runs."""

import csv
import json

import pytest
import torch
from PIL import Image

from apps.compare.harness import Trial
from apps.multimodal import plots
from apps.multimodal.__main__ import main
from apps.multimodal.data import MultimodalData
from apps.multimodal.experiment import MultimodalExperiment
from apps.multimodal.model import Multimodal
from tests.apps.command_line import App, assert_complete, assert_same_weights, results
from tests.apps.options import assert_options_win

# Lightning's warnings: a user's process shows or hides them by its own rules
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("own_cache")]
SMALL = {"views": 4, "size": 32, "train_views": 2, "points": 32, "train_points": 16, "batch_size": 4}
app = App("multimodal", fit=("--data.validation", "0.3"))


def test_a_run_leaves_its_scores_report_and_checkpoints(finished):
    assert_complete(finished)
    found = results(finished)
    assert list(found["scores"]) == ["fused", "views", "points"]
    retrieved = {"Recall@1", "FT", "ST", "E", "DCG", "mAP"}
    assert all(set(row) == {"accuracy", "kNN", "SVM"} | retrieved for row in found["scores"].values())
    assert found["facts"]["data"].endswith("30 shapes in 3 classes; 1 broken and left out")
    assert "points: α = " in found["facts"]["reshaping at this checkpoint"]
    page = (finished / "report.html").read_text()
    for words in ("difficulty, nats", "accuracy on validation shapes", "Class relation", "share moved to the class"):
        assert words in page


def test_a_checkpoint_tests_to_the_same_scores_and_options_beside_it_win(finished, tmp_path):
    app.assert_tests_to_the_same_scores(finished, tmp_path / "with a config")
    assert_options_win(main, finished, tmp_path / "without", "--model.dim", "24")


def test_predict_writes_the_class_of_each_test_shape(finished, tmp_path):
    app.after("predict", finished, tmp_path)
    with (tmp_path / "version_0/predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert all(row["shape"].startswith(row["class"]) for row in rows) and len({row["shape"] for row in rows}) == len(
        rows
    )
    for head, scores in results(finished)["scores"].items():
        right = sum(row[head] == row["class"] for row in rows)
        assert 100 * right / len(rows) == pytest.approx(scores["accuracy"])
        assert all(1 / 3 <= float(row[f"{head} probability"]) <= 1 for row in rows)


def test_the_same_seed_gives_the_same_run(root, tmp_path):
    for _ in range(2):
        app("fit", root, tmp_path, "--model.method", "ogm_ge")  # with noise of its own
    assert_same_weights(tmp_path / "version_0", tmp_path / "version_1")


@pytest.mark.parametrize(
    "options",
    [
        ("views", "concat", "linear", "euclidean"),
        ("points", "concat", "soft_triple", "hyperbolic"),
        ("reshaping", "gated", "soft_triple", "hyperbolic"),
        ("reshaping", "sum", "soft_triple", "euclidean"),
    ],
)
def test_methods_heads_and_spaces_by_option(root, tmp_path, options):
    names = ("method", "fusion", "head", "space")
    words = [word for name, value in zip(names, options, strict=True) for word in (f"--model.{name}", value)]
    app("fit", root, tmp_path, *words, "--trainer.max_epochs", "1")
    found = results(tmp_path / "version_0")
    alone = options[0] in ("views", "points")
    assert list(found["scores"]) == (["fused", options[0]] if alone else ["fused", "views", "points"])


def test_compare_writes_its_tables_and_goes_on(root, tmp_path, capsys):
    chosen = ("--candidates", "[reshaping,smoothing,points]", "--seeds", "2", "--budget", "1", "--search_steps", "3")
    files, printed = app.compare_twice(capsys, root, tmp_path, *chosen, "--moments", "[2]", "--reference", "points")
    assert len(files) == 3 * (1 + 2) and "accuracy above points" in printed
    [found] = (tmp_path / "compare/final").glob("reshaping-seed0-*.json")
    scores = json.loads(found.read_text())["history"][-1]["scores"]
    assert (tmp_path / "compare/table.md").is_file()
    plots.main([str(tmp_path / "compare/results.csv"), "--out", str(tmp_path / "figures")])
    for name in ("accuracy", "difficulty"):
        with Image.open(tmp_path / f"figures/multimodal-{name}.png") as figure:
            assert figure.width > figure.height
    modalities = {"views", "points", "difficulty/views", "difficulty/points", "alpha/views", "alpha/points"}
    assert {"accuracy", *modalities} <= set(scores)


def test_a_table_that_compare_did_not_write_is_refused(tmp_path):
    (tmp_path / "scores.csv").write_text("a,b\n1,2\n")
    for name, message in (("scores.csv", "has no column 'candidate'"), ("none.csv", "none.csv")):
        with pytest.raises(SystemExit, match=f"error: .*{message}"):
            plots.main([str(tmp_path / name), "--out", str(tmp_path)])


def test_smoothing_is_as_strong_as_reshaping_became_also_where_that_was_trained_before(root, monkeypatch):
    """A comparison that goes on reads the run of reshaping from its file, and trains it again for its strength."""
    data = MultimodalData(root=str(root), **SMALL)
    model = Multimodal(data.classes, weights="none", point_widths=(8, 16), hidden=16, dim=8)
    found = []
    for order in (("reshaping", "smoothing"), ("smoothing",)):
        experiment = MultimodalExperiment(model, data, 2, torch.device("cpu"), None)
        for candidate in order:
            [last] = list(experiment.train(Trial(candidate, {"lr": 0.1}, 0, "final", (), None)))[-1:]
        found.append((last, experiment.strengths))
    (first, strengths), (second, again) = found
    assert first == second and strengths == again
    [of_modalities] = strengths.values()
    assert max(of_modalities) > 0


def test_points_of_a_step_are_drawn_by_its_key(root):
    data = MultimodalData(root=str(root), **SMALL, jitter=0.0, scale=0.0)
    rows = torch.tensor([3, 20])
    whole, one, same, other = data.batch(rows), data.drawn(rows, 0, 1), data.drawn(rows, 0, 1), data.drawn(rows, 0, 2)
    assert torch.equal(one.points, same.points) and not torch.equal(one.points, other.points)
    assert whole.points.shape == (2, 32, 3) and one.points.shape == (2, 16, 3) and one.seen.shape == (2, 2)
    for some, points in zip(one.points, whole.points, strict=True):
        places = [(points == point).all(1).nonzero()[:, 0].tolist() for point in some]
        assert all(len(place) == 1 for place in places) and len({place[0] for place in places}) == 16


def test_shapes_are_scaled_along_their_axes_and_points_moved(root):
    whole = SMALL | {"train_points": 32}
    data = MultimodalData(root=str(root), **whole, jitter=0.0, scale=0.3)
    rows = torch.arange(8)
    factors = data.drawn(rows, 1).points.abs().amax(1) / data.batch(rows).points.abs().amax(1)
    assert bool(((factors >= 0.7 - 1e-6) & (factors <= 1.3 + 1e-6)).all()) and float(factors.std()) > 0.05
    still, moved = (MultimodalData(root=str(root), **whole, jitter=jitter, scale=0.0) for jitter in (0.0, 0.1))
    before, after = (data.drawn(rows, 1).points for data in (still, moved))
    assert float((after - before).std()) == pytest.approx(0.1, rel=0.1)


test_a_mistake_gets_one_clear_line = app.refuses(
    ("fit --data.root nowhere", "'nowhere' does not exist"),
    ("fit --data.train_points 99", "--data.train_points = 99 of 32 points"),
    ("fit --data.scale 1", "--data.scale = 1;"),
    ("fit --data.points 1000000", "the number of points is 1000000"),
    ("fit --data.train_views 9", "--data.train_views = 9 of 4 views"),
    ("fit --data.strict true", "1 of 31 shapes"),
    ("fit --model.method ogm_ge --model.head soft_triple", "--model.head is 'soft_triple'"),
    ("compare --candidates [resheping]", "there is no candidate 'resheping'"),
    ("fit --model.point_widths []", "--model.point_widths = []"),
)


@pytest.mark.parametrize("config", ["furniture", "compare"])
def test_the_configurations_fit_the_app(root, tmp_path, config):
    small = [word for name, value in SMALL.items() for word in (f"--data.{name}", str(value))]
    tiny = ("--model.weights", "none", "--model.point_widths", "[8]", "--trainer.max_epochs", "1")
    if config == "compare":
        few = ("--candidates", "[joint]", "--seeds", "1", "--search_steps", "1", "--moments", "[1]")
        app("compare", root, tmp_path, *small, *tiny, *few, "--folder", str(tmp_path / "c"), config=config)
        assert (tmp_path / "c/table.md").is_file()
    else:
        app("fit", root, tmp_path, *small, *tiny, config=config)
        assert (tmp_path / "version_0/results.json").is_file()
