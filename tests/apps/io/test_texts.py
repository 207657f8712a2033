"""Texts in little memory are what a tuple of them is."""

import pickle

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.io import texts
from apps.io.texts import Texts

WORDS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), max_size=12)


@given(WORDS, WORDS, st.data())
def test_they_are_a_tuple(words, others, data):
    packed, plain = Texts(words), tuple(words)
    assert packed == plain and tuple(packed) == plain and len(packed) == len(plain)
    assert Texts(packed) == plain and pickle.loads(pickle.dumps(packed)) == plain
    assert Texts.join([packed, Texts(others)]) == plain + tuple(others)
    start, stop = sorted(data.draw(st.tuples(st.integers(0, len(words)), st.integers(0, len(words)))))
    assert packed[start:stop] == plain[start:stop] == packed.take(range(start, stop))
    rows = data.draw(st.lists(st.integers(0, len(words) - 1), max_size=5)) if words else []
    assert packed.take(np.array(rows, np.int64)) == [plain[row] for row in rows]
    assert [packed[row] for row in rows] == [plain[row] for row in rows]
    assert (packed == others) == (words == others)


def test_in_several_pieces(monkeypatch):
    monkeypatch.setattr(texts, "AT_ONCE", 3)
    packed = Texts(str(row) for row in range(10))
    assert packed.array.num_chunks == 4 and packed == [str(row) for row in range(10)]
    assert packed[-1] == "9" and packed[2:8] == list("234567")
    with pytest.raises(IndexError):
        packed[10]


def test_a_slice_and_a_join_share_the_memory():
    packed = Texts(["a name of an image"] * 10_000)
    before = pa.total_allocated_bytes()
    joined = Texts.join([packed, packed])
    assert len(joined[5:15_000]) == 14_995 and pa.total_allocated_bytes() - before < 1000
