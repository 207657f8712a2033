"""Every data set that can be trained on, by name. To add one: a file beside this one, and a line in its table here.

The names that the command lines take, their help, and what is guessed of a folder come from these tables.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, cast

from apps.datasets import (
    cars,
    cifar10,
    cub,
    emoji,
    fashion_mnist,
    folder,
    furniture,
    furniture_views,
    inshop,
    mesh_folder,
    mnist,
    modelnet,
    shards,
    shrec,
    sketched_shapes,
    sop,
    split_list,
)
from apps.datasets.class_folders import subfolders
from apps.datasets.image_arrays import ImageSplit
from apps.datasets.labelled_images import LabelledImages
from apps.datasets.sketched_shapes import SketchedShapes
from apps.datasets.split import KEPT_OUT, Count, Split, by_classes, by_images, count, keep_out
from apps.datasets.taxonomies import edge_list, folders, newick, ontology, wordnet
from apps.datasets.taxonomies.taxonomy import Mending, Taxonomy
from apps.io.trusted import TRUST, import_trusted, is_trusted
from apps.shapes.labelled_shapes import Shapes
from apps.shapes.meshes import Up


class Benchmark(Protocol):
    """Images with a published split: its counts, the layout in words, whether a folder has it, and how to load it."""

    NAME: str
    LAYOUT: str
    PUBLISHED: dict[str, Count]

    def is_at(self, root: Path, /) -> bool: ...
    def load(self, root: str | Path, *, strict: bool = False) -> Split: ...


class Categorised(Protocol):
    """A benchmark whose files say what lies above its classes: in words, and for each class from the top down."""

    CATEGORIES: str

    def categories(self, root: str | Path, /) -> dict[str, tuple[str, ...]]: ...


class OwnImages(Protocol):
    """A data set of the user's: a class that is made without arguments."""

    def load(self, root: str | None, *, strict: bool) -> Split: ...


class Packaged(Protocol):
    """Images that are fetched and rendered at a size in pixels, and have no split of their own."""

    NAME: str

    def load(self, size: int, /) -> LabelledImages: ...


class Arrays(Protocol):
    """Small images in memory, from a folder or, without one, from a package."""

    NAME: str

    def load(self, root: str | Path | None) -> ImageSplit: ...


class ShapeLayout(Protocol):
    """Meshes in a folder of a known layout; `up`, `test` and `seed` are for what the layout does not say.

    `strict` makes a class without meshes an error.
    """

    def is_at(self, root: Path, /) -> bool: ...
    def load_folder(self, root: Path, *, up: Up, test: float, seed: int, strict: bool) -> Shapes: ...


BENCHMARKS: Mapping[str, Benchmark] = {
    name: cast(Benchmark, module) for name, module in {"cub": cub, "cars": cars, "inshop": inshop, "sop": sop}.items()
}
CATEGORISED: Mapping[str, Categorised] = {"cub": cub, "inshop": inshop, "sop": sop}
PACKAGED: Mapping[str, Packaged] = {"emoji": emoji, "furniture": furniture_views}  # the first is the default
ARRAYS: Mapping[str, Arrays] = {"mnist": mnist, "fashion_mnist": fashion_mnist, "cifar10": cifar10}
SHAPES: Mapping[str, ShapeLayout] = {"shrec": shrec, "modelnet": modelnet, "folder": mesh_folder}  # the first that fits
TAXONOMIES = {  # readers of a file, by its suffix
    **dict.fromkeys((".csv", ".tsv", ".parquet"), edge_list.load),
    **dict.fromkeys((".nwk", ".newick", ".tree"), newick.load),
    **dict.fromkeys((".obo", ".owl"), ontology.load),
}

FEW = 3  # folders beside a benchmark, where a folder above it was given

OWN = ("folder", "table", "shards")  # images of the user's own

if TYPE_CHECKING:
    ArrayName = str
else:
    ArrayName = Literal[tuple(ARRAYS)]


def describe(table: Mapping[str, Benchmark] | Mapping[str, Packaged] | Mapping[str, Arrays]) -> str:
    """The names of a table for a help text.

    >>> describe({"cub": BENCHMARKS["cub"], "sop": BENCHMARKS["sop"]})
    '"cub" (CUB-200-2011), "sop" (Stanford Online Products)'
    """
    return ", ".join(f'"{name}" ({one.NAME})' for name, one in table.items())


