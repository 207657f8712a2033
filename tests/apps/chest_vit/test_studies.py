"""The studies of CHEST: maps that are kept, rows of the ablation, and the command that goes on where it was."""

import csv
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from apps.chest_vit.__main__ import main
from apps.chest_vit.data import RetrievalData
from apps.chest_vit.model import CHEST
from apps.chest_vit.studies.cached_maps import KeptMaps
from apps.chest_vit.studies.candidates import ABLATION, RIVALS, ROWS, SWEEP, grid
from apps.chest_vit.studies.commands import sweep_tables
from apps.chest_vit.studies.experiment import model_settings
from apps.chest_vit.studies.figures import FIGURES
from apps.chest_vit.studies.observations import ambiguity, correlation
from apps.compare.harness import Comparison, Evaluation, Run, Trial
from apps.evaluation.scores import scores
from apps.training.sampling import Draw
from geomdml.spaces import Euclidean

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's; a user's process shows or hides them by its own rules

FROZEN = ("conv_stem", "bn1", "blocks.0", "blocks.1")
SIZES = dict(size=32, steps=2, classes_per_batch=2, per_class=2)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Twelve classes of three images, each class a colour."""
    root = tmp_path_factory.mktemp("images")
    for label in range(12):
        (root / f"{label:02}").mkdir()
        for index in range(3):
            colour = np.random.default_rng(label).integers(0, 255, 3)
            pixels = np.clip(colour + np.random.default_rng((label, index)).normal(0, 20, (24, 24, 3)), 0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(root / f"{label:02}" / f"{index}.png")
    return root


@pytest.fixture(autouse=True)
def no_other_words(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["apps.chest_vit"])


def lite(**settings) -> CHEST:
    torch.manual_seed(0)
    return CHEST(5, weights="none", dim=8, **settings).eval()


def test_features_of_kept_maps_are_those_of_the_images(tree):
    data, model = RetrievalData(str(tree), **SIZES), lite(frozen=FROZEN)
    maps = KeptMaps(model, data, variants=2)
    assert maps.layers == len(FROZEN)
    images = torch.stack([data.whole(data.test.image(row)) for row in range(len(data.test))])
    with torch.no_grad():
        found, wanted = maps.features(model, maps.whole("test")), model.features(images)
    torch.testing.assert_close(found, wanted, rtol=0, atol=float(2e-3 * wanted.abs().max()))  # half precision
    assert float((wanted[0] - wanted[-1]).abs().max()) > 0.02 * float(wanted.abs().max())  # it could differ


def test_the_seed_of_a_draw_says_which_variant_is_seen(tree):
    data = RetrievalData(str(tree), **SIZES)
    maps = KeptMaps(lite(frozen=FROZEN), data, variants=2)
    a, b, c = maps.training([Draw(3, 10), Draw(3, 12), Draw(3, 11)])
    assert torch.equal(a, b) and not torch.equal(a, c)
    afresh = KeptMaps(lite(), data, variants=2)
    a, b, c = afresh.training([Draw(3, 10), Draw(3, 10), Draw(3, 12)])
    assert a.shape == (3, 32, 32) and torch.equal(a, b) and not torch.equal(a, c)


def test_of_a_backbone_that_is_no_efficientnet_nothing_is_kept(tree):
    data = RetrievalData(str(tree), **SIZES)
    model = CHEST(5, "test_vit", "none", {"img_size": 32}, frozen=("patch_embed",), dim=8)
    assert KeptMaps(model, data, variants=1).layers == 0


def test_what_is_called_after_the_loss_is_a_setting_of_it():
    found = model_settings({"lr": 0.1, "loss": "proxy_anchor", "loss_margin": 0.2, "loss_e": "triplet"})
    path = "pytorch_metric_learning.losses.ProxyAnchorLoss"
    assert found == {"lr": 0.1, "loss_e": "triplet", "loss": {"class_path": path, "init_args": {"margin": 0.2}}}
    assert model_settings({"loss": "triplet"}) == {"loss": "triplet"}


@pytest.mark.parametrize("name", [*ABLATION, *RIVALS])
def test_every_candidate_has_settings_that_its_losses_take(name):
    space = (ABLATION | RIVALS)[name]
    for place in range(max(map(len, space.values()))):
        settings = {key: values[place % len(values)] for key, values in space.items()}
        model = lite(**model_settings(settings))
        features, labels = torch.randn(8, 1280), torch.arange(8) // 2
        assert bool(model.loss(features, labels, head=model.head).isfinite())


def test_the_papers_rows_are_all_there():
    assert [bool(row.cars196) for row in ROWS] == [True] * 11 + [False] * 11
    assert {row.candidate for row in ROWS} == set(ABLATION)
    margins = {(space["margin_h"][0], space["margin_e"][0]) for space in SWEEP.values() if "relative" in space}
    assert margins == {(h, e) for h in (1.0, 5.0, 10.0, 20.0) for e in (1.0, 5.0, 10.0, 20.0)}


def test_a_sweep_shows_two_settings_as_a_table():
    def finals(value: float) -> list[Run]:
        return [Run(Trial("", {}, 0, "search", (), None), (Evaluation(1, 1.0, {"Recall@1": value}),), 1.0)]

    settings = grid(a=[1, 2], b=[3, 4], c=[5]) | grid(d=[6, 7])
    chosen = {name: {key: values[0] for key, values in space.items()} for name, space in settings.items()}
    runs = {name: finals(float(place)) for place, name in enumerate(settings)}
    [(title, columns, rows)] = sweep_tables(Comparison("Recall@1", {}, chosen, runs))
    assert title == "Recall@1 by a (down) and b; c 5" and columns == ["3", "4"]
    assert rows == [("1", ["0.0", "1.0"]), ("2", ["2.0", "3.0"])]


def test_ambiguous_images_are_those_that_recall_misses():
    torch.manual_seed(0)
    x, labels = torch.randn(1_500, 8), torch.arange(1_500) % 40
    x += 2 * torch.randn(40, 8)[labels]
    found = ambiguity(x, labels)
    cosine = scores(torch.nn.functional.normalize(x), labels, Euclidean(), ks=(1,))
    assert 100 * float((found < 1).double().mean()) == pytest.approx(cosine["Recall@1"], abs=1e-6)
    assert 5 < cosine["Recall@1"] < 95
    assert bool(ambiguity(x, torch.arange(1_500)).isnan().all())


def test_an_order_is_compared_where_there_is_one():
    x = torch.randn(50)
    assert correlation(x, -(x**3)) == pytest.approx(-1)
    assert np.isnan(correlation(x, torch.ones(50))) and np.isnan(correlation(x[:1], x[:1]))


def test_an_ablation_shows_its_rows_and_goes_on_where_it_was(tree, tmp_path, capsys):
    words = ["ablate", "--data.root", str(tree), "--folder", str(tmp_path / "study"), "--out", str(tmp_path)]
    words += [f"--data.{key}={value}" for key, value in SIZES.items()] + ["--trainer.max_epochs=1", "--moments=[]"]
    words += ["--model.weights=none", "--model.dim=8", "--seeds=2", "--candidates=['E', 'H, K = 2']"]
    main(words)
    shown = capsys.readouterr()
    assert "The rows of the paper's ablation" in shown.out and "4/4" in shown.err
    rows = list(csv.DictReader((tmp_path / "study/results.csv").open()))
    assert {(row["candidate"], row["seed"]) for row in rows} == {(c, s) for c in ("E", "H, K = 2") for s in "01"}
    assert {"Recall@1", "E, MAP@R", "H, one radius, Recall@1", "radius, p95"} <= {row["score"] for row in rows}
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "study/final").iterdir()}
    assert len(times) == 4 and not (tmp_path / "study/search").exists()  # one setting each: nothing to search
    main(words)
    assert times == {path: path.stat().st_mtime_ns for path in (tmp_path / "study/final").iterdir()}


def test_an_ablation_ends_with_portraits_drawn_from_csv_files(tree, tmp_path, capsys):
    folder = tmp_path / "study"
    words = ["ablate", "--data.root", str(tree), "--folder", str(folder), "--out", str(tmp_path), "--seeds=1"]
    words += [f"--data.{key}={value}" for key, value in (SIZES | {"steps": 10}).items()] + ["--trainer.max_epochs=1"]
    words += ["--model.weights=none", "--model.dim=8", "--moments=[]", "--candidates=['H', 'H + E']"]
    main(words)
    rows = {name: list(csv.DictReader((folder / f"{name}.csv").open())) for name in FIGURES}
    assert all((folder / f"{name}.png").stat().st_size > 5_000 for name in rows)
    assert {row["candidate"] for row in rows["similarities"]} == {"H", "H + E"}
    for name in ("H", "H + E"):  # a density: it integrates to 1
        of = [r for r in rows["similarities"] if r["candidate"] == name and r["classes"] == "own"]
        area = sum((float(r["high"]) - float(r["low"])) * float(r["density"]) for r in of)
        assert area == pytest.approx(1, rel=0.01)  # five digits are written
    assert [(r["candidate"], r["step"], r["E"] == "nan") for r in rows["gradients"]] == [
        ("H", "10", True),
        ("H + E", "10", False),
    ]
    assert {row["value"] for row in rows["radii"] if row["against"] == "class size"} == {"3"}
    places = np.array([[float(row["x"]), float(row["y"])] for row in rows["disk"]])
    assert {row["part"] for row in rows["disk"]} == {"train", "test"} and (np.hypot(*places.T) < 1).all()
    kept = {path: path.stat().st_mtime_ns for path in (folder / "portraits").iterdir()}
    assert len(kept) == 2 and "observing H + E" in capsys.readouterr().err
    main(words)
    assert kept == {path: path.stat().st_mtime_ns for path in (folder / "portraits").iterdir()}


def test_a_sweep_is_scored_on_validation_images(tree, tmp_path):
    words = ["sweep", "--data.root", str(tree), "--folder", str(tmp_path / "study"), "--out", str(tmp_path)]
    words += [f"--data.{key}={value}" for key, value in SIZES.items()] + ["--trainer.max_epochs=1", "--moments=[]"]
    words += [
        "--model.weights=none",
        "--model.dim=8",
        "--seeds=1",
        "--data.validation=0.4",
        "--candidates=['scale_h 5.0']",
    ]
    main(words)
    assert len(list((tmp_path / "study/search").iterdir())) == 1 and not (tmp_path / "study/final").exists()
    assert "Recall@1 on validation data" in (tmp_path / "study/table.md").read_text()


def test_a_candidate_that_is_not_there_is_named(tree, tmp_path, capsys):
    with pytest.raises(SystemExit, match="error: there is no candidate 'Z'; expected some of H; E"):
        main(["ablate", "--data.root", str(tree), "--candidates=['Z']", "--model.weights=none", "--out", str(tmp_path)])
