"""`python -m apps.shape3d check [--data.root PATH]`"""

import sys
from collections.abc import Sequence

from apps.shape3d import check


def main(args: Sequence[str] | None = None) -> None:
    command, *rest = (sys.argv[1:] if args is None else args) or [""]
    if command != "check":
        sys.exit(f"error: no command {command!r}: check is wanted, as in python -m apps.shape3d check --data.root PATH")
    check.main(rest)


if __name__ == "__main__":
    main()
