"""A network comes back from its checkpoint, and whatever is no checkpoint of it gets one plain line."""

import pickle
import re
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

from apps.training.restore import restore


class Network(nn.Module):
    def __init__(self, width: int, weights: str = "packaged") -> None:
        super().__init__()
        if weights != "none":
            raise AssertionError("nothing is fetched")
        self.layer = nn.Linear(2, width)


class Trap:
    def __reduce__(self):
        return Path.touch, (Path("it ran"),)


def content(**changes):
    return {
        "state_dict": Network(3, "none").state_dict(),
        "hyper_parameters": {"width": 3, "weights": "packaged", "_instantiator": "x"},
        "datamodule_hyper_parameters": {"root": "here", "_instantiator": "x"},
    } | changes


def test_what_was_saved_comes_back(tmp_path):
    saved = content()
    torch.save(saved, tmp_path / "a.ckpt")
    model, settings, data = restore(tmp_path / "a.ckpt", Network, weights="none")
    assert not model.training and settings == {"width": 3, "weights": "packaged"} and data == {"root": "here"}
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, saved["state_dict"][name])


def legacy(path):
    torch.save(content(), path, _use_new_zipfile_serialization=False)


def truncated(path):
    torch.save(content(), path)
    path.write_bytes(path.read_bytes()[:-100])


def damaged(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02no pickle")


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: None, "does not exist; expected a checkpoint of "),
        (Path.mkdir, "is a folder; expected a checkpoint of "),
        (Path.touch, "cannot be read: it is empty; expected "),
        (truncated, "cannot be read: it is truncated"),
        (lambda path: path.write_text("PK\n"), "cannot be read: it is truncated"),
        (damaged, "cannot be read: it is damaged"),
        (lambda path: path.write_text("not a checkpoint"), "cannot be read: torch did not write it"),
        (legacy, "cannot be read: it is an old pickle"),
        (lambda path: path.write_bytes(pickle.dumps(Trap())), "cannot be read: it is an old pickle"),
        (lambda path: torch.save(content(more=Trap()), path), "cannot be read: it holds more than numbers and names"),
        (lambda path: torch.save(torch.zeros(2), path), "is of something else; expected "),
        (lambda path: torch.save({"state_dict": {}}, path), "is of something else; expected "),
        (lambda path: torch.save(content(hyper_parameters={"depth": 3}), path), "does not fit this version of "),
        (lambda path: torch.save(content(hyper_parameters={"width": 4}), path), "does not fit this version of "),
        (lambda path: torch.save(content(hyper_parameters={"width": "x"}), path), "does not fit this version of "),
        (lambda path: torch.save(content(state_dict={}), path), "does not fit this version of "),
    ],
)
def test_what_is_no_checkpoint_of_it_gets_one_line(tmp_path, monkeypatch, write, message):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "some.ckpt")
    with pytest.raises(ValueError, match=rf"^'{re.escape(str(tmp_path))}/some\.ckpt' {message}[^\n]*$"):
        restore(tmp_path / "some.ckpt", Network, weights="none")
    assert not Path("it ran").exists()
