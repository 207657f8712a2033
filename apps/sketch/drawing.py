"""Line drawings as the network sees them: dark on white, filling the frame; and contours of shapes as such drawings."""

import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.nn.functional import interpolate, max_pool2d, pad

MARGIN = 0.08  # of the longer side, around what is drawn
FAINTEST = 25  # steps of grey below white that count as ink
EDGE = 16  # steps of grey between neighbours that a contour separates


def frame(image: UInt8[Tensor, "C H W"], size: int) -> UInt8[Tensor, "1 {size} {size}"]:
    """A drawing in grey, cut out, centred in a square and scaled; its darkest stroke is black.

    Raises:
        ValueError: nothing is drawn.

    >>> image = torch.full((3, 40, 60), 255, dtype=torch.uint8)
    >>> image[:, 10:20, 30:35] = 100
    >>> square = frame(image, 32)[0]
    >>> square.shape, int(square[16, 16]), int(square[16, 0])
    (torch.Size([32, 32]), 0, 255)
    """
    ink = 255 - image.float().mean(0)
    inked = ink > FAINTEST
    if not bool(inked.any()):
        raise ValueError("nothing is drawn; expected dark strokes on white")
    rows, columns = (inked.any(axis).nonzero()[:, 0] for axis in (1, 0))
    cut = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = cut.shape
    side = round(max(height, width) * (1 + 2 * MARGIN))
    top, left = (side - height) // 2, (side - width) // 2
    square = pad(cut, (left, side - width - left, top, side - height - top))
    scaled = interpolate(square[None, None], (size, size), mode="bilinear", antialias=True)[0]
    return (255 - 255 * scaled / scaled.amax()).clamp(0, 255).round().to(torch.uint8)


def contours(views: UInt8[Tensor, "V C S S"]) -> UInt8[Tensor, "V 1 S S"]:
    """Images of a shape as line drawings: black where neighbouring pixels differ, outlines and edges alike.

    >>> view = torch.full((1, 1, 8, 8), 255, dtype=torch.uint8)
    >>> view[..., 2:, 2:] = 100
    >>> contours(view)[0, 0, 4]  # the outline is where the shape begins
    tensor([255,   0, 255, 255, 255, 255, 255, 255], dtype=torch.uint8)
    """
    grey = views.float().mean(1, keepdim=True)
    spread = max_pool2d(grey, 2, stride=1) + max_pool2d(-grey, 2, stride=1)
    return (255 * (pad(spread, (0, 1, 0, 1)) < EDGE)).to(torch.uint8)
