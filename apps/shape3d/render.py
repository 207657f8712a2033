"""A sheet of a mesh's images: `python -m apps.shape3d.render chair.off --out chair.png`

The renderer itself is `apps.shapes.rendering`, since sketches are compared with views of shapes, too.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from apps.io.atomic import write_file
from apps.shapes.cameras import RIGS, ring
from apps.shapes.meshes import MeshFile
from apps.shapes.rendering import BACKGROUND, Look
from apps.shapes.views import images_of

COLUMNS = 12


def sheet(shapes: Sequence[UInt8[np.ndarray, "V C S S"]], columns: int = COLUMNS) -> Image.Image:
    """The images of one shape after another, each shape on lines of its own.

    >>> sheet([np.zeros((14, 1, 8, 8), np.uint8)]).size
    (96, 16)
    """
    lines = []
    for images in shapes:
        views, _, size, _ = images.shape
        colour = np.broadcast_to(images, (views, 3, size, size)).transpose(0, 2, 3, 1)
        blank = np.full((-views % columns, size, size, 3), 255, np.uint8)
        tiles = np.concatenate([colour, blank]).reshape(-1, columns, size, size, 3)
        lines += [np.concatenate(list(line), axis=1) for line in tiles]
    return Image.fromarray(np.concatenate(lines))


def main(args: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m apps.shape3d.render", description="A sheet of a mesh's images.")
    parser.add_argument("mesh", type=Path, nargs="+", help="off, obj, stl, ply, glb or gltf")
    parser.add_argument("--out", type=Path, required=True, help="the image to write, such as sheet.png")
    parser.add_argument("--up", choices=("y", "z"), default="y", help="the axis that points up in the file")
    parser.add_argument("--cameras", choices=list(RIGS), default="ring", help="where the cameras stand")
    parser.add_argument("--views", type=int, default=12, help="how many on a ring")
    parser.add_argument("--elevation", type=float, default=30.0, help="of the ring, in degrees")
    parser.add_argument("--size", type=int, default=128, help="of a view, in pixels")
    parser.add_argument("--shading", choices=list(BACKGROUND), nargs="+", default=["lambert"], help="one or several")
    parser.add_argument("--colours", action="store_true", help="show colours and textures, in lambert and phong too")
    parser.add_argument(
        "--pose", choices=("given", "principal"), default="given", help="turned to its main axes, or not"
    )
    chosen = parser.parse_args(args)
    try:
        rig = RIGS[chosen.cameras]
        directions = ring(chosen.views, chosen.elevation) if chosen.cameras == "ring" else rig.directions
        look = Look(
            directions, chosen.size, tuple(chosen.shading), colours=chosen.colours, lens=rig.lens, pose=chosen.pose
        )
        image = sheet([images_of(MeshFile(path, chosen.up), look) for path in chosen.mesh])
        write_file(chosen.out, image.save)
    except (ValueError, OSError, ImportError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
