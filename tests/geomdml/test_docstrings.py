"""A public function says what it takes, gives and refuses, where it comes from, and shows itself at work."""

import inspect

import pytest

from geomdml import euclidean, lorentz, poincare, tangent

PUBLIC = {
    f"{module.__name__}.{name}": function
    for module in (euclidean, lorentz, poincare, tangent)
    for name, function in vars(module).items()
    if inspect.isfunction(function) and function.__module__ == module.__name__ and not name.startswith("_")
    if name != "inside"  # a check that the charts share
}


@pytest.mark.parametrize("function", PUBLIC.values(), ids=PUBLIC.keys())
def test_docstrings_are_complete(function):
    text = inspect.getdoc(function) or ""
    for part in ("Args:", "Returns:", "Raises:", "Source:", ">>> "):
        assert part in text
    for argument in inspect.signature(function).parameters:
        assert f"{argument}:" in text or f"{argument}," in text
