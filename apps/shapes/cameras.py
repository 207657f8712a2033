"""Cameras around the unit ball: where they stand, the lens, and the rays through their pixels."""

import math
from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float

Direction = tuple[float, float, float]
Cameras = Literal["ring", "dodecahedron", "mvcnn", "mvcnn-20", "mvtn", "mvtn-spherical", "view-gcn", "view-gcn-12"]

ORTHOGRAPHIC = 0.0
PLANE = 2.0  # distance of the plane from which parallel rays start
LENS, DISTANCE = 60.0, 2.2  # of MVTN


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


def sphere(count: int) -> tuple[Direction, ...]:
    """Directions spread evenly over a sphere, in rings of equal width; about `count`, as whole rings allow.

    Source: Deserno, "How to generate equidistributed points on the surface of a sphere" (2004).

    >>> len(sphere(12)), len(sphere(20))
    (12, 20)
    """
    area = 4 * math.pi / count
    rings = round(math.pi / math.sqrt(area))
    step = area * rings / math.pi
    found = []
    for m in range(rings):
        polar = math.pi * (m + 0.5) / rings
        around = round(2 * math.pi * math.sin(polar) / step)
        for n in range(around):
            a = 2 * math.pi * n / around
            found.append((math.sin(polar) * math.sin(a), math.cos(polar), math.sin(polar) * math.cos(a)))
    return tuple(found)


class Rig(NamedTuple):
    """Cameras: the directions to them, and the lens.

    Args:
        directions: from the centre to each.
        lens: field of view in degrees, between opposite edges of the image; 0 is orthographic.
        distance: of each from the centre of the unit ball; of no matter where it is orthographic.
    """

    directions: tuple[Direction, ...]
    lens: float = ORTHOGRAPHIC
    distance: float = DISTANCE


# As published; what the papers leave open is as in MVTN: a lens of 60° at a distance of 2.2. MVCNN's second set-up
# has each image in four turns, which are left out here. View-GCN takes RotationNet's images.
# Su, Maji, Kalogerakis and Learned-Miller, "Multi-view convolutional neural networks" (2015), section 3.1.
# Hamdi, Giancola and Ghanem, "MVTN: Multi-view transformation network" (2021), section 4.
# Wei, Yu and Sun, "View-GCN" (2020), section 5; Kanezaki, Matsushita and Nishida, "RotationNet" (2018), section 3.
RIGS: Mapping[str, Rig] = {
    "ring": Rig(ring()),
    "dodecahedron": Rig(dodecahedron()),
    "mvcnn": Rig(ring(12, 30), LENS),  # where it is known which way is up
    "mvcnn-20": Rig(dodecahedron(), LENS),  # where it is not
    "mvtn": Rig(ring(12, 30), LENS),
    "mvtn-spherical": Rig(sphere(12), LENS),
    "view-gcn": Rig(dodecahedron(), LENS),
    "view-gcn-12": Rig(ring(12, 30), LENS),
}


def axes(direction: Direction) -> Float[np.ndarray, "3 3"]:
    """A camera's axes as rows: right, up, towards the camera."""
    towards = np.array(direction) / np.linalg.norm(direction)
    right = np.cross([0, 1, 0], towards)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(towards, right), towards]).astype(np.float32)


def rays(
    camera: Float[np.ndarray, "3 3"], size: int, lens: float = ORTHOGRAPHIC, distance: float = DISTANCE
) -> Float[np.ndarray, "S S 6"]:
    """Rays through the pixels' centres, first row on top: origins, and directions of length 1 towards the centre.

    The point at t on a ray thus lies t farther from the camera than its origin, measured along the line of sight.
    """
    ticks = ((2 * np.arange(size) + 1) / size - 1).astype(np.float32)
    right, up, towards = camera
    across = ticks[None, :, None] * right - ticks[:, None, None] * up
    if lens == ORTHOGRAPHIC:
        origins, directions = across + np.float32(PLANE) * towards, np.broadcast_to(-towards, across.shape)
    else:
        slope = np.float32(math.tan(math.radians(lens) / 2))
        origins, directions = np.broadcast_to(np.float32(distance) * towards, across.shape), slope * across - towards
    return np.concatenate([origins, directions], axis=-1)
