"""A small data set of shapes: boxes as OFF files, a class by their proportions."""

from pathlib import Path

import numpy as np

CLASSES = {"tower": (1, 4, 1), "plate": (4, 0.3, 4), "stick": (5, 0.5, 0.5)}
FACES = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]


def box(path: Path, size: tuple[float, float, float]) -> None:
    corners = [(x, y, z) for x in (0, size[0]) for y in (0, size[1]) for z in (0, size[2])]
    lines = ["OFF", "8 6 0", *(" ".join(map(str, c)) for c in corners), *("4 " + " ".join(map(str, f)) for f in FACES)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def boxes(folder: Path) -> None:
    """Ten towers, plates and sticks, and one broken mesh."""
    rng = np.random.default_rng(0)
    for name, shape in CLASSES.items():
        for i in range(10):
            box(folder / name / f"{i}.off", tuple(rng.uniform(0.8, 1.2, 3) * shape))
    (folder / "plate/broken.off").write_text("OFF\n3 1 0\n0 0 0\n")
