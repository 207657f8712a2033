"""Errors of a run in one line each."""

import errno
import re

from apps.io.packages import NO_HOME

GONE = "another process of this run has ended, and this one with it (unless it was killed, its own message says why)"
# What other libraries say in many lines, in one.
PLAIN = {
    **dict.fromkeys(("closed by peer", "reset by peer", "Broken pipe", "Connection was likely closed"), GONE),
    "DataLoader worker": "a process that prepares images died (killed for its memory, perhaps): lower --data.workers",
    "PytorchStreamReader": "the checkpoint is damaged, or no checkpoint",
    "Early stopping conditioned on metric": "trainer.callbacks: EarlyStopping watches a value that is not logged",
    NO_HOME: "a path begins with ~ and there is no home folder; expected a whole path",
}


def is_gone(error: BaseException) -> bool:
    """Whether an error only says that another process has ended."""
    return isinstance(error, RuntimeError) and (plain_message(error) or "").startswith(GONE)


def plain_message(error: RuntimeError) -> str | None:
    """What to say of another library's error; None where it is none that is known."""
    found = next((plain for words, plain in PLAIN.items() if words in str(error)), None)
    return found and f"{found} ({_first_line(error)})"


def message(error: BaseException) -> str:
    """What to say of an error of the user's, or of the machine's.

    Of a full disk, which names no file, what to do too; where jsonargparse lists all that a class might have been, the
    line on the one given.
    """
    # how a death shows that hits a worker while it hands over a batch
    if isinstance(error, ConnectionResetError | ConnectionRefusedError):
        return f"{PLAIN['DataLoader worker']} ({error})"
    error = _first_error(error)
    if isinstance(error, OSError) and error.errno == errno.ENOSPC and error.filename is None:
        return f"a file could not be written: {error.strerror}; make room, or name another place with --out"
    found = re.search(r"Problem with given class_path '(\S+)':\s+(?:- )?([^\n]+)", str(error))
    return f"{found[1]}: {found[2]}" if found else str(error)


def _first_error(error: BaseException) -> BaseException:
    """What went wrong first: on a full disk, what is done at the end of a failed run fails too."""
    while error.__cause__ is None and isinstance(error.__context__, OSError):
        error = error.__context__
    return error


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]
