"""The laws as tests of pytest: `pytest -p geomdml.testing.pytest_plugin --geomdml-laws my_module:ball`.

Each law is a test, named by its chart, group and name, so that -k chooses; laws about functions that are not offered
are skipped. It is named on the command line, not found by itself: it would load torch into every run of pytest.
"""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from geomdml.testing import report, suite
from geomdml.testing.__main__ import OWN, Refused, implementations_of
from geomdml.testing.adapters import CONVENTIONS

__all__ = ["LawItem", "pytest_addoption", "pytest_collection_modifyitems"]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("geomdml", "laws of hyperbolic geometry")
    group.addoption("--geomdml-laws", metavar="IMPLEMENTATION", help="geomdml, geoopt, hypll or module:attribute")
    group.addoption(
        "--geomdml-chart", choices=list(OWN), help="of module:attribute: ball (the default), tangent, lorentz"
    )
    group.addoption("--geomdml-convention", default="geomdml", choices=["geomdml", *CONVENTIONS])
    group.addoption("--geomdml-dtype", default="float32", choices=["float32", "float64"])
    group.addoption("--geomdml-examples", type=int, default=25, metavar="N", help="draws for each law (25)")
    group.addoption("--geomdml-tolerance", type=float, default=0.0, metavar="ERROR", help="errors up to this are none")
    group.addoption("--geomdml-manners", action="store_true", help="also what geomdml promises beside mathematics")


def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    if name := config.getoption("--geomdml-laws"):
        try:
            chosen = (config.getoption(option) for option in ("--geomdml-chart", "--geomdml-convention"))
            items.extend(_laws(session, config, implementations_of(name, *chosen)))
        except Refused as refusal:
            raise pytest.UsageError(f"--geomdml-laws: {refusal}") from None


def _laws(
    session: pytest.Session, config: pytest.Config, implementations: suite.Implementations
) -> Iterator[pytest.Item]:
    for law in suite.table(getattr(torch, config.getoption("--geomdml-dtype"))):
        mathematics = law.group not in suite.MANNERS
        if set(law.charts) <= set(implementations) and (mathematics or config.getoption("--geomdml-manners")):
            name = f"{law.charts[0]}: {law.group}: {law.name}"
            yield LawItem.from_parent(session, name=name, law=law, implementations=implementations)


class LawItem(pytest.Item):
    """One law, asked of one implementation."""

    def __init__(self, *, law: suite.Law, implementations: suite.Implementations, **options: Any) -> None:
        super().__init__(**options)
        self.law, self.implementations = law, implementations
        self.add_marker(pytest.mark.filterwarnings("ignore"))  # those of the library under judgement

    def runtest(self) -> None:
        option = self.config.getoption
        verdict = suite.judge(
            self.law,
            self.implementations,
            getattr(torch, option("--geomdml-dtype")),
            examples=option("--geomdml-examples"),
            tolerance=option("--geomdml-tolerance"),
            thorough=False,
        )
        if verdict.missing:
            pytest.skip(f"{', '.join(verdict.missing)} is not offered")
        if verdict.broken:
            pytest.fail("\n".join(report.lines(verdict, self.implementations)), pytrace=False)

    def reportinfo(self) -> tuple[Any, None, str]:
        return self.path, None, self.name
