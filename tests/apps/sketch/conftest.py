"""A small folder in the layout of SHREC'13: boxes of three proportions, and drawings of them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from apps.io import workers
from tests.apps.command_line import App

CLASSES = {"plate": (4, 0.3, 4), "stick": (0.5, 5, 0.5), "tower": (1, 3, 1)}
MODELS, SKETCHES, TESTED = 4, 6, 2  # of each class
app = App("sketch")


def box(path: Path, size: np.ndarray) -> None:
    corners = [(x, y, z) for x in (0, size[0]) for y in (0, size[1]) for z in (0, size[2])]
    faces = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    lines = ["OFF", "8 6 0", *(" ".join(map(str, c)) for c in corners), *("4 " + " ".join(map(str, f)) for f in faces)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def sketch(path: Path, width: float, height: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("L", (100, 100), 255)
    corners = [50 - 9 * width, 50 - 9 * height, 50 + 9 * width, 50 + 9 * height]
    ImageDraw.Draw(image).rectangle(corners, outline=0, width=3)
    image.save(path)


def shrec13(root: Path) -> Path:
    rng = np.random.default_rng(0)
    lists = {"Model": [], "Sketch_Train": [], "Sketch_Test": []}
    counts = {"Model": MODELS, "Sketch_Train": SKETCHES - TESTED, "Sketch_Test": TESTED}
    number = {"Model": 0, "Sketch": 0}
    for name, size in CLASSES.items():
        for kind, count in counts.items():
            lists[kind].append(f"{name} 0 {count}")
            for _ in range(count):
                shape = rng.uniform(0.8, 1.2, 3) * size
                own = number[kind[:6].rstrip("_")]
                number[kind[:6].rstrip("_")] += 1
                lists[kind].append(str(own))
                if kind == "Model":
                    box(root / f"SHREC13_SBR_TARGET_MODELS/models/m{own}.off", shape)
                else:
                    part = kind.partition("_")[2].lower()
                    folder = f"SHREC13_SBR_{part.upper()}ING_SKETCHES/SHREC13_SBR_{part.upper()}ING_SKETCHES"
                    sketch(root / folder / name / part / f"{own}.png", shape[0], shape[1])
    for kind, lines in lists.items():
        path = root / f"SHREC2013_Sketch_Evaluation/SHREC13_SBR_{kind}.cla"
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(["PSB 1", f"{len(CLASSES)} {counts[kind] * len(CLASSES)}", *lines]) + "\n")
    return root


@pytest.fixture(scope="session")
def root(tmp_path_factory) -> Path:
    return shrec13(tmp_path_factory.mktemp("shrec13"))


@pytest.fixture(scope="session", autouse=True)
def alone(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GEOMDML_DATA", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(workers, "cores", lambda: 1)
        yield


@pytest.fixture(scope="session")
def finished(root, tmp_path_factory) -> Path:
    """The folder of a small run."""
    import warnings

    folder = tmp_path_factory.mktemp("runs")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        app("fit", root, folder)
    return folder / "version_0"
