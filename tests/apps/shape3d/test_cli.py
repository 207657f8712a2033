"""The app through its command line, on a folder of small meshes: real files, real runs."""

import csv
import shutil

import pytest
import torch
from PIL import Image

from apps.shape3d import serve
from apps.shape3d.__main__ import main
from tests.apps.command_line import App, assert_complete, assert_same_weights, results
from tests.apps.options import assert_options_win
from tests.apps.serving import Browser, chosen, served

# Lightning's warnings: a user's process shows or hides them by its own rules
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("own_cache")]
app = App("shape3d", fit=("--data.validation", "0.3"))


def test_a_run_leaves_its_scores_report_and_checkpoints(finished):
    assert_complete(finished)
    found = results(finished)
    assert list(found["scores"]) == ["frozen features", "linear probe", "trained network"]
    retrieved = {"Recall@1", "FT", "ST", "E", "DCG", "mAP"}
    assert set(found["scores"]["trained network"]) == {"accuracy", "kNN", "SVM"} | retrieved
    assert set(found["scores"]["linear probe"]) == {"accuracy"} | retrieved
    assert found["facts"]["data"].endswith("30 shapes in 3 classes; 1 broken and left out")
    assert found["facts"]["split"].startswith("train 14, validation 6, test 10")
    page = (finished / "report.html").read_text()
    assert "Precision against recall" in page and "Confusion matrix" in page


def test_a_checkpoint_tests_to_the_same_scores_and_options_beside_it_win(finished, tmp_path):
    app.assert_tests_to_the_same_scores(finished, tmp_path / "with a config")
    assert_options_win(main, finished, tmp_path / "without", "--model.widths", "[24, 12]")


def test_the_same_seed_gives_the_same_run(root, tmp_path):
    for _ in range(2):
        app("fit", root, tmp_path, "--model.loss", "centre")
    assert_same_weights(tmp_path / "version_0", tmp_path / "version_1")


def test_predict_names_classes_and_what_is_broken(finished, root, tmp_path):
    out = tmp_path / "found/predictions.csv"
    main(["predict", "--ckpt_path", str(finished / "checkpoints/best.ckpt"), "--meshes", str(root), "--out", str(out)])
    with out.open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 31
    [broken] = [line for line in lines if line["error"]]
    assert broken["mesh"].endswith("plate/broken.off") and not broken["class"]
    whole = [line for line in lines if not line["error"]]
    assert {line["class"] for line in whole} <= {"tower", "plate", "stick"}
    assert all(1 >= float(line["probability"]) >= float(line["second probability"]) >= 0 for line in whole)


def test_the_axis_that_was_up_in_training_is_up_in_what_comes_later(root, tmp_path, capsys):
    """ModelNet's layout says that z is up: the checkpoint holds it, and every later command takes it from there."""
    folder, found = tmp_path / "ModelNet", {}
    for path in root.glob("*/[0-9].off"):
        part = folder / path.parent.name / ("test" if path.stem in "012" else "train")
        part.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, part)
    app("fit", folder, tmp_path / "runs", "--trainer.max_epochs", "1")
    checkpoint = str(tmp_path / "runs/version_0/checkpoints/last.ckpt")
    assert torch.load(checkpoint, weights_only=True)["datamodule_hyper_parameters"]["up"] == "z"
    capsys.readouterr()
    for up in ((), ("--up", "z"), ("--up", "y")):
        table, image = tmp_path / f"{up}.csv", tmp_path / "found.png"
        main(["predict", "--ckpt_path", checkpoint, "--meshes", str(folder / "tower"), "--out", str(table), *up])
        words = ["--mesh", str(folder / "tower/test/0.off"), "--gallery", str(folder / "stick"), "--out", str(image)]
        capsys.readouterr()
        main(["search", "--ckpt_path", checkpoint, *words, *up])
        found[up] = (table.read_text(), capsys.readouterr().out, image.read_bytes())
    assert found[()] == found["--up", "z"]
    assert all(mine != theirs for mine, theirs in zip(found[()], found["--up", "y"], strict=True))


