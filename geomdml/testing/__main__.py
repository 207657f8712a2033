"""Does a library of hyperbolic geometry keep the laws in floating point? `python -m geomdml.testing`

Draws hard points (the origin, duplicates, near-duplicates, antipodes, the last floats inside the ball), holds every
function against fifty digits and the geometry against its laws, and prints what holds, to what accuracy, and a
counter-example to what does not; the smallest with --thorough. The exit status is 0 where every law holds whose
functions are offered, 1 where one of mathematics (values, geometry, gradients) breaks, 3 where only manners do, 2 where
nothing could be asked.
"""

import argparse
import importlib
import io
import math
import os
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from fnmatch import fnmatch
from itertools import product
from operator import attrgetter
from pathlib import Path
from typing import Any

import torch

from geomdml import lorentz, poincare, tangent
from geomdml.testing import peers, records, report, suite

OWN: dict[str, Any] = {"ball": poincare, "tangent": tangent, "lorentz": lorentz}
PEERS = {"geoopt": (peers.Geoopt, "geoopt==0.5.1"), "hypll": (peers.Hypll, "hypll==0.1.1")}


class Refused(Exception):
    """What was asked for cannot be; the message is a line for the user."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace", line_buffering=True)  # a line as soon as a law is judged
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # those of the library under judgement
            return _run(options)
    except BrokenPipeError:  # who reads, such as `head`, has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is left to be flushed
        return 141
    except (Refused, records.Unreadable) as refusal:
        print(f"geomdml.testing: {refusal}", file=sys.stderr)
        return 2


def _run(options: argparse.Namespace) -> int:
    implementations = implementations_of(options.implementation, options.chart)
    dtype = getattr(torch, options.dtype)
    laws = [law for law in suite.table(dtype) if set(law.charts) <= set(implementations)]
    laws = [law for law in laws if _matches(law, options.laws or [""]) and not _matches(law, options.skip)]
    if not laws:
        skipped = f" that --skip leaves ({', '.join(options.skip)})" if options.skip else ""
        raise Refused(f"no law has a name like {' or '.join(map(repr, options.laws)) or repr('')}{skipped}")
    for option, path in (("--markdown", options.markdown), ("--json", options.json)):
        if path and not path.parent.is_dir():
            raise Refused(f"{option} {path}: there is no folder {path.parent}")
    before = records.read(options.baseline) if options.baseline else None

    examples = options.examples or (100 if options.thorough else 20)
    heading = f"{options.implementation}, {options.dtype}, {examples} examples a law, seed {options.seed}"
    verdicts: list[suite.Verdict] = []
    accuracy: dict[str, list[float]] = {}
    interrupted, told = False, ("", "")
    print(heading)
    try:
        for law in laws:
            if (law.charts[0], law.group) != told:
                told = law.charts[0], law.group
                print(f"\n{': '.join(told)}")
            verdicts.append(
                suite.judge(
                    law,
                    implementations,
                    dtype,
                    examples=examples,
                    seed=options.seed,
                    radius=options.radius,
                    tolerance=options.tolerance,
                    thorough=options.thorough,
                )
            )
            print(*report.lines(verdicts[-1], implementations), sep="\n")
        for chart, dim in product(implementations, () if options.laws else (8, 64)):
            with suppress(Exception):  # no `dist`, or one that raises: told above
                accuracy[f"{chart}, D = {dim}"] = suite.errors_by_radius(implementations[chart], chart, dim)
    except KeyboardInterrupt:
        interrupted = True
    print(f"\n{report.summary(verdicts)}" + f"; interrupted, {len(laws)} were to be judged" * interrupted)
    if accuracy:
        print("\nLargest relative error of dist in float32, 50 random pairs at one radius √c‖u‖, c = 0.5")
        print(*report.accuracy_lines(accuracy), sep="\n")
    if options.markdown:
        options.markdown.write_text(report.markdown(heading, verdicts, accuracy, implementations), encoding="utf-8")
    if options.json:
        records.write(options.json, heading, verdicts)
    if interrupted:
        return 130
    broken = [verdict for verdict in verdicts if verdict.broken]
    if before is not None:
        broken = [verdict for verdict in broken if records.is_worse(verdict, before)]
        print(f"{len(broken)} of {len(verdicts)} laws are worse than in {options.baseline}")
        print(*(f"  {records.key(verdict)}" for verdict in broken), sep="\n")
    if any(verdict.law.group not in suite.MANNERS for verdict in broken):
        return 1
    return 3 if broken else 0


def _matches(law: suite.Law, patterns: Sequence[str]) -> bool:
    return any(fnmatch(law.name, f"*{pattern}*") or pattern == law.group for pattern in patterns)


def implementations_of(name: str, chart: str) -> dict[str, Any]:
    """By chart; `module:attribute` is imported."""
    if name == "geomdml":
        return OWN
    if name in PEERS:
        adapter, package = PEERS[name]
        try:
            return {"ball": adapter()}
        except ModuleNotFoundError as error:
            raise Refused(f"{name} cannot be imported ({error}): pip install {package}") from None
    module, colon, attribute = name.partition(":")
    if not colon:
        raise Refused(f"{name!r} is not known; expected geomdml, {', '.join(PEERS)} or module:attribute")
    try:
        found = importlib.import_module(module)
        implementation = attrgetter(attribute)(found) if attribute else found
    except (ImportError, AttributeError) as error:
        raise Refused(f"{name!r}: {error}") from None
    if not any(hasattr(implementation, f) for f in suite.CHARTS[chart]):
        raise Refused(f"{name!r} has none of the functions {', '.join(suite.CHARTS[chart])}")
    return {chart: implementation}


def _parser() -> argparse.ArgumentParser:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(prog="python -m geomdml.testing", description=__doc__.partition("\n\n")[2])
    add = parser.add_argument
    add("--implementation", default="geomdml", help="geomdml, geoopt, hypll, or your own: module:attribute, any object "
        "with functions by the names of geomdml.poincare; default %(default)s")  # fmt: skip
    add("--chart", default="ball", choices=OWN, help="the chart of your own object; default %(default)s")
    add("--dtype", default="float32", choices=["float32", "float64"], help="default %(default)s")
    add("--thorough", action="store_true", help="100 draws for each law and, where one breaks, the smallest "
        "counter-example, and the radius up to which it holds for ordinary points: many minutes")  # fmt: skip
    add("--examples", type=_count, metavar="N", help="draws for each law; default 20, with --thorough 100")
    add("--seed", type=int, default=0, help="of the draws; default %(default)s")
    add("--laws", nargs="+", default=[], metavar="PATTERN", help="only laws whose name contains one of these, or of "
        f"these groups: {', '.join(report.GROUPS)}; * and ? are wild")  # fmt: skip
    add("--skip", nargs="+", default=[], metavar="PATTERN", help="none of these laws or groups")
    add("--tolerance", type=_radius, default=0.0, metavar="ERROR", help="relative errors up to this break no law; "
        "default: each law has its own bar")  # fmt: skip
    add("--json", type=Path, metavar="FILE", help="write the verdicts there")
    add("--baseline", type=Path, metavar="FILE", help="verdicts of an earlier run, as --json wrote them: only what is "
        "worse counts")  # fmt: skip
    add("--radius", type=_radius, default=math.inf, help="only points up to √c‖u‖; default: to the last float inside")
    add("--markdown", type=Path, metavar="FILE", help="write the tables there too")
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r}; expected a whole number above 0")
    return int(text)


def _radius(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not number > 0:
        raise argparse.ArgumentTypeError(f"{text!r}; expected a number above 0")
    return number


if __name__ == "__main__":
    sys.exit(main())
