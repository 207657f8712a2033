"""Images of triangle meshes, by casting rays (open3d's RaycastingScene, Embree): no display, no GPU, no GL.

The frame of an orthographic camera is the square around the unit ball, so that a shape scaled to the unit ball fits
from wherever it is seen. The light moves with the camera: a shape that is turned by one step of the ring gives the same
views, one place on.
"""

import hashlib
import json
import math
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, UInt8

from apps.shapes import meshes
from apps.shapes.cameras import DISTANCE, ORTHOGRAPHIC, PLANE, Direction, axes, rays, ring
from apps.shapes.colouring import Colouring
from apps.shapes.meshes import Mesh, unit
from apps.shapes.paint import white
from apps.shapes.pose import principal

Shading = Literal["lambert", "phong", "albedo", "normals", "depth"]
Pose = Literal["given", "principal"]

REVISION = 1  # of what the images look like
LIGHT = np.array([-0.4, 0.6, 0.8]) / math.hypot(0.4, 0.6, 0.8)  # right, up, towards the camera
AMBIENT, DIFFUSE, SPECULAR, SHININESS = 0.2, 0.6, 0.2, 20
BACKGROUND: dict[Shading, int] = {"lambert": 255, "phong": 255, "albedo": 255, "normals": 0, "depth": 0}
LEAST_SIZE, GREATEST_SIZE, MOST_SAMPLES, MOST_VIEWS = 8, 1024, 4, 100
MOST_LAYERS = 8  # of transparent surfaces behind one another; what lies behind these is not seen
BEHIND = 1e-4  # of the unit ball's radius: where a ray goes on that came through a transparent surface