@pytest.mark.parametrize("gallery", [True, False])
def test_search_finds_the_shape_itself_first(finished, root, tmp_path, capsys, gallery):
    out, mesh = tmp_path / "search.png", root / "stick/3.off"
    checkpoint = str(finished / "checkpoints/best.ckpt")
    where = ["--gallery", str(root)] if gallery else []
    main(["search", "--ckpt_path", checkpoint, "--mesh", str(mesh), *where, "--k", "4", "--out", str(out)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[0] == "1" and float(lines[0].split()[1]) < 1e-3
    assert lines[0].endswith("stick/3.off") and len(lines) == 5
    main(["search", "--ckpt_path", checkpoint, "--mesh", str(mesh), *where, "--k", "4"])
    [beside] = finished.glob("search-3*.png")
    for written in (out, beside):
        with Image.open(written) as image:
            assert image.size == (5 * 64 + 4 * 4, 64)
    beside.unlink()


def test_shadings_as_channels_go_from_the_fit_to_its_commands(root, tmp_path, capsys):
    options = ("--data.shading", "[lambert, normals]", "--data.channels", "true")
    app("fit", root, tmp_path, *options, "--model.pooling", "attention", "--model.positions", "true")
    run = tmp_path / "version_0"
    assert results(run)["scores"]["trained network"].keys() >= {"accuracy", "mAP"}
    app.assert_tests_to_the_same_scores(run, tmp_path / "tested")
    out = tmp_path / "predictions.csv"
    main(["predict", "--ckpt_path", str(run / "checkpoints/best.ckpt"), "--meshes", str(root), "--out", str(out)])
    with out.open() as file:
        assert sum(not line["error"] for line in csv.DictReader(file)) == 30


def test_compare_takes_nothing_over_from_other_data(root, tmp_path, capsys):
    words = (
        "--candidates",
        "[softmax]",
        "--budget",
        "1",
        "--seeds",
        "1",
        "--search_steps",
        "2",
        "--reference",
        "softmax",
    )
    found = []
    for look in ((), ("--data.colours", "true"), ("--data.shading", "[lambert, normals]", "--data.channels", "true")):
        app("compare", root, tmp_path, "--folder", str(tmp_path / "compared"), *words, *look)
        found.append(len(list((tmp_path / "compared").rglob("*.json"))))
    assert found[0] < found[1] < found[2]


def test_compare_writes_its_tables_and_goes_on(root, tmp_path, capsys):
    app.assert_compares(capsys, root, tmp_path, "transport", "centre", "--search_steps", "3", "--moments", "[2]")


test_a_mistake_gets_one_clear_line = app.refuses(
    ("fit --data.root nowhere", "'nowhere' does not exist"),
    ("fit --data.train_views 9", "--data.train_views = 9 of 4 views"),
    ("fit --data.batch_size 500", "batches of 500 images from 20"),
    ("fit --model.loss_args '{margn: 1}'", "loss 'transport' has no setting 'margn'"),
    ("fit --model.loss softmax --model.loss_args '{margin: 1}'", "loss 'softmax' has no setting 'margin'"),
    ("fit --model.loss chest", "loss 'chest' does not work in"),
    ("fit --model.frozen 9", "--model.frozen = 9"),
    ("fit --model.backbone resnet10t --model.frozen 3", "--model.frozen counts the blocks"),
    ("compare --candidates [tripplet]", "there is no candidate 'tripplet'"),
    ("fit --model.lr -1", "--model.lr = -1"),
    ("fit --data.strict true", "1 of 31 shapes"),
)


@pytest.mark.parametrize("command", ["predict", "search"])
@pytest.mark.parametrize("content", [None, b"", b"no checkpoint", "pickle"])
def test_what_is_no_checkpoint_is_refused(root, tmp_path, command, content):
    path = tmp_path / "some.ckpt"
    if content == "pickle":
        torch.save({"hyper_parameters": {}, "run": print}, path)  # a function: never loaded
    elif content is not None:
        path.write_bytes(content)
    what = ["--meshes", str(root)] if command == "predict" else ["--mesh", str(root / "stick/3.off")]
    with pytest.raises(SystemExit, match=r"^error: '.*some\.ckpt' (does not exist|cannot be read)[^\n]*$"):
        main([command, "--ckpt_path", str(path), *what])


@pytest.mark.parametrize("config", ["modelnet10", "modelnet40"])
def test_the_configurations_fit_the_app(root, tmp_path, config):
    small = ("--data.size", "32", "--data.views", "2", "--data.train_views", "2", "--data.batch_size", "4")
    tiny = ("--model.weights", "none", "--model.widths", "[8, 4]", "--trainer.max_epochs", "1")
    app("fit", root, tmp_path, *small, *tiny, "--trainer.limit_train_batches", "1", config=config)
    assert (tmp_path / "version_0/results.json").is_file()


def test_a_mesh_dropped_in_a_browser_finds_itself_and_its_like(finished, root, tmp_path):
    page_of = serve.searcher(chosen(finished))
    mesh = next(root.glob("stick/*.off"))
    with served(page_of, 6) as address, Browser(address, tmp_path / "profile") as page:
        found = page.drop(mesh.name, mesh.read_bytes())
        assert found[0].splitlines()[0] == "stick" and float(found[0].splitlines()[1]) < 1e-3
        page.screenshot(tmp_path / "page.png")
        assert len(page.name(f"stick/{mesh.name}")) == 6 and f"nearest to stick/{mesh.name}" in page.status
