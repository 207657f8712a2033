"""Choosing the command of an app. A command imports what it needs: a check need not wait for Lightning."""

import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from apps.io.packages import NO_HOME
from apps.training.signals import exit_at_signals


def run_command(
    package: str,
    own: Sequence[str],
    lightning: Sequence[str],
    train: Callable[[list[str] | None], None],
    args: Sequence[str] | None,
) -> None:
    """Run the command that the first word names.

    Args:
        package: the app, such as "apps.sketch".
        own: commands that are modules of the app, each with a function `main(words)`.
        lightning: commands of the app's LightningCLI.
        train: runs that, given the words; None is the process's command line.
        args: the words; None is the process's command line.
    """
    words = list(sys.argv[1:] if args is None else args)
    first = words[0] if words else ""
    if first in own:
        try:
            with exit_at_signals():
                import_module(f"{package}.{first}").main(words[1:])
        except RuntimeError as error:
            if NO_HOME not in str(error):
                raise
            sys.exit("error: a path begins with ~ and there is no home folder; expected a whole path")
    elif first in lightning or first.startswith("-"):
        train(None if args is None else words)
    else:
        names = ", ".join((*lightning, *own))
        sys.exit(
            f"error: no command {first!r}: one of {names} is expected, as in python -m {package} check --data.root PATH"
        )
