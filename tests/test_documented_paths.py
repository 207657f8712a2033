"""The files, modules and commands that README, CONTRIBUTING and docs/ name are there.

A word with NAME in it stands for what a reader adds, and is passed over. Files under runs/ are made by commands.
"""

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(ROOT.glob(".github/*.md")),
    *sorted(ROOT.glob("docs/**/*.md")),
]
FENCED = r"^```.*?^```|^ {4}\S.*?$"
WORD = r"(?<![\w./\-*])"  # where a path or a module begins
PATH = re.compile(rf"{WORD}((?:apps|benchmarks|docs|geomdml|tests|\.ci)/[\w./\-*]*)")
MODULE = re.compile(rf"{WORD}((?:apps|benchmarks|geomdml|tests)(?:\.\w+)+)(?![/\w*])")
COMMAND = re.compile(r"-m ((?:apps|benchmarks|geomdml)[\w.]*)")


def code(page: str) -> Iterator[str]:
    """What stands in backticks or in a block."""
    yield from (found[0] for found in re.finditer(FENCED, page, flags=re.M | re.S))
    yield from re.findall(r"`([^`\n]+)`", re.sub(FENCED, "", page, flags=re.M | re.S))


def names(pattern: re.Pattern[str], page: Path) -> list[str]:
    found = {name.rstrip(".") for text in code(page.read_text(encoding="utf-8")) for name in pattern.findall(text)}
    return sorted(name for name in found if "NAME" not in name)


def is_there(module: str) -> bool:
    """Whether it is a module, or what a module has.

    >>> is_there("geomdml.spaces.Hyperbolic.dist"), is_there("geomdml.spaces.Spherical"), is_there("apps.common")
    (True, False, False)
    """
    parts = module.split(".")
    for last in range(len(parts), 0, -1):
        path = ROOT.joinpath(*parts[:last])
        if path.is_dir() or path.with_suffix(".py").is_file():
            break
    if last == len(parts):
        return True
    found = import_module(".".join(parts[:last]))
    for name in parts[last:]:
        if not hasattr(found, name):
            return False
        found = getattr(found, name)
    return True


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paths(page: Path) -> None:
    missing = [name for name in names(PATH, page) if not any(ROOT.glob(name.rstrip("/")))]
    assert not missing, f"{page.name} names {missing}; expected paths of this repository"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links(page: Path) -> None:
    links = re.findall(r"\]\(([\w./\-]+)\)", page.read_text(encoding="utf-8"))
    missing = [link for link in links if not (page.parent / link).exists()]
    assert not missing, f"{page.name} links to {missing}; expected files, as seen from its folder"
    docs = ROOT / "docs"
    if docs in page.parents:  # the site has no more than that
        targets = {link: (page.parent / link).resolve() for link in links}
        outside = [link for link, target in targets.items() if docs not in target.parents or target.is_dir()]
        assert not outside, f"{page.name} links to {outside}; expected files in docs/, which the site has"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_modules(page: Path) -> None:
    missing = [name for name in names(MODULE, page) if not is_there(name)]
    assert not missing, f"{page.name} names {missing}; expected modules, or what they have"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands(page: Path) -> None:
    """`python -m X` runs X, or its `__main__`."""

    def runs(module: str) -> bool:
        path = ROOT / module.replace(".", "/")
        return path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()

    missing = [name for name in names(COMMAND, page) if not runs(name)]
    assert not missing, f"{page.name} runs {missing}; expected modules with a command line"
