"""Images in tar and Parquet files: read where they lie, by class or by folder, what is broken counted."""

import io
import json
import pickle
import tarfile
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from apps.datasets import image_list, shards
from apps.datasets.registry import guess_images, load_images


def png(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((4, 4, 3), value, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def write_tar(path: Path, content: dict[str, bytes], mode: str = "w") -> Path:
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, mode) as archive:
        for name, data in content.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def test_members_with_their_labels(tmp_path, caplog):
    content = {"0001.cls": b"robin\n", "0001.png": png(1), "0001.txt": b"a caption", "wren/0002.seg.png": png(9)}
    content |= {"wren/0002.PNG": png(2), "0003.png": png(3), "0003.json": json.dumps({"label": 7}).encode()}
    path = write_tar(tmp_path / "a.tar", content)
    images, failed = image_list.load(path)
    assert images.names == ("a.tar/0001.png", "a.tar/wren/0002.PNG", "a.tar/0003.png") and not failed
    assert [images.classes[label] for label in images.labels] == ["robin", "wren", "7"]
    again = pickle.loads(pickle.dumps(images.source))  # as a worker gets it
    assert [int(again[row].max()) for row in range(3)] == [1, 2, 3]
    assert "1 .txt, 1 .seg.png" in caplog.text


def birds(folder: Path, classes: int = 8) -> Path:
    """Two tar files and one of Parquet; each class has three images, one in each."""
    for shard in range(2):
        content = {f"bird-{label}/{shard}.png": png(10 * label + shard) for label in range(classes)}
        write_tar(folder / f"birds-{shard}.tar", content)
    rows = [{"bytes": png(10 * label + 2), "path": f"{label}.png"} for label in range(classes)]
    pq.write_table(
        pa.table({"image": rows, "label": [f"bird-{label}" for label in range(classes)]}), folder / "c.parquet"
    )
    return folder


def test_a_folder_of_shards_is_one_data_set(tmp_path):
    root = birds(tmp_path / "birds")
    assert guess_images(root) == "shards" and guess_images(root / "c.parquet") == "shards"
    images = shards.load(root)
    assert len(images) == 24 and len(images.classes) == 8
    for row in range(24):
        label = int(images.classes[images.labels[row]].removeprefix("bird-"))
        assert int(images.image(row).max()) == 10 * label + row // 8
    by_class = load_images(root, "shards", validation=0)
    assert not set(by_class.train.classes) & set(by_class.query.classes)


def test_a_part_of_an_image_is_the_same_in_every_layout(tmp_path):
    """Of a JPEG, where no more is decoded than the part can show: as of a file in a folder."""
    pixels = np.random.default_rng(0).integers(0, 255, (96, 80, 3)).astype(np.uint8)
    (tmp_path / "images/a").mkdir(parents=True)
    (file := tmp_path / "images/a/1.jpg").touch()
    Image.fromarray(pixels).save(file)
    write_tar(tmp_path / "a.tar", {"a/1.jpg": file.read_bytes()})
    pq.write_table(pa.table({"image": [{"bytes": file.read_bytes()}], "label": ["a"]}), tmp_path / "a.parquet")
    write_tar(tmp_path / "shards/a.tar", {"a/1.jpg": file.read_bytes()})
    layouts = ("images", "a.tar", "a.parquet", "shards")
    parts = [
        image_list.load(tmp_path / name).images.part(0, lambda height, width: (8, 4, height // 2, width // 2), 12)
        for name in layouts
    ]
    assert all(torch.equal(part, parts[0]) for part in parts[1:])


@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_an_image_that_is_listed_takes_its_name_and_a_few_numbers(kind, tmp_path):
    """In bytes, between two numbers of images; a name of 40 characters, once or twice, its place and its class."""
    held = []
    for count in (500, 1500, 4500):  # the first makes what is made once
        root = tmp_path / str(count)
        names = [f"class-{row % 7}/{'image':>20}-{row:08}.png" for row in range(count)]
        if kind == "tar":
            write_tar(root / "a.tar", dict.fromkeys(names, b"1"))
        else:
            root.mkdir()
            images = [{"bytes": b"1", "path": name} for name in names]
            pq.write_table(pa.table({"image": images, "label": [name[:7] for name in names]}), root / "a.parquet")
        before = pa.total_allocated_bytes()
        tracemalloc.start()
        try:
            listed = image_list.load(root, check=False)
            held.append(tracemalloc.get_traced_memory()[0] + pa.total_allocated_bytes() - before)
        finally:
            tracemalloc.stop()
        assert len(listed.images) == count
    assert (held[2] - held[1]) / 3000 < (2 if kind == "parquet" else 1) * 50 + 40


def test_the_images_of_each_class_are_divided(tmp_path):
    write_tar(
        tmp_path / "s/a.tar", {f"bird-{label}/{k}.png": png(10 * label + k) for label in range(2) for k in range(6)}
    )
    images = load_images(tmp_path / "s", "shards", by="images", validation=0)
    assert len(images.train) == len(images.query) == 6 and images.train.classes == images.query.classes


def test_what_is_broken_is_counted_and_told(tmp_path, caplog):
    content = {"a/1.png": png(1), "a/2.png": b"no image", "b/1.png": png(2)}
    write_tar(tmp_path / "s/x.tar", content)
    assert len(shards.load(tmp_path / "s")) == 2
    assert "1 broken ('x.tar/a/2.png' cannot be decoded" in caplog.text
    with pytest.raises(ValueError, match="1 of the 3 images"):
        shards.load(tmp_path / "s", strict=True)


def test_what_cannot_be_used_is_refused_by_name(tmp_path):
    whole = write_tar(tmp_path / "s/x.tar", {"a/1.png": png(1)})
    (tmp_path / "s/zipped.tar").write_bytes(write_tar(tmp_path / "z.tgz", {"a/1.png": png(1)}, "w:gz").read_bytes())
    with pytest.raises(ValueError, match=r"zipped.tar' cannot be read: .* expected a tar file that is not compressed"):
        shards.load(tmp_path / "s")
    (tmp_path / "s/zipped.tar").unlink()
    write_tar(tmp_path / "s/none.tar", {"1.png": png(1)})
    with pytest.raises(ValueError, match=r"'none\.tar/1\.png' in .* has no class; expected tar files"):
        shards.load(tmp_path / "s")
    write_tar(tmp_path / "s/none.tar", {"1.png": png(1), "1.json": b"[" * 10})
    with pytest.raises(ValueError, match=r"'1\.json' in .*none\.tar' is no label"):
        shards.load(tmp_path / "s")
    (tmp_path / "s/none.tar").write_bytes(whole.read_bytes()[:700])
    with pytest.raises(ValueError, match=r"none\.tar'"):
        shards.load(tmp_path / "s")
    write_tar(tmp_path / "s/none.tar", {"1.txt": b""})
    with pytest.raises(ValueError, match=r"none\.tar' has no image in it"):
        shards.load(tmp_path / "s")
    with pytest.raises(ValueError, match="has no shards of images"):
        shards.load(tmp_path / "nowhere")
