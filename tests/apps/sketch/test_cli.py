"""The app through its command line, on a small folder in SHREC's layout: real files, real runs."""

import re

import pytest

from apps.sketch.__main__ import main
from tests.apps.command_line import assert_complete, assert_same_weights, results
from tests.apps.options import assert_options_win
from tests.apps.sketch.conftest import CLASSES, MODELS, SKETCHES, TESTED, app, shrec13, sketch

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's; a user's process shows or hides them by its own rules
SCORES = {"NN", "FT", "ST", "E", "DCG", "mAP"}


def test_a_run_leaves_its_scores_report_and_checkpoints(finished):
    assert_complete(finished)
    found = results(finished)
    names = [f"{who}, {way}" for who in ("frozen features", "trained") for way in ("sketch → shape", "shape → sketch")]
    assert list(found["scores"]) == ["chance, sketch → shape", *names]
    assert found["scores"]["chance, sketch → shape"] == {"NN": pytest.approx(100 / 3)}
    assert all(set(found["scores"][name]) == SCORES for name in names)
    assert found["facts"]["data"].endswith("18 sketches, 12 shapes, 3 classes")
    assert found["facts"]["sketches"].startswith("8 train, 4 validation, 6 test")
    page = (finished / "report.html").read_text()
    assert "Precision against recall" in page and page.count('class="query"') >= 6


def test_a_checkpoint_tests_to_the_same_scores_and_options_beside_it_win(finished, tmp_path):
    app.assert_tests_to_the_same_scores(finished, tmp_path / "with a config")
    assert_options_win(main, finished, tmp_path / "without", "--model.sketch_widths", "[24, 8]")


def test_the_same_seed_gives_the_same_run_with_contours_and_chest(root, tmp_path):
    of_chest = ("--model.loss", "chest", "--model.space", "hyperbolic", "--data.contours", "0.5")
    for _ in range(2):
        app("fit", root, tmp_path, *of_chest, "--data.validation", "0")
    assert_same_weights(tmp_path / "version_0", tmp_path / "version_1")


def test_compare_writes_its_tables_and_goes_on(root, tmp_path, capsys):
    app.assert_compares(capsys, root, tmp_path, "chest", "transport", "--search_steps", "2", "--moments", "[1]")


test_a_mistake_gets_one_clear_line = app.refuses(
    ("fit --data.root nowhere", "'nowhere' does not exist"),
    ("fit --data.train_views 9", "--data.train_views = 9 of 4 views"),
    ("fit --data.classes_per_batch 9", "classes_per_batch = 9"),
    ("fit --data.contours 1.5", "--data.contours = 1.5"),
    ("fit --model.loss_args '{margn: 1}'", "loss 'transport' has no setting 'margn'"),
    ("fit --model.loss chest", "loss 'chest' does not work in"),
    ("compare --candidates [tripplet]", "there is no candidate 'tripplet'"),
)


@pytest.mark.parametrize("config", ["shrec13", "shrec14"])
def test_the_configurations_fit_the_app(root, tmp_path, config):
    small = ("--data.size", "32", "--data.cameras", "ring", "--data.views", "4", "--data.variants", "2")
    tiny = ("--model.backbone", "resnet10t", "--model.weights", "none", "--data.classes_per_batch", "2")
    few = ("--trainer.max_epochs", "1", "--data.steps", "1", "--data.validation", "0.25")
    app("fit", root, tmp_path, *small, *tiny, *few, config=config)
    assert (tmp_path / "version_0/results.json").is_file()


def test_check_says_what_there_is(tmp_path, capsys):
    root = shrec13(tmp_path / "set")
    arguments = ["check", "--data.root", str(root), "--data.size", "16", "--data.views", "4"]
    main(arguments)
    lines = capsys.readouterr().out.splitlines()
    total = len(CLASSES)
    assert lines[0].endswith(f"{total * SKETCHES} sketches, {total * MODELS} shapes, {total} classes")
    assert [line.split()[0] for line in lines[2:5]] == list(CLASSES)
    assert lines[5:7] == ["0 shapes broken and left out", "0 differences from the contest's lists of sketches"]
    assert lines[7].startswith("4 views of 16 px of 12 shapes: ")
    next(root.rglob("plate/test/*.png")).unlink()
    sketch(root / "more/ghost/train/77.png", 1, 1)
    sketch(root / "more/ghost/test/78.png", 1, 1)
    next(root.rglob("m3.off")).write_text("OFF\n3 1 0\n0 0 0\n")
    with pytest.raises(SystemExit, match="cannot be split into"):
        main(arguments)  # one training sketch of ghost cannot be divided
    main([*arguments, "--data.validation", "0"])
    text = capsys.readouterr().out
    assert "SHREC13_SBR_Sketch_Test.cla: of plate/test 1 listed are missing and 0 are not listed" in text
    assert "SHREC13_SBR_Sketch_Train.cla: of ghost/train 0 listed are missing and 1 are not listed" in text
    assert re.search(r"ghost +1 \+ +0 \+ +1; +0  no shape", text) and "1 shapes broken and left out:" in text
    assert TESTED == 2
    (root / "other_model.cla").write_text("PSB 1\n0 0\n")
    with pytest.raises(SystemExit, match="has 2 class lists of models"):
        main(arguments)


def test_another_command_is_refused():
    with pytest.raises(SystemExit, match="error: no command 'darw': one of fit, "):
        main(["darw"])
