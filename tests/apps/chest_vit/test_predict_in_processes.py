"""predict in several processes: what one process writes, in one shard each, and a manifest that counts the failures."""

import csv
import json
import shutil
import tarfile
from pathlib import Path

import pytest
import torch

from apps.evaluation import embedding_shards
from tests.apps.processes import finish, ranks, start
from tests.apps.small_data import DATA, command

DDP = ("--trainer.strategy", "ddp", "--trainer.accelerator", "cpu", "--trainer.devices")


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> dict[str, str]:
    return {"GEOMDML_DATA": str(tmp_path_factory.mktemp("cache"))}


@pytest.fixture(scope="module")
def fitted(tmp_path_factory, cache) -> tuple[Path, Path]:
    """Images, and a run that was trained on them for a step."""
    folder = tmp_path_factory.mktemp("fitted")
    (folder / "data").mkdir()
    root = DATA["chest_vit"][0](folder / "data")
    return root, finish(*command("chest_vit", "fit", root, "--trainer.max_steps", 1), folder=folder, environment=cache)


def together(*words: object, count: int, folder: Path, environment: dict[str, str]) -> Path:
    """The run's folder, after so many processes in which nothing failed."""
    folder.mkdir()
    parts = [start(*words, folder=folder, environment=environment | rank) for rank in ranks(count)]
    for part in parts:
        part.join(300)
    said = "".join(path.read_text() for path in sorted(folder.glob("output*.txt")))
    assert [part.exitcode for part in parts] == [0] * count, said
    assert [path.name for path in (folder / "runs").iterdir()] == ["version_0"]
    return folder / "runs/version_0"


def same(one: Path, several: Path, count: int) -> dict:
    """The manifest of several processes, which have the embeddings of one."""
    manifest = several / embedding_shards.MANIFEST
    whole, parts = embedding_shards.read(one / "embeddings.safetensors"), embedding_shards.read(manifest)
    assert tuple(whole.names) == tuple(parts.names) and tuple(whole.classes) == tuple(parts.classes)
    assert whole.vectors.keys() == parts.vectors.keys()
    for name, vectors in whole.vectors.items():
        torch.testing.assert_close(parts.vectors[name], vectors, rtol=1e-5, atol=1e-5)
    found = json.loads(manifest.read_text())
    written = sorted(path.name for path in several.glob("embeddings-*.safetensors"))
    assert [shard["file"] for shard in found["shards"]] == written
    assert len(found["shards"]) == count and found["images"] == len(whole.names)
    return found


@pytest.mark.parametrize(("count", "kind"), [(2, "tar"), (3, "folder")])
def test_new_images(count: int, kind: str, fitted, cache, tmp_path) -> None:
    """Of which one cannot be read: it is left out, counted and named."""
    root, run = fitted
    shutil.copytree(root, tmp_path / "new")
    images = sorted((tmp_path / "new").rglob("*.png"))
    broken = images[0]
    broken.write_bytes(b"no image")
    if kind == "tar":  # three files, of which each process reads a part
        (tmp_path / "new").rename(tmp_path / "files")
        (tmp_path / "new").mkdir()
        for shard in range(3):
            with tarfile.open(tmp_path / f"new/{shard}.tar", "w") as archive:
                for path in images[shard * 20 : (shard + 1) * 20]:
                    archive.add(tmp_path / "files" / path.parent.name / path.name, f"{path.parent.name}/{path.name}")
    last = run / "checkpoints/last.ckpt"
    words = ("predict", "--ckpt_path", last, "--images", tmp_path / "new", "--device", "cpu")
    (tmp_path / "one").mkdir()
    one = finish(*words, folder=tmp_path / "one", environment=cache)
    several = together(*words, count=count, folder=tmp_path / "several", environment=cache)
    assert same(one, several, count)["failed"] == 1
    named = [line for path in several.glob("failed-*.csv") for line in csv.DictReader(path.read_text().splitlines())]
    assert [Path(line["path"]).name for line in named] == [broken.name]
    assert "1 failed" in (tmp_path / "several/output.txt").read_text()


def test_fewer_images_than_processes_are_refused(fitted, cache, tmp_path) -> None:
    root, run = fitted
    (tmp_path / "new").mkdir()
    for path in sorted(root.rglob("*.png"))[:2]:
        shutil.copy(path, tmp_path / "new" / f"{path.parent.name}-{path.name}")
    words = ("predict", "--ckpt_path", run / "checkpoints/last.ckpt", "--images", tmp_path / "new", "--device", "cpu")
    parts = [start(*words, folder=tmp_path, environment=cache | rank) for rank in ranks(3)]
    for part in parts:
        part.join(300)
    assert [part.exitcode for part in parts] == [1, 1, 1]
    said = (tmp_path / "output.txt").read_text()
    assert said == "error: 2 images for 3 processes; expected one for each, at least\n"


def test_images_of_the_training_data(fitted, cache, tmp_path) -> None:
    root, run = fitted
    last = run / "checkpoints/last.ckpt"
    words = ("predict", "--config", run / "config.yaml", "--ckpt_path", last, "--data.root", root)
    (tmp_path / "one").mkdir()
    one = finish(*words, folder=tmp_path / "one", environment=cache)
    several = together(*words, *DDP, 2, count=2, folder=tmp_path / "several", environment=cache)
    assert same(one, several, 2)["failed"] == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read"),
        ('{"shards": []}', "name no files"),
        ('{"shards": [{"file": "../embeddings-1-of-2.safetensors"}]}', "files that are no embeddings"),
        ('{"shards": [{"file": "embeddings-1-of-2.safetensors"}]}', "embeddings-1-of-2.safetensors"),
    ],
)
def test_a_manifest_that_names_other_files_is_refused(content: str, message: str, tmp_path) -> None:
    path = tmp_path / embedding_shards.MANIFEST
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        embedding_shards.read(path)
