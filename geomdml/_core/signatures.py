"""Functions that pass their arguments on."""

import inspect
from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

P = ParamSpec("P")
R = TypeVar("R")


def takes_arguments_of(model: Callable[P, object]) -> Callable[[Callable[..., R]], Callable[P, R]]:
    """Give a function that passes its arguments on to `model` the signature of that: for `help`, and to type checkers.

    >>> @takes_arguments_of(divmod)
    ... def quotient(*numbers):
    ...     return divmod(*numbers)[0]
    >>> inspect.signature(quotient)
    <Signature (x, y, /)>
    """

    def give(function: Callable[..., R]) -> Callable[P, R]:
        returned = inspect.signature(function).return_annotation
        function.__signature__ = inspect.signature(model).replace(return_annotation=returned)  # type: ignore[attr-defined]
        return cast(Callable[P, R], function)

    return give
