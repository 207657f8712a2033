"""Embeddings in files, read back by the libraries whose formats they are."""

import errno
import json
import multiprocessing
import os

import pyarrow.parquet as pq
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from apps.evaluation import embedding_files
from apps.evaluation.embedding_files import Table, Writer, read
from tests.apps.small_disk import small_disk

NAMES = ("a/1.png", "a/2.png", "b/é\n3.png", "b/4.png", "b/5.png")
TABLE = Table(NAMES, [0, 0, 1, 1, 1], ("a", "b"), ["train"] * 2 + ["test"] * 3)
NO_NAMES = ("5", "null", "true", '"abcde"', "{}", "[1, 2, 3, 4, 5]", "[[], [], [], [], []]", "[" * 100_000, "{", "NaN")
ABOUT = {"chart": "tangent", "c": "0.5"}


@pytest.fixture
def vectors():
    torch.manual_seed(0)
    return {"E": torch.randn(5, 3), "H": torch.randn(5, 2)}


def written(folder, vectors, batches=(2, 2, 1)):
    writer = Writer(folder, TABLE, ABOUT)
    for parts in zip(*(vector.split(batches) for vector in vectors.values()), strict=True):
        writer.add(**dict(zip(vectors, parts, strict=True)))
    return writer.close()


def test_both_files_hold_the_embeddings_and_what_they_are(tmp_path, vectors):
    tensors, rows = written(tmp_path / "new", vectors)
    with safe_open(tensors, framework="pt") as file:
        assert all(torch.equal(file.get_tensor(name), vector) for name, vector in vectors.items())
        assert file.get_tensor("labels").tolist() == TABLE.labels
        about = file.metadata()
    assert about["chart"] == "tangent" and about["c"] == "0.5"
    assert json.loads(about["names"]) == list(NAMES) and json.loads(about["parts"]) == TABLE.parts
    table = pq.read_table(rows)
    assert table.schema.metadata[b"chart"] == b"tangent" and table.schema.metadata[b"c"] == b"0.5"
    assert table.column_names == ["path", "label", "class", "part", "E", "H"]
    assert table["path"].to_pylist() == list(NAMES) and table["class"].to_pylist() == ["a", "a", "b", "b", "b"]
    assert table["part"].to_pylist() == TABLE.parts and table["label"].to_pylist() == TABLE.labels
    for name, vector in vectors.items():
        assert torch.equal(torch.tensor(table[name].to_pylist()), vector)


def test_what_is_read_is_what_was_written(tmp_path, vectors):
    found = read(written(tmp_path, vectors)[0])
    assert found.about.items() >= ABOUT.items() and tuple(found.names) == NAMES
    assert list(found.classes) == ["a", "a", "b", "b", "b"]
    assert all(torch.equal(found.vectors[name], vector) for name, vector in vectors.items())


def test_nothing_is_overwritten_and_nothing_unfinished_is_left(tmp_path, vectors):
    for path in written(tmp_path, vectors):
        with pytest.raises(ValueError, match="exists; move it away"):
            Writer(tmp_path, TABLE, ABOUT)
        path.unlink()
    writer = Writer(tmp_path, TABLE, ABOUT)
    writer.add(**{name: vector[:2] for name, vector in vectors.items()})
    with pytest.raises(ValueError, match="2 embeddings for 5 images"):
        writer.close()
    writer.discard()
    assert list(tmp_path.iterdir()) == []


def test_a_few_rows_at_a_time_they_are_the_same_files(tmp_path, vectors, monkeypatch):
    whole = [path.read_bytes() for path in written(tmp_path / "whole", vectors)]
    monkeypatch.setattr(embedding_files, "AT_ONCE", 2)
    tensors, rows = written(tmp_path / "pieces", vectors)
    assert tensors.read_bytes() == whole[0]
    assert pq.ParquetFile(rows).num_row_groups == 3
    assert pq.read_table(rows).equals(pq.read_table(tmp_path / "whole" / rows.name))


def test_names_that_the_format_has_no_room_for_are_refused(tmp_path, vectors, monkeypatch):
    monkeypatch.setattr(embedding_files, "GREATEST_HEADER", 400)
    writer = Writer(tmp_path, TABLE, ABOUT)
    with pytest.raises(ValueError, match=r"names of 5 images take .* embed them with torchrun"):
        writer.add(**vectors)
    writer.discard()
    assert list(tmp_path.iterdir()) == []


def test_more_rows_than_images_are_refused(tmp_path, vectors):
    writer = Writer(tmp_path, TABLE, ABOUT)
    writer.add(**vectors)
    with pytest.raises(ValueError, match="10 embeddings for 5 images"):
        writer.add(**vectors)
    writer.discard()


def write_many(folder, rows):
    """Ends with code 7 where the disk was full, after which nothing is left."""
    names = [f"{row}.png" for row in range(rows)]
    writer = Writer(folder / "run", Table(names, [0] * rows, ("a",), ["test"] * rows), {})
    try:
        for _ in range(0, rows, 100):
            writer.add(E=torch.randn(100, 64))
        writer.close()
    except OSError as error:
        writer.discard()
        said = str(error)
        left = list((folder / "run").iterdir())
        os._exit(7 if "No space left on device" in said and "run" in said and not left else 8)
    os._exit(0)


@pytest.mark.parametrize(
    ("size", "code"),
    [
        (200_000, 7),  # not the room of the tensors
        (800_000, 7),  # nor that of the table beside them
        (4_000_000, 0),
    ],
)
def test_a_full_disk_is_an_error_and_nothing_is_left(tmp_path, size, code):
    """In a process of its own: to write to a full disk through a map of a file ends it."""
    with small_disk(tmp_path / "disk", size) as disk:
        process = multiprocessing.get_context("forkserver").Process(target=write_many, args=(disk, 2000))
        process.start()
        process.join(120)
        assert process.exitcode == code


def test_a_disk_that_sets_no_room_aside_takes_them_too(tmp_path, vectors, monkeypatch):
    def unsupported(*_):
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(embedding_files.os, "posix_fallocate", unsupported)
    first = read(written(tmp_path / "a", vectors)[0])
    monkeypatch.delattr(embedding_files.os, "posix_fallocate")
    second = read(written(tmp_path / "b", vectors)[0])
    for found in (first, second):
        assert all(torch.equal(found.vectors[name], vector) for name, vector in vectors.items())


@pytest.mark.parametrize("wrong", ["absent", "broken", "foreign", "short", "parquet", *NO_NAMES])
def test_other_files_are_refused_in_one_line(tmp_path, vectors, wrong):
    path = tmp_path / "embeddings.safetensors"
    if wrong == "broken":
        path.write_bytes(b"\xff" * 40)
    elif wrong == "foreign":
        save_file(vectors, path)
    elif wrong == "short":
        save_file(vectors, path, metadata={"names": json.dumps(NAMES[:2])})
    elif wrong in NO_NAMES:
        save_file(vectors, path, metadata={"names": wrong})
    elif wrong == "parquet":
        path = written(tmp_path, vectors)[1]
    with pytest.raises(ValueError, match=r"^embeddings [^\n]*$"):
        read(path)
