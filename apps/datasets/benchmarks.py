"""The published benchmarks by name, and which of them a folder holds."""

from pathlib import Path
from typing import Protocol, cast

from apps.datasets import cars, cub, inshop, sop
from apps.datasets.split import Count, Split


class Benchmark(Protocol):
    """What each module of a benchmark has: its name, its layout in words, its published counts and how to load it."""

    NAME: str
    LAYOUT: str
    PUBLISHED: dict[str, Count]

    def load(self, root: str | Path, *, strict: bool = False) -> Split: ...


BENCHMARKS = {
    name: cast(Benchmark, module) for name, module in (("cub", cub), ("cars", cars), ("inshop", inshop), ("sop", sop))
}


def guess(root: str | Path) -> str:
    """The benchmark whose files lie in a folder, else "folder".

    Cars196 as class folders is told by their number, 196.

    Raises:
        ValueError: no such folder.
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        raise ValueError(
            f"{str(root)!r} {'is a file' if root.exists() else 'does not exist'}: give a folder of pictures"
        )
    signs = {
        "cub": [root / below / "image_class_labels.txt" for below in cub.BELOW],
        "cars": [root / "cars_annos.mat"],
        "inshop": [root / below / inshop.LIST for below in inshop.BELOW],
        "sop": [root / below / file for below in sop.BELOW for file in sop.LISTS.values()],
    }
    for name, paths in signs.items():
        if any(path.exists() for path in paths):
            return name
    return "cars" if len({path.name for path in cars.class_folders(root)}) == cars.CLASSES else "folder"
