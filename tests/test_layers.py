"""Imports point down only (DESIGN.md), and an optional library is imported only where it is needed."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = [  # from the bottom; a module may import from its own layer's package and from layers below
    {"geomdml._native"},
    {"geomdml._core"},
    {"geomdml.euclidean", "geomdml.poincare", "geomdml.optim", "geomdml.class_trees"},
    {"geomdml.tangent", "geomdml.lorentz", "geomdml.sphere"},
    {"geomdml.spaces", "geomdml.cones", "geomdml.hyperplanes", "geomdml.sampling", "geomdml.statistics"},
    {"geomdml.nn", "geomdml.transport", "geomdml.search"},
    {"geomdml.metric_matrix"},
    {"geomdml.losses", "geomdml.metrics", "geomdml.reshaping", "geomdml.pml", "geomdml.geoopt"},
    {"geomdml.hierarchy", "geomdml.distributed"},
    {"geomdml", "geomdml.testing"},
    {"apps.io"},
    {"apps.shapes"},
    {"apps.datasets"},
    {"apps.networks", "apps.training"},
    {"apps.evaluation", "apps.report", "apps.serve"},
    {"apps.compare"},
    {"apps.cli", "apps.commands"},
    {"apps.chest_vit", "apps.shape3d", "apps.sketch", "apps.digits", "apps.multimodal", "apps.taxonomy"},
]
CORE = {"torch", "numpy", "scipy", "jaxtyping"}
EXTRAS = {
    "geomdml._native.build": {"hatchling"},
    "geomdml.testing": {"hypothesis", "mpmath"},
    "geomdml.testing.peers": {"geoopt", "hypll"},
    "geomdml.testing.pytest_plugin": {"pytest"},
    "geomdml.geoopt": {"geoopt"},
    "geomdml.pml": {"pytorch_metric_learning"},
    "geomdml._core.all_pairs._kernels": {"triton"},
    "geomdml.search": {"numba"},
    "geomdml.search.__main__": {"matplotlib", "pyarrow", "safetensors"},
    "geomdml.search.milvus": {"pyarrow", "pymilvus"},
    "geomdml.metrics.torchmetrics": {"torchmetrics"},
}
APPS_ONLY_IN = {  # heavy, or readers of what anyone may have written
    "open3d": "apps.shapes.rendering",
    "trimesh": "apps.shapes.stl",
}
SHARED = (
    "io",
    "shapes",
    "datasets",
    "networks",
    "training",
    "evaluation",
    "report",
    "serve",
    "compare",
)  # folders of apps
FILES = sorted([*ROOT.glob("geomdml/**/*.py"), *ROOT.glob("apps/**/*.py")])


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            yield node.module or ""
            if node.module in ("geomdml", "apps"):
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def layer(module: str) -> int:
    """The layer that a module belongs to: that of the longest listed name that it starts with."""
    known = {name: level for level, names in enumerate(LAYERS) for name in names}
    owners = [name for name in known if module == name or module.startswith(name + ".")]
    return known[max(owners, key=len)] if owners else len(LAYERS)


def unit(module: str) -> str:
    """A file or folder of geomdml, or of the apps."""
    return ".".join(module.split(".")[:2])


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_imports_point_down(path: Path) -> None:
    module = module_name(path)
    if module == "geomdml":
        return  # the package itself names what is public
    for imported in imports(path):
        if imported == "geomdml" or imported.split(".")[0] not in ("geomdml", "apps"):
            continue
        if unit(imported) == unit(module):
            continue
        assert layer(imported) < layer(module), f"{module} imports {imported}, which is not below it"


@pytest.mark.parametrize("package", ["geomdml", "apps"])
def test_folders_form_no_cycle(package: str) -> None:
    imported: dict[str, set[str]] = defaultdict(set)
    for path in FILES:
        module = module_name(path)
        if unit(module).startswith(package + "."):
            found = {unit(name) for name in imports(path) if name.startswith(package + ".")}
            imported[unit(module)] |= found - {unit(module)}
    assert list(TopologicalSorter(imported).static_order())  # raises CycleError


@pytest.mark.parametrize("path", [p for p in FILES if module_name(p).startswith("geomdml")], ids=module_name)
def test_optional_libraries_stay_in_their_module(path: Path) -> None:
    import sys

    module = module_name(path)
    allowed = CORE | {library for name, libraries in EXTRAS.items() if module.startswith(name) for library in libraries}
    found = {name.split(".")[0] for name in imports(path)} - {"geomdml"} - set(sys.stdlib_module_names)
    assert found <= allowed, f"{module} imports {found - allowed}"


@pytest.mark.parametrize("library", APPS_ONLY_IN)
def test_libraries_of_the_apps_stay_in_their_module(library: str) -> None:
    users = {module_name(path) for path in FILES if library in {name.split(".")[0] for name in imports(path)}}
    assert users == {APPS_ONLY_IN[library]}


def test_losses_do_not_import_metrics() -> None:
    for path in ROOT.glob("geomdml/losses/*.py"):
        assert not any(name.startswith("geomdml.metrics") for name in imports(path))


def test_no_shared_module_has_a_single_user_elsewhere() -> None:
    """What one app alone uses lives with that app; what `apps.cli` uses, all apps use."""
    names = {module_name(path) for path in FILES if path.name != "__init__.py"}
    users: dict[str, set[str]] = defaultdict(set)
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                for name in (node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)):
                    users[name].add(module_name(path))
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    users[alias.name].add(module_name(path))
    lonely = {
        module: next(iter(users[module]))
        for module in names
        if module.startswith(tuple(f"apps.{folder}." for folder in SHARED)) and len(users[module]) == 1
    }
    misplaced = {module: user for module, user in lonely.items() if unit(user) != unit(module) and user != "apps.cli"}
    assert misplaced == {}
