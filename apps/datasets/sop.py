"""Stanford Online Products: 22,634 products from an online shop, divided by two lists."""

from pathlib import Path

from apps.datasets import listed
from apps.datasets.split import Count, Split

NAME = "Stanford Online Products"
LAYOUT = (
    "Stanford Online Products is a folder (or its Stanford_Online_Products) with Ebay_train.txt, Ebay_test.txt and the "
    "images in bicycle_final/ and so on"
)
PUBLISHED = {"train": Count(11_318, 59_551), "query": Count(11_316, 60_502)}
LISTS = {"train": "Ebay_train.txt", "query": "Ebay_test.txt"}
BELOW = ("", "Stanford_Online_Products")
HEADER = 1  # image_id class_id super_class_id path
CATEGORIES = "the kinds of product of its lists"


def is_at(root: Path) -> bool:
    return any((root / below / file).exists() for below in BELOW for file in LISTS.values())


def load(root: str | Path, *, strict: bool = False) -> Split:
    """The products of `root`; a class is named by its number.

    Raises:
        ValueError: another layout, with the path that is missing; see `listed.parts`.
    """
    base = listed.base(root, tuple(LISTS.values()), LAYOUT, below=BELOW)
    rows = {
        part: [(name, product) for _, product, _, name in listed.table(base / file, 4, header=HEADER)]
        for part, file in LISTS.items()
    }
    classes = {part: list(dict.fromkeys(product for _, product in found)) for part, found in rows.items()}
    return Split(**listed.parts(base, rows, classes, strict=strict), by="by class, as published")


def categories(root: str | Path) -> dict[str, tuple[str, ...]]:
    """The kind of each product, such as ("bicycle",): the super-class of the lists, by the folder of its images.

    Raises:
        ValueError: as `load`; a product of two kinds.
    """
    base = listed.base(root, tuple(LISTS.values()), LAYOUT, below=BELOW)
    found: dict[str, tuple[str, ...]] = {}
    for file in LISTS.values():
        for _, product, _, name in listed.table(base / file, 4, header=HEADER):
            kind = (name.partition("/")[0].removesuffix("_final"),)
            if found.setdefault(product, kind) != kind:
                raise ValueError(f"{str(base / file)!r} has product {product} as {kind[0]} and {found[product][0]}")
    return found
