"""Images of triangle meshes, by casting rays (open3d's RaycastingScene, Embree): no display, no GPU, no GL.

The camera is orthographic and the frame is the square around the unit ball, so that a shape scaled to the unit ball
fits from wherever it is seen. The light moves with the camera: a shape that is turned by one step of the ring gives the
same views, one place on.
"""

import hashlib
import json
import math
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, UInt8

from apps.shapes import meshes
from apps.shapes.meshes import Mesh, unit

Direction = tuple[float, float, float]
Shading = Literal["lambert", "phong", "depth", "normals"]

REVISION = 1  # of what the images look like
LIGHT = np.array([-0.4, 0.6, 0.8]) / math.hypot(0.4, 0.6, 0.8)  # right, up, towards the camera
HALFWAY = (LIGHT + np.array([0, 0, 1])) / math.sqrt(2 + 2 * LIGHT[2])
AMBIENT, DIFFUSE, SPECULAR, SHININESS = 0.2, 0.6, 0.2, 20
BACKGROUND = 255
LEAST_SIZE, GREATEST_SIZE, MOST_SAMPLES, MOST_VIEWS = 8, 1024, 4, 100


def ring(count: int = 12, elevation: float = 30.0) -> tuple[Direction, ...]:
    """Directions to cameras on a ring around the y axis, from z over x; elevation in degrees.

    >>> [[round(x, 9) + 0.0 for x in direction] for direction in ring(4, elevation=0)]
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [-1.0, 0.0, 0.0]]
    """
    height, radius = math.sin(math.radians(elevation)), math.cos(math.radians(elevation))
    angles = [2 * math.pi * k / count for k in range(count)]
    return tuple((radius * math.sin(a), height, radius * math.cos(a)) for a in angles)


def dodecahedron() -> tuple[Direction, ...]:
    """Directions to cameras at the 20 corners of a regular dodecahedron.

    >>> len(dodecahedron()), round(min(math.dist(dodecahedron()[0], corner) for corner in dodecahedron()[1:]), 6)
    (20, 0.713644)
    """
    golden = (1 + math.sqrt(5)) / 2
    signs = (-1.0, 1.0)
    cube = [(x, y, z) for x in signs for y in signs for z in signs]
    pairs = [(a / golden, b * golden) for a in signs for b in signs]
    rectangles = [corner for a, b in pairs for corner in ((0.0, a, b), (a, b, 0.0), (b, 0.0, a))]
    return tuple((x / math.sqrt(3), y / math.sqrt(3), z / math.sqrt(3)) for x, y, z in cube + rectangles)


