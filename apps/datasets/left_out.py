"""What was left out of the files of a data set: one warning, with counts."""

import logging
from collections.abc import Mapping
from functools import cache
from pathlib import Path

log = logging.getLogger(__name__)


def warn(root: Path, what: str, left_out: Mapping[str, int]) -> None:
    """Say what was left out of the files below a folder, where anything was; the same only once.

    Args:
        what: the plural of what was looked for, such as "images".
        left_out: counts of the files, and of folders, by what they are.
    """
    if words := in_words(left_out):
        _warn_once(f"left out of the {what} in {str(root)!r}: {words}")


def in_words(left_out: Mapping[str, int]) -> str:
    """The counts, for a message; empty where nothing was left out.

    >>> in_words({"hidden": 1, ".txt": 2, "in no class folder": 0})
    '1 hidden, 2 .txt'
    """
    return ", ".join(f"{count} {what}" for what, count in left_out.items() if count)


@cache
def _warn_once(message: str) -> None:
    log.warning("%s", message)
