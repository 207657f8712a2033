"""The site builds without a warning, works from the disk, and its reference has every public name once."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("mkdocs", reason="the site needs the extra docs")
griffe = pytest.importorskip("griffe", reason="the site needs the extra docs")

ROOT = Path(__file__).parents[1]
LOADED = re.compile(r'<(?:script|img|iframe|link rel="stylesheet")[^>]*?(?:src|href)="?([^" >]+)')
HEADING = re.compile(r'<h\d id="([\w.]+)" class="doc doc-heading"')


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    built = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, timeout=600
    )
    assert built.returncode == 0, built.stderr
    return folder


def modules(module: "griffe.Module") -> Iterator["griffe.Module"]:
    """A public module and those below it."""
    yield module
    for below in module.modules.values():
        if not below.is_alias and not below.name.startswith("_"):
            yield from modules(below)


def test_the_reference_has_every_public_name_once(site: Path) -> None:
    """An object is named by where it is defined, so that a name which two modules offer is one."""
    package = griffe.load("geomdml", search_paths=[ROOT])
    offered = {
        module[str(name)].canonical_path
        for module in modules(package)
        for name in module.exports
        if str(name) in module.all_members  # others are imported when asked for, and offered where they are defined
        if not module[str(name)].is_module
    }
    found = [
        name
        for page in site.glob("reference/*.html")
        for name in HEADING.findall(page.read_text("utf-8"))
        if name != "geomdml"
    ]
    listed = Counter(package[name.removeprefix("geomdml.")].canonical_path for name in found)
    assert len(offered) > 400
    assert not offered - set(listed), "a page of docs/reference/ should list these, or their module"
    assert not [name for name in offered if listed[name] > 1], "listed twice in docs/reference/"


def test_every_formula_is_understood(site: Path) -> None:
    for page in site.glob("**/*.html"):
        raw = re.search(r'class="arithmatex"|<m[io]>\\\w+', page.read_text("utf-8"))
        assert not raw, f"{page.relative_to(site)}: {raw and raw[0]}"


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    for page in site.glob("**/*.html"):
        elsewhere = [address for address in LOADED.findall(page.read_text("utf-8")) if "//" in address]
        assert not elsewhere, page


def test_formulas_names_and_examples(site: Path) -> None:
    home, losses = ((site / name).read_text("utf-8") for name in ("index.html", "reference/losses.html"))
    assert '<math xmlns="http://www.w3.org/1998/Math/MathML" display="block">' in home
    assert '<span class="gp">&gt;&gt;&gt; </span>' in losses  # examples are code
    link = r'<a class="autorefs[^>]*transport.html#geomdml.metric_matrix.importance_weights"[^>]*><code>'
    assert re.search(link, losses)
    linked = {page for page in re.findall(r'<a href="([^"]*/guides/[^"]*)"', losses)}
    assert "../guides/chest.html" in linked and all((site / "reference" / page).is_file() for page in linked)


def test_lists_and_tables_are_seen_as_such(site: Path) -> None:
    """Without an empty line before it a list or a table is read as a part of the paragraph."""
    for page in site.glob("**/*.html"):
        assert "reference" not in page.parts or "<blockquote>" not in page.read_text("utf-8"), page  # k: > 0
        lost = re.search(r"<p>(?:(?!</p>).)*\n(?:- |\d+\. |\|)", page.read_text("utf-8"), flags=re.S)
        assert not lost, f"{page.relative_to(site)}: {lost and lost[0]}"


def test_search_works_from_the_disk(site: Path, tmp_path: Path) -> None:
    """Where no worker can be started: a real Chromium at the file itself."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    from selenium.webdriver.support.ui import WebDriverWait

    paths = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if None in paths:
        pytest.skip("expected chromium and chromedriver (on Debian: apt-get install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = paths[0]
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", f"--user-data-dir={tmp_path}"):
        options.add_argument(argument)
    chrome = webdriver.Chrome(options, webdriver.ChromeService(paths[1]))
    try:
        chrome.get(f"file://{site}/index.html")
        chrome.find_element("css selector", "label.md-header__button[for=__search]").click()
        chrome.find_element("css selector", "input.md-search__input").send_keys("sinkhorn_points")
        found = "return [...document.querySelectorAll('.md-search-result__link')].map(link => link.href)"
        links = WebDriverWait(chrome, 120).until(lambda _: chrome.execute_script(found))
        assert any("reference/transport.html" in link for link in links)
    finally:
        chrome.quit()
