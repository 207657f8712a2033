"""The report: what is in the file is what was handed in, and nothing in it points outside."""

import base64
import dataclasses
import io
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from apps.report import page as report_module
from apps.report.disk import project_to_disk
from apps.report.figures import Illustration, image_address
from apps.report.gallery import NEIGHBOURS, QUERIES
from apps.report.page import Curve, Output, Report, Section, Similarities, Table, write_report
from geomdml.spaces import Euclidean, Hyperbolic

N, C = 20, 5
CLASSES = ["<script>alert(1)</script>", "salt & pepper", "the \"quoted\" 'one'", "$\\frac$", "mushroom 🍄"]


def index_image(i: int) -> Tensor:
    """An image from which its index can be read again."""
    return torch.full((3, 4, 4), i, dtype=torch.uint8)


@pytest.fixture(autouse=True)
def quick_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    """UMAP takes many seconds to import: it has a test of its own."""
    monkeypatch.setattr(
        report_module, "project_to_disk", lambda distance, seed: 0.5 * np.exp(1j * np.arange(len(distance)))
    )
    monkeypatch.setattr(report_module, "LEAST_DISK_POINTS", 10)


@pytest.fixture
def report() -> Report:
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(N) % C
    embeddings = 0.6 * torch.randn(N, 3, generator=generator) + torch.eye(C, 3)[labels]
    embeddings[7] = embeddings[3]  # of another class
    embeddings[12] = embeddings[2]  # of the same
    return Report(
        title="A <title> & more",
        facts={"command": 'python -m apps.x --name "<a&b>"'},
        table=Table(["Recall@1", "MAP@R"], {"E": [50.04, 20.0], "H": [50.0, None]}),
        labels=labels,
        classes=CLASSES,
        image=index_image,
        outputs=[Output("E", embeddings, Euclidean()), Output("H", embeddings, Hyperbolic(c=0.5), clip=2.3)],
        curves=[
            Curve("Recall@1 $E$", [0, 10], [20.0, 50.0]),
            Curve("training loss", range(1, 1001), np.linspace(5, 1, 1000).tolist(), unit="loss"),
        ],
        similarities=[Similarities("H", torch.tensor([-1.0, -2.0]), np.array([[-1.5, -3.0], [-4.0, -2.0]]))],
        notes=["97 % of embeddings are <clipped>"],
    )


class Page(HTMLParser):
    """The tags of a page, its headings, its text, and for each output the rows of its gallery."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.sections: list[str] = []
        self.text = ""
        self.rows: dict[str, list[list[tuple[str, dict[str, str]]]]] = {}
        self.inside: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        assert not self.inside

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.tags.append((tag, values))
        if tag not in {"meta", "img"}:
            self.inside.append(tag)
        kind = values.get("class", "")
        if tag == "section":
            self.sections.append(values["id"])
        elif tag == "div" and kind == "row":
            self.rows[list(self.rows)[-1]].append([])
        elif tag == "figure":
            self.kind = kind
        elif tag == "img" and self.kind in {"query", "hit", "miss"}:
            self.rows[list(self.rows)[-1]][-1].append((self.kind, values))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.inside.pop() == tag
        if tag == "figure":
            self.kind = ""

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.inside and self.inside[-1] == "summary":
            self.rows[data] = []

    def all(self, tag: str) -> list[dict[str, str]]:
        return [values for name, values in self.tags if name == tag]


def content(address: str) -> tuple[str, bytes]:
    head, body = address.split(",", 1)
    assert head.startswith("data:image/") and head.endswith(";base64")
    return head.removeprefix("data:").removesuffix(";base64"), base64.b64decode(body, validate=True)


def index_of(img: dict[str, str]) -> int:
    return int(np.asarray(Image.open(io.BytesIO(content(img["src"])[1])))[0, 0, 0])


def lorentz_distance(u: Tensor, v: Tensor, c: float) -> float:
    """By another model than the library's: the angle between two points of the hyperboloid."""
    a, b = (
        np.concatenate([[np.cosh(2 * np.sqrt(c) * r)], np.sinh(2 * np.sqrt(c) * r) * w / r])
        for w, r in ((w.double().numpy(), float(w.double().norm())) for w in (u, v))
    )
    return float(np.arccosh(max(1.0, a[0] * b[0] - a[1:] @ b[1:])) / np.sqrt(c))


