"""Shapes that look like a drawing: a trained network, and the embeddings of the shapes that it was trained with."""

import io
import threading
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from apps.sketch.data import SketchData
from apps.sketch.drawing import frame
from apps.sketch.model import SketchToShape
from apps.training.restore import restore

LARGEST_SIDE = 2048  # of an uploaded image, in pixels


class Found(NamedTuple):
    """A shape by its place among all, its name and class, and its distance from the drawing."""

    row: int
    name: str
    of_class: str
    distance: float


class Searcher:
    """Searches all shapes of the data that a checkpoint was trained on; for several threads, one search at a time.

    Raises:
        ValueError: no checkpoint of this app, or data that are no longer there.
    """

    def __init__(self, checkpoint: str | Path) -> None:
        self.model, _, of_data = restore(checkpoint, SketchToShape, weights="none")
        self.data = SketchData(**of_data)
        self.gallery = self.data.gallery
        _, loader = self.data.in_order("test")
        with torch.no_grad():
            self.embeddings = torch.cat([self.model(batch.images, "shapes") for batch in loader])
        self.lock = threading.Lock()

    @torch.no_grad()
    def nearest(self, image: Tensor, k: int) -> list[Found]:
        """The k shapes nearest to a drawing, uint8 (C, H, W), dark on white; equal distances in their order.

        Raises:
            ValueError: nothing is drawn.
        """
        sketch = frame(image, self.data.hparams["size"])
        with self.lock:
            embedding = self.model(sketch[None, None], "sketches")
            distances = self.model.space.pairwise_dist(embedding, self.embeddings)[0]
        shapes = self.gallery.shapes
        rows = distances.argsort(stable=True)[:k].tolist()
        return [
            Found(row, shapes.names[row], shapes.classes[shapes.labels[row]], float(distances[row])) for row in rows
        ]

    def image(self, row: int) -> bytes:
        """A shape as a PNG, seen from a little to the side.

        Raises:
            IndexError: there is no such shape.
        """
        if not 0 <= row < len(self.gallery.shapes):
            raise IndexError(row)
        views = self.gallery.views[row]
        view = views[1 % len(views)]
        buffer = io.BytesIO()
        Image.fromarray(view.expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy()).save(buffer, "PNG")
        return buffer.getvalue()


def decode_png(upload: bytes) -> Tensor:
    """The image in the content of a PNG file, uint8 (3, H, W), over white.

    Raises:
        ValueError: no PNG, a broken one, or more than 2048 pixels wide or high.
    """
    try:
        with Image.open(io.BytesIO(upload), formats=("PNG",)) as image:
            if max(image.size) > LARGEST_SIDE:  # before its pixels are read
                raise _TooLarge(
                    f"the image has {image.width} × {image.height} pixels: at most {LARGEST_SIDE} a side are read"
                )
            drawing = image.convert("RGBA")
    except _TooLarge:
        raise
    # Pillow's readers raise whatever broken bytes lead them to.
    except Exception as error:
        raise ValueError("the upload is no PNG image that can be read") from error
    over_white = Image.alpha_composite(Image.new("RGBA", drawing.size, "white"), drawing).convert("RGB")
    return torch.from_numpy(np.array(over_white)).permute(2, 0, 1)


class _TooLarge(ValueError):
    pass
