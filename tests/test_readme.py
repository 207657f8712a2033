"""The README's example runs and prints what it says; the files that it names are there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_example_runs(capsys):
    (example,) = re.findall(r"```python\n(.*?)```", README, flags=re.S)
    exec(example, {})
    assert capsys.readouterr().out.startswith("tensor(1199.0198)\n")


def test_what_it_names_is_there():
    for name in re.findall(r"\]\(([\w/.]+)\)", README) + re.findall(r"--config (apps/[\w/.]+)", README):
        assert (ROOT / name).is_file(), name
    workflows = [path.read_text(encoding="utf-8") for path in ROOT.glob(".github/workflows/*.yml")]
    for target in re.findall(r"make ([\w-]+)", "\n".join([README, *workflows])):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), flags=re.M), target
