"""CUB-200-2011: 200 species of birds; the first 100 train, the others test."""

from pathlib import Path

from apps.datasets import listed
from apps.datasets.split import Count, Split

NAME = "CUB-200-2011"
LAYOUT = (
    "CUB-200-2011 is a folder (or its CUB_200_2011) with images.txt, image_class_labels.txt, classes.txt and the "
    "images in images/001.Black_footed_Albatross/"
)
PUBLISHED = {"train": Count(100, 5_864), "query": Count(100, 5_924)}
FILES = ("image_class_labels.txt", "images.txt", "classes.txt", "images")
BELOW = ("", "CUB_200_2011")
TRAIN_CLASSES = 100
CATEGORIES = "the last word of the species' names, such as Albatross: an approximation of genus and family"


def is_at(root: Path) -> bool:
    return any((root / below / FILES[0]).exists() for below in BELOW)


def load(root: str | Path, *, strict: bool = False) -> Split:
    """The birds of `root`; classes in the order of classes.txt.

    Raises:
        ValueError: another layout, with the path that is missing; see `listed.parts`.
    """
    base = listed.base(root, FILES, LAYOUT, below=BELOW)
    classes = {number: name for number, name in listed.table(base / "classes.txt", 2)}
    class_of = {image: number for image, number in listed.table(base / "image_class_labels.txt", 2)}
    order = sorted(classes, key=int) if all(map(str.isdecimal, classes)) else sorted(classes)
    train = set(order[:TRAIN_CLASSES])
    rows: dict[str, list[listed.Row]] = {"train": [], "query": []}
    for image, name in listed.table(base / "images.txt", 2):
        of_class = class_of.get(image, "")
        if of_class not in classes:
            raise ValueError(
                f"image {image} of {str(base / 'images.txt')!r} has class {of_class!r} in image_class_labels.txt, "
                "which is not in classes.txt"
            )
        rows["train" if of_class in train else "query"].append((name, classes[of_class]))
    names = [classes[number] for number in order]
    split = {"train": names[:TRAIN_CLASSES], "query": names[TRAIN_CLASSES:]}
    return Split(**listed.parts(base / "images", rows, split, strict=strict), by="by class, the first 100 train")


def categories(root: str | Path) -> dict[str, tuple[str, ...]]:
    """The last word of each class's name: "001.Black_footed_Albatross" is an ("Albatross",).

    It approximates genus and family, which the data set does not have.

    Raises:
        ValueError: as `load`.
    """
    base = listed.base(root, FILES, LAYOUT, below=BELOW)
    return {name: (name.rpartition(".")[2].split("_")[-1],) for _, name in listed.table(base / "classes.txt", 2)}
