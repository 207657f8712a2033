"""Verdicts as a file, and what has become worse since one was written."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from geomdml.testing.suite import Verdict

__all__ = ["Records", "Unreadable", "is_worse", "key", "read", "write"]

Records = Mapping[str, Mapping[str, Any]]  # of a law: whether it "holds", and its largest "error"
_MUCH = 2.0  # times an error that a law had already: draws of another library differ


class Unreadable(Exception):
    """A file that holds no verdicts; the message is a line for the user."""


def key(verdict: Verdict) -> str:
    """The name of a law, which is the same in every run."""
    return f"{verdict.law.charts[0]}: {verdict.law.group}: {verdict.law.name}"


def write(path: Path, heading: str, verdicts: Sequence[Verdict]) -> None:
    """As JSON: what was judged, and of each law whether it is offered and holds, its error, bar and radius."""
    laws = {
        key(verdict): {
            "offered": not verdict.missing,
            "holds": verdict.broken is None,
            "error": _finite(verdict.error),
            "bar": _finite(verdict.error.bar),
            "holds_up_to": _finite(verdict.holds_up_to),
            "broken": str(verdict.broken) if verdict.broken else None,
        }
        for verdict in verdicts
    }
    path.write_text(json.dumps({"judged": heading, "laws": laws}, indent=1) + "\n", encoding="utf-8")


def read(path: Path) -> Records:
    """The laws of a file that `write` made.

    Raises:
        Unreadable: no such file, or another.
    """
    try:
        laws = json.loads(path.read_text(encoding="utf-8"))["laws"]
        return {name: {"holds": bool(law["holds"]), "error": law["error"]} for name, law in laws.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unreadable(f"--baseline {path}: {error}; expected a file that --json wrote") from error


def is_worse(verdict: Verdict, before: Records) -> bool:
    """Whether a broken law held before, or its error has more than doubled; a law not judged before counts as held."""
    then = before.get(key(verdict), {"holds": True, "error": 0.0})
    if then["holds"]:
        return True
    error = math.inf if then["error"] is None else float(then["error"])
    return float(verdict.error) > _MUCH * error


def _finite(number: float) -> float | None:
    """JSON has no infinity."""
    return float(number) if math.isfinite(number) else None
