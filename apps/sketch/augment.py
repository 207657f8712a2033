"""What makes a clean drawing look drawn by hand: other pens, open outlines, missing pieces, an unsteady hand."""

import math

import torch
from jaxtyping import Float, UInt8
from torch import Generator, Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate, max_pool2d

PEN = 0.04  # width of the outline that a solid is turned into, as a share of the side
THICKNESS = (-3, -2, -1, 0, 1)  # pixels by which strokes grow on each side, in images of 128
THINNEST = 0.3  # share of the ink that stays where strokes shrink
GAPS, GAP = 3, (0.03, 0.10)  # at most so many, of these radii as shares of the side
TURN, SCALE, SQUEEZE, SHEAR, SHIFT = 12.0, (0.8, 1.05), 0.12, 0.12, 0.06
WAVES, WOBBLE = (
    6,
    0.035,
)  # points of the field that bends strokes along a side, and its strength as a share of half of it


def redraw(image: UInt8[Tensor, "1 S S"], count: int, seed: int) -> UInt8[Tensor, "{count} 1 S S"]:
    """A drawing as `count` others might have drawn it, a function of the seed.

    Half of them outline what is solid. Each has a thickness of its own, up to three pieces missing, half of them are
    mirrored, and all are turned, sheared, squeezed, moved and bent a little.

    >>> square = torch.full((1, 32, 32), 255, dtype=torch.uint8)
    >>> square[:, 8:24, 8:24] = 0
    >>> others = redraw(square, 3, seed=0)
    >>> others.shape, bool((others == redraw(square, 3, seed=0)).all())
    (torch.Size([3, 1, 32, 32]), True)
    """
    rng = torch.Generator().manual_seed(seed)
    side = image.shape[-1]
    ink = (1 - image.float() / 255).expand(count, -1, -1, -1)
    choice = torch.rand(count, 2, generator=rng)
    pens = (choice[:, 1] * len(THICKNESS)).long()
    hollowed = outlined(ink, max(1, round(PEN * side)))
    ink = torch.where((choice[:, 0] < 0.5)[:, None, None, None], hollowed, ink)
    ink = torch.stack([thicker(one, round(THICKNESS[pen] * side / 128)) for one, pen in zip(ink, pens, strict=True)])
    ink = bent(with_gaps(ink, rng), rng)
    return (255 - 255 * ink).clamp(0, 255).round().to(torch.uint8)


def outlined(ink: Float[Tensor, "*N 1 S S"], width: int) -> Float[Tensor, "*N 1 S S"]:
    """What lies deeper than `width` inside of the ink becomes white: solids turn into outlines, strokes stay."""
    return ink - ink.minimum(_eroded(ink, width))


def thicker(ink: Float[Tensor, "*N 1 S S"], pixels: int) -> Float[Tensor, "*N 1 S S"]:
    """Strokes that grow by so many pixels on each side, or shrink by as many of these as leave enough of them."""
    if pixels > 0:
        return max_pool2d(ink, 2 * pixels + 1, stride=1, padding=pixels)
    for fewer in range(-pixels, 0, -1):
        thinner = _eroded(ink, fewer)
        if float(thinner.sum()) >= THINNEST * float(ink.sum()):
            return thinner
    return ink


def with_gaps(ink: Float[Tensor, "N 1 S S"], rng: Generator) -> Float[Tensor, "N 1 S S"]:
    """Discs without ink, each with its centre on a stroke; at least half of the ink stays."""
    side = ink.shape[-1]
    ticks = torch.arange(side)
    count = torch.randint(GAPS + 1, (len(ink),), generator=rng)
    for number in range(GAPS):
        place = torch.multinomial(ink.flatten(1) + 1e-9, 1, generator=rng)[:, 0]
        radius = side * (GAP[0] + (GAP[1] - GAP[0]) * torch.rand(len(ink), generator=rng))
        y, x = (ticks[None] - part[:, None] for part in (place // side, place % side))
        outside = (y[:, :, None] ** 2 + x[:, None] ** 2 > radius[:, None, None] ** 2)[:, None]
        left = ink * outside
        kept = left.sum((1, 2, 3)) >= (1 - 0.5 / GAPS) * ink.sum((1, 2, 3))
        ink = torch.where((kept & (number < count))[:, None, None, None], left, ink)
    return ink


def bent(ink: Float[Tensor, "N 1 S S"], rng: Generator) -> Float[Tensor, "N 1 S S"]:
    """Mirrored, turned, sheared, scaled and moved at random, and bent along a smooth random field."""

    def between(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(len(ink), generator=rng)

    angle = math.radians(TURN) * between(-1, 1)
    mirror = torch.where(between(0, 1) < 0.5, -1.0, 1.0)
    width, height = 1 / between(*SCALE), 1 + between(-SQUEEZE, SQUEEZE)
    cos, sin, shear = angle.cos(), angle.sin(), between(-SHEAR, SHEAR)
    rows = [
        torch.stack([mirror * width * cos, width * (shear * cos - sin), between(-SHIFT, SHIFT)], 1),
        torch.stack([mirror * width * height * sin, width * height * (shear * sin + cos), between(-SHIFT, SHIFT)], 1),
    ]
    grid = affine_grid(torch.stack(rows, 1), list(ink.shape), align_corners=False)
    field = WOBBLE * torch.randn(len(ink), 2, WAVES, WAVES, generator=rng)
    field = interpolate(field, ink.shape[-2:], mode="bicubic", align_corners=True)
    return grid_sample(ink, grid + field.permute(0, 2, 3, 1), padding_mode="zeros", align_corners=False)


def _eroded(ink: Tensor, pixels: int) -> Tensor:
    return -max_pool2d(-ink, 2 * pixels + 1, stride=1, padding=pixels)