def ranking(embeddings: Tensor, query: int, hyperbolic: bool) -> list[int]:
    def distance(i: int) -> float:
        u, v = embeddings[query], embeddings[i]
        if torch.equal(u, v):
            return 0.0
        return lorentz_distance(u, v, 0.5) if hyperbolic else float((u.double() - v.double()).norm())

    return sorted((i for i in range(len(embeddings)) if i != query), key=lambda i: (distance(i), i))


def test_every_image_is_in_the_file_and_has_words(report: Report, tmp_path: Path) -> None:
    page = Page(write_report(report, tmp_path / "report.html"))
    images = page.all("img")
    assert len(images) > 2 * 9 * QUERIES // 2
    for image in images:
        kind, body = content(image["src"])
        if kind == "image/svg+xml":
            assert ElementTree.fromstring(body).tag.endswith("svg")
        else:
            assert kind == "image/png"
            Image.open(io.BytesIO(body)).verify()
        assert image["alt"].strip()


def test_nothing_points_outside(report: Report, tmp_path: Path) -> None:
    page = Page(write_report(report, tmp_path / "report.html"))
    assert not {"script", "link", "iframe", "object", "base", "form"} & {tag for tag, _ in page.tags}
    for _, values in page.tags:
        assert not [name for name in values if name.startswith("on")]
        assert values.get("src", "data:").startswith("data:")
        assert values.get("href", "#").startswith("#")
    assert {values["href"][1:] for values in page.all("a")} == set(page.sections)
    assert "url(" not in (tmp_path / "report.html").read_text()
    assert page.all("meta")[-1]["content"].startswith("default-src 'none'")


def test_names_are_shown_as_they_are(report: Report, tmp_path: Path) -> None:
    page = Page(write_report(report, tmp_path / "report.html"))
    alts = {image["alt"] for image in page.all("img")}
    for name in CLASSES:
        assert any(alt.endswith(f": {name}") for alt in alts)
    for text in (report.title, *report.facts.values(), *report.notes, "Recall@1 $E$: 50 at the end"):
        assert text in page.text


def test_a_name_that_is_not_unicode_is_spelled_out(report: Report, tmp_path: Path) -> None:
    classes = ["folder \udcff", *CLASSES[1:]]
    path = write_report(dataclasses.replace(report, classes=classes), tmp_path / "report.html")
    assert "folder \\udcff" in path.read_text(encoding="utf-8")


def test_the_gallery_is_the_brute_force_ranking(report: Report, tmp_path: Path) -> None:
    page = Page(write_report(report, tmp_path / "report.html"))
    assert list(page.rows) == ["H", "E"]
    for output in report.outputs:
        hyperbolic = isinstance(output.space, Hyperbolic)
        wrong = [i for i in range(N) if report.labels[ranking(output.embeddings, i, hyperbolic)[0]] != report.labels[i]]
        rows = page.rows[output.name]
        queries = [index_of(row[0][1]) for row in rows]
        assert queries[:6] == torch.randperm(N, generator=torch.Generator().manual_seed(0))[:6].tolist()
        assert len(set(queries)) == len(queries) == 6 + min(6, len(set(wrong) - set(queries[:6])))
        assert len(queries) > 6 and set(queries[6:]) <= set(wrong)
        assert {3, 7} & set(queries)  # a query with its duplicate in the gallery
        for row in rows:
            (kind, query), *neighbours = row
            i = index_of(query)
            found = [index_of(img) for _, img in neighbours]
            assert kind == "query" and found == ranking(output.embeddings, i, hyperbolic)[:NEIGHBOURS]
            for rank, ((kind, img), j) in enumerate(zip(neighbours, found, strict=True), start=1):
                assert kind == ("hit" if report.labels[i] == report.labels[j] else "miss")
                assert img["alt"] == f"Neighbour {rank}, a {kind}: {CLASSES[int(report.labels[j])]}"


