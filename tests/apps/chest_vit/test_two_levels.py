"""A day with class folders in category folders: check, fit, test, search, with coarse and fine results."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from apps.chest_vit.__main__ import main
from apps.chest_vit.checkpoint import load

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's; a user's process shows or hides them by its own rules
SMOKE = Path(__file__).parents[3] / "apps/chest_vit/configs/smoke.yaml"
TINY = ("--data.size", "32", "--data.steps", "2", "--data.classes_per_batch", "4", "--trainer.max_epochs", "1")
LOSS = ("--model.loss", "tree_proxies", "--model.tau", "0", "--model.closure", "0.5")


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """Four categories of four classes of three images: a colour a category, shades of it the classes, much noise."""
    root = tmp_path_factory.mktemp("day") / "animals"
    for category in range(4):
        colour = np.random.default_rng(100 + category).integers(0, 255, 3)
        for label in range(4):
            shade = colour + np.random.default_rng((category, label)).normal(0, 10, 3)
            for index in range(3):
                path = root / f"kind-{category}" / f"class-{label}" / f"{index}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                noise = np.random.default_rng((category, label, index)).normal(0, 90, (24, 24, 3))
                Image.fromarray(np.clip(shade + noise, 0, 255).astype(np.uint8)).save(path)
    return root


@pytest.fixture(scope="module")
def run(root) -> Path:
    out = root.parent / "runs"
    data = ("--data.root", str(root), "--data.hierarchy", "folders", "--data.validation", "0.3")
    main(["fit", "--config", str(SMOKE), *data, *TINY, *LOSS, "--out", str(out)])
    return out / "version_0"


def test_check_counts_categories(root, capsys):
    main(["check", "--data.root", str(root), "--data.hierarchy", "folders"])
    printed = capsys.readouterr().out
    assert "hierarchy: 16 classes, 4 categories at level 1" in printed


def test_a_run_has_coarse_and_fine_scores_in_its_table_results_logs_and_report(run):
    results = json.loads((run / "results.json").read_text())
    assert results["facts"]["hierarchy"] == "16 classes, 4 categories at level 1"
    for name in ("raw pixels", "frozen backbone", "E", "H"):
        row = results["scores"][name]
        for k in (1, 2, 4, 8):
            assert row[f"level 1 Recall@{k}"] >= row[f"Recall@{k}"]
        assert {"H-AP", "tree distance", "distances ~ tree"} <= row.keys()
        assert ("radii ~ depth" in row) == (name in "EH")
    assert results["scores"]["raw pixels"]["level 1 Recall@1"] > results["scores"]["raw pixels"]["Recall@1"]
    header = (run / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"val/H/H-AP", "test/E/level 1 Recall@1", "test/H/tree distance", "test/H/radii ~ depth"} <= set(header)
    page = (run / "report.html").read_text(encoding="utf-8")
    assert '<section id="hierarchy">' in page and "H, level 1" in page and "distances ~ tree" in page
    assert "Two trees over 6 classes." in page and "Dendrogram purity by category, of all 6" in page


def test_the_tree_travels_in_the_checkpoint(root, run, tmp_path, capsys):
    """`test` needs no option; where the folders have moved they say the tree themselves."""
    best = run / "checkpoints/best.ckpt"
    settings = torch.load(best, weights_only=True)["hyper_parameters"]
    trained = load(best)
    assert settings["class_tree"]["kind-0/class-0"] == ["kind-0"]
    assert list(settings["class_tree"])[: settings["num_classes"]] == trained.model.noted["classes"]
    moved = shutil.copytree(root, tmp_path / "moved")
    main(["test", "--ckpt_path", str(best), "--data.root", str(moved), "--out", str(tmp_path / "runs")])
    again = json.loads((tmp_path / "runs/version_0/results.json").read_text())["scores"]
    for name, row in json.loads((run / "results.json").read_text())["scores"].items():
        assert again[name] == pytest.approx(row)
    assert re.search(r"│ H, level 1 ", capsys.readouterr().out)


@pytest.mark.parametrize("more", [False, True])
def test_search_shows_fine_and_coarse_classes(root, run, capsys, more):
    images = ("--images", str(root)) if more else ()
    query = root / "kind-2/class-1/0.png"
    main(["search", "--checkpoint", str(run / "checkpoints/best.ckpt"), "--query", str(query), "-k", "4", *images])
    printed = capsys.readouterr().out
    assert re.search(r"│ 1 │ +\S+ │ kind-2 +│ kind-2/class-1 +│ kind-2/class-1/0.png", printed)
    page = (run / f"search-0{'-2' * more}.html").read_text(encoding="utf-8")
    assert "<em>kind-2</em>" in page and page.count("<em>kind-") == 4


def test_a_table_of_edges_does_the_same_without_its_file(root, run, tmp_path):
    flat = tmp_path / "flat"
    rows = ["class,parent"]
    for folder in sorted(root.glob("*/*")):
        name = f"{folder.parent.name}-{folder.name}"
        shutil.copytree(folder, flat / name)
        rows.append(f"{name},{folder.parent.name}")
    table = tmp_path / "tree.csv"
    table.write_text("\n".join(rows))
    data = ("--data.root", str(flat), "--data.hierarchy", str(table), "--data.validation", "0.3")
    main(["fit", "--config", str(SMOKE), *data, *TINY, "--model.soft_labels", "3", "--out", str(tmp_path / "runs")])
    table.unlink()
    main(
        ["test", "--ckpt_path", str(tmp_path / "runs/version_0/checkpoints/best.ckpt"), "--out", str(tmp_path / "runs")]
    )
    ours, again = (json.loads((tmp_path / f"runs/version_{i}/results.json").read_text()) for i in (0, 1))
    theirs = json.loads((run / "results.json").read_text())
    assert again == ours and ours["facts"]["hierarchy"] == theirs["facts"]["hierarchy"]
    assert ours["scores"]["raw pixels"] == pytest.approx(theirs["scores"]["raw pixels"])
