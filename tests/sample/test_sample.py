"""The sample clip: a head that really turns, nods and blinks before a wall that does not."""

import numpy as np
import pytest

from toolkit.testing.sample import FPS, sample_clip, sample_frames, write_sample_video
from toolkit.testing.sample_motion import PERIOD, Pose, pose_at
from toolkit.testing.sample_portrait import load_portrait
from toolkit.testing.sample_render import Puppet

RIGHT_CORNER, LEFT_CORNER, NOSE, CHIN, FOREHEAD = 33, 263, 4, 152, 10


@pytest.fixture(scope="module")
def whole():
    """One whole movement with its landmarks."""
    return sample_clip(PERIOD, 256)


def test_frames_are_what_they_say_and_the_callers_own():
    frames = sample_frames(3, 256)
    assert frames.shape == (3, 256, 256, 3)
    assert frames.dtype == np.uint8
    before = frames.copy()
    frames[:] = 0
    assert np.array_equal(sample_frames(3, 256), before)


@pytest.mark.parametrize("size", [64, 255])
def test_a_size_that_does_not_work_is_refused(size):
    with pytest.raises(ValueError, match="even and at least 128"):
        sample_frames(1, size)


def test_the_same_frames_every_time():
    again = Puppet(load_portrait.__wrapped__(256))
    assert np.array_equal(again.draw(pose_at(2)), sample_frames(3, 256)[2])


def test_the_movement_repeats_without_a_jump():
    frames = sample_frames(PERIOD + 1, 128).astype(np.int16)
    assert np.array_equal(frames[PERIOD], frames[0])
    steps = np.abs(np.diff(frames, axis=0)).mean(axis=(1, 2, 3))
    assert steps.max() < 4 * np.median(steps)
    assert steps.min() > 0


def test_a_still_pose_is_the_portrait():
    portrait = load_portrait(256)
    still = Pose(0.0, 0.0, 0.0, (0.0, 0.0), 0.0, 0.0, 0.0, 0.0, 0.0)
    drawn = Puppet(portrait).draw(still).astype(np.int16)
    inside = portrait.alpha > 0.99
    assert np.abs(drawn - portrait.image)[inside].mean() < 0.5


def test_the_wall_stands_still():
    frames = sample_frames(PERIOD, 128).astype(np.int16)
    assert np.ptp(frames[:, :60, :20], axis=0).max() == 0
    assert np.ptp(frames[:, :60, -12:], axis=0).max() == 0


@pytest.mark.parametrize("frame", range(0, PERIOD, 4))
def test_nothing_folds_over(frame):
    """Every cell of the head keeps its orientation: the Jacobian of the displacement stays positive."""
    puppet = Puppet(load_portrait(256))
    dx, dy = puppet.displacement(pose_at(frame))
    step = puppet.x[0, 1] - puppet.x[0, 0]
    dx_y, dx_x = np.gradient(dx, step)
    dy_y, dy_x = np.gradient(dy, step)
    determinant = (1 + dx_x) * (1 + dy_y) - dx_y * dy_x
    inside = puppet.height > 0
    assert determinant[inside].min() > 0.2


def test_the_face_is_found_in_every_frame_and_turns_both_ways(whole):
    assert whole.present.all()
    points = whole.landmarks
    across = points[:, LEFT_CORNER] - points[:, RIGHT_CORNER]
    yaw = np.degrees(np.arctan2(across[:, 2], across[:, 0]))
    assert yaw.max() - yaw.min() > 22
    assert yaw.max() > 7 and yaw.min() < -7
    upright = points[:, CHIN] - points[:, FOREHEAD]
    pitch = np.degrees(np.arctan2(upright[:, 2], upright[:, 1]))
    assert pitch.max() - pitch.min() > 5


def test_the_landmarks_follow_without_jumps(whole):
    steps = np.linalg.norm(np.diff(whole.landmarks[:, NOSE, :2], axis=0), axis=-1)
    assert steps.max() < 0.03 * whole.frames.shape[1]


def test_the_eyes_close_and_open_again(whole):
    upper, lower = whole.landmarks[:, 159, :2], whole.landmarks[:, 145, :2]
    across = np.linalg.norm(whole.landmarks[:, 133, :2] - whole.landmarks[:, RIGHT_CORNER, :2], axis=-1)
    openness = np.linalg.norm(upper - lower, axis=-1) / across
    closed = [index for index in range(PERIOD) if pose_at(index).closure > 0.85]
    opened = [index for index in range(PERIOD) if pose_at(index).closure == 0]
    assert 4 <= len(closed) <= 8
    assert openness[closed].max() < 0.75 * np.median(openness[opened])


def test_a_clip_is_a_face_clip_around_the_face():
    clip = sample_clip(8, 256)
    assert clip.frames.shape == (8, 256, 256, 3)
    assert clip.topology.name == "mediapipe478"
    assert clip.landmarks[..., :2].min() > 0 and clip.landmarks[..., :2].max() < 256
    assert np.allclose(np.diff(clip.times), 1 / FPS)
    assert not clip.frames.flags.writeable and not clip.landmarks.flags.writeable
    width = np.ptp(clip.landmarks[0, :, 0])
    assert 0.4 * 256 < width < 0.8 * 256


def test_the_video_has_the_frames(tmp_path):
    from toolkit.video import probe, read_frames

    path = write_sample_video(tmp_path / "sample.mp4", frames=6, size=128)
    info = probe(path)
    assert (info.frame_count, info.width, info.height, info.codec) == (6, 128, 128, "h264")
    assert info.fps == pytest.approx(FPS)
    decoded = np.stack([frame.image for frame in read_frames(path)]).astype(np.int16)
    assert np.abs(decoded - sample_frames(6, 128)).mean() < 4
