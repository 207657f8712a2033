"""Points on the surfaces of a data set's shapes: sampled once, and kept."""

import hashlib
import json
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Float64

from apps.shapes import meshes
from apps.shapes.cache import Recipe, make_cached
from apps.shapes.labelled_shapes import Shapes, Source
from apps.shapes.meshes import Mesh, unit
from apps.shapes.store import Arrays
from apps.training.sampling import seed_of

REVISION = 1  # of where the points lie
MOST_POINTS = 100_000


@dataclass(frozen=True)
class Cloud:
    """How many points stand for a shape.

    Raises:
        ValueError: none, or more than 100,000.
    """

    count: int = 1024

    def __post_init__(self) -> None:
        if not 1 <= self.count <= MOST_POINTS:
            raise ValueError(f"the number of points is {self.count}; expected 1 to {MOST_POINTS:,}")

    def described(self) -> dict[str, Any]:
        """All that the points of a mesh depend on but the mesh."""
        return {**asdict(self), "revision": REVISION, "reader": meshes.REVISION, "trimesh": version("trimesh")}

    def key(self) -> str:
        """A short hash of `described`."""
        return hashlib.sha256(json.dumps(self.described()).encode()).hexdigest()[:12]

    def __call__(self, source: Source) -> Float32[np.ndarray, "N 3"]:
        """The points of a mesh in the unit ball, drawn with its content as the seed. Raises MeshError."""
        digest = hashlib.sha256(source.key().encode()).digest()
        seed = seed_of(REVISION, int.from_bytes(digest[:8], "big"))
        return sample(unit(source.read()), self.count, seed).astype(np.float32)


class Sampled(NamedTuple):
    """Shapes with their points: points[i] are those of shape i. `broken` has a line for each that is left out."""

    shapes: Shapes
    points: Arrays
    broken: tuple[str, ...]


def sample_cached(shapes: Shapes, cloud: Cloud, *, strict: bool = False) -> Sampled:
    """The shapes that can be read, with points on their surfaces, from the cache or sampled now.

    Args:
        strict: a broken shape is an error.

    Raises:
        ValueError, FetchError: as `apps.shapes.cache.make_cached`.
    """
    recipe = Recipe("points", cloud.key(), cloud.described(), (cloud.count, 3), "float32", "sampling", cloud)
    return Sampled(*make_cached(shapes, recipe, strict=strict))


def sample(mesh: Mesh, count: int, seed: int) -> Float64[np.ndarray, "N 3"]:
    """Points drawn uniformly by area from the surface of a mesh, a function of the mesh and the seed.

    Source: Osada, Funkhouser, Chazelle and Dobkin, "Shape distributions" (2002), equation (1).

    >>> triangle = Mesh(np.eye(3), np.array([[0, 1, 2]]))
    >>> points = sample(triangle, 5, seed=0)
    >>> points.shape, bool(np.allclose(points.sum(1), 1) and (points >= 0).all())
    ((5, 3), True)
    """
    rng = np.random.default_rng(seed)
    a, b, c = mesh.vertices[mesh.faces].transpose(1, 0, 2)
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    chosen = rng.choice(len(area), size=count, p=area / area.sum())
    root, share = np.sqrt(rng.random((count, 1))), rng.random((count, 1))
    return (1 - root) * a[chosen] + root * (1 - share) * b[chosen] + root * share * c[chosen]