def check_image_name(name: str) -> None:
    """Refuse a name that is none of BENCHMARKS, OWN and PACKAGED, nor the path of a class of a trusted package.

    Raises:
        ValueError: names all.
    """
    known = (*BENCHMARKS, *OWN, *PACKAGED)
    if name not in known and not is_trusted(name):
        raise ValueError(
            f"--data.benchmark {name}; expected one of {', '.join(known)}, or PACKAGE.CLASS of a package in the "
            f"variable {TRUST}"
        )


def title_of(name: str) -> str:
    """What a data set of images is called in a report.

    >>> title_of("cub"), title_of("emoji"), title_of("table")
    ('CUB-200-2011', 'packaged emoji', 'a table of paths, labels and splits')
    """
    titles = {"folder": "a folder of class folders", "table": "a table of paths, labels and splits"}
    titles["shards"] = "tar or Parquet files of images"
    packaged = {name: f"packaged {name}" for name in PACKAGED}
    benchmarks = {name: benchmark.NAME for name, benchmark in BENCHMARKS.items()}
    return (titles | packaged | benchmarks).get(name, name)


def load_images(
    root: str | Path | None,
    name: str,
    *,
    by: Literal["classes", "images"] = "classes",
    validation: float | None = None,
    seed: int = 0,
    strict: bool = False,
    render: int = 128,
    nested: bool = False,
) -> Split:
    """Images in a split: of BENCHMARKS or a "table" their own; of "folder", "shards" or PACKAGED (no root) half trains.

    Of a class of the user's it is what its `load` gives, see `OwnImages`.

    Args:
        root: where it lies.
        name: which it is.
        by: whether a folder or a packaged set is divided by class or by image.
        validation: share of the training classes (by images: images) that is kept out. None is a tenth, or the
            validation images that the data name.
        seed: of the shuffle before a division.
        strict: a broken image is an error.
        render: side at which a packaged set is rendered, in pixels.
        nested: the class folders of a "folder" lie in category folders, see `folder.load`.

    Raises:
        ValueError: another layout, with the path that is missing; too few classes or images; broken images; a division
            or a share where the data have their own.
        FetchError: the packages cannot be fetched.
    """
    check_image_name(name)
    if by == "images" and name not in ("folder", "shards", *PACKAGED):
        raise ValueError(f"--data.split images with {title_of(name)}, which has its own; leave it out")
    if nested and name != "folder":
        raise ValueError(f"--data.hierarchy folders with {title_of(name)}; expected a folder of category folders")
    if is_trusted(name):
        split = _own(name).load(None if root is None else str(root), strict=strict)
        if not isinstance(split, Split):
            raise ValueError(f"{name}.load gives a {type(split).__name__}; expected an apps.datasets.split.Split")
        return _with_validation(split, validation, seed)
    if (root is None) != (name in PACKAGED):
        raise ValueError(
            f"--data.benchmark {name} is packaged: leave out --data.root"
            if root
            else f"--data.benchmark {name} needs --data.root, the folder or file that holds it"
        )
    if root is not None and name in BENCHMARKS:
        return _with_validation(BENCHMARKS[name].load(root, strict=strict), validation, seed)
    if root is not None and name == "table":
        return _with_validation(split_list.load(root, strict=strict), validation, seed)
    if root is None:
        images = PACKAGED[name].load(render)
    elif name == "shards":
        images = shards.load(root, strict=strict)
    else:
        images = folder.load(root, strict=strict, nested=nested)
    return (by_classes if by == "classes" else by_images)(images, KEPT_OUT if validation is None else validation, seed)


def _with_validation(split: Split, share: float | None, seed: int) -> Split:
    """The split with its own validation images, or with a share of the training classes for it."""
    if split.validation is None:
        return keep_out(split, KEPT_OUT if share is None else share, seed)
    if share is not None:
        raise ValueError(
            f"--data.validation {share:g} beside {count(split.validation)} that the data keep for validation; leave it "
            "out, or those in the data"
        )
    return split


def _own(path: str) -> OwnImages:
    kind = import_trusted(path, "--data.benchmark")
    if not (isinstance(kind, type) and callable(getattr(kind, "load", None))):
        raise ValueError(f"--data.benchmark {path} is no class with a method load(root, *, strict)")
    return cast(OwnImages, kind())


