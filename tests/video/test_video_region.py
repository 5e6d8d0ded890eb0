"""The square region of a clip, and crops to it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.video import crop, square_region


def test_golden():
    boxes = np.array([[100, 100, 180, 200], [np.nan] * 4, [120, 90, 200, 190]], np.float32)
    # The union is 100 90 200 200, its larger side 110, its centre 150 145.
    region = square_region(boxes, (480, 640))
    assert region.dtype == np.int32 and region.tolist() == [62, 57, 238, 233]
    assert square_region(boxes, (480, 640), crop_scale=1.0).tolist() == [95, 90, 205, 200]
    # Shifted inside, and never larger than the frame's smaller side.
    assert square_region(boxes, (220, 640)).tolist() == [62, 44, 238, 220]
    assert square_region(boxes, (120, 640)).tolist() == [90, 0, 210, 120]


@settings(deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(*[st.floats(-300, 900, width=32)] * 4), min_size=1, max_size=5),
    st.integers(1, 600),
    st.integers(1, 600),
    st.floats(0.1, 5),
)
def test_always_a_square_inside_the_frame(boxes, height, width, padding):
    x0, y0, x1, y1 = square_region(np.array(boxes), (height, width), padding)
    assert x1 - x0 == y1 - y0 >= 1
    assert 0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height


def test_no_face_at_all():
    with pytest.raises(ValueError, match="finite box"):
        square_region(np.full((3, 4), np.nan), (10, 10))


@pytest.mark.parametrize("resolution", [16, 60, 61, 150])
def test_crop_scales_without_shifting(resolution):
    y, x = np.mgrid[0:100, 0:120]
    image = np.stack([2 * x, 2 * y, x + y], -1).astype(np.uint8)
    out = crop(image, [20, 10, 80, 70], resolution)
    assert out.shape == (resolution, resolution, 3) and out.dtype == np.uint8
    position = (np.arange(resolution) + 0.5) * 60 / resolution - 0.5
    inner = slice(2, -2)
    assert np.abs(out[resolution // 2, inner, 0] - 2 * (20 + position[inner])).max() <= 1.5
    assert np.abs(out[inner, resolution // 2, 1] - 2 * (10 + position[inner])).max() <= 1.5
    out[:] = 0
    assert image[10, 20].tolist() == [40, 20, 30]


def test_crop_refuses_a_box_outside():
    for box in ([-1, 0, 5, 5], [0, 0, 11, 10], [3, 3, 3, 3]):
        with pytest.raises(ValueError, match="not inside"):
            crop(np.zeros((10, 10, 3), np.uint8), box, 4)
