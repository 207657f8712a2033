"""After a fit: predict, search and export, through the command line and on a real checkpoint."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from apps.chest_vit import export, gallery, serve
from apps.chest_vit.__main__ import main
from apps.chest_vit.checkpoint import Trained, load
from apps.chest_vit.data import RetrievalData
from apps.chest_vit.gallery import embedded_before, embedded_now
from apps.chest_vit.model import CHEST
from apps.chest_vit.search import found
from apps.datasets import files
from apps.evaluation.embedding_files import read
from tests.apps.serving import Browser, chosen, served

ROOT = Path(__file__).parents[3]
SMOKE = ROOT / "apps/chest_vit/configs/smoke.yaml"
STEPS = ("--data.steps", "1", "--data.classes_per_batch", "2", "--trainer.max_epochs", "1")
CLASSES, EACH = 8, 3


def app(*arguments: object, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "apps.chest_vit", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """The folder of a short run on eight classes of three images, after a predict in batches of five."""
    folder = tmp_path_factory.mktemp("afterwards")
    for label in range(CLASSES):
        (folder / "tree" / f"[b]class {label}").mkdir(parents=True)
        for index in range(EACH):
            pixels = np.random.default_rng((label, index)).integers(0, 255, (24 + index, 24, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "tree" / f"[b]class {label}" / f"{index}.png")
    app("fit", "--config", SMOKE, "--data.root", folder / "tree", *STEPS, folder=folder)
    run = folder / "runs/version_0"
    best = run / "checkpoints/best.ckpt"
    output = app("predict", "--config", run / "config.yaml", "--ckpt_path", best, "--data.eval_batch", 5, folder=folder)
    assert "embeddings: runs/version_1/embeddings.safetensors" in output
    return run


@pytest.fixture(scope="module")
def trained(run) -> Trained:
    return load(run / "checkpoints/best.ckpt")


@pytest.fixture(scope="module")
def predicted(run):
    return read(run.parent / "version_1/embeddings.safetensors")


def test_next_weeks_run_starts_from_best_ckpt_on_other_classes(run, tmp_path):
    shutil.copytree(run.parents[1] / "tree", tmp_path / "tree")
    for label in range(4):
        shutil.copytree(tmp_path / f"tree/[b]class {label}", tmp_path / f"tree/new class {label}")
    best = run / "checkpoints/best.ckpt"
    more = ("--model.weights", best, "--model.lr", 0, "--model.weight_decay", 0)
    app("fit", "--config", run / "config.yaml", "--data.root", tmp_path / "tree", *more, folder=tmp_path)
    old, new = load(best).model, load(tmp_path / "runs/version_0/checkpoints/best.ckpt").model
    assert new.hparams["num_classes"] > old.hparams["num_classes"]
    assert torch.equal(old.backbone.cls_token, new.backbone.cls_token)
    assert torch.equal(old.mean, new.mean)


def test_a_size_that_does_not_fit_is_one_clear_line(run, tmp_path):
    words = ("fit", "--config", run / "config.yaml", "--data.size", 36)
    with pytest.raises(AssertionError) as error:
        app(*words, folder=tmp_path)
    said = str(error.value.args[0])
    assert "error: --data.size 36 does not fit backbone 'test_vit' (Input height (36)" in said
    assert "Traceback" not in said


def test_a_checkpoint_knows_what_its_outputs_gave_on_validation_and_the_classes_of_the_training(run, trained):
    with (run / "metrics.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["val/Recall@1"]]
    best = max(rows, key=lambda row: float(row["val/Recall@1"]))
    logged = {name: float(best[f"val/{name}/Recall@1"]) for name in ("E", "H")}
    assert trained.model.validation == pytest.approx(logged) and float(best["val/Recall@1"]) == max(logged.values())
    assert tuple(trained.model.noted["classes"]) == trained.images().train.classes
    output = json.loads((run / "results.json").read_text())["facts"]["chosen output"]
    assert output == trained.model.choice_in_words() and output[0] == trained.model.chosen


def test_predict_writes_what_the_network_gives(trained, predicted):
    data = trained.images()
    assert tuple(predicted.names) == data.everything.names and len(predicted.names) == CLASSES * EACH
    images = torch.stack([data.whole(data.everything.image(i)) for i in range(len(data.everything))])
    with torch.no_grad():
        expected = trained.model(images)
    for name in ("E", "H"):
        torch.testing.assert_close(predicted.vectors[name], expected[name], rtol=1e-5, atol=1e-5)
    assert predicted.about["chart"] == "tangent" and float(predicted.about["c"]) == trained.model.space.curvature


@pytest.mark.parametrize("old", [False, True])
def test_a_checkpoint_gives_the_normalisation_of_its_weights(old):
    settings = {"num_classes": 2, "backbone": "efficientnet_lite0", "weights": "packaged", "dim": 4}
    model = CHEST(**settings)
    state = {key: value for key, value in model.state_dict().items() if not old or key not in ("mean", "std")}
    path = torch_file({"state_dict": state, "hyper_parameters": settings, "datamodule_hyper_parameters": {}})
    assert torch.equal(load(path).model.mean, model.mean)
    assert not torch.equal(CHEST(**settings | {"weights": "none"}).mean, model.mean)  # else the test could not fail
    week = CHEST(**settings | {"num_classes": 5, "weights": str(path)})  # trained on, with other classes
    assert torch.equal(week.mean, model.mean) and torch.equal(week.std, model.std)
    state = week.state_dict()
    assert torch.equal(state["backbone.conv_stem.weight"], model.state_dict()["backbone.conv_stem.weight"])
    path.unlink()  # last week's is gone
    settings |= {"num_classes": 5, "weights": str(path)}
    path = torch_file({"state_dict": state, "hyper_parameters": settings, "datamodule_hyper_parameters": {}})
    assert torch.equal(load(path).model.mean, model.mean)


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def torch_file(content) -> Path:
    torch.save(content, "some.ckpt")
    return Path("some.ckpt")


@pytest.mark.parametrize("output", ["E", "H"])
def test_search_finds_the_nearest_by_the_distance_of_the_space(trained, predicted, output):
    data = trained.images()
    query = data.everything.image(7)
    neighbours = found(trained, data, embedded_before(trained, predicted), query, output, 5)
    with torch.no_grad():
        vector = trained.model(data.whole(query)[None])[output]
    dist = trained.model.spaces[output].pairwise_dist(vector, predicted.vectors[output])[0]
    expected = sorted(range(len(dist)), key=lambda i: (float(dist[i]), i))[:5]
    assert [one.name for one in neighbours] == [predicted.names[i] for i in expected]
    assert neighbours[0].name == data.everything.names[7] and neighbours[0].distance < 1e-3
    assert [one.distance for one in neighbours] == pytest.approx([float(dist[i]) for i in expected], abs=1e-6)
    again = found(trained, data, embedded_now(trained, data, data.everything), query, output, 5)
    assert [(one.name, one.label, one.image) for one in again] == [
        (one.name, one.label, one.image) for one in neighbours
    ]


def test_search_in_embeddings_opens_no_image_but_those_it_finds(run, tmp_path, capsys, monkeypatch):
    """Neither the data of the training nor the other images need be there, and none is checked."""
    shutil.copytree(run.parents[1] / "tree", "tree")
    best = run / "checkpoints/best.ckpt"
    app("predict", "--ckpt_path", best, "--images", "tree", folder=tmp_path)
    query = shutil.copy(tmp_path / "tree/[b]class 2/1.png", tmp_path / "query.png")
    for path in Path("tree").rglob("*.png"):
        if path != Path("tree/[b]class 2/1.png"):
            path.write_bytes(b"no image any more")
    opened = []
    real = files.decode
    monkeypatch.setattr(files, "find_broken", lambda *_: pytest.fail("images are checked"))
    monkeypatch.setattr(gallery, "decode", lambda path: opened.append(Path(path).name) or real(path))
    monkeypatch.setattr(RetrievalData, "split", property(lambda _: pytest.fail("the data of the training are listed")))
    words = ["search", "--checkpoint", str(best), "--query", str(query)]
    words += ["--embeddings", "runs/version_0/embeddings.safetensors"]
    main([*words, "-k", "1"])
    printed = capsys.readouterr().out
    assert "[b]class 2/1.png" in printed and opened == ["1.png"] and "cannot be opened" not in printed
    assert (run / "search-query.html").read_text(encoding="utf-8").count("data:image/png;base64,") == 2
    main([*words, "-k", "3"])
    assert "2 of these images cannot be opened" in capsys.readouterr().out
    Path("tree").rename("moved")
    main([*words, "-k", "1", "--data.root", "moved"])
    assert "cannot be opened" not in capsys.readouterr().out
    with pytest.raises(SystemExit, match=r"error: --data\.root 'elsewhere' does not exist"):
        main([*words, "--data.root", "elsewhere"])


def test_search_prints_a_table_and_writes_a_page(run, predicted, capsys):
    query = next((run.parents[1] / "tree").rglob("1.png"))
    arguments = ["--checkpoint", run / "checkpoints/best.ckpt", "--query", query, "-k", 3]
    main(["search", *map(str, arguments), "--embeddings", str(run.parent / "version_1/embeddings.safetensors")])
    main(["search", *map(str, arguments), "--space", "E"])
    printed = capsys.readouterr().out
    assert "Nearest by H" in printed and "Nearest by E" in printed
    assert re.search(r"│ 1 │ +\S+ │ \[b\]class \d │ \[b\]class \d/1.png", printed)
    for name in ("search-1.html", "search-1-2.html"):
        page = (run / name).read_text(encoding="utf-8")
        assert page.count("data:image/png;base64,") == 4 and "http" not in page


def test_a_name_is_no_html(run):
    query = Path("<script>x<!--.png")
    Image.new("RGB", (8, 8)).save(query)
    main(["search", "--checkpoint", str(run / "checkpoints/best.ckpt"), "--query", str(query), "-k", "1"])
    (page,) = run.glob("search-<script>*.html")
    assert "<script>" not in page.read_text(encoding="utf-8")


class Bomb:
    def __reduce__(self):
        return Path.touch, (Path("it ran"),)


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ("'broken.png' cannot be decoded", {"query": "broken.png"}),
        ("'nowhere.png' cannot be decoded: no such file", {"query": "nowhere.png"}),
        ("'nowhere.ckpt' does not exist", {"checkpoint": "nowhere.ckpt"}),
        ("'broken.png' cannot be read", {"checkpoint": "broken.png"}),
        ("'bomb.ckpt' cannot be read", {"checkpoint": "bomb.ckpt"}),
        ("'other.ckpt' is of something else", {"checkpoint": "other.ckpt"}),
        ("'strange.ckpt' does not fit this version", {"checkpoint": "strange.ckpt"}),
        ("-k 0; expected at least 1", {"k": "0"}),
        ("'broken.png' are no embeddings.safetensors", {"embeddings": "broken.png"}),
        ("'elsewhere' does not exist", {"data.root": "elsewhere"}),
    ],
)
def test_a_mistake_gets_one_clear_line(run, message, arguments):
    Path("broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    torch.save({"state_dict": Bomb()}, "bomb.ckpt")
    torch.save({"state_dict": {}}, "other.ckpt")
    strange = {"state_dict": {}, "hyper_parameters": {"colour": 3}, "datamodule_hyper_parameters": {}}
    torch.save(strange, "strange.ckpt")
    Image.new("RGB", (8, 8)).save("whole.png")
    given = {"checkpoint": run / "checkpoints/best.ckpt", "query": "whole.png"} | arguments
    dashes = {name: f"-{name}" if len(name) == 1 else f"--{name}" for name in given}
    with pytest.raises(SystemExit) as exit:
        main(["search", *(str(word) for name, value in given.items() for word in (dashes[name], value))])
    assert re.match(rf"error: [^\n]*{re.escape(message)}[^\n]*$", str(exit.value))
    assert not Path("it ran").exists()


def test_embeddings_of_another_network_or_of_other_images_are_refused(run, trained, predicted):
    other = load(run / "checkpoints/best.ckpt")
    with torch.no_grad():
        other.model.head.linear.bias += 1
    with pytest.raises(ValueError, match="another network"):
        embedded_before(other, predicted)
    tree = run.parents[1] / "tree"
    embedded_before(trained, predicted, images=str(tree))
    with pytest.raises(ValueError, match="other images"):
        embedded_before(trained, predicted, images=str(tree / "[b]class 0"))


@pytest.mark.filterwarnings("ignore")  # those of the exporters
@pytest.mark.parametrize("to", ["onnx", "torch"])
@pytest.mark.parametrize(
    ("backbone", "settings", "size"),
    [
        ("efficientnet_lite0", {"clip": 0.5}, 64),
        ("test_vit", {"backbone_args": {"img_size": 32}, "eta_h": 0.0, "learn_c": True}, 32),
    ],
)
def test_an_exported_network_gives_the_same_embeddings(backbone, settings, size, to):
    torch.manual_seed(0)
    model = CHEST(num_classes=3, backbone=backbone, weights="none", dim=8, **settings).eval()
    path = Path("net" + export.SUFFIXES[to])
    assert export.write(Trained(model, {"size": size}), path, to) <= export.TOLERANCE
    images = torch.randint(0, 256, (7, 3, size, size), dtype=torch.uint8)
    with torch.no_grad():
        expected = model(images)
        for theirs, name in zip(export.run(path, to, images), ("E", "H"), strict=True):
            torch.testing.assert_close(theirs, expected[name], rtol=1e-5, atol=1e-5 * float(expected[name].abs().max()))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("to", ["onnx", "torch"])
def test_an_exported_network_says_how_to_use_it(to):
    settings = {"backbone": "test_vit", "weights": "none", "backbone_args": {"img_size": 32}}
    model = CHEST(num_classes=2, dim=8, c=0.25, **settings).eval()
    model.noted = {"classes": ["robin", "été"], "validation": {"E": 77.0, "H": 72.0}}
    path = Path("net" + export.SUFFIXES[to])
    export.write(Trained(model, {"size": 32, "centre_crop": 0.875}), path, to)
    if to == "onnx":
        onnx = pytest.importorskip("onnx")
        content = onnx.load(path)
        facts = {each.key: each.value for each in content.metadata_props}
        for value in (*content.graph.input, *content.graph.output):
            assert value.type.tensor_type.shape.dim[0].dim_param == "batch"
        symbols = [d.dim_param for v in content.graph.value_info for d in v.type.tensor_type.shape.dim]
        assert not any(re.search(r"\bs\d+\b", symbol) for symbol in symbols)
    else:
        held = {export.ABOUT: ""}
        torch.export.load(path, extra_files=held)
        facts = json.loads(held[export.ABOUT])
    assert (facts["chart"], facts["c"], facts["size"], facts["centre_crop"]) == ("tangent", "0.25", "32", "0.875")
    assert json.loads(facts["mean"]) == model.mean.flatten().tolist()
    assert json.loads(facts["std"]) == model.std.flatten().tolist()
    assert json.loads(facts["classes"]) == ["robin", "été"] and facts["output"] == "E"


@pytest.mark.filterwarnings("ignore")
def test_export_overwrites_nothing_and_leaves_nothing_wrong(run, trained, monkeypatch):
    Path("there.pt2").write_text("mine")
    with pytest.raises(SystemExit, match=r"error: 'there.pt2' exists"):
        main(["export", "--checkpoint", str(run / "checkpoints/best.ckpt"), "--to", "torch", "--out", "there.pt2"])
    assert Path("there.pt2").read_text() == "mine"
    monkeypatch.setattr(export, "run", lambda path, to, images: (torch.ones(()), torch.ones(())))
    with pytest.raises(ValueError, match="differs by"):
        export.write(trained, Path("wrong.pt2"), "torch")
    assert not Path("wrong.pt2").exists()


@pytest.mark.parametrize("embeddings", [None, "version_1/embeddings.safetensors"])
def test_an_image_dropped_in_a_browser_finds_itself(run, tmp_path, embeddings):
    more = {"root": None, "images": None, "space": None, "embeddings": embeddings and run.parent / embeddings}
    image = next((run.parents[1] / "tree").glob("*/0.png"))
    with served(serve.searcher(chosen(run, **more))) as address, Browser(address, tmp_path / "profile") as page:
        first = page.drop(image.name, image.read_bytes())[0].splitlines()
        assert first[0] == image.parent.name and float(first[1]) < 1e-3
        page.screenshot(tmp_path / "page.png")
        assert len(page.name(f"{image.parent.name}/{image.name}")) == 5
