"""Triangle meshes from files: read, checked, and scaled to the unit ball."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from apps.shapes import gltf, gltf_file, gltf_paint, mtl, obj, obj_paint, off, ply, ply_paint, stl
from apps.shapes.beside import Beside, Folder, Nothing
from apps.shapes.enclosing_ball import enclosing_ball
from apps.shapes.limits import MOST_FACES
from apps.shapes.mesh import Mesh
from apps.shapes.paint import white
from apps.shapes.textures import read_near

SUFFIXES = frozenset({".off", ".obj", ".stl", ".ply", ".glb", ".gltf"})
REVISION = 2  # of what is read from a file
KILLED = "took more memory than there is: the process that read it was killed"
FARTHEST = 1e100
LEAST_AREA = 1e-30  # of a triangle, in squares of the extent of its mesh
UPRIGHT = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # turns the z axis up: z becomes y

Up = Literal["y", "z"]


class MeshError(ValueError):
    """A mesh that cannot be used, by path and reason."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"{self.path!r} {self.reason}"


@dataclass(frozen=True)
class MeshFile:
    """A mesh in a file of its own; `up` names the axis that points up in it."""

    path: Path
    up: Up = "y"

    def __str__(self) -> str:
        return str(self.path)

    def read(self, *, painted: bool = False) -> Mesh:
        """Raises MeshError."""
        mesh = read(self.path, painted=painted)
        return mesh if self.up == "y" else mesh.turned(UPRIGHT)

    def key(self, *, painted: bool = False) -> str:
        """A hash of the content, in hexadecimal; when `painted` also of its materials. Raises MeshError."""
        digest = hashlib.sha256(f"{self.path.suffix.lower()} {self.up}".encode())
        with _opened(self.path) as folder:
            for part in (folder.mesh, *_parts(folder.mesh, self.path.suffix, folder, painted)):
                digest.update(hashlib.sha256(part).digest())
        return digest.hexdigest()


@contextmanager
def _opened(path: Path) -> Iterator[Folder]:
    """A mesh file and its folder; errors become those of this mesh."""
    try:
        yield Folder(path)
    except (ValueError, OSError, RecursionError, MemoryError) as error:
        raise MeshError(str(path), str(error) or type(error).__name__) from error


def read(path: str | Path, *, painted: bool = False) -> Mesh:
    """The mesh of an OFF, OBJ, STL, PLY or glTF file; a glTF scene is put together.

    Vertices that no triangle names and triangles without area are left out. Other files are opened only where the file
    names them, and must lie in its folder or deeper: the buffers of a .gltf, and materials and textures when `painted`.

    Args:
        painted: read the colours too. A texture that cannot be read is named in `Mesh.paint.missing`.

    Raises:
        MeshError: no such file, broken, too large, numbers that are not finite, or no surface; names the path.
    """
    path = Path(path)
    with _opened(path) as folder:
        return decode(folder.mesh, path.suffix, folder, painted=painted)


def decode(data: bytes, suffix: str, beside: Beside | None = None, *, painted: bool = False) -> Mesh:
    """The mesh in the content of a file; `suffix` says the format, such as ".obj".

    Args:
        beside: where the files are that it names; without it there are none.
        painted: read the colours too, as in `read`.

    Raises:
        ValueError: as in `read`; a sentence without its subject, such as "has no surface".

    >>> decode(b"v 0 0 0\\nv 1 0 0\\nv 0 1 0\\nv 9 9 9\\nf 1 2 3\\n", ".obj").vertices.tolist()
    [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    """
    if suffix.lower() not in SUFFIXES:
        raise ValueError(f"has the suffix {suffix!r}; expected one of {', '.join(sorted(SUFFIXES))}")
    try:
        mesh = _parsed(data, suffix.lower(), beside or Nothing(), painted)
    # Broken bytes lead readers to whatever error.
    except Exception as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ValueError(f"cannot be read: {reason}") from error
    return _surface(mesh if mesh.paint or not painted else mesh._replace(paint=white(len(mesh.faces))))


def unit(mesh: Mesh) -> Mesh:
    """The mesh moved and scaled so that the smallest ball around it is the unit ball at the origin.

    >>> unit(Mesh(np.array([[2.0, 0, 0], [6, 0, 0], [5, 1, 0]]), np.array([[0, 1, 2]]))).vertices.tolist()
    [[-1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.5, 0.5, 0.0]]
    """
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    # First by the box, so that no square over- or underflows.
    vertices = (mesh.vertices - (low + high) / 2) / (high - low).max()
    centre, radius = enclosing_ball(vertices)
    return mesh._replace(vertices=(vertices - centre) / radius)


def _surface(mesh: Mesh) -> Mesh:
    """The triangles that have an area, and their vertices."""
    used, faces = np.unique(mesh.faces, return_inverse=True)
    if len(used) and not 0 <= used[0] <= used[-1] < len(mesh.vertices):
        raise ValueError(f"has triangles with vertex {used[0] if used[0] < 0 else used[-1]} of {len(mesh.vertices)}")
    vertices, faces = np.asarray(mesh.vertices, np.float64)[used], faces.reshape(-1, 3).astype(np.int64)
    if not np.isfinite(vertices).all():
        raise ValueError("has a vertex that is not finite")
    if np.abs(vertices).max(initial=0) > FARTHEST:
        raise ValueError(f"has a vertex farther out than {FARTHEST:g}")
    extent = np.ptp(vertices, axis=0).max() if len(vertices) else 0.0
    if extent < np.finfo(np.float64).tiny:
        raise ValueError("has no surface")
    a, b, c = ((vertices - vertices[0]) / extent)[faces].transpose(1, 0, 2)
    has_area = np.linalg.norm(np.cross(b - a, c - a), axis=1) > LEAST_AREA
    found = Mesh(vertices, faces, mesh.paint)
    return found if has_area.all() else _surface(found.of_faces(has_area))


def _parsed(data: bytes, suffix: str, beside: Beside, painted: bool) -> Mesh:
    of_paint = beside if painted else None
    match suffix:
        case ".off":
            return off.parse(data, MOST_FACES)
        case ".obj":
            return obj.parse(data, MOST_FACES, of_paint)
        case ".ply":
            return ply.parse(data, MOST_FACES, of_paint)
        case ".stl":
            return stl.parse(data, MOST_FACES)
        case _:
            return gltf.parse(data, suffix, beside, MOST_FACES, painted=painted)


def _parts(data: bytes, suffix: str, beside: Beside, painted: bool) -> Iterator[bytes]:
    """The content of each file that a mesh is read from beside its own; textures and materials where there are any."""
    suffix, images = suffix.lower(), list[str]()
    if suffix == ".gltf" or (suffix == ".glb" and painted):
        described = gltf_file.described(data, suffix)
        for name in gltf_file.buffer_files(described):
            yield gltf_file.read_buffer(beside, name)
        images = gltf_paint.image_files(described)
    if not painted:
        return
    if suffix == ".ply":
        images = ply_paint.texture_files(data)
    for name in obj.libraries(data) if suffix == ".obj" else ():
        for content in obj_paint.library(beside, name)[0]:
            yield content
            images += mtl.files(content)
    for name in dict.fromkeys(images):
        with suppress(ValueError):
            yield read_near(beside, name)
