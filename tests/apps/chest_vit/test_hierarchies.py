"""The study of hierarchies on a handful of features, and the trees of the packaged sets."""

import csv

import pytest
import torch

from apps.chest_vit import packaged_hierarchies
from apps.chest_vit.studies import hierarchies
from apps.chest_vit.studies.hierarchies import Part, Table, Trial
from apps.datasets import furniture
from geomdml.class_trees import class_labels

TREE = packaged_hierarchies.parents_of([("a", "x"), ("a", "y"), ("a", "y"), ("b",)])


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Four classes of three images, each class a corner of its own, and few steps."""
    features = torch.eye(8)[torch.arange(12) % 4] + 0.01 * torch.arange(12).unsqueeze(1)
    part = Part(features, torch.arange(12) % 4, TREE)
    monkeypatch.setattr(
        hierarchies, "parts", lambda name: dict.fromkeys(("train", "validation", "unseen", "seen"), part)
    )
    monkeypatch.setattr(hierarchies, "STEPS", 2)
    monkeypatch.setattr(hierarchies, "DIMENSIONS", ((2,),))
    monkeypatch.setattr(hierarchies, "SEARCHED", (2, 2))
    monkeypatch.setattr(hierarchies, "SEEDS", (0,))
    monkeypatch.setattr(hierarchies, "RATES", (0.003, 0.01))


def test_it_goes_on_where_it_was(tmp_path, monkeypatch, capsys):
    def run():
        monkeypatch.setattr("sys.argv", ["hierarchies", "--folder", str(tmp_path), "--data", "emoji"])
        hierarchies.main()
        return capsys.readouterr().out.count("Trial(")

    assert run() == 5 * 2 * (2 + 1)  # spaces, trees, rates and the final one
    path = tmp_path / "emoji.csv"
    whole = Table(path).rows
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:-3]) + "\n")
    assert run() == 3
    again = Table(path).rows
    assert list(again) == list(whole)
    for row in (*whole.values(), *again.values()):
        row.pop("seconds")
    assert again == whole
    assert {trial.space for trial in again} == set(hierarchies.spaces())
    assert all(row["unseen fine"] >= 0 for trial, row in again.items() if trial.stage == "final")


def test_the_summary_has_means_and_spread_over_the_seeds(tmp_path):
    table = Table(tmp_path / "emoji.csv")
    for seed, fine in enumerate((10.0, 20.0, 30.0)):
        trial = Trial("emoji", "cosine", "tree", 8, 0.01, seed, "final")
        table.rows[trial] = {"unseen fine": fine, "unseen coarse": 1.0, "unseen H-AP": 2.0}
    lines = hierarchies.summary(table, "unseen").splitlines()
    assert lines[0] == "| space, labels | 8 |" and len(lines) == 2 + 10
    assert "| cosine, tree | 20.0 ± 10.0 / 1.0 ± 0.0 / 2.0 ± 0.0 |" in lines
    assert "| cosine, flat | – / – / – |" in lines


def test_flat_labels_know_nothing_of_the_tree():
    _, flat = hierarchies.train(Trial("emoji", "euclidean", "flat", 2, 0.01, 0, "final"))
    _, tree = hierarchies.train(Trial("emoji", "euclidean", "tree", 2, 0.01, 0, "final"))
    assert len(flat.proxies) == 4 and len(tree.proxies) == len(TREE)


def test_clipped_points_lie_within_the_radius_and_cosine_on_the_sphere():
    features = 100 * torch.randn(5, 8, generator=torch.Generator().manual_seed(0))
    for space, most in (
        ("hyperbolic, clipped", hierarchies.CLIP),
        ("flat, clipped", hierarchies.CLIP),
        ("cosine", 1.0),
    ):
        head, _ = hierarchies.train(Trial("emoji", space, "tree", 2, 0.03, 0, "final"))
        assert float(head(features).detach().norm(dim=1).max()) <= most * (1 + 1e-5)


def test_a_damaged_table_is_not_taken_for_a_finished_one(tmp_path):
    (tmp_path / "emoji.csv").write_text("data,space\nemoji,euclidean\n")
    with pytest.raises(KeyError):
        Table(tmp_path / "emoji.csv")


def test_furniture_classes_lie_below_their_kinds():
    with furniture.LIST.open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = [f"{row['class']}/{row['library']}-{row['index']}" for row in rows]
    levels = class_labels(packaged_hierarchies.load("furniture", names))
    kinds = {row["class"] for row in rows}
    assert levels.shape == (541, 2) and len(levels[:, 0].unique()) == len(kinds) == 24
    same = levels[:, :1] == levels[:, :1].T
    named = torch.tensor([[a.split("/")[0] == b.split("/")[0] for b in names] for a in names])
    assert torch.equal(same, named)


def test_what_has_no_hierarchy_is_refused():
    with pytest.raises(ValueError, match="there is no hierarchy of 'cub'"):
        packaged_hierarchies.load("cub", [])
    with pytest.raises(ValueError, match="class 'sofa/nowhere' has no place"):
        packaged_hierarchies.load("furniture", ["sofa/nowhere"])
