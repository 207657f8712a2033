"""All that can be trained on, by name: the published benchmarks, folders of your own, the packaged data sets."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol, cast

from apps.datasets import cars, cub, emoji, folder, furniture_views, inshop, sop
from apps.datasets.labelled_images import LabelledImages
from apps.datasets.split import Count, Split, by_classes, by_images, keep_out


class Benchmark(Protocol):
    """What each module of a benchmark has: its name, its layout in words, its published counts and how to load it."""

    NAME: str
    LAYOUT: str
    PUBLISHED: dict[str, Count]

    def load(self, root: str | Path, *, strict: bool = False) -> Split: ...


BENCHMARKS = {
    name: cast(Benchmark, module) for name, module in (("cub", cub), ("cars", cars), ("inshop", inshop), ("sop", sop))
}
PACKAGED: dict[str, Callable[[int], LabelledImages]] = {
    "emoji": emoji.load,
    "furniture": furniture_views.load,
}  # by side


def load(
    root: str | Path | None,
    name: str,
    *,
    by: Literal["classes", "images"] = "classes",
    validation: float = 0.0,
    seed: int = 0,
    strict: bool = False,
    render: int = 128,
) -> Split:
    """A benchmark of BENCHMARKS in its own split; or a "folder" or a set of PACKAGED (no root), half of it to train.

    Args:
        root: where it lies.
        name: which it is.
        by: whether a folder or a packaged set is divided by class or by image.
        validation: share of the training classes (by images: images) that is kept out.
        seed: of the shuffle before a division.
        strict: a broken image is an error.
        render: side at which a packaged set is rendered, in pixels.

    Raises:
        ValueError: another layout, with the path that is missing; too few classes or images; broken images.
        FetchError: the packages cannot be fetched.
    """
    if (root is None) != (name in PACKAGED):
        raise ValueError(
            f"--data.benchmark {name} is packaged: leave out --data.root"
            if root
            else f"--data.benchmark {name} needs --data.root, the folder that holds it"
        )
    if root is not None and name in BENCHMARKS:
        return keep_out(BENCHMARKS[name].load(root, strict=strict), validation, seed)
    images = PACKAGED[name](render) if root is None else folder.load(root, strict=strict)
    return (by_classes if by == "classes" else by_images)(images, validation, seed)


def guess(root: str | Path) -> str:
    """The benchmark whose files lie in a folder, else "folder".

    Cars196 as class folders is told by their number, 196.

    Raises:
        ValueError: no such folder.
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        raise ValueError(f"{str(root)!r} {'is a file' if root.exists() else 'does not exist'}: give a folder of images")
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
