"""1,240 pictograms of furniture and everyday things in 28 classes, from 110 icon sets: designers' line drawings.

Each was chosen by its name; pictograms.csv has them. By eye a twentieth to a tenth show the wrong thing, and a fifth
are solid silhouettes. The vectors come with one npm package and are rendered once for each size.
"""

import csv
import hashlib
import json
import shutil
from pathlib import Path

import resvg_py

from apps.datasets import iconify
from apps.datasets.labelled_images import LabelledImages
from apps.io.labels import index_classes
from apps.io.packages import FetchError, cache_folder, make_once, npm_package

# npm package, version and SHA-256 of its tarball
PACKAGE = ("@iconify/json", "2.2.535", "1a545f86fa224d6531d8fb101dcbe83aac2b28689a21cbed6fc68318a5af4d91")
LIST = Path(__file__).with_name("pictograms.csv")


def load(size: int) -> LabelledImages:
    """All pictograms, black over white, padded to a square; sorted by class, then as in pictograms.csv.

    The first call fetches 104 MB by npm, of which 1 MB is kept.

    Args:
        size: height and width in pixels, 8 to 512.

    Raises:
        ValueError: another size.
        FetchError: the package cannot be fetched or holds something else, or the cache folder not be written to.
    """
    iconify.check_size(size)
    folder = make_once(_folder() / f"resvg_py-{resvg_py.__version__}-{size}", lambda made: _render(made, size))
    names = tuple(json.loads((folder / "names.json").read_bytes()))
    labels, classes = index_classes(name.partition("/")[0] for name in names)
    return LabelledImages(labels, classes, names, iconify.rendered_in(folder))


def vectors() -> list[iconify.Drawing]:
    """The drawings of pictograms.csv, named CLASS/SET/ICON; the licences of their sets lie beside them."""
    folder = make_once(_folder() / "vectors", _extract)
    return [iconify.Drawing(*drawing) for drawing in json.loads((folder / "drawings.json").read_bytes())]


def _folder() -> Path:
    pins = hashlib.sha256(json.dumps(PACKAGE).encode() + LIST.read_bytes()).hexdigest()[:8]
    return cache_folder() / "pictograms" / pins


def _extract(folder: Path) -> None:
    package = npm_package(*PACKAGE)
    with LIST.open(newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["class"])
    try:
        sets = {
            name: iconify.read_json(package / "json" / f"{name}.json") for name in sorted({row["set"] for row in rows})
        }
        infos = iconify.read_json(package / "collections.json")
        drawings = [
            iconify.drawing(f"{row['class']}/{row['set']}/{row['icon']}", icons["icons"][row["icon"]], icons)
            for row in rows
            for icons in [sets[row["set"]]]
        ]
        licences = iconify.licences({f"{name}, of {PACKAGE[0]} {PACKAGE[1]}": infos[name] for name in sets})
    except (KeyError, OSError, ValueError) as error:
        raise FetchError(f"{package} does not hold the pictograms ({error}): it is not what was pinned") from error
    (folder / "drawings.json").write_text(json.dumps(drawings, indent=0), encoding="utf-8")
    (folder / "LICENSES.txt").write_text(licences, encoding="utf-8")
    shutil.rmtree(package.parent)  # 465 MB of other icons


def _render(folder: Path, size: int) -> None:
    names, _ = iconify.write(folder, vectors(), size, title="pictograms")
    (folder / "names.json").write_text(json.dumps(names), encoding="utf-8")
