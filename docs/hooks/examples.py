"""The page of examples: a line `<!-- example: NAME -->` becomes docs/examples/NAME.py, its cells as text and code."""

import re
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).parents[1] / "examples"
EXAMPLE = re.compile(r"^<!-- example: (\w+) -->$", flags=re.M)
CELL = re.compile(r"^# %%(.*)\n", flags=re.M)


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    return EXAMPLE.sub(lambda found: "\n\n".join(cells(EXAMPLES / f"{found[1]}.py")), markdown)


def cells(path: Path) -> list[str]:
    """The cells of a script in the percent format, as Markdown; its headings one level down."""
    _, *parts = CELL.split(path.read_text(encoding="utf-8"))
    return [
        re.sub(r"^# ?(#?)", r"\1\1", text.strip(), flags=re.M)
        if kind.strip() == "[markdown]"
        else f"```python\n{text.strip()}\n```"
        for kind, text in zip(parts[::2], parts[1::2], strict=True)
    ]
