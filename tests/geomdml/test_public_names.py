"""What a module offers is in `__all__`; what is its own business is private by name."""

import ast
import importlib
import inspect
import pkgutil
import types

import pytest

import geomdml

MODULES = [
    "geomdml",
    *(
        found.name
        for found in pkgutil.walk_packages(geomdml.__path__, "geomdml.")
        if not any(part.startswith("_") for part in found.name.split(".")[1:])
    ),
]
CHARTS = ["euclidean", "poincare", "tangent", "lorentz"]


@pytest.mark.parametrize("name", MODULES)
def test_what_a_module_defines_is_public_or_private_by_name(name):
    module = importlib.import_module(name)
    assert len(set(module.__all__)) == len(module.__all__)
    assert not [public for public in module.__all__ if not hasattr(module, public)]
    defined = {
        key
        for key, value in vars(module).items()
        if isinstance(value, type | types.FunctionType) and value.__module__ == name and not key.startswith("_")
    }
    constants = {key for key in vars(module) if key.isupper() and not key.startswith("_")}
    imported = {key for key in constants if key not in _assigned(module)}
    assert defined | (constants - imported) <= set(module.__all__)


def _assigned(module):
    tree = ast.parse(inspect.getsource(module))
    targets = (
        target
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
    )
    return {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}


@pytest.mark.parametrize("name", CHARTS)
def test_dir_shows_the_geometry_alone(name):
    assert not {"wide", "Tensor", "torch", "checks"} & set(dir(getattr(geomdml, name)))
    assert "dist" in dir(getattr(geomdml, name))
