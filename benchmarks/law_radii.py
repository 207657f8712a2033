"""Who keeps which law, and to what radius? `python -m benchmarks.law_radii --out docs/results/laws`

The property suite (`geomdml.testing`) on the Poincaré balls and Lorentz models of geomdml, geoopt, HypLL, MERU and
HyperCore, in float32 and in float64. Each law is asked of the points in its inputs up to a radius √c‖u‖, the hard ones
too: duplicates, near-duplicates, antipodes; the table has the largest radius of 1, 2, 4, 8 and "all" (to where the
numbers end) to which every function keeps it, each to the bar of geomdml or to the looser one of `--tolerance`. The
groups are values, geometry and gradients; dtypes and refusals are manners of geomdml. Writes distances.md, the
errors of distances by radius, and float32.md, float64.md, and these as JSON.
"""

import argparse
import json
import math
import platform
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from rich.progress import track

from geomdml import lorentz, poincare
from geomdml.geoopt import Lorentz, PoincareBall
from geomdml.testing import adapters, peers, suite

STEPS = (1.0, 2.0, 4.0, 8.0, math.inf)
CHARTS: dict[str, dict[str, Callable[[], Any]]] = {
    "ball": {
        "geomdml": lambda: poincare,
        "geomdml.geoopt": lambda: adapters.ball_of(lambda c: PoincareBall(c=c)),
        "geoopt": peers.Geoopt,
        "HypLL": peers.hypll,
    },
    "lorentz": {
        "geomdml": lambda: lorentz,
        "geomdml.geoopt": lambda: adapters.hyperboloid_of(lambda c: Lorentz(k=1 / c)),
        "geoopt": peers.geoopt_lorentz,
        "HyperCore": peers.hypercore,
        "MERU": peers.meru,
    },
}
Table = dict[str, dict[str, dict[str, float | None]]]  # of a law, by library: the radius of each function


def radius_to_which(law: suite.Law, implementation: Any, dtype: torch.dtype, examples: int, tolerance: float) -> float:
    """0 where it breaks within the first of the steps; infinite where it holds to the end of the numbers."""
    kept = 0.0
    for step in STEPS:
        held = suite.judge(
            law,
            {law.charts[0]: implementation},
            dtype,
            examples=examples,
            radius=step,
            tolerance=tolerance,
            thorough=False,
        )
        if held.broken:
            return kept
        kept = step
        if step >= law.farthest:
            return math.inf
    return kept


def table(chart: str, dtype: torch.dtype, examples: int, tolerance: float) -> Table:
    """By law and library; a law of each function is one row, with a radius for each function."""
    laws = [law for law in suite.table(dtype) if law.charts == (chart,) and law.group not in suite.MANNERS]
    libraries = {name: make() for name, make in CHARTS[chart].items()}
    found: Table = {}
    for law in track(laws, description=f"{chart}, {dtype}"):
        name = law.name.removeprefix(f"{law.f.name} ") if law.f else law.name
        row = found.setdefault(f"{law.group}: {name}", {library: {} for library in libraries})
        for library, implementation in libraries.items():
            if all(hasattr(implementation, needed) for needed in law.needs):
                function = law.f.name if law.f else law.needs[0]
                row[library][function] = radius_to_which(law, implementation, dtype, examples, tolerance)
    return found


def cell(radii: dict[str, float | None]) -> str:
    if not radii:
        return "not offered"
    kept = [radius for radius in radii.values() if radius == math.inf]
    if len(kept) == len(radii):
        return "all"
    least = min(radius for radius in radii.values() if radius is not None)
    many = f" ({len(kept)} of {len(radii)} all)" if len(radii) > 1 and kept else ""
    return (f"{least:g}" if least else "none") + many


def markdown(found: Table) -> Iterator[str]:
    libraries = list(next(iter(found.values())))
    for line in (["law", *libraries], ["---"] * (1 + len(libraries))):
        yield f"| {' | '.join(line)} |"
    for law, row in found.items():
        yield f"| {' | '.join([law, *(cell(row[library]) for library in libraries)])} |"


def kept_by(found: Table, library: str) -> str:
    radii = [radius for row in found.values() for radius in row[library].values()]
    return f"{library} {sum(radius == math.inf for radius in radii)} of {len(radii)}"


def distances(pairs: int = 20, dim: int = 8) -> Iterator[str]:
    """The largest relative error of a distance by radius, of each library in both dtypes."""
    for line in (
        ["chart", "library", "dtype", *(f"{radius:g}" for radius in suite.RADII)],
        ["---"] * (3 + len(suite.RADII)),
    ):
        yield f"| {' | '.join(line)} |"
    for chart, libraries in CHARTS.items():
        for library, make in libraries.items():
            for dtype in (torch.float32, torch.float64):
                errors = suite.errors_by_radius(make(), chart, dim, pairs=pairs, dtype=dtype)
                cells = [f"{error:.1e}" if error < math.inf else "∞" for error in errors]
                yield f"| {' | '.join([chart, library, str(dtype).removeprefix('torch.'), *cells])} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=20, help="draws for each law and radius")
    parser.add_argument("--tolerance", type=float, default=0.0, help="relative errors up to this break no law")
    parser.add_argument("--dtype", nargs="+", default=["float32", "float64"], choices=["float32", "float64", "none"],
                        help="of the points that the laws are asked of; none: only the distances")  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    options = parser.parse_args()
    versions = ", ".join(f"{package} {version(package)}" for package in ("geoopt", "hypll", "torch"))
    command = f"python -m benchmarks.law_radii --examples {options.examples} --dtype {' '.join(options.dtype)}"
    command += f" --tolerance {options.tolerance:g}" * bool(options.tolerance)
    options.out.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings(action="ignore"):  # those of the libraries under judgement
        page = [f"# Errors of distances\n\n`python -m benchmarks.law_radii`; {versions}.\n", *distances()]
        (options.out / "distances.md").write_text("\n".join(page) + "\n", encoding="utf-8")
        print("\n".join(page))
        for name in (name for name in options.dtype if name != "none"):
            page = [
                f"# Who keeps which law in {name}\n\n`{command}`; {versions}, Python {platform.python_version()}.\n"
            ]
            tables: dict[str, Table] = {}
            for chart in CHARTS:
                found = tables[chart] = table(chart, getattr(torch, name), options.examples, options.tolerance)
                kept = "; ".join(kept_by(found, library) for library in CHARTS[chart])
                page += [f"## {chart}\n\nKept everywhere: {kept}.\n", *markdown(found), ""]
            (options.out / f"{name}.md").write_text("\n".join(page), encoding="utf-8")
            told = json.dumps(tables, indent=1).replace("Infinity", '"all"')
            (options.out / f"{name}.json").write_text(told + "\n", encoding="utf-8")
            print("\n".join(page))


if __name__ == "__main__":
    main()
