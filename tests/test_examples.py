"""The examples of docs/examples run, and their page shows each of them."""

import re
import runpy
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "docs/examples"
EXAMPLES = sorted(FOLDER.glob("*.py"))
OPTIONAL = {"lightning", "matplotlib", "sklearn"}  # by what is imported; `MilvusIndex` imports pymilvus itself


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = path.read_text(encoding="utf-8")
    for name in set(re.findall(r"^(?:import|from) (\w+)", text, flags=re.M)) & OPTIONAL:
        pytest.importorskip(name)
    if "MilvusIndex" in text:
        pytest.importorskip("milvus_lite")
    if "wordnet" in text:
        wordnet = pytest.importorskip("apps.datasets.taxonomies.wordnet")
        try:
            wordnet.debian_package(*wordnet.PACKAGE)
        except wordnet.FetchError as error:
            pytest.skip(str(error))
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(path))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_a_notebook_that_asserts_its_claim(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# %% [markdown]\n# # ")
    assert re.search(r"^\s*assert ", text, flags=re.M)


def test_the_page_shows_each() -> None:
    page = (FOLDER / "index.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"<!-- example: (\w+) -->", page)) == [path.stem for path in EXAMPLES]