@dataclass(frozen=True)
class Look:
    """From where and how shapes are imaged.

    Args:
        directions: from the centre to each camera; y is up in the images.
        size: height and width in pixels, 8 to 1024.
        shading: "lambert" and "phong" are grey over white, with faces lit from both sides; "depth" is 255 where the
            unit ball is nearest, 1 where it is farthest, and 0 beyond; "normals" are three channels over 0:
            255 · (n + 1) / 2 of the normal that faces the camera (right, up, towards the camera).
        samples: 1 to 4; a pixel is the mean over samples² rays.

    Raises:
        ValueError: something else.

    >>> Look().views, Look().shape
    (12, (12, 1, 128, 128))
    """

    directions: tuple[Direction, ...] = ring()
    size: int = 128
    shading: Shading = "lambert"
    samples: int = 2

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("the number of directions", len(self.directions), 1, MOST_VIEWS),
            ("size", self.size, LEAST_SIZE, GREATEST_SIZE),
            ("samples", self.samples, 1, MOST_SAMPLES),
        ):
            if not low <= value <= high:
                raise ValueError(f"{name} is {value}; expected {low} to {high}")
        if self.shading not in ("lambert", "phong", "depth", "normals"):
            raise ValueError(f"shading is {self.shading!r}; expected lambert, phong, depth or normals")
        for x, y, z in self.directions:
            if not math.isfinite(x + y + z) or math.hypot(x, z) < 1e-6 * math.hypot(x, y, z) or not any((x, y, z)):
                raise ValueError(f"direction ({x:g}, {y:g}, {z:g}); expected one that is not straight up or down")

    @property
    def views(self) -> int:
        return len(self.directions)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of the images of one mesh: views, channels, height, width."""
        return self.views, 3 if self.shading == "normals" else 1, self.size, self.size

    def described(self) -> dict[str, Any]:
        """All that the images of a mesh depend on but the mesh."""
        return {
            **asdict(self),
            "revision": REVISION,
            "reader": meshes.REVISION,
            "open3d": _version_of_open3d(),
            "trimesh": version("trimesh"),
        }

    def key(self) -> str:
        """A short hash of `described`."""
        return hashlib.sha256(json.dumps(self.described()).encode()).hexdigest()[:12]


def render(mesh: Mesh, look: Look, *, threads: int = 1) -> UInt8[np.ndarray, "V C S S"]:
    """The images of a mesh, scaled to the unit ball; the same on every run.

    The way in which triangles are wound does not matter: they are seen, and lit, from both sides.

    Args:
        threads: for casting rays; 0 takes all cores.

    Raises:
        ValueError: no ray meets it: its surface is too small or too thin to be seen; a sentence without its subject.
        ImportError: open3d, or a system library that it needs, is missing; says how to get it.

    >>> corner = Mesh(np.eye(3), np.array([[0, 1, 2]]))
    >>> render(corner, Look(ring(3, elevation=0), size=8)).shape
    (3, 1, 8, 8)
    """
    o3d = _open3d()
    vertices, faces = unit(mesh)
    scene = o3d.t.geometry.RaycastingScene(nthreads=threads)
    # In one order of corners, whatever the winding was, rounding is the same.
    corners = np.sort(faces, axis=1).astype(np.uint32)
    scene.add_triangles(o3d.core.Tensor(vertices.astype(np.float32)), o3d.core.Tensor(corners))
    images = np.empty(look.shape, np.uint8)
    seen = False
    for image, direction in zip(images, look.directions, strict=True):
        camera = _camera(direction)
        hits = scene.cast_rays(o3d.core.Tensor(_rays(camera, look.size * look.samples)), nthreads=threads)
        seen = seen or bool(np.isfinite(hits["t_hit"].numpy()).any())
        values = _shade(hits["t_hit"].numpy(), hits["primitive_normals"].numpy() @ camera.T, look.shading)
        fine = values.reshape(-1, look.size, look.samples, look.size, look.samples)
        image[:] = np.rint(fine.mean(axis=(2, 4)))
    if not seen:
        raise ValueError(
            f"cannot be seen in any of {look.views} views of {look.size} pixels: its surface is too thin, or too small "
            "for the distance between its parts"
        )
    return images


def _camera(direction: Direction) -> Float[np.ndarray, "3 3"]:
    """The camera's axes as rows: right, up, towards the camera."""
    towards = np.array(direction) / np.linalg.norm(direction)
    right = np.cross([0, 1, 0], towards)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(towards, right), towards]).astype(np.float32)


def _rays(camera: Float[np.ndarray, "3 3"], size: int) -> Float[np.ndarray, "S S 6"]:
    """Parallel rays through the pixels' centres, from a plane at distance 2 from the centre; first row on top."""
    ticks = ((2 * np.arange(size) + 1) / size - 1).astype(np.float32)
    right, up, towards = camera
    origins = ticks[None, :, None] * right - ticks[:, None, None] * up + 2 * towards
    return np.concatenate([origins, np.broadcast_to(-towards, origins.shape)], axis=-1)


def _shade(distance: Float[np.ndarray, "S S"], normal: Float[np.ndarray, "S S 3"], shading: Shading) -> np.ndarray:
    """Values 0 to 255, (C, S, S), of what the rays met; `normal` in the camera's axes, on either side."""
    hit = np.isfinite(distance)
    if shading == "depth":
        depth = np.clip((distance - 1) / 2, 0, 1, where=hit, out=np.zeros_like(distance))
        return np.where(hit, 255 - 254 * depth, 0)[None]
    normal = np.where(normal[..., 2:] < 0, -normal, normal)
    if shading == "normals":
        return np.where(hit, 127.5 * (normal + 1).transpose(2, 0, 1), 0)
    light = AMBIENT + DIFFUSE * (normal @ LIGHT).clip(0)
    if shading == "phong":
        light = light + SPECULAR * (normal @ HALFWAY).clip(0) ** SHININESS
    return np.where(hit, 255 * light, BACKGROUND)[None]


def _open3d() -> Any:
    try:
        import open3d
    except ImportError as error:
        raise ImportError(
            f"shapes are rendered by open3d, which cannot be imported ({error}): pip install open3d-cpu (Linux x86-64) "
            "or open3d; on Debian it needs apt-get install libusb-1.0-0 libgl1 libgomp1"
        ) from error
    return open3d


def _version_of_open3d() -> str:
    """Without importing it, which takes most of a second."""
    for name in ("open3d-cpu", "open3d"):
        with suppress(PackageNotFoundError):
            return version(name)
    return str(_open3d().__version__)
