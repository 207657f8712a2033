"""Every law of the table, on every chart: in float32 and float64, on the hard points."""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geomdml import euclidean, sphere
from geomdml.testing import suite
from geomdml.testing.__main__ import OWN

FLAT_SPACE = SimpleNamespace(  # as the laws call it: c has no part in it
    dist=lambda x, y, *, c: euclidean.dist(x, y), pairwise_dist=lambda x, y, *, c: euclidean.pairwise_dist(x, y)
)
CHARTS = {**OWN, "euclidean": FLAT_SPACE, "sphere": sphere}
ONCE = {"gradcheck": torch.float64, "broadcasts": torch.float32}  # in float64 in either table; about shapes


def laws_in(dtype):
    return pytest.mark.parametrize(
        ("law", "inputs"),
        [
            pytest.param(law, law.inputs(dtype), id=f"{law.charts[0]}-{str(dtype).removeprefix('torch.')}-{law.name}")
            for law in suite.table(dtype)
            if ONCE.get(law.name.split()[-1], dtype) == dtype
        ],
    )


# One function for each dtype: hypothesis nests the settings of a function once more for each of its cases.
@laws_in(torch.float32)
@given(st.data())
def test_law_in_float32(law, inputs, data):
    ask(law, inputs, data)


@laws_in(torch.float64)
@given(st.data())
def test_law_in_float64(law, inputs, data):
    ask(law, inputs, data)


def ask(law, inputs, data):
    (*vectors, c), keywords = data.draw(inputs)
    law.check(*(CHARTS[chart] for chart in law.charts), *vectors, c=c, **keywords)
