"""`check` says what a folder holds, or what is missing; its exit code says whether it can be used."""

import os
import re
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from apps.chest_vit.__main__ import main
from apps.chest_vit.data import RetrievalData
from apps.datasets import sop
from apps.datasets.split import Count
from apps.training.sampling import ClassBalanced

ROOT = Path(__file__).parents[3]
SPLIT = ("--data.split", "images")


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("cub", [("train", 100, 200, "100 / 5,864"), ("test", 100, 200, "100 / 5,924")]),
        ("cars", [("train", 98, 196, "98 / 8,054"), ("test", 98, 196, "98 / 8,131")]),
        (
            "inshop",
            [
                ("train", 6, 18, "3,997 / 25,882"),
                ("query", 5, 10, "3,985 / 14,218"),
                ("gallery", 5, 5, "3,985 / 12,612"),
            ],
        ),
        ("sop", [("train", 6, 18, "11,318 / 59,551"), ("test", 5, 15, "11,316 / 60,502")]),
    ],
)
def test_the_table_has_the_counts_and_the_published_ones(layouts, tmp_path, capsys, name, rows):
    layouts[name](tmp_path)
    main(["check", "--data.root", str(tmp_path)])
    output = capsys.readouterr().out
    for part, classes, images, published in rows:
        assert re.search(rf"│ {part} +│ +{classes} │ +{images} │ +\d+ to \d+ │ +{re.escape(published)} │", output)
    assert "Not as published" in output


def test_the_published_counts_are_recognised(layouts, tmp_path, capsys, monkeypatch):
    layouts["sop"](tmp_path)
    monkeypatch.setattr(sop, "PUBLISHED", {"train": Count(6, 18), "query": Count(5, 15)})
    main(["check", "--data.root", str(tmp_path), "--data.benchmark", "sop"])
    output = capsys.readouterr().out
    assert output.count("as published") == 3 and "As published: scores can be compared." in output


@pytest.mark.parametrize(("split", "rows"), [("classes", ["3 │", "2 │", "6 │"]), ("images", ["11 │", "2 │", "11 │"])])
def test_a_folder_of_your_own(layouts, tmp_path, capsys, split, rows):
    layouts["inshop"](tmp_path)
    for item in range(11):  # 6 images a class
        own = tmp_path / f"Img/img/WOMEN/Dresses/id_{item:08}"
        for index in range(3):
            (own / f"more-{index}.jpg").write_bytes((own / f"0{index}_1_front.jpg").read_bytes())
    root = tmp_path / "Img/img/WOMEN/Dresses"
    main(["check", "--data.root", str(root), "--data.split", split])
    output = capsys.readouterr().out
    assert "a folder of class folders" in output and "published" not in output
    for part, row in zip(("train", "validation", "test"), rows, strict=True):
        assert re.search(rf"│ {part} +│ +{row}", output)
    if split == "images":
        with pytest.raises(SystemExit, match="not usable: no class has two images for"):
            layouts["cars folders"](tmp_path / "cars")
            main(["check", "--data.root", str(tmp_path / "cars/train"), "--data.benchmark", "folder", *SPLIT])


@pytest.mark.parametrize(("more", "warned"), [([], True), (["--data.classes_per_batch", "3"], False)])
def test_it_says_what_a_fit_trains_on_and_whether_its_batches_can_be_drawn(tree, capsys, more, warned):
    """As the fit itself does: fourteen classes, of which seven train, two of them kept out."""
    data = RetrievalData(str(tree))
    main(["check", "--data.root", str(tree), *more])
    output = " ".join(capsys.readouterr().out.split())
    assert data.num_classes == 5
    assert f"A fit trains on {len(data.train)} images of 5 classes; 8 images of 2 classes are kept out" in output
    said = "A batch of 16 classes cannot be drawn from 5: fit needs --data.classes_per_batch 5 or less." in output
    assert said == warned
    with pytest.raises(ValueError, match="the training split has 5") if warned else nullcontext():
        ClassBalanced(data.train.labels, classes=16 if warned else 3, per_class=1, steps=1, seed=0)


def test_of_a_benchmark_too(layouts, tmp_path, capsys):
    layouts["sop"](tmp_path)
    main(["check", "--data.root", str(tmp_path)])
    output = " ".join(capsys.readouterr().out.split())
    assert "A fit trains on 12 images of 4 classes; 6 images of 2 classes are kept out" in output
    assert RetrievalData(str(tmp_path)).num_classes == 4
    main(["check", "--data.root", str(tmp_path), "--data.validation", "0"])
    output = " ".join(capsys.readouterr().out.split())
    assert "A fit trains on 18 images of 6 classes; nothing is kept out" in output


def test_a_table_of_your_own(tree, tmp_path, capsys):
    """Relative to itself; with its own validation, beside which a share is refused."""
    parts = {"train": range(5), "validation": range(5, 7), "test": range(7, 14)}
    rows = [
        f"{tree / f'class-{c:02}' / f'{i}.png'},{c},{part}" for part in parts for c in parts[part] for i in range(4)
    ]
    path = tmp_path / "list.csv"
    path.write_text("\n".join(["path,label,split", *rows]))
    main(["check", "--data.root", str(path), "--data.classes_per_batch", "5"])
    output = " ".join(capsys.readouterr().out.split())
    assert "list.csv: a table of paths, labels and splits, divided as in list.csv" in output
    assert "A fit trains on 20 images of 5 classes; 8 images of 2 classes are kept out for validation" in output
    facts = RetrievalData(str(path), classes_per_batch=5, size=16).facts()
    assert facts["classes"] == "train 5, validation 2, query 7 (as in list.csv; test classes are unseen)"
    assert facts["data"] == str(path)


def test_what_cannot_be_used_ends_with_code_1_and_one_line(layouts, tmp_path):
    layouts["cub"](tmp_path)
    (tmp_path / "CUB_200_2011/classes.txt").unlink()
    done = subprocess.run(
        [sys.executable, "-m", "apps.chest_vit", "check", "--data.root", str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and done.stdout == ""
    assert re.fullmatch(r"not usable: '.*classes\.txt' is missing: CUB-200-2011 is .*\n", done.stderr)


def test_another_benchmark_than_asked_for(layouts, tmp_path):
    layouts["sop"](tmp_path)
    with pytest.raises(SystemExit, match=r"not usable: .*cars_annos|not usable: .*class folders"):
        main(["check", "--data.root", str(tmp_path), "--data.benchmark", "cars"])
    with pytest.raises(SystemExit, match=r"not usable: .*nowhere' does not exist"):
        main(["check", "--data.root", str(tmp_path / "nowhere")])