def test_only_the_best_are_bold(report: Report, tmp_path: Path) -> None:
    html = write_report(report, tmp_path / "report.html").read_text()
    assert html.count("<strong>50.0</strong>") == 2 and html.count("<strong>20.0</strong>") == 1
    assert html.count("<strong>") == 3 and "<td>–</td>" in html


def test_a_section_has_its_tables_and_figures_below_the_scores(report: Report, tmp_path: Path) -> None:
    table = Table(
        ["steps", "share"], {"E": [1.25, 0.5], "H": [1.5, 0.25], "raw": [None, None]}, lower=["steps"], digits=2
    )
    figure = Illustration(image_address(index_image(0)), "a <figure>")
    section = Section("tree", "A <tree> & more", "What it <says>", [table], [figure])
    path = write_report(dataclasses.replace(report, sections=[section]), tmp_path / "report.html")
    page, html = Page(path), path.read_text()
    assert page.sections == ["scores", "tree", "curves", "gallery", "disk", "radii", "similarities"]
    assert "A <tree> & more" in page.text and "What it <says>" in page.text
    assert {"href": "#tree"} in page.all("a") and "a <figure>" in [image["alt"] for image in page.all("img")]
    assert "<strong>1.25</strong>" in html and "<td>1.50</td>" in html  # the lower is the better
    assert "<strong>0.50</strong>" in html and "<td>0.25</td>" in html


def test_the_shares_are_counted(report: Report, tmp_path: Path) -> None:
    embeddings = report.outputs[1].embeddings.clone()
    embeddings *= 1.5 / embeddings.norm(dim=-1, keepdim=True)
    embeddings[:5] *= 2.3 / 1.5
    output = Output("H", embeddings, Hyperbolic(c=0.5), clip=2.3)
    page = Page(write_report(dataclasses.replace(report, outputs=[output]), tmp_path / "report.html"))
    assert "25.0 % are clipped at r = 2.3" in page.text
    # −1 beats four negatives, −2 beats −3 and −4 and ties with −2: (4 + 2.5) / 8
    assert "above a negative in 81.2 % of all pairs" in page.text


@pytest.mark.parametrize(
    ("left_out", "sections"),
    [
        ({}, ["scores", "curves", "gallery", "disk", "radii", "similarities"]),
        ({"curves": []}, ["scores", "gallery", "disk", "radii", "similarities"]),
        ({"similarities": []}, ["scores", "curves", "gallery", "disk", "radii"]),
        ({"outputs": []}, ["scores", "curves", "similarities"]),
        ({"outputs": slice(0, 1)}, ["scores", "curves", "gallery", "similarities"]),
        ({"labels": torch.arange(N), "classes": [str(i) for i in range(N)]}, None),
    ],
)
def test_what_is_missing_leaves_its_section_out(
    report: Report, tmp_path: Path, left_out: dict, sections: list[str] | None
) -> None:
    if isinstance(left_out.get("outputs"), slice):
        left_out = {"outputs": report.outputs[left_out["outputs"]]}
    page = Page(write_report(dataclasses.replace(report, **left_out), tmp_path / "report.html"))
    assert page.sections == (sections or ["scores", "curves", "disk", "radii", "similarities"])


def test_without_umap_the_page_says_so(report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_module, "project_to_disk", project_to_disk)
    monkeypatch.setitem(sys.modules, "umap", None)
    page = Page(write_report(report, tmp_path / "report.html"))
    assert "disk" in page.sections and "pip install umap-learn" in page.text


def test_what_is_not_finite_is_named_and_left_out(report: Report, tmp_path: Path) -> None:
    nan = torch.full((N, 3), torch.nan)
    broken = dataclasses.replace(
        report,
        outputs=[Output("diverged", nan, Hyperbolic(c=0.5)), report.outputs[0]],
        curves=[Curve("training loss", [1, 2], [torch.nan, torch.nan], unit="loss")],
        similarities=[Similarities("lost", nan, nan)],
    )
    page = Page(write_report(broken, tmp_path / "report.html"))
    assert page.sections == ["scores", "curves", "gallery"] and list(page.rows) == ["E"]
    assert "Some numbers of diverged" in page.text and "Some numbers of lost" in page.text


