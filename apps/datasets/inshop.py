"""In-shop Clothes Retrieval (DeepFashion): images of 7,982 items, with a published query and gallery."""

from pathlib import Path, PurePosixPath

from apps.datasets import listed
from apps.datasets.split import Count, Split

NAME = "In-shop Clothes Retrieval"
LAYOUT = (
    "In-shop is a folder with list_eval_partition.txt (directly or in Eval/) and the images of img.zip in "
    "Img/img/WOMEN/Dresses/id_00000002/ (or img/ directly)"
)
PUBLISHED = {"train": Count(3_997, 25_882), "query": Count(3_985, 14_218), "gallery": Count(3_985, 12_612)}
LIST = "list_eval_partition.txt"
BELOW = ("", "Eval")
HEADER = 2  # the number of images, the names of the columns
CATEGORIES = "women's and men's clothes, and their kinds, by the folders of the images"


def is_at(root: Path) -> bool:
    return any((root / below / LIST).exists() for below in BELOW)


def load(root: str | Path, *, strict: bool = False) -> Split:
    """The clothes of `root`; query and gallery have the same classes, in the order of their names.

    Raises:
        ValueError: another layout, with the path that is missing; see `listed.parts`.
    """
    path = listed.base(root, (LIST,), LAYOUT, below=BELOW) / LIST
    root = Path(root).expanduser()
    base = root / "Img" if (root / "Img").is_dir() else listed.base(root, ("img",), LAYOUT)
    rows: dict[str, list[listed.Row]] = {"train": [], "query": [], "gallery": []}
    for name, item, part in listed.table(path, 3, header=HEADER):
        if part not in rows:
            raise ValueError(f"{str(path)!r} has {part!r} as the part of {name!r}; expected {', '.join(rows)}")
        rows[part].append((name, item))
    train = sorted({item for _, item in rows["train"]})
    test = sorted({item for part in ("query", "gallery") for _, item in rows[part]})
    found = listed.parts(base, rows, {"train": train, "query": test, "gallery": test}, strict=strict)
    return Split(**found, by="as published, query and gallery apart")


def categories(root: str | Path) -> dict[str, tuple[str, ...]]:
    """What lies above each item, such as ("WOMEN", "Dresses"): the folders of the first of its images in the list.

    Raises:
        ValueError: as `load`.
    """
    path = listed.base(root, (LIST,), LAYOUT, below=BELOW) / LIST
    found: dict[str, tuple[str, ...]] = {}
    for name, item, _ in listed.table(path, 3, header=HEADER):
        found.setdefault(item, PurePosixPath(name).parts[1:-2])  # img/ and the folder of the item left out
    return found
