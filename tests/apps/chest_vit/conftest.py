"""Images that a small backbone can tell apart."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    """Fourteen classes of four images, each class a colour."""
    root = tmp_path_factory.mktemp("images")
    for label in range(14):
        folder = root / f"class-{label:02}"
        folder.mkdir()
        for index in range(4):
            colour = np.random.default_rng(label).integers(0, 255, 3)
            noise = np.random.default_rng((label, index)).normal(0, 20, (24, 24, 3))
            Image.fromarray(np.clip(colour + noise, 0, 255).astype(np.uint8)).save(folder / f"{index}.png")
    return root