def guess_images(root: str | Path | None) -> str:
    """The benchmark whose files lie in a folder, else "folder"; "table" of a file; the first packaged set of None.

    Raises:
        ValueError: no such folder, or one above a benchmark.
    """
    if root is None:
        return next(iter(PACKAGED))
    root = Path(root).expanduser()
    if split_list.is_table(root):
        return "table"
    if shards.is_at(root):
        return "shards"
    if not root.is_dir():
        state = "is a file" if root.exists() else "does not exist"
        raise ValueError(
            f"{str(root)!r} {state}: give a folder of images, a .csv of paths, labels and splits, or .tar or .parquet "
            "files of images"
        )
    if found := _first_at(root, BENCHMARKS.items()):
        return found
    below = subfolders(root)
    for path in below if len(below) <= FEW else []:
        if (name := _first_at(path, BENCHMARKS.items())) is not None:
            raise ValueError(f"{str(root)!r} lies above {BENCHMARKS[name].NAME}; give {str(path)!r}")
    return "folder"


def load_arrays(name: str, root: str | Path | None) -> ImageSplit:
    """Small images of ARRAYS, from a folder or, without one, from a package; raises as their `load`."""
    return ARRAYS[name].load(root)


def load_shapes(
    root: str | None = None, up: Up = "y", test: float = 0.3, seed: int = 0, strict: bool = False
) -> Shapes:
    """The shapes below a folder, whose layout is recognised, or the packaged furniture.

    Args:
        root: Folder in one of three layouts: ModelNet (CLASS/train and CLASS/test), SHREC (one or two class lists,
            *.cla, beside the models; of two the one with "train" in its name is for training), or a folder of meshes a
            class.
            Without it: the packaged furniture, 541 models in 24 classes.
        up: The axis that points up in the files; ModelNet's is known.
        test: Share of the shapes for testing, stratified, where the layout does not say.
        seed: Seed of that split.
        strict: Make a class folder without meshes an error instead of leaving it out.

    Raises:
        ValueError: no such folder, another layout, or one class alone; names the path.
    """
    if root is None:
        return furniture.load(test=test, seed=seed)
    path = Path(root).expanduser()
    layout = SHAPES[(_first_at(path, SHAPES.items()) if path.is_dir() else None) or "folder"]
    shapes = layout.load_folder(path, up=up, test=test, seed=seed, strict=strict)
    if len(shapes.classes) < 2:
        (only,) = shapes.classes
        raise ValueError(
            f"{root!r} has one class, {only!r}; expected at least two. If the data lie in that folder, give "
            f"{str(path / only)!r}"
        )
    return shapes


def load_sketches(
    root: str | None, *, size: int, up: Up = "y", test: float = 0.25, seed: int = 0, strict: bool = False
) -> SketchedShapes:
    """Sketches and shapes of a SHREC contest's folder, which has a split; else the packaged pictograms and furniture.

    Args:
        size: side of the packaged drawings, in pixels.
        up, strict: of the contest's models, see `sketched_shapes.contest`.
        test, seed: of the packaged drawings' split.
    """
    if root is None:
        return sketched_shapes.packaged(size, test=test, seed=seed)
    return sketched_shapes.contest(root, up=up, strict=strict)


def _first_at(root: Path, layouts: Iterable[tuple[str, Benchmark | ShapeLayout]]) -> str | None:
    return next((name for name, layout in layouts if layout.is_at(root)), None)


def load_taxonomy(root: str | Path | None, part: wordnet.Part, mending: Mending) -> Taxonomy:
    """WordNet's `part` from its package (root = None) or folder, the tree of another folder, or a file.

    Raises:
        ValueError: there is nothing, or a file of a kind that is not read; and what the readers raise.
        FetchError: the package cannot be had.
    """
    if root is None:
        return wordnet.load(part, mending=mending)
    path = Path(root).expanduser()
    if path.is_dir():
        is_wordnet = (path / f"data.{part.removesuffix('s')}").is_file()
        return wordnet.load(part, path, mending=mending) if is_wordnet else folders.load(path, mending=mending)
    if not path.is_file():
        raise ValueError(f"--data.root {str(path)!r} does not exist; expected a folder, or a file of a taxonomy")
    if path.suffix.lower() not in TAXONOMIES:
        raise ValueError(f"--data.root {str(path)!r} is of no kind that is read; expected {', '.join(TAXONOMIES)}")
    return TAXONOMIES[path.suffix.lower()](path, mending=mending)
