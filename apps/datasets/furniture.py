"""541 models of furniture and household things in 24 classes, from the catalogues of Sweet Home 3D.

They come with two Debian packages, which are fetched and unpacked but not installed. The classes were assigned from the
authors' names for the models; furniture.csv has them, by library and place in its catalogue.
"""

import csv
import re
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

import numpy as np

from apps.io.labels import index_classes
from apps.io.packages import FetchError, debian_package
from apps.shapes.beside import Archive
from apps.shapes.labelled_shapes import Shapes, mark_test
from apps.shapes.meshes import Mesh, MeshError, decode

# Debian package: version and SHA-256 of the .deb file.
PACKAGES = {
    "sweethome3d-furniture": ("1.8-1", "3ccb90c63f9525e887a767b9cd5c8b6933b8b6b2973a615a5359ee68a2118668"),
    "sweethome3d": ("7.0.2+dfsg-3", "54bce4394ae763da1ffccff8f025565ce7161dc6934371e07480034ef155c411"),
}
BASE = "base"  # the library that comes with the program itself
LIST = Path(__file__).with_name("furniture.csv")


@dataclass(frozen=True)
class Model:
    """A model in a library; `pin` is the SHA-256 of the package, and so stands for its content."""

    library: Path
    member: str
    rotation: str
    pin: str

    def __str__(self) -> str:
        return f"{self.library}/{self.member}"

    def read(self, *, painted: bool = False) -> Mesh:
        """Raises MeshError."""
        member = PurePosixPath(self.member)
        try:
            with zipfile.ZipFile(self.library) as archive:
                beside = Archive(archive, str(member.parent))
                mesh = decode(beside.read(member.name), member.suffix, beside, painted=painted)
        except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
            raise MeshError(str(self), str(error)) from error
        return mesh.turned(np.array(self.rotation.split(), float).reshape(3, 3)) if self.rotation else mesh

    def key(self, *, painted: bool = False) -> str:
        return f"{self.pin} {self.member} {self.rotation}".rstrip()


def load(*, test: float = 0.3, seed: int = 0) -> Shapes:
    """The furniture, in the order of furniture.csv: by class, library and index; y is up, the front is towards z.

    The first call fetches 137 MB by apt-get; no mesh is opened yet.

    Args:
        test: the share of shapes for testing, stratified; 0.3 are 163 shapes.
        seed: of the split.

    Raises:
        FetchError: the packages cannot be fetched, or hold something else.
    """
    folders = {name: debian_package(name, *pin) for name, pin in PACKAGES.items()}
    with LIST.open(newline="") as file:
        rows = list(csv.DictReader(file))
    sources = tuple(_model(folders, row["library"], row["index"]) for row in rows)
    labels, classes = index_classes(row["class"] for row in rows)
    return Shapes(
        "furniture",
        labels,
        classes,
        tuple(f"{row['class']}/{row['library']}-{row['index']}" for row in rows),
        mark_test(labels, test=test, seed=seed),
        sources,
    )


def catalogue(text: str) -> dict[str, str]:
    """The properties of a catalogue, such as {"model#3": "/scopia/bed/bed.obj", "modelRotation#3": "1 0 0 0 1 ..."}.

    >>> catalogue("# a comment\\nname#1=Stool\\nmodel#1 = /a/stool.obj\\n")
    {'name#1': 'Stool', 'model#1': '/a/stool.obj'}
    """
    return dict(re.findall(r"^([A-Za-z]+#[0-9]+)[ \t]*=[ \t]*(.*?)\r?$", text, re.MULTILINE))


def _model(folders: dict[str, Path], library: str, index: str) -> Model:
    package = "sweethome3d" if library == BASE else "sweethome3d-furniture"
    place = folders[package] / "usr/share/sweethome3d"
    path = place / "sweethome3d.jar" if library == BASE else place / "furniture" / f"{library}.sh3f"
    properties = _catalogue(path)
    if f"model#{index}" not in properties:
        raise FetchError(f"{path} has no model {index}: it is not the package that was pinned")
    member = properties[f"model#{index}"].lstrip("/")
    return Model(path, member, properties.get(f"modelRotation#{index}", ""), PACKAGES[package][1])


@cache
def _catalogue(library: Path) -> dict[str, str]:
    name = (
        "com/eteks/sweethome3d/io/DefaultFurnitureCatalog.properties"
        if library.suffix == ".jar"
        else "PluginFurnitureCatalog.properties"
    )
    try:
        with zipfile.ZipFile(library) as archive:
            return catalogue(archive.read(name).decode("latin-1"))
    except (KeyError, OSError, zipfile.BadZipFile) as error:
        raise FetchError(f"{library} cannot be read: {error}") from error
