"""CIFAR10's Python files are read as written by Python 2 and 3, and run nothing."""

import io
import pickle
import struct
import tarfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.datasets import cifar10

RNG = np.random.default_rng(0)
ROWS = 4
CLASSES = [f"class {n}" for n in range(10)]


class Python2(pickle._Pickler):
    """Writes byte strings as Python 2 did, as the files of CIFAR10 have them."""

    dispatch = dict(pickle._Pickler.dispatch)

    def save_bytes(self, value):
        self.write(b"T" + struct.pack("<i", len(value)) + value)
        self.memoize(value)

    dispatch[bytes] = save_bytes


def python2(content):
    file = io.BytesIO()
    Python2(file, protocol=2).dump(content)
    return file.getvalue()


def python3(content):
    return pickle.dumps(content, protocol=2)


def batch(seed, key=lambda name: name.encode(), order="C"):
    rng = np.random.default_rng(seed)
    data = np.asarray(rng.integers(0, 256, (ROWS, 3072), dtype=np.uint8), order=order)
    labels = rng.integers(0, 10, ROWS).tolist()
    return {
        key("data"): data,
        key("labels"): labels,
        key("batch_label"): b"a batch",
        key("filenames"): [b"a.png"] * ROWS,
    }


def write(folder, dump, **changes):
    """The usual folder; `changes` replace the content of files by their names."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {name: dump(batch(seed)) for seed, name in enumerate((*cifar10.TRAIN, cifar10.TEST))}
    files[cifar10.META] = dump({b"label_names": [name.encode() for name in CLASSES], b"num_vis": 3072})
    for name, content in {**files, **changes}.items():
        (folder / name).write_bytes(content)


def check(found):
    expected = [batch(seed) for seed in range(6)]
    assert np.array_equal(found.train.pixels.reshape(-1, 3072), np.concatenate([b[b"data"] for b in expected[:5]]))
    assert found.train.labels.tolist() == [label for b in expected[:5] for label in b[b"labels"]]
    assert np.array_equal(found.test.pixels.reshape(-1, 3072), expected[5][b"data"])
    assert found.train.pixels.shape == (20, 3, 32, 32)
    assert found.classes == tuple(CLASSES)


@pytest.mark.parametrize("dump", [python2, python3])
@pytest.mark.parametrize("inside", [".", cifar10.FOLDER])
def test_a_folder_is_read_as_it_was_written(tmp_path, dump, inside):
    write(tmp_path / inside, dump)
    check(cifar10.load(tmp_path))


def test_the_test_files_are_those_of_python_2():
    opcodes = {code.name for code, _, _ in __import__("pickletools").genops(python2(batch(0)))}
    assert "BINSTRING" in opcodes and not {"BINBYTES", "SHORT_BINBYTES"} & opcodes
    assert pickle.loads(python2(batch(0)), encoding="bytes")[b"labels"] == batch(0)[b"labels"]


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("key", [str, str.encode])
def test_order_and_kind_of_keys_do_not_matter(tmp_path, order, key):
    write(tmp_path, python3, data_batch_1=python3(batch(0, key, order)))
    check(cifar10.load(tmp_path))


@pytest.mark.parametrize("whole", [True, False])
def test_a_tarball_is_read_where_it_lies(tmp_path, whole):
    write(tmp_path / cifar10.FOLDER, python2)
    path = tmp_path / "elsewhere" / cifar10.TARBALL
    path.parent.mkdir()
    with tarfile.open(path, "w:gz") as tar:
        tar.add(tmp_path / cifar10.FOLDER, cifar10.FOLDER)
    if whole:
        check(cifar10.load(path))
        check(cifar10.load(path.parent))
        assert [each.name for each in path.parent.iterdir()] == [path.name]  # nothing is unpacked
    else:
        path.write_bytes(path.read_bytes()[:3000])
        with pytest.raises(ValueError, match=rf"{path} is damaged or truncated"):
            cifar10.load(path)


def test_a_tarball_without_a_file_names_it(tmp_path):
    with tarfile.open(tmp_path / cifar10.TARBALL, "w:gz"):
        pass
    with pytest.raises(ValueError, match=r"cifar-10-batches-py/data_batch_1 is missing"):
        cifar10.load(tmp_path)


def test_without_a_root_or_files_the_layout_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"give --data\.root"):
        cifar10.load(None)
    with pytest.raises(ValueError, match=rf"{tmp_path}/data_batch_1 is missing; expected a folder with"):
        cifar10.load(tmp_path)
    write(tmp_path, python2)
    (tmp_path / cifar10.TEST).unlink()
    with pytest.raises(ValueError, match=rf"{tmp_path}/test_batch is missing"):
        cifar10.load(tmp_path)


def changed(**changes):
    content = batch(0)
    content.update({name.encode(): value for name, value in changes.items()})
    return content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "no 'data' array"),
        ([1, 2], "holds a list"),
        (changed(labels=[0, 1]), "for 2 labels"),
        (changed(labels=[0, 1, 2, 10]), "labels other than 0 to 9"),
        (changed(labels=[0, 1, 2, b"3"]), "labels other than 0 to 9"),
        (changed(data=np.zeros((ROWS, 3071), np.uint8)), "expected"),
        (changed(data=np.zeros((ROWS, 3072), np.float32)), "unsigned bytes"),
        (changed(data=np.array([None])), "cannot be read"),
        (changed(data=b"bytes"), "no 'data' array"),
    ],
)
def test_what_is_no_batch_is_refused_by_its_path(tmp_path, content, message):
    write(tmp_path, python2, data_batch_3=python2(content))
    with pytest.raises(ValueError, match=rf"{tmp_path}/data_batch_3.*{message}"):
        cifar10.load(tmp_path)


def test_a_pickle_runs_no_code(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (tmp_path / "it ran").touch, ()

    for payload in (Bomb(), {b"data": Bomb()}):
        write(tmp_path, python2, data_batch_1=python3(payload))
        with pytest.raises(ValueError, match=rf"{tmp_path}/data_batch_1 cannot be read.*names "):
            cifar10.load(tmp_path)
    assert not (tmp_path / "it ran").exists()


def test_a_shape_that_the_file_does_not_fill_takes_no_memory(tmp_path):
    bomb = python3(batch(0)).replace(struct.pack("<H", 3072), struct.pack("<H", 65535))
    write(tmp_path, python2, data_batch_1=bomb)
    with pytest.raises(ValueError, match=r"an array of shape \(4, 65535\) has 12288 bytes"):
        cifar10.load(tmp_path)


def test_text_that_is_encoded_again_and_again_is_bounded(monkeypatch):
    monkeypatch.setattr(cifar10, "MOST_BYTES", 1000)
    text = b"X" + struct.pack("<I", 600) + b"a" * 600 + b"q\x00"
    once = b"c_codecs\nencode\n(h\x00X\x06\x00\x00\x00latin1tR0"
    with pytest.raises(ValueError, match="it holds too much"):
        cifar10.unpickle("there", b"\x80\x02" + text + b"0" + once + once + b"}.")


@given(st.integers(0, 10**6), st.integers(0, 255))
def test_damage_gives_a_clear_error_or_a_dictionary(place, value):
    content = bytearray(python2(batch(0)))
    content[place % len(content)] = value
    try:
        assert isinstance(cifar10.unpickle("there", bytes(content)), dict)
    except ValueError as error:
        assert str(error).startswith("there ")


@given(st.floats(0, 1, exclude_max=True))
def test_a_truncated_pickle_is_refused(share):
    content = python2(batch(0))
    with pytest.raises(ValueError, match=r"^there cannot be read"):
        cifar10.unpickle("there", content[: int(share * len(content))])
