"""What was written stays until what takes its place is whole: every kind of result, on a disk where that never is."""

import os
from types import SimpleNamespace

import pytest
import torch

from apps.chest_vit import search as image_search
from apps.chest_vit.studies import figures
from apps.compare import tables
from apps.compare.harness import Comparison, Evaluation, Run, Trial
from apps.digits.results import Results
from apps.multimodal import plots
from apps.shape3d import render
from tests.apps.boxes import box

TRIAL = Trial("a", {}, 0, "final", (), None)
COMPARISON = Comparison("mAP", {"a": []}, {"a": {}}, {"a": [Run(TRIAL, (Evaluation(1, 1.0, {"mAP": 50.0}),), 1.0)]})
SIZES = {"candidate": "a", "seed": "0", "step": "1", "epoch": "1", "classes": "own", "against": "class size"}
ROW = SIZES | {
    "low": "0",
    "high": "1",
    "density": "1",
    "x": "1",
    "y": "1",
    "part": "train",
    "coloured": "0",
    "value": "1",
}


def plotted(folder):
    scores = "".join(
        f"reshaping,0,{step},1,{score},50\n"
        for step in (1, 2)
        for score in ("accuracy", "views", "points", "difficulty/views")
    )
    (folder / "scores.csv").write_text("candidate,seed,step,epoch,score,value\n" + scores)
    plots.main([str(folder / "scores.csv"), "--out", str(folder)])


def rendered(folder):
    box(folder / "box.off", (1, 2, 3))
    render.main([str(folder / "box.off"), "--out", str(folder / "sheet.png"), "--size", "16", "--views", "2"])


def predicted(folder):
    results = Results()
    results.predicted.add(embeddings=torch.zeros(2, 3), labels=torch.zeros(2))
    results.on_predict_end(SimpleNamespace(log_dir=str(folder), is_global_zero=True), None)


def drawn(folder):
    figures.write(folder / "similarities.csv", [ROW | {"classes": classes} for classes in ("own", "others")])
    figures.draw(folder)


WRITERS = {
    "results.csv": lambda folder: tables.write_comparison(COMPARISON, folder),
    "table.md": lambda folder: tables.write_comparison(COMPARISON, folder),
    "curves.png": lambda folder: tables.write_comparison(COMPARISON, folder),
    "multimodal-accuracy.png": plotted,
    "sheet.png": rendered,
    "embeddings.npz": predicted,
    "similarities.csv": drawn,
    "similarities.png": drawn,
    "page.html": lambda folder: image_search.write(folder / "page.html", "q", torch.zeros(3, 8, 8).byte(), "E", []),
}


@pytest.mark.parametrize("name", WRITERS)
def test_what_was_there_stays_until_the_next_is_whole(tmp_path, monkeypatch, name):
    WRITERS[name](tmp_path)
    assert (tmp_path / name).stat().st_size and not list(tmp_path.rglob("*.part*"))
    (tmp_path / name).write_bytes(b"before")
    replace = os.replace

    def fails(source, target):
        if target.name == name:
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises((OSError, SystemExit), match=f"{name} could not be written: No space left on device"):
        WRITERS[name](tmp_path)
    assert (tmp_path / name).read_bytes() == b"before" and not list(tmp_path.rglob("*.part*"))
