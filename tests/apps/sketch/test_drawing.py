"""Laws of drawings: what framing and drawing by another hand may and may not change."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from apps.sketch.augment import bent, outlined, redraw, thicker, with_gaps
from apps.sketch.drawing import MARGIN, contours, frame

SIDE = 48


@st.composite
def images(draw) -> torch.Tensor:
    """Some dark rectangles on white, not all in the corner."""
    image = torch.full((3, SIDE, SIDE), 255, dtype=torch.uint8)
    for _ in range(draw(st.integers(1, 4))):
        top, left = draw(st.integers(0, SIDE - 6)), draw(st.integers(0, SIDE - 6))
        height, width = draw(st.integers(4, 24)), draw(st.integers(4, 24))
        image[:, top : top + height, left : left + width] = draw(st.integers(0, 120))
    return image


def ink(image: torch.Tensor) -> torch.Tensor:
    return 1 - image.float()[None] / 255


@given(images(), st.integers(0, 9), st.integers(0, 9))
def test_framing_does_not_see_where_a_drawing_is(image, down, right):
    wider = torch.full((3, SIDE + 10, SIDE + 10), 255, dtype=torch.uint8)
    wider[:, down : down + SIDE, right : right + SIDE] = image
    assert torch.equal(frame(wider, 32), frame(image, 32))


@given(images(), st.sampled_from([32, 64]))
def test_a_framed_drawing_is_black_on_white_and_fills_the_frame(image, size):
    square = frame(image, size)
    assert square.shape == (1, size, size) and int(square.min()) == 0
    dark = square[0] < 200
    rows, columns = dark.any(1).nonzero()[:, 0], dark.any(0).nonzero()[:, 0]
    extent = max(int(rows[-1] - rows[0]), int(columns[-1] - columns[0])) + 1
    assert abs(extent - size / (1 + 2 * MARGIN)) <= 0.1 * size + 2


@pytest.mark.parametrize("grey", [255, 250, 231])
def test_a_blank_sheet_is_refused(grey):
    with pytest.raises(ValueError, match="nothing is drawn; expected dark strokes on white"):
        frame(torch.full((3, 20, 20), grey, dtype=torch.uint8), 32)


@given(images(), st.integers(0, 2**31), st.integers(1, 4))
def test_other_hands_are_a_function_of_the_seed_and_draw_something(image, seed, count):
    plain = frame(image, 32)
    others = redraw(plain, count, seed)
    assert others.shape == (count, 1, 32, 32) and others.dtype == torch.uint8
    assert torch.equal(others, redraw(plain, count, seed))
    assert (others.flatten(1).min(1).values < 230).all()


def test_other_hands_differ():
    image = torch.full((3, 40, 40), 255, dtype=torch.uint8)
    image[:, 10:30, 10:30] = 0
    plain = frame(image, 32)
    others = redraw(plain, 6, 0)
    assert len({one.numpy().tobytes() for one in others}) == 6
    assert not torch.equal(redraw(plain, 6, 1), others)


@given(images(), st.integers(1, 3))
def test_pens_grow_and_shrink_strokes(image, pixels):
    before = ink(frame(image, 32))
    assert (thicker(before, pixels) >= before).all()
    assert (thicker(before, -pixels) <= before).all()
    assert float(thicker(before, -pixels).sum()) >= 0.3 * float(before.sum())
    assert torch.equal(thicker(before, 0), before)


@given(images())
def test_outlines_are_part_of_the_ink_and_thin_strokes_stay(image):
    before = ink(frame(image, 32))
    assert (outlined(before, 2) <= before).all()
    line = torch.zeros(1, 1, 32, 32)
    line[..., 10:13, 4:28] = 1
    assert torch.equal(outlined(line, 2), line)
    solid = torch.zeros(1, 1, 32, 32)
    solid[..., 4:28, 4:28] = 1
    hollow = outlined(solid, 2)
    assert float(hollow[..., 6:26, 6:26].sum()) == 0 and float(hollow.sum()) == 24**2 - 20**2


@given(images(), st.integers(0, 2**31))
def test_gaps_take_away_and_leave_half(image, seed):
    before = ink(frame(image, 32))
    after = with_gaps(before, torch.Generator().manual_seed(seed))
    assert (after <= before).all() and float(after.sum()) >= 0.5 * float(before.sum())


@given(images(), st.integers(0, 2**31))
def test_bending_keeps_ink_between_white_and_black(image, seed):
    after = bent(ink(frame(image, 32)), torch.Generator().manual_seed(seed))
    assert float(after.min()) >= 0 and float(after.max()) <= 1 + 1e-6 and float(after.sum()) > 0


def test_contours_are_where_the_shape_ends_and_nowhere_else():
    view = torch.full((2, 1, 16, 16), 255, dtype=torch.uint8)
    view[:, :, 4:12, 4:12] = 90
    lines = contours(view)
    assert lines.shape == view.shape and set(lines.unique().tolist()) == {0, 255}
    assert (lines[:, :, 5:10, 5:10] == 255).all() and (lines[:, :, :2] == 255).all()
    assert (lines[:, :, 3:12, 3] == 0).all() and (lines[:, :, 3, 3:12] == 0).all()
    assert (contours(torch.full((1, 1, 9, 9), 77, dtype=torch.uint8)) == 255).all()
