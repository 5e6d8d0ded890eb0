"""Limits of a task on the numbers of its pairs, and what it leaves out itself."""

import numpy as np
import pytest

from toolkit.errors import ContractError
from toolkit.synthesis.validator import check_pair, pair_problem
from toolkit.task import Pair
from toolkit.testing import synthetic_clip


def pair_of(clip, index=0, swap=False, **info):
    frame = clip.frames[index]
    mask = np.zeros(frame.shape[:2], bool)
    mask[40:60, 40:60] = True
    edited = frame.copy()
    edited[mask] = 255 - edited[mask]
    images = (edited, frame) if swap else (frame, edited)
    return Pair(*images, mask, index, info)


@pytest.mark.parametrize("swap", [False, True])
def test_either_picture_may_be_the_clips_own(swap):
    clip = synthetic_clip()
    assert pair_problem(pair_of(clip, swap=swap), clip) is None


def test_one_of_the_pictures_must_be_the_clips_own():
    clip = synthetic_clip()
    pair = pair_of(clip)
    pair.mask[:] = True
    other = Pair(clip.frames[0] ^ 1, clip.frames[0] ^ 2, pair.mask, 0)
    assert "must be the clip's frame" in pair_problem(other, clip)


@pytest.mark.parametrize(
    ("value", "limits", "reason"),
    [
        (0.5, (0.5, 0.5), None),
        (0.49, (0.5, None), "sharpness under 0.5"),
        (0.51, (None, 0.5), "sharpness over 0.5"),
        (9.0, (None, None), None),
    ],
)
def test_limits(value, limits, reason):
    clip = synthetic_clip()
    assert check_pair(pair_of(clip, sharpness=value), clip, "t", {"sharpness": limits}) == reason


@pytest.mark.parametrize("info", [{}, {"sharpness": "high"}, {"sharpness": float("nan")}])
def test_a_limited_number_must_be_given(info):
    clip = synthetic_clip()
    with pytest.raises(ContractError, match="sharpness"):
        check_pair(pair_of(clip, **info), clip, "t", {"sharpness": (0, 1)})
