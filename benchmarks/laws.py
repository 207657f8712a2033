"""Which laws of hyperbolic geometry hold in float32, and in whose library? `python -m benchmarks.laws`

The property suite (`geomdml.testing`) on the Poincaré ball of geomdml, geoopt and HypLL, each law told for all its
functions together: how many keep it, the largest error, and up to which radius √c‖u‖ of ordinary points all of them do.
The refusals, which are manners and not mathematics, are left out. `python -m geomdml.testing` tells each law and its
smallest counter-example. Writes laws.md to `--out`.
"""

import argparse
import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.progress import track

from geomdml import poincare
from geomdml.testing import peers, suite

LIBRARIES: dict[str, Any] = {"geomdml": lambda: poincare, "geoopt": peers.Geoopt, "HypLL": peers.Hypll}


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
        told += f"; all to {min(radii):g}" if min(radii) else "; at no radius"
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=100, help="draws a law")
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    options = parser.parse_args()
    head = ["about", "law", *LIBRARIES]
    lines = [head, ["---"] * len(head), *rows(verdicts(options.examples))]
    options.out.mkdir(parents=True, exist_ok=True)
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
    (options.out / "laws.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
