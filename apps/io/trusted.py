"""The packages whose classes a config or a checkpoint may name: importing a module runs it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from jsonargparse import set_parsing_settings
from jsonargparse._common import parsing_settings

TRUST = "GEOMDML_LOSSES"
TRUSTED = ("geomdml", "pytorch_metric_learning")
OF_LIGHTNING = ("lightning", "pytorch_lightning", "torch.optim")  # what the options of its command line take


def trusted_packages() -> tuple[str, ...]:
    """geomdml, pytorch_metric_learning, and what the variable GEOMDML_LOSSES names, separated by commas or spaces."""
    return (*TRUSTED, *os.environ.get(TRUST, "").replace(",", " ").split())


def allowed_packages() -> tuple[str, ...]:
    """The packages that a command line or a config may name: these and Lightning's."""
    return (*trusted_packages(), *OF_LIGHTNING)


def is_trusted(path: str) -> bool:
    """Whether a path, such as "my_package.Mine", leads into one of these packages.

    >>> is_trusted("geomdml.losses.HIERLoss"), is_trusted("geomdml"), is_trusted("os.abort")
    (True, False, False)
    """
    package, _, name = path.partition(".")
    return bool(name) and package in trusted_packages()


def import_trusted(path: str, what: str) -> Any:
    """What a path such as "my_package.Mine" names.

    Args:
        what: what it is for, such as "loss", for messages.

    Raises:
        ValueError: it is not of a trusted package, or does not exist.
    """
    if not is_trusted(path):
        raise ValueError(
            f"{what} {path!r} is not of {' or '.join(trusted_packages())}; to import it, name its package in the "
            f"variable {TRUST}"
        )
    module, _, name = path.rpartition(".")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{what} {path!r} does not exist: {error}") from error


@contextmanager
def trusted_class_paths() -> Iterator[None]:
    """Refuse, before it is imported, whatever a command line or a config names outside these packages and Lightning.

    Raises:
        ValueError: the variable GEOMDML_LOSSES has a word that is no name of a package.
    """
    before = dict(parsing_settings)  # jsonargparse can add to its settings, and not take back
    set_parsing_settings(import_path_denylist=["*"], import_path_allowlist=[*allowed_packages()])
    try:
        yield
    finally:
        parsing_settings.update(before)
