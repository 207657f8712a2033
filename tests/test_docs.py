"""The examples of the pages in docs/ run."""

import re
from pathlib import Path

import pytest

PAGES = sorted((Path(__file__).parents[1] / "docs").glob("**/*.md"))
EXAMPLES = [
    pytest.param(example, id=f"{page.stem}-{number}")
    for page in PAGES
    for number, example in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.S))
]
DATABASES = {"lancedb", "qdrant_client"}  # which no part of geomdml needs


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:FutureWarning")  # torch's own and geoopt's
@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_runs(example: str):
    for name in set(re.findall(r"^(?:import|from) (\w+)", example, flags=re.M)) & DATABASES:
        pytest.importorskip(name)
    exec(example, {})
