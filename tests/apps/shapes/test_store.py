"""A store of arrays, cut off anywhere, gives only what is whole, and goes on."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.shapes import store as shape_store
from apps.shapes.store import Store

SHAPE = (2, 1, 3, 3)
ABOUT = {"size": 3}


def images(i):
    return np.full(SHAPE, i, np.uint8) + np.arange(18, dtype=np.uint8).reshape(SHAPE)


def result(i):
    return f"reason {i}" if i % 4 == 3 else images(i)


def fill(folder, count):
    with Store(folder, SHAPE, ABOUT) as store:
        for i in range(count):
            if f"key {i}" not in store:
                store.add(f"key {i}", result(i))
    return store


def check(store, count):
    for i in range(count):
        if i % 4 == 3:
            assert store.contents.broken[f"key {i}"] == f"reason {i}"
        else:
            assert np.array_equal(store.contents.arrays([f"key {i}"])[0].numpy(), images(i))


def test_what_is_added_is_there_again(tmp_path):
    fill(tmp_path, 5)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    check(fill(tmp_path, 5), 5)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert sorted(before) == ["index.jsonl", "views.u8"]
    assert json.loads(before["index.jsonl"].splitlines()[0]) == {"about": ABOUT}
    check(fill(tmp_path, 9), 9)
    assert (tmp_path / "views.u8").stat().st_size == 7 * 18


def test_views_are_those_of_the_keys_in_their_order(tmp_path):
    views = fill(tmp_path, 7).contents.arrays(["key 6", "key 0", "key 6"])
    assert len(views) == 3 and [int(views[i][0, 0, 0, 0]) for i in range(3)] == [6, 0, 6]


@given(st.data())
def test_files_cut_off_anywhere(tmp_path_factory, data):
    folder, count = tmp_path_factory.mktemp("store"), data.draw(st.integers(0, 20))
    fill(folder, count)
    for name in ("views.u8", "index.jsonl"):
        content = (folder / name).read_bytes()
        end = data.draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))
        (folder / name).write_bytes(content[:end])
    with Store(folder, SHAPE, ABOUT) as store:
        known = [i for i in range(count) if f"key {i}" in store]
        assert known == list(range(len(known)))
        check(store, len(known))
    check(fill(folder, 20), 20)
    check(fill(folder, 20), 20)


@given(st.binary(max_size=60))
def test_an_index_that_is_damaged_is_read_as_far_as_it_is_whole(tmp_path_factory, garbage):
    folder = tmp_path_factory.mktemp("store")
    fill(folder, 3)
    with (folder / "index.jsonl").open("ab") as file:
        file.write(garbage)
    check(fill(folder, 6), 6)


@given(st.data())
def test_an_index_with_a_line_removed_moved_or_written_over_gives_no_image_of_another(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("store")
    fill(folder, 12)
    lines = (folder / "index.jsonl").read_bytes().splitlines(keepends=True)
    place = data.draw(st.integers(0, len(lines) - 1))
    match data.draw(st.sampled_from(["remove", "swap", "repeat", "replace"])):
        case "remove":
            del lines[place]
        case "swap":
            other = data.draw(st.integers(0, len(lines) - 1))
            lines[place], lines[other] = lines[other], lines[place]
        case "repeat":
            lines.insert(place, lines[place])
        case _:
            lines[place] = data.draw(st.sampled_from(FOREIGN))
    (folder / "index.jsonl").write_bytes(b"".join(lines))
    found = shape_store.read(folder, SHAPE)
    for i in range(12):
        if f"key {i}" in found.rows:
            assert np.array_equal(found.arrays([f"key {i}"])[0].numpy(), images(i))
    check(fill(folder, 14), 14)


FOREIGN = [
    *(b"{}\n", b"[]\n", b"5\n", b"\n", b'{"about": 1}\n', b'{"broken": "x"}\n', b'{"about": 1, "broken": "x"}\n'),
    *(
        b'{"key": 5, "row": 0}\n',
        b'{"key": ["a"]}\n',
        b'{"key": "a", "row": "0"}\n',
        b'{"key": "a"}\n',
        b"[" * 100_000 + b"\n",
    ),
]


@pytest.mark.parametrize("removed", [None, 0, 1, 3, 6])
def test_an_index_of_an_earlier_version_is_read_where_it_is_whole(tmp_path, removed):
    """Its lines do not say which row is theirs."""
    fill(tmp_path, 7)
    entries = [json.loads(line) for line in (tmp_path / "index.jsonl").read_bytes().splitlines()]
    lines = [json.dumps({name: value for name, value in entry.items() if name != "row"}) + "\n" for entry in entries]
    if removed is not None:
        del lines[removed]
    (tmp_path / "index.jsonl").write_text("".join(lines))
    found = shape_store.read(tmp_path, SHAPE)
    assert len(found.rows) == (6 if removed is None else 0)
    check(fill(tmp_path, 9), 9)


def test_images_are_on_the_disk_before_the_index_says_so(tmp_path, monkeypatch):
    """Each time that something was made safe, the index tells of no image that is not there."""
    states = []

    def look(descriptor):
        lines = (tmp_path / "index.jsonl").read_bytes().splitlines()[1:]
        states.append((len(lines), (tmp_path / "views.u8").stat().st_size // 18))

    monkeypatch.setattr(shape_store.os, "fsync", look)
    with Store(tmp_path, SHAPE, ABOUT) as store:
        for i in range(40):
            store.add(f"key {i}", images(i))
    assert all(told <= there for told, there in states) and states[-1] == (40, 40)
    assert 0 < states[1][0] <= 16  # no more than 16 shapes are lost


def test_an_interrupted_run_keeps_what_it_has(tmp_path):
    with pytest.raises(KeyboardInterrupt), Store(tmp_path, SHAPE, ABOUT) as store:
        store.add("key 0", images(0))
        raise KeyboardInterrupt
    with Store(tmp_path, SHAPE, ABOUT) as store:
        assert "key 0" in store
