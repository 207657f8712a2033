"""The page Parts lists every public name that no other page of the reference lists, module by module."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import griffe

ROOT = Path(__file__).parents[2]
PARTS = "reference/parts.md"
LISTED = re.compile(r"^::: geomdml\.?(\S*)", flags=re.M)


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    if page.file.src_uri != PARTS:
        return markdown
    package = griffe.load("geomdml", search_paths=[ROOT])
    assert isinstance(package, griffe.Module)
    pages = [
        path.read_text(encoding="utf-8") for path in (ROOT / "docs/reference").glob("*.md") if path.name != "parts.md"
    ]
    seen = {path for text in pages for name in LISTED.findall(text) for path in offered(package[name]).values()}
    for module in sorted(modules(package), key=lambda module: (module.path.count("."), module.path)):
        names = offered(module)
        rest = [name for name, path in names.items() if path not in seen]
        seen |= set(names.values())
        if rest:
            members = "" if len(rest) == len(names) else f"\n    options: {{members: [{', '.join(rest)}]}}"
            markdown += f"\n::: {module.path}{members}\n"
    return markdown


def modules(module: griffe.Module) -> Iterator[griffe.Module]:
    """A public module and those below it."""
    yield module
    for below in module.modules.values():
        if not below.is_alias and not below.name.startswith("_"):
            yield from modules(below)


def offered(listed: Any) -> dict[str, str]:
    """The public names of a module, or the one name that is listed, and where each is defined."""
    if not listed.is_module:
        return {listed.name: listed.canonical_path}
    members = {str(name): listed.all_members.get(str(name)) for name in listed.exports or []}
    return {name: found.canonical_path for name, found in members.items() if found and not found.is_module}
