"""How the judgement of an implementation is told: lines for the terminal, a page of tables in Markdown."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from geomdml.testing.suite import NEAREST, RADII, STEPS, Implementations, Verdict

__all__ = ["Accuracy", "GROUPS", "accuracy_lines", "counter_example", "lines", "markdown", "summary"]

Accuracy = Mapping[str, list[float]]  # such as "ball, D = 8": the largest error of `dist` at each of the RADII
GROUPS = {  # what a table of laws is about
    "values": "Against fifty digits.",
    "geometry": "Identities, isometries and limits; allowed is what the rounding of points makes of them.",
    "gradients": "Against fifty digits, as numbers everywhere, and by torch's own check.",
    "dtypes and shapes": "Batches and no vectors at all, and 16-bit inputs, whose float32 results are a promise of "
    "geomdml.",
    "refusals": "That arguments without a meaning are refused, by name, is the manner of geomdml, not mathematics: "
    "another library may promise nothing of the kind.",
}


def lines(verdict: Verdict, implementations: Implementations) -> Iterator[str]:
    """A law in a line; under one that breaks, its errors by radius and its smallest counter-example."""
    _, holds, error, bar, radius = _row(verdict)
    yield f"{holds:11} {verdict.law.name:44} {error:8} {f'(bar {bar})' if bar else ''}".rstrip()
    if verdict.broken:
        errors = ", ".join(f"{_radius(r)}: {_number(error)}" for r, error in verdict.by_radius.items())
        if errors:
            yield f"            holds for ordinary points up to radius {radius}" + f"; errors {errors}" * bool(bar)
        yield f"            {counter_example(verdict, implementations)}"


def summary(verdicts: Iterable[Verdict]) -> str:
    """How many laws hold of those asked, in all and group by group, the refusals apart, and how many were not asked."""
    verdicts = list(verdicts)
    asked = [verdict for verdict in verdicts if not verdict.missing]
    groups = {group: f"{group} {_share(of_it)}" for group, of_it in _by_group(asked)}
    manners, rest = groups.pop("refusals", ""), len(verdicts) - len(asked)
    parts = [f"{_share([verdict for verdict in asked if verdict.law.group != 'refusals'])} laws hold"]
    parts[0] += f": {', '.join(groups.values())}" * bool(groups)
    parts += [f"manners of geomdml, not mathematics: {manners}"] * bool(manners)
    parts += [f"{rest} are about functions not offered"] * bool(rest)
    return "; ".join(parts)


def accuracy_lines(accuracy: Accuracy) -> Iterator[str]:
    """The table of the errors of `dist`: a row for each chart and dimension, a column for each radius."""
    yield f"{'radius':16}" + "".join(f"{radius:9g}" for radius in RADII)
    for name, errors in accuracy.items():
        yield f"{name:16}" + "".join(f"{_number(error):>9}" for error in errors)


def markdown(heading: str, verdicts: Iterable[Verdict], accuracy: Accuracy, implementations: Implementations) -> str:
    """All of it as a page."""
    verdicts = list(verdicts)
    broken = [verdict for verdict in verdicts if verdict.broken]
    graded = [verdict for verdict in broken if verdict.by_radius and verdict.error.bar]
    page = [
        f"# {heading}",
        f"{summary(verdicts)}. Errors are relative; ∞ is no number, or a number where 0 is due. Points are the hard "
        "ones too: origin, duplicates, near-duplicates, antipodes, last floats inside. For the last column they are "
        f"ordinary: independent directions, c from 0.01 to 100, radius √c‖u‖ from {NEAREST:g} to the one told.",
    ]
    for group, of_it in _by_group(verdicts):
        page += [f"## {group.capitalize()}", GROUPS[group]]
        rows = ([verdict.law.charts[0], *_row(verdict)] for verdict in of_it)
        page += [_table(["chart", "law", "", "largest error", "bar", "ordinary points: up to radius"], rows)]
    if accuracy:
        page += ["## Accuracy of distances, by radius"]
        errors = ([name, *map(_number, errors)] for name, errors in accuracy.items())
        page += [_table(["error of `dist`, random pairs at radius", *(f"{r:g}" for r in RADII)], errors)]
    if graded:
        page += ["## Laws that break, by radius"]
        errors = ([_full_name(verdict), *_errors_by_radius(verdict)] for verdict in graded)
        page += [_table(["largest error, ordinary points up to radius", *_HEADS], errors)]
    if broken:
        page += ["## Smallest counter-examples"]
        page += ["\n".join(f"- {_full_name(v)}: `{counter_example(v, implementations)}`" for v in broken)]
    return "\n\n".join(page) + "\n"


def counter_example(verdict: Verdict, implementations: Implementations) -> str:
    """Inputs and what is wrong; where a function has one true value, what it gave and that."""
    broken, f = verdict.broken, verdict.law.f
    assert broken is not None
    inputs = ", ".join(map(_vector, broken.vectors))
    part = f"{broken.law}: " if broken.law != verdict.law.name else ""
    told = f"{inputs}, c = {float(broken.c):.9g}: {part}{' '.join(broken.what.split())}"
    if f is None or not broken.error.bar or [x.ndim for x in broken.vectors] != [1] * f.vectors:
        return told
    found = f(implementations[verdict.law.charts[0]], *broken.vectors, c=broken.c)
    return f"{told}; {f.name} is {_vector(found)}, truly {_vector(f.reference(*broken.vectors, c=broken.c))}"


def _by_group(verdicts: Iterable[Verdict]) -> Iterator[tuple[str, list[Verdict]]]:
    return ((group, list(of_it)) for group, of_it in groupby(verdicts, lambda verdict: verdict.law.group))


def _share(verdicts: Sequence[Verdict]) -> str:
    return f"{sum(verdict.broken is None for verdict in verdicts)} of {len(verdicts)}"


def _full_name(verdict: Verdict) -> str:
    return f"{verdict.law.charts[0]}, {verdict.law.name}"


_HEADS = [*(f"{radius:g}" for radius in STEPS), "farthest"]


def _row(verdict: Verdict) -> list[str]:
    name, error, bar = verdict.law.name, verdict.error, verdict.error.bar
    if verdict.missing:
        return [name, "not offered", "", "", ""]
    measures = [_number(error), _number(bar)] if bar else ["", ""]
    if not verdict.broken:
        return [name, "holds", *measures, "all"]
    return [name, "BREAKS", *measures, _radius(verdict.holds_up_to) if verdict.by_radius else ""]


def _errors_by_radius(verdict: Verdict) -> list[str]:
    """In the columns of the heads; a radius that was not asked for stays empty, the farthest stands last."""
    errors, farthest = verdict.by_radius, max(verdict.by_radius)
    return [_number(errors[r]) if r in errors and r < farthest else "" for r in STEPS] + [_number(errors[farthest])]


def _radius(radius: float) -> str:
    return f"{radius:g}" if 0 < radius < math.inf else "all" if radius else "none"


def _number(value: float) -> str:
    return f"{value:.2g}" if math.isfinite(value) else "∞"


def _vector(x: Any) -> str:
    """A number or a vector, with the digits to have the same floats again; a long one cut short."""
    digits = 17 if isinstance(x, Tensor) and x.dtype == torch.float64 else 9
    if not isinstance(x, list) and not (isinstance(x, Tensor) and x.ndim):
        return f"{float(x):.{digits}g}"
    entries = [f"{float(entry):.{digits}g}" for entry in (x.detach().flatten() if isinstance(x, Tensor) else x)]
    return f"[{', '.join(entries[:8])}]" if len(entries) <= 8 else f"[{', '.join(entries[:8])}, … {len(entries)}]"


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    heads = list(heads)
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, ["---"] * len(heads), *rows))
