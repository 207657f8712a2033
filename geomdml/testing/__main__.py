"""Does a library of hyperbolic geometry keep the laws in floating point? `python -m geomdml.testing`

Draws hard points (the origin, duplicates, near-duplicates, antipodes, the last floats inside the ball), holds every
function against fifty digits and the geometry against its laws, and prints what holds, to what accuracy, and a
counter-example to what does not; the smallest with --thorough. The exit status is 0 where every law holds whose
functions are offered, 2 where nothing could be asked, else the sum of what breaks: 4 values, 8 geometry, 16 gradients,
32 manners (dtypes and shapes, refusals).
"""

import argparse
import importlib
import inspect
import io
import math
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from fnmatch import fnmatch
from itertools import product
from operator import attrgetter
from pathlib import Path
from typing import Any

import torch

from geomdml import lorentz, poincare, tangent
from geomdml.testing import adapters, loss_laws, peers, records, report, suite

OWN: dict[str, Any] = {"ball": poincare, "tangent": tangent, "lorentz": lorentz}
PEERS: dict[str, tuple[dict[str, Callable[[], Any]], str]] = {  # by chart, and what to install
    "geoopt": ({"ball": peers.Geoopt, "lorentz": peers.geoopt_lorentz}, "geoopt==0.5.1"),
    "hypll": ({"ball": peers.hypll}, "hypll==0.1.1"),
    "hypercore": ({"lorentz": peers.hypercore}, "geoopt==0.5.1"),
    "meru": ({"lorentz": peers.meru}, "nothing"),
}


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
    if options.loss:
        return _judge_loss(options)
    implementations = implementations_of(options.implementation, options.chart, options.convention)
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
    return sum({_status(verdict.law.group) for verdict in broken})


def _judge_loss(options: argparse.Namespace) -> int:
    loss = _imported(options.loss)
    if inspect.isclass(loss) or not callable(loss):
        what = "a class" if inspect.isclass(loss) else "no function"
        raise Refused(f"{options.loss!r} is {what}; expected a loss, called with embeddings (B, D) and labels (B,)")
    found = loss_laws.judge(loss, in_features=options.in_features, examples=options.examples or 5, seed=options.seed)
    print(options.loss, *found, sep="\n")
    print(f"\n{sum(law.holds for law in found)} of {len(found)} laws hold; judge_loss asks for that of processes")
    return 0 if all(law.holds for law in found) else 1


def _status(group: str) -> int:
    """What a group adds to the exit status where one of its laws breaks; 1 and 2 are Python's own and refusals."""
    return {"values": 4, "geometry": 8, "gradients": 16}.get(group, 32)


def _matches(law: suite.Law, patterns: Sequence[str]) -> bool:
    groups = {law.group, "manners" if law.group in suite.MANNERS else "mathematics"}
    return any(fnmatch(law.name, f"*{pattern}*") or pattern in groups for pattern in patterns)


def implementations_of(name: str, chart: str | None = None, convention: str = "geomdml") -> dict[str, Any]:
    """By chart; `module:attribute` is imported.

    Raises:
        Refused: nothing of that name, or nothing that can be asked.
    """
    if name == "geomdml":
        return OWN if chart is None else {chart: OWN[chart]}
    if name in PEERS:
        charts, package = PEERS[name]
        wanted = chart or next(iter(charts))
        if wanted not in charts:
            raise Refused(f"{name} has no chart {wanted!r}; expected {' or '.join(charts)}")
        try:
            return {wanted: charts[wanted]()}
        except ModuleNotFoundError as error:
            raise Refused(f"{name} cannot be imported ({error}): pip install {package}") from None
    if ":" not in name:
        raise Refused(f"{name!r} is not known; expected geomdml, {', '.join(PEERS)} or module:attribute")
    given = _imported(name)
    try:
        if convention != "geomdml":
            return adapters.CONVENTIONS[convention](given)
        chart = chart or "ball"
        return {chart: adapters.plain(given, suite.CHARTS[chart], OWN[chart].__name__)}
    except adapters.Misfit as misfit:
        raise Refused(f"{name!r} {misfit}") from None
    except Exception as error:  # what another's constructor may raise
        raise Refused(f"{name!r}: {type(error).__name__}: {error}") from None


def _imported(name: str) -> Any:
    module, _, attribute = name.partition(":")
    try:
        found = importlib.import_module(module)
        return attrgetter(attribute)(found) if attribute else found
    except (ImportError, AttributeError) as error:
        raise Refused(f"{name!r}: {error}") from None


def _parser() -> argparse.ArgumentParser:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(prog="python -m geomdml.testing", description=__doc__.partition("\n\n")[2])
    add = parser.add_argument
    add("--implementation", default="geomdml", help="geomdml, geoopt, hypll, hypercore and meru (their formulas), or "
        "your own: module:attribute, any object with functions by the names of geomdml.poincare, or one such function; "
        "default %(default)s")  # fmt: skip
    add("--loss", metavar="MODULE:LOSS", help="judge a loss instead, called with embeddings (B, D) and labels (B,)")
    add("--in-features", type=_count, default=8, metavar="D", help="of the loss's embeddings; default %(default)s")
    add("--chart", choices=OWN, help="the chart of your own object, default ball; of a library the one to judge")
    add("--convention", default="geomdml", choices=["geomdml", *adapters.CONVENTIONS], help="whose signatures your own "
        "object has: functions as ours, a class of manifolds as geoopt's or HyperCore's, functions as HypLL's or "
        "MERU's; default %(default)s")  # fmt: skip
    add("--dtype", default="float32", choices=["float32", "float64"], help="default %(default)s")
    add("--thorough", action="store_true", help="100 draws for each law and, where one breaks, the smallest "
        "counter-example, and the radius up to which it holds for ordinary points: many minutes")  # fmt: skip
    add("--examples", type=_count, metavar="N", help="draws for each law; default 20, with --thorough 100")
    add("--seed", type=int, default=0, help="of the draws; default %(default)s")
    add("--laws", nargs="+", default=[], metavar="PATTERN", help="only laws whose name contains one of these, or of "
        f"the groups {', '.join(report.GROUPS)}, mathematics, manners; * and ? are wild")  # fmt: skip
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
