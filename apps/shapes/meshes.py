"""Triangle meshes from files: read, checked, and scaled to the unit ball."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import unquote

import numpy as np
from jaxtyping import Float64, Int64

from apps.shapes import gltf, gltf_file, obj, off, ply, stl
from apps.shapes.enclosing_ball import enclosing_ball
from apps.shapes.limits import MOST_FACES

SUFFIXES = frozenset({".off", ".obj", ".stl", ".ply", ".glb", ".gltf"})
REVISION = 2  # of what is read from a file
MOST_BYTES = 2**29  # of a file and its buffers
LONGEST_NAME = 255
MOST_BUFFERS = 1000
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


class Mesh(NamedTuple):
    """Triangles; y is up.

    Args:
        vertices: (V, 3) float64.
        faces: (F, 3) int64, rows of `vertices`, wound in any direction.
    """

    vertices: Float64[np.ndarray, "V 3"]
    faces: Int64[np.ndarray, "F 3"]

    def turned(self, rotation: Float64[np.ndarray, "3 3"]) -> "Mesh":
        return Mesh(self.vertices @ rotation.T, self.faces)


@dataclass(frozen=True)
class MeshFile:
    """A mesh in a file of its own; `up` names the axis that points up in it."""

    path: Path
    up: Up = "y"

    def __str__(self) -> str:
        return str(self.path)

    def read(self) -> Mesh:
        """Raises MeshError."""
        mesh = read(self.path)
        return mesh if self.up == "y" else mesh.turned(UPRIGHT)

    def key(self) -> str:
        """A hash of the content, in hexadecimal. Raises MeshError."""
        digest = hashlib.sha256(f"{self.path.suffix.lower()} {self.up}".encode())
        for part in _contents(self.path).values():
            digest.update(hashlib.sha256(part).digest())
        return digest.hexdigest()


def read(path: str | Path) -> Mesh:
    """The mesh of an OFF, OBJ, STL, PLY or glTF file, without colours; a glTF scene is put together.

    Vertices that no triangle names and triangles without area are left out. Other files are opened only for a .gltf:
    its buffers, which must lie in its folder or deeper.

    Raises:
        MeshError: no such file, broken, too large, numbers that are not finite, or no surface; names the path.
    """
    path = Path(path)
    contents = _contents(path)
    try:
        return decode(contents.pop(path.name), path.suffix, contents)
    except ValueError as error:
        raise MeshError(str(path), str(error)) from error


def decode(data: bytes, suffix: str, buffers: dict[str, bytes] | None = None) -> Mesh:
    """The mesh in the content of a file; `suffix` says the format, such as ".obj".

    Args:
        buffers: the files that a .gltf names.

    Raises:
        ValueError: as in `read`; a sentence without its subject, such as "has no surface".

    >>> decode(b"v 0 0 0\\nv 1 0 0\\nv 0 1 0\\nv 9 9 9\\nf 1 2 3\\n", ".obj").vertices.tolist()
    [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    """
    if suffix.lower() not in SUFFIXES:
        raise ValueError(f"has the suffix {suffix!r}; expected one of {', '.join(sorted(SUFFIXES))}")
    try:
        vertices, faces = _parsed(data, suffix.lower(), buffers or {})
    # Broken bytes lead readers to whatever error.
    except Exception as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ValueError(f"cannot be read: {reason}") from error
    return _surface(vertices, faces)


def unit(mesh: Mesh) -> Mesh:
    """The mesh moved and scaled so that the smallest ball around it is the unit ball at the origin.

    >>> unit(Mesh(np.array([[2.0, 0, 0], [6, 0, 0], [5, 1, 0]]), np.array([[0, 1, 2]]))).vertices.tolist()
    [[-1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.5, 0.5, 0.0]]
    """
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    # First by the box, so that no square over- or underflows.
    vertices = (mesh.vertices - (low + high) / 2) / (high - low).max()
    centre, radius = enclosing_ball(vertices)
    return Mesh((vertices - centre) / radius, mesh.faces)


def _surface(vertices: np.ndarray, faces: np.ndarray) -> Mesh:
    """The triangles that have an area, and their vertices."""
    used, faces = np.unique(faces, return_inverse=True)
    if len(used) and not 0 <= used[0] <= used[-1] < len(vertices):
        raise ValueError(f"has triangles with vertex {used[0] if used[0] < 0 else used[-1]} of {len(vertices)}")
    vertices, faces = np.asarray(vertices, np.float64)[used], faces.reshape(-1, 3).astype(np.int64)
    if not np.isfinite(vertices).all():
        raise ValueError("has a vertex that is not finite")
    if np.abs(vertices).max(initial=0) > FARTHEST:
        raise ValueError(f"has a vertex farther out than {FARTHEST:g}")
    extent = np.ptp(vertices, axis=0).max() if len(vertices) else 0.0
    if extent < np.finfo(np.float64).tiny:
        raise ValueError("has no surface")
    a, b, c = ((vertices - vertices[0]) / extent)[faces].transpose(1, 0, 2)
    has_area = np.linalg.norm(np.cross(b - a, c - a), axis=1) > LEAST_AREA
    if has_area.all():
        return Mesh(vertices, faces)
    return _surface(vertices, faces[has_area])


def _parsed(data: bytes, suffix: str, buffers: dict[str, bytes]) -> tuple[np.ndarray, np.ndarray]:
    match suffix:
        case ".off":
            return off.parse(data, MOST_FACES)
        case ".obj":
            return obj.parse(data, MOST_FACES)
        case ".ply":
            return ply.parse(data, MOST_FACES)
        case ".stl":
            return stl.parse(data, MOST_FACES)
    return gltf.parse(data, suffix, buffers, MOST_FACES)


def _contents(path: Path) -> dict[str, bytes]:
    """The bytes of a mesh file, then of the buffers that it names, by name."""
    try:
        contents = {path.name: _bytes(path, MOST_BYTES)}
        if path.suffix.lower() == ".gltf":
            names = dict.fromkeys(gltf_file.buffer_files(gltf_file.described(contents[path.name], ".gltf")))
            if len(names) > MOST_BUFFERS:
                raise ValueError(f"names {len(names):,} buffers: {MOST_BUFFERS:,} is the most that is read")
            for name in names:
                if "\0" in name or any(len(part) > LONGEST_NAME for part in name.split("/")):
                    raise ValueError(f"names a buffer that no file can be, {name[:80]!r}")
                buffer = path.parent / unquote(name)
                if not buffer.resolve().is_relative_to(path.parent.resolve()):
                    raise ValueError(f"names a buffer outside of its folder, {name!r}")
                try:
                    contents[name] = _bytes(buffer, MOST_BYTES - sum(map(len, contents.values())))
                except ValueError as error:
                    raise ValueError(f"names the buffer {name!r}, which {error}") from error
    except (ValueError, OSError, RecursionError, MemoryError) as error:
        raise MeshError(str(path), str(error) or type(error).__name__) from error
    return contents


def _bytes(path: Path, most: int) -> bytes:
    if not path.is_file():
        raise ValueError("is no file" if path.exists() else "does not exist")
    if path.stat().st_size > most:
        raise ValueError(f"has {path.stat().st_size:,} bytes: {most:,} is the most that is read")
    return path.read_bytes()