@dataclass(frozen=True)
class Look:
    """From where and how shapes are imaged.

    Args:
        directions: from the centre to each camera; y is up in the images.
        size: height and width in pixels, 8 to 1024.
        shading: one, or several, of which each has its images from all cameras, one shading after another. "lambert"
            and "phong" are lit, over white, with faces lit from both sides; "albedo" is the surface's colour without
            light, over white; "normals" are three channels over 0: 255 · (n + 1) / 2 of the normal that faces the
            camera (right, up, towards the camera); "depth" is 255 where the unit ball is nearest, 1 where it is
            farthest, and 0 beyond.
        samples: 1 to 4; a pixel is the mean over samples² rays.
        colours: "lambert" and "phong" have the three channels of the surface's colours, where they are grey without.
        lens: field of view in degrees; 0 is orthographic.
        distance: of the cameras from the centre of the unit ball, where they have a lens.
        pose: "given", or turned to the "principal" axes of the surface, where nobody knows which way is up.

    With `colours` or "albedo" alpha is coverage, in all shadings: the share of what is seen that is the surface's. The
    rest is what lies behind it.

    Raises:
        ValueError: something else.

    >>> Look().views, Look().shape, Look(shading=("phong", "depth"), colours=True).shape
    (12, (12, 1, 128, 128), (24, 3, 128, 128))
    """

    directions: tuple[Direction, ...] = ring()
    size: int = 128
    shading: Shading | tuple[Shading, ...] = "lambert"
    samples: int = 2
    colours: bool = False
    lens: float = ORTHOGRAPHIC
    distance: float = DISTANCE
    pose: Pose = "given"

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("the number of directions", len(self.directions), 1, MOST_VIEWS),
            ("size", self.size, LEAST_SIZE, GREATEST_SIZE),
            ("samples", self.samples, 1, MOST_SAMPLES),
        ):
            if not low <= value <= high:
                raise ValueError(f"{name} is {value}; expected {low} to {high}")
        if not self.shadings or len(set(self.shadings)) != len(self.shadings) or set(self.shadings) - set(BACKGROUND):
            raise ValueError(f"shading is {self.shading!r}; expected one or several of {', '.join(BACKGROUND)}")
        for x, y, z in self.directions:
            if not math.isfinite(x + y + z) or math.hypot(x, z) < 1e-6 * math.hypot(x, y, z) or not any((x, y, z)):
                raise ValueError(f"direction ({x:g}, {y:g}, {z:g}); expected one that is not straight up or down")
        if self.lens and not 1 <= self.lens <= 150:
            raise ValueError(f"lens is {self.lens:g} degrees; expected 1 to 150, or 0 for an orthographic camera")
        if not 1 < self.distance < 1000:
            raise ValueError(f"distance is {self.distance:g}; expected 1 to 1000, outside of the unit ball")
        if self.pose not in ("given", "principal"):
            raise ValueError(f"pose is {self.pose!r}; expected given or principal")

    @property
    def views(self) -> int:
        """Images of a mesh: one from each camera in each shading."""
        return len(self.directions) * len(self.shadings)

    @property
    def shadings(self) -> tuple[Shading, ...]:
        return (self.shading,) if isinstance(self.shading, str) else tuple(self.shading)

    @property
    def painted(self) -> bool:
        """Whether the colours of a mesh matter."""
        return self.colours or "albedo" in self.shadings

    @property
    def channels(self) -> int:
        """Of each image: 3 where any is in colours, else 1."""
        lit = self.colours and ("lambert" in self.shadings or "phong" in self.shadings)
        return 3 if lit or "albedo" in self.shadings or "normals" in self.shadings else 1

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of the images of one mesh: views, channels, height, width."""
        return self.views, self.channels, self.size, self.size

    def described(self) -> dict[str, Any]:
        """All that the images of a mesh depend on but the mesh."""
        later = ("colours", "lens", "distance", "pose")  # told where used: images of earlier versions are still found
        default = {field.name: field.default for field in fields(self) if field.name in later}
        return {
            **{name: value for name, value in asdict(self).items() if default.get(name, ...) != value},
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
    scene = _Scene(unit(principal(mesh) if look.pose == "principal" else mesh), look, threads)
    images = np.empty(look.shape, np.uint8).reshape(len(look.shadings), len(look.directions), *look.shape[1:])
    seen = False
    for k, direction in enumerate(look.directions):
        values, hit = scene.view(axes(direction))
        seen = seen or hit
        fine = values.reshape(*values.shape[:2], look.size, look.samples, look.size, look.samples)
        images[:, k] = np.rint(fine.mean(axis=(3, 5)))
    if not seen:
        raise ValueError(
            f"cannot be seen in any of {look.views} views of {look.size} pixels: its surface is too thin, or too small "
            "for the distance between its parts"
        )
    return images.reshape(look.shape)


class _Scene:
    """A mesh in the unit ball, and how it is looked at."""

    def __init__(self, mesh: Mesh, look: Look, threads: int) -> None:
        self.o3d, self.look, self.threads = _open3d(), look, threads
        self.scene = self.o3d.t.geometry.RaycastingScene(nthreads=threads)
        # In one order of corners, whatever the winding was, rounding is the same.
        order = np.argsort(mesh.faces, axis=1)
        corners = np.take_along_axis(mesh.faces, order, axis=1)
        vertices = mesh.vertices.astype(np.float32)
        self.scene.add_triangles(self.o3d.core.Tensor(vertices), self.o3d.core.Tensor(corners.astype(np.uint32)))
        self.colouring = None
        if look.painted:
            paint = white(len(corners)) if mesh.paint is None else mesh.paint.with_corners(order)
            half = math.tan(math.radians(look.lens) / 2) * look.distance if look.lens else 1.0
            self.colouring = Colouring(paint, vertices[corners], look.size * look.samples / 2 / half)

    def view(self, camera: Float[np.ndarray, "3 3"]) -> tuple[Float[np.ndarray, "G C R"], bool]:
        """Values 0 to 255 in each shading, for each ray, and whether any met the mesh.

        What a ray meets counts by its alpha; by what is left of it, the ray goes on behind.
        """
        look = self.look
        size = look.size * look.samples
        cast = rays(camera, size, look.lens, look.distance).reshape(-1, 6)
        values = np.zeros((len(look.shadings), look.channels, len(cast)), np.float32)
        ahead, passed = np.arange(len(cast)), np.ones(len(cast), np.float32)
        depth = np.zeros(len(cast), np.float32)
        met = False
        for _ in range(MOST_LAYERS):
            found = self.scene.cast_rays(self.o3d.core.Tensor(cast[ahead]), nthreads=self.threads)
            distance = found["t_hit"].numpy()
            hit = np.flatnonzero(np.isfinite(distance))
            ahead, distance = ahead[hit], distance[hit]
            depth[ahead] += distance
            met = met or len(hit) > 0
            colours = None
            if self.colouring is not None:
                faces, places = found["primitive_ids"].numpy()[hit], found["primitive_uvs"].numpy()[hit]
                colours = self.colouring.at(faces.astype(np.int64), places)
            normals, sight = found["primitive_normals"].numpy()[hit] @ camera.T, cast[ahead, 3:] @ camera.T
            shaded = self._shade(depth[ahead], normals, sight, colours)
            share = passed[ahead] if colours is None else passed[ahead] * colours[:, 3]
            values[..., ahead] += share * shaded
            passed[ahead] -= share
            go_on = passed[ahead] > 1 / 512
            ahead = ahead[go_on]
            if not len(ahead):
                break
            depth[ahead] += BEHIND
            cast[ahead, :3] += cast[ahead, 3:] * (distance[go_on] + BEHIND)[:, None]
        background = np.array([BACKGROUND[name] for name in look.shadings], np.float32)
        values += passed * background[:, None, None]
        return values, met

    def _shade(
        self,
        depth: Float[np.ndarray, "N"],
        normal: Float[np.ndarray, "N 3"],
        sight: Float[np.ndarray, "N 3"],
        colours: Float[np.ndarray, "N 4"] | None,
    ) -> Float[np.ndarray, "G C N"]:
        """Values 0 to 255 of what rays met, in each shading.

        Args:
            depth: from where the rays start, along the line of sight.
            normal: in the camera's axes, on either side.
            sight: the rays' directions, in the camera's axes.
        """
        normal = np.where((normal * sight).sum(axis=1, keepdims=True) > 0, -normal, normal)
        parts: list[np.ndarray] = []
        for shading in self.look.shadings:
            match shading:
                case "depth":
                    nearest = (self.look.distance if self.look.lens else PLANE) - 1
                    parts.append(255 - 254 * ((depth[None] - nearest) / 2).clip(0, 1))
                case "normals":
                    parts.append(127.5 * (normal.T + 1))
                case "albedo":
                    assert colours is not None
                    parts.append(255 * colours[:, :3].T)
                case _:
                    light = AMBIENT + DIFFUSE * (normal @ LIGHT).clip(0)
                    gloss = SPECULAR * _gloss(normal, sight) if shading == "phong" else 0.0
                    surface = colours[:, :3].T if self.look.colours and colours is not None else 1.0
                    parts.append(np.atleast_2d(255 * (light * surface + gloss)))
        return np.stack([np.broadcast_to(part, (self.look.channels, len(depth))) for part in parts])


def _gloss(normal: Float[np.ndarray, "N 3"], sight: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N"]:
    """The share of the light that a shiny surface sends back along the line of sight.

    Source: Blinn, "Models of light reflection for computer synthesized pictures" (1977).
    """
    halfway = LIGHT - sight / np.linalg.norm(sight, axis=1, keepdims=True)
    halfway /= np.linalg.norm(halfway, axis=1, keepdims=True)
    return (normal * halfway).sum(axis=1).clip(0) ** SHININESS


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
