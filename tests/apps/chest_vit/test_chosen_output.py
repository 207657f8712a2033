"""Which of the outputs is used: the better on validation, which a checkpoint says; every command takes it."""

import re
from pathlib import Path

import pytest
import torch
from PIL import Image

from apps.chest_vit.__main__ import main
from apps.chest_vit.checkpoint import load
from apps.chest_vit.model import CHEST
from apps.evaluation.embedding_files import read

SETTINGS = {"num_classes": 2, "backbone": "test_vit", "weights": "none", "backbone_args": {"img_size": 32}, "dim": 4}


def save(noted: object, **settings: object) -> Path:
    torch.manual_seed(0)
    content = {
        "state_dict": CHEST(**SETTINGS | settings).state_dict(),
        "hyper_parameters": SETTINGS | settings,
        "datamodule_hyper_parameters": {"root": "/nowhere", "size": 32},
        "noted": noted,
    }
    torch.save(content, "best.ckpt")
    return Path("best.ckpt")


@pytest.fixture(autouse=True)
def images(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("images").mkdir()
    for index in range(3):
        Image.new("RGB", (40, 36), (80 * index, 99, 255 - 80 * index)).save(f"images/{index}.png")


@pytest.mark.parametrize(
    ("noted", "settings", "output"),
    [
        ({"validation": {"E": 77.2, "H": 72.3}}, {}, "E"),
        ({"validation": {"E": 72.3, "H": 77.2}}, {}, "H"),
        ({"validation": {"E": 72.3, "H": 72.3}}, {}, "H"),
        ({"validation": {"E": 0.0, "H": 0.0}}, {"eta_h": 0.0, "tau": 0.0}, "E"),
        ({}, {}, "H"),
        ({}, {"eta_h": 0.0, "tau": 0.0}, "E"),
        ({"validation": {"E": "much", "Q": 1.0}}, {}, "H"),
        ({"validation": 3}, {}, "H"),
        (["E"], {}, "H"),
    ],
)
def test_the_better_output_on_validation_is_chosen(noted, settings, output):
    assert load(save(noted, **settings)).model.chosen == output


@pytest.mark.parametrize(("scores", "output"), [({"E": 77.2, "H": 72.3}, "E"), ({"E": 1.0, "H": 2.0}, "H")])
def test_predict_and_search_take_it_and_say_why(scores, output, capsys):
    checkpoint = str(save({"validation": scores}))
    why = f"{output} (Recall@1 on validation: E {scores['E']}, H {scores['H']})"
    main(["predict", "--ckpt_path", checkpoint, "--images", "images"])
    assert f"output: {why}\n" in capsys.readouterr().out
    assert read("runs/version_0/embeddings.safetensors").about["output"] == output
    words = ["search", "--checkpoint", checkpoint, "--query", "images/1.png", "--images", "images", "-k", "1"]
    main(words)
    printed = capsys.readouterr().out
    assert f"Nearest by {output}" in printed and f"by {why}\n" in printed
    other = {"E": "H", "H": "E"}[output]
    main([*words, "--space", other])
    assert re.search(rf"Nearest by {other}\b", capsys.readouterr().out)


def test_what_was_found_is_shown_where_no_page_can_be_written(monkeypatch, capsys):
    """As beside a run that can only be read."""
    checkpoint = str(save({}))

    def refused(*_):
        raise OSError("page could not be written: Read-only file system")

    monkeypatch.setattr("apps.chest_vit.search.write", refused)
    with pytest.raises(SystemExit, match="error: page could not be written"):
        main(["search", "--checkpoint", checkpoint, "--query", "images/1.png", "--images", "images", "-k", "1"])
    printed = capsys.readouterr().out
    assert "Nearest by H" in printed and "1.png" in printed


@pytest.mark.parametrize("better", ["E", "H"])
def test_the_best_checkpoint_is_that_of_the_better_output(monkeypatch, better):
    """The score that checkpoints are chosen by is the larger of both, and is noted with its output."""
    model, logged = CHEST(**SETTINGS), {}
    monkeypatch.setattr(CHEST, "_protocol", lambda *_: {"ks": (1, 2), "queries": None})
    monkeypatch.setattr(CHEST, "_hierarchy", lambda *_: None)
    monkeypatch.setattr(model, "log", lambda name, value, **_: logged.update({name: value}))
    monkeypatch.setattr(model, "log_dict", lambda values: None)
    labels = torch.tensor([0, 0, 1, 1])
    right = torch.tensor([[0.0, 0], [0, 0.1], [0.5, 0], [0.5, 0.1]])  # each nearest to one of its class
    wrong = right[[0, 2, 1, 3]]
    outputs = {"E": right if better == "E" else wrong, "H": right if better == "H" else wrong}
    model._log_scores("val", {**outputs, "labels": labels, "radius": right.norm(dim=1)})
    assert logged[CHEST.monitor] == logged[f"val/{better}/Recall@1"] == 100.0
    assert min(logged["val/E/Recall@1"], logged["val/H/Recall@1"]) == 0.0
    assert model.chosen == better
    checkpoint: dict = {"state_dict": model.state_dict()}
    model.on_save_checkpoint(checkpoint)
    model._log_scores("test", {**outputs, "E": wrong, "H": wrong, "labels": labels, "radius": right.norm(dim=1)})
    assert model.chosen == better and checkpoint["noted"]["validation"][better] == 100.0
