"""Checks of the options of data modules."""


def check_at_least(least: int, **options: int) -> None:
    """Refuse options, given by name, that are smaller.

    >>> check_at_least(2, batch_size=1)
    Traceback (most recent call last):
    ValueError: --data.batch_size = 1; expected at least 2
    """
    for name, value in options.items():
        if value < least:
            raise ValueError(f"--data.{name} = {value}; expected at least {least}")


def check_share(**options: float) -> None:
    """Refuse shares, given by name, that are not at least 0 and below 1."""
    for name, value in options.items():
        if not 0 <= value < 1:
            raise ValueError(f"--data.{name} = {value:g}; expected a share, at least 0 and below 1")