def test_the_same_report_gives_the_same_bytes(report: Report, tmp_path: Path) -> None:
    first, second = (write_report(report, tmp_path / name / "report.html") for name in "ab")
    assert first.read_bytes() == second.read_bytes()


def test_a_report_that_fails_leaves_the_last_one(report: Report, tmp_path: Path) -> None:
    path = write_report(report, tmp_path / "report.html")
    before = path.read_bytes()
    grey = dataclasses.replace(report, image=lambda i: torch.zeros(1, 4, 4, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"shape \(1, 4, 4\); expected torch\.uint8 \(3, H, W\)"):
        write_report(grey, path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_a_mistake_is_named(report: Report) -> None:
    with pytest.raises(ValueError, match="'H' has 3 embeddings for 20 labels"):
        dataclasses.replace(report, outputs=[Output("H", torch.zeros(3, 2), Euclidean())])
    with pytest.raises(ValueError, match="labels go from 0 to 4; expected indices of the 2 classes"):
        dataclasses.replace(report, classes=["a", "b"])
    with pytest.raises(ValueError, match="chart 'ball'; expected 'tangent'"):
        Output("H", torch.zeros(3, 2), Hyperbolic(c=0.5, chart="ball"))
    with pytest.raises(ValueError, match="curve 'loss' has 2 steps and 1 values"):
        Curve("loss", [1, 2], [0.5])
    with pytest.raises(ValueError, match="row 'E' has 1 scores"):
        Table(["a", "b"], {"E": [1.0]})


def test_a_photograph_is_kept_small() -> None:
    noise = torch.randint(0, 256, (3, 200, 300), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    _, png = content(image_address(noise))
    assert Image.open(io.BytesIO(png)).size == (128, 85) and len(png) < 20_000


def test_a_drawing_is_kept_exactly() -> None:
    drawing = torch.arange(3 * 5 * 7, dtype=torch.uint8).view(3, 5, 7)
    _, png = content(image_address(drawing))
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png))), drawing.permute(1, 2, 0).numpy())


def test_queries_search_the_others_alone(report: Report, tmp_path: Path) -> None:
    page = Page(write_report(dataclasses.replace(report, queries=8), tmp_path / "report.html"))
    assert set(page.rows) == {"E", "H"}
    for output in report.outputs:
        for row in page.rows[output.name]:
            query, *found = [index_of(img) for _, img in row]
            searched = [i for i in ranking(output.embeddings, query, output.name == "H") if i >= 8]
            assert query < 8 and found == searched[:NEIGHBOURS]
    with pytest.raises(ValueError, match="queries = 20 of 20 images"):
        dataclasses.replace(report, queries=N)


class Sphere:
    """The unit sphere with its angles: a space that has neither charts nor a curvature."""

    def dist(self, x: Tensor, y: Tensor) -> Tensor:
        return (x * y).sum(-1).clamp(-1, 1).acos()

    def pairwise_dist(self, x: Tensor, y: Tensor) -> Tensor:
        return (x @ y.T).clamp(-1, 1).acos()


def test_a_space_that_is_not_hyperbolic_has_a_gallery_and_no_disk(tmp_path: Path, report: Report) -> None:
    points = torch.nn.functional.normalize(report.outputs[0].embeddings)
    page = Page(
        write_report(dataclasses.replace(report, outputs=[Output("S", points, Sphere())]), tmp_path / "sphere.html")
    )
    for row in page.rows["S"]:
        i, *found = (index_of(img) for _, img in row)
        distances = Sphere().pairwise_dist(points[[i]], points)[0].index_fill(0, torch.tensor(i), torch.inf)
        assert found == distances.argsort(stable=True)[:NEIGHBOURS].tolist()
    assert page.sections and not {"disk", "radii"} & set(page.sections)
