"""Which laws of hyperbolic geometry hold in float32, and in whose library? `python -m benchmarks.laws`

The property suite (`geomdml.testing`) on the Poincaré ball of geomdml, geoopt and HypLL, each law told for all its
functions together: how many keep it, the largest error, and up to which radius √c‖u‖ of ordinary points all of them do.
The refusals, which are manners and not mathematics, are left out. `python -m geomdml.testing` tells each law and its
smallest counter-example. Then the errors of every function of geomdml, values and gradients. Writes laws.md to `--out`.
"""

import argparse
import math
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from rich.progress import track

from geomdml import poincare
from geomdml.testing import peers, suite
from geomdml.testing.__main__ import OWN

MODULES = {"ball": "poincare", "tangent": "tangent", "lorentz": "lorentz"}
LIBRARIES: dict[str, Any] = {"geomdml": lambda: poincare, "geoopt": peers.Geoopt, "HypLL": peers.hypll}


def verdicts(examples: int) -> dict[str, list[suite.Verdict]]:
    laws = [law for law in suite.table() if law.charts == ("ball",) and law.group != "refusals"]
    with warnings.catch_warnings(action="ignore"):  # those of the libraries under judgement
        libraries = {name: make() for name, make in LIBRARIES.items()}
        return {
            name: [suite.judge(law, {"ball": ball}, examples=examples) for law in track(laws, description=f"{name:8}")]
            for name, ball in libraries.items()
        }


def rows(found: dict[str, list[suite.Verdict]]) -> Iterator[list[str]]:
    """A row for each law: what it is about, its name, and a cell for each library."""
    by_law: dict[tuple[str, str], dict[str, list[suite.Verdict]]] = {}
    for library, judged in found.items():
        for verdict in judged:
            law = verdict.law
            name = law.name.removeprefix(f"{law.f.name} ") if law.f else law.name
            by_law.setdefault((law.group, name), {}).setdefault(library, []).append(verdict)
    for (group, name), libraries in by_law.items():
        yield [group, name, *map(cell, libraries.values())]


def cell(judged: list[suite.Verdict]) -> str:
    offered = [verdict for verdict in judged if not verdict.missing]
    if not offered:
        return "not offered"
    broken = [verdict for verdict in offered if verdict.broken]
    told = f"{len(offered) - len(broken)} of {len(offered)}"
    errors = [float(verdict.error) for verdict in offered if verdict.error.bar]
    if errors and (worst := max(errors)):
        told += f", {worst:.1e}" if worst < math.inf else ", ∞"
    if radii := [verdict.holds_up_to for verdict in broken if verdict.by_radius]:
        least = min(radii)
        told += "; ordinary points: " + (f"to {least:g}" if 0 < least < math.inf else "all" if least else "none")
    return told


def budget(examples: int) -> Iterator[list[str]]:
    """A row for each function of geomdml: the largest errors of values and gradients that the suite found."""
    errors: dict[tuple[str, str], dict[str, float]] = {}
    for dtype in (torch.float32, torch.float64):
        exact = [law for law in suite.table(dtype) if law.charts[0] in OWN and law.name.endswith(" is exact")]
        for law in track(exact, description=f"{dtype}"):
            (chart,), f = law.charts, law.f
            assert f is not None
            verdict = suite.judge(law, OWN, dtype, examples=examples)
            kind = "gradient" if "gradient" in law.name else "value"
            errors.setdefault((chart, f.name), {})[f"{kind} {dtype}"] = float(verdict.error)
    for (chart, function), found in errors.items():
        columns = ("value torch.float32", "value torch.float64", "gradient torch.float32", "gradient torch.float64")
        yield [MODULES[chart], f"`{function}`", *(f"{found[name]:.1e}" for name in columns)]


def markdown(head: list[str], rows: Iterable[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rows)) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=100, help="draws a law")
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    options = parser.parse_args()
    text = markdown(["about", "law", *LIBRARIES], rows(verdicts(options.examples)))
    text += "\n" + markdown(
        ["module", "function", "float32", "float64", "gradient, float32", "gradient, float64"], budget(options.examples)
    )
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "laws.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
