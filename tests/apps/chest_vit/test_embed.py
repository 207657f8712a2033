"""New images through a trained network: predict --images, which needs neither the training data nor their classes."""

import csv
import re
import shutil
import signal
import tarfile
import weakref
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from PIL import Image

from apps.chest_vit.__main__ import main
from apps.chest_vit.checkpoint import load
from apps.chest_vit.model import CHEST
from apps.evaluation.embedding_files import Writer, read

SETTINGS = {"num_classes": 7, "backbone": "test_vit", "weights": "none", "backbone_args": {"img_size": 32}, "dim": 8}
NAMES = ("0.png", "1.png", "sub/2.tif", "sub/deeper/3.jpg", "sub/4.png")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """A network of seven classes, whose data are gone."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("run") / "best.ckpt"
    data = {"root": "/nowhere", "size": 32, "eval_batch": 3, "workers": 4}
    state = CHEST(**SETTINGS).state_dict()
    torch.save({"state_dict": state, "hyper_parameters": SETTINGS, "datamodule_hyper_parameters": data}, path)
    return path


@pytest.fixture(autouse=True)
def images(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for index, name in enumerate(NAMES):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(index).integers(0, 255, (40 + index, 36, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(path)
    return Path("images")


def predict(checkpoint, images, *more) -> None:
    main(["predict", "--ckpt_path", str(checkpoint), "--images", str(images), *map(str, more)])


def expected(checkpoint, images, names):
    trained = load(checkpoint)
    data = trained.images()
    from apps.datasets.files import decode

    with torch.no_grad():
        return trained.model(torch.stack([data.whole(decode(images / name)) for name in names]))


@pytest.mark.parametrize("options", [(), ("--data.eval_batch", 2), ("--data.workers", 2, "--device", "cpu")])
def test_a_nested_folder_is_embedded_in_batches(checkpoint, images, capsys, options):
    predict(checkpoint, images, *options)
    assert re.match(r"5 images embedded, 0 failed\n", capsys.readouterr().out)
    found = read("runs/version_0/embeddings.safetensors")
    assert sorted(found.names) == sorted(NAMES) and not Path("runs/version_0/failed.csv").exists()
    wanted = expected(checkpoint, images, found.names)
    for name in ("E", "H"):
        torch.testing.assert_close(found.vectors[name], wanted[name], rtol=1e-5, atol=1e-5)
    table = pq.read_table("runs/version_0/embeddings.parquet")
    assert table["class"].to_pylist() == ["", "", "sub", "sub", "sub"] and set(table["part"].to_pylist()) == {"new"}


@pytest.mark.parametrize("kind", ["flat", "text", "csv", "parquet", "one"])
def test_folders_and_lists(checkpoint, images, kind):
    names = [str(Path("images") / name) for name in reversed(NAMES)]
    where = Path(f"list.{kind}")
    if kind == "flat":
        where, names = images / "sub/deeper", ["3.jpg"]
    elif kind == "one":
        where, names = images / "0.png", ["0.png"]
    elif kind == "parquet":
        pq.write_table(pa.table({"path": names}), where)
    else:
        where.write_text("\n".join(["path"] * (kind == "csv") + names))
    predict(checkpoint, where, "--out", "elsewhere")
    assert list(read("elsewhere/version_0/embeddings.safetensors").names) == names


def test_the_last_checkpoint_of_the_runs(checkpoint, images):
    Path("runs/version_4/checkpoints").mkdir(parents=True)
    shutil.copy(checkpoint, "runs/version_4/checkpoints/last.ckpt")
    predict("last", images)
    assert len(read("runs/version_5/embeddings.safetensors").names) == 5
    with pytest.raises(SystemExit, match=r"no run in elsewhere/ has checkpoints/last\.ckpt"):
        predict("last", images, "--out", "elsewhere")


def test_our_own_embeddings_are_a_list(checkpoint, images):
    predict(checkpoint, images)
    first = read("runs/version_0/embeddings.safetensors")
    Path("runs/version_0/embeddings.parquet").rename(images / "again.parquet")
    predict(checkpoint, images / "again.parquet")
    again = read("runs/version_1/embeddings.safetensors")
    assert again.names == first.names and torch.equal(again.vectors["H"], first.vectors["H"])


def test_new_images_are_searched(checkpoint, images, capsys):
    query = ["search", "--checkpoint", str(checkpoint), "--query", "images/1.png", "-k", "2"]
    predict(checkpoint, images)
    for more in ([], ["--embeddings", "runs/version_0/embeddings.safetensors"]):
        main([*query, "--images", "images", *more])
        assert re.search(r"│ 1 │ +\S+ │ +│ 1.png", capsys.readouterr().out)
    with pytest.raises(
        SystemExit, match=r"of other images \(5\) than those that are searched \(1\), such as '1.png'; give the folder"
    ):
        main([*query, "--images", "images/0.png", "--embeddings", "runs/version_0/embeddings.safetensors"])


def test_no_more_embeddings_are_held_than_those_of_a_batch(checkpoint, images, monkeypatch):
    made, write, alive = list[weakref.ref](), Writer.add, list[int]()

    def add(self, **outputs):
        made.append(weakref.ref(outputs["E"]))
        alive.append(sum(embeddings() is not None for embeddings in made))
        write(self, **outputs)

    monkeypatch.setattr(Writer, "add", add)
    predict(checkpoint, images, "--data.eval_batch", 1, "--data.workers", 0)
    assert len(alive) == 5 and max(alive) <= 2  # that before goes when the next is there


@pytest.mark.parametrize("kind", ["beside", "below", "within", "shards"])
def test_embeddings_of_a_list_are_searched_by_themselves(checkpoint, images, capsys, kind):
    """Whatever the paths of the list are relative to, or where a Parquet file holds the images."""
    names = [f"images/{name}" for name in NAMES] if kind == "beside" else list(NAMES)
    where = images / "list.txt" if kind == "below" else Path("lists/list.txt")
    where.parent.mkdir(exist_ok=True)
    where.write_text("\n".join(names))
    if kind == "within":
        where = images / "list.parquet"
        held = [{"bytes": (images / name).read_bytes(), "path": name} for name in NAMES]
        pq.write_table(pa.table({"image": held, "label": ["a"] * len(NAMES)}), where)
    if kind == "shards":
        where = Path("shards")
        where.mkdir()
        for shard, members in enumerate((NAMES[:1], NAMES[1:])):
            with tarfile.open(where / f"{shard}.tar", "w") as archive:
                for name in members:
                    archive.add(images / name, name)
    predict(checkpoint, where)
    capsys.readouterr()
    query = ["search", "--checkpoint", str(checkpoint), "--query", "images/1.png", "-k", "2"]
    main([*query, "--embeddings", "runs/version_0/embeddings.safetensors"])
    printed = capsys.readouterr().out
    assert re.search(r"│ 1 │ +\S+ │ +a? +│ (images/|1.tar/)?1.png", printed) and "cannot be opened" not in printed
    assert (checkpoint.parent / "search-1.html").read_text().count("data:image/png") == 3
    (checkpoint.parent / "search-1.html").unlink()


def test_failures_are_counted_and_all_named(checkpoint, images, capsys):
    for index in range(5):
        (images / f"broken{index}.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    predict(checkpoint, images)
    output = capsys.readouterr().out
    assert "5 images embedded, 5 failed: broken0.png, broken1.png, broken2.png, ..." in output
    with open("runs/version_0/failed.csv", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["path", "reason"] and [row[0] for row in rows[1:]] == [f"broken{i}.png" for i in range(5)]
    assert all("cannot be decoded" in row[1] for row in rows[1:])
    assert len(read("runs/version_0/embeddings.safetensors").names) == 5
    with pytest.raises(SystemExit, match="error: 5 of the 10 images of 'images' cannot be used"):
        predict(checkpoint, images, "--data.strict", "true")


def test_a_config_wins_over_the_checkpoint_and_the_command_line_over_both(checkpoint, images):
    config = {"model": {**SETTINGS, "clip": 0.25}, "data": {"root": "/gone", "centre_crop": 0.8}, "trainer": {}}
    config["model"].pop("num_classes")
    Path("config.yaml").write_text(yaml.safe_dump(config))
    predict(checkpoint, images)
    predict(checkpoint, images, "--config", "config.yaml", "--data.eval_batch", 1)
    plain, changed = (read(f"runs/version_{n}/embeddings.safetensors").vectors for n in (0, 1))
    assert plain["H"].norm(dim=1).max() > 0.26 and changed["H"].norm(dim=1).max() < 0.2501
    assert not torch.allclose(plain["E"], changed["E"])


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ("'nowhere' does not exist; expected a folder of images", {"images": "nowhere"}),
        ("'gone.ckpt' does not exist", {"ckpt_path": "gone.ckpt"}),
        ("--config 'gone.yaml' cannot be read", {"config": "gone.yaml"}),
        ("these settings are not those of the data: .*'colour'", {"config": "strange.yaml"}),
        ("does not fit this version of apps.chest_vit", {"config": "wider.yaml"}),
        ("--data.size 36 does not fit backbone 'test_vit'", {"config": "size.yaml"}),
        ("--device nonsense cannot be used", {"device": "nonsense"}),
        ("--data.eval_batch = 0; expected 1 to", {"data.eval_batch": 0}),
        ("--data.workers = -1; expected 0 to 256", {"data.workers": -1}),
    ],
)
def test_a_mistake_gets_one_clear_line(checkpoint, message, arguments):
    Path("strange.yaml").write_text("data: {colour: 3}")
    Path("wider.yaml").write_text("model: {dim: 9}")
    Path("size.yaml").write_text("data: {size: 36}")
    given = {"ckpt_path": checkpoint, "images": "images"} | arguments
    with pytest.raises(SystemExit) as exit:
        main(["predict", *(str(word) for name, value in given.items() for word in (f"--{name}", value))])
    assert re.match(rf"error: [^\n]*{message}[^\n]*$", str(exit.value))
    assert not list(Path.cwd().glob("runs/*/*"))


def test_what_is_broken_off_leaves_no_half_file(checkpoint, images, monkeypatch):
    monkeypatch.setattr(CHEST, "forward", lambda *_: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(SystemExit) as stop:
        predict(checkpoint, images)
    assert stop.value.code == 128 + signal.SIGTERM
    assert not list(Path("runs/version_0").iterdir())


def test_a_backbone_says_which_sizes_it_takes():
    model = CHEST(**SETTINGS)
    model.check_size(32)
    assert model.training
    with pytest.raises(
        ValueError, match=r"--data.size 222 does not .*its patch size, 16, .* --data.size 224 --model.back"
    ):
        model.check_size(222)
    CHEST(2, "efficientnet_lite0", "none").check_size(37)
