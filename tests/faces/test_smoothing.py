"""Smoothing removes jitter and keeps motion, on exactly known motion and on real landmarks."""

import numpy as np
import pytest

from toolkit.faces import load_topology
from toolkit.faces.smoothing import smooth_landmarks

SIZE = 120.0
"""px between the outer eye corners; a face of about 200 px."""

NOISE = 0.25
"""px, standard deviation, about what MediaPipe's landmarks have at that size."""


def times(count, fps=25):
    return np.arange(count) / fps


def motion(mean_face, count, x=lambda t: 0 * t, y=lambda t: 0 * t, yaw=lambda t: 0 * t):
    """float32 ``[T, 478, 3]``: the mean face moved by x, y in px and turned about the vertical, degrees."""
    t = np.arange(count, dtype=np.float64)
    points = mean_face(0, 0, SIZE)
    angles = np.radians(yaw(t))
    clip = np.empty((count, len(points), 3))
    clip[..., 0] = points[:, 0] * np.cos(angles)[:, None] + points[:, 2] * np.sin(angles)[:, None]
    clip[..., 2] = points[:, 2] * np.cos(angles)[:, None] - points[:, 0] * np.sin(angles)[:, None]
    clip[..., 1] = points[:, 1]
    clip[..., 0] += 300 + x(t)[:, None]
    clip[..., 1] += 300 + y(t)[:, None]
    return clip.astype(np.float32)


def noisy(clip, seed=0, sigma=NOISE):
    return (clip + np.random.default_rng(seed).normal(0, sigma, clip.shape)).astype(np.float32)


def jitter(clip):
    """Mean square of the second difference, px^2."""
    return float(np.mean(np.diff(clip[..., :2], n=2, axis=0) ** 2))


def test_still_face_becomes_still(mean_face):
    clean = motion(mean_face, 60)
    rough = noisy(clean)
    smooth = smooth_landmarks(rough, times(60))
    assert jitter(smooth) < jitter(rough) / 30
    assert np.abs(smooth - clean).mean() < 0.5 * np.abs(rough - clean).mean()


FAST = {
    "shake": {"x": lambda t: 40 * np.sin(0.6 * t)},
    "nod": {"y": lambda t: 25 * np.sin(0.8 * t)},
    "turn": {"yaw": lambda t: 40 * np.sin(0.35 * t)},
    "quick turn": {"yaw": lambda t: 45 * np.tanh((t - 30) / 2.0)},
    "start and stop": {"x": lambda t: 12.0 * np.clip(t - 20, 0, 12)},
}


@pytest.mark.parametrize("kind", FAST)
def test_fast_motion_is_kept_without_lag(mean_face, kind):
    clean = motion(mean_face, 60, **FAST[kind])
    error = np.linalg.norm((smooth_landmarks(noisy(clean), times(60)) - clean)[..., :2], axis=-1).mean(axis=1)
    assert error.max() < 0.75, "some frame lags"
    assert error.mean() < 0.5
    untouched = np.linalg.norm((smooth_landmarks(clean, times(60)) - clean)[..., :2], axis=-1)
    assert untouched.mean() < 0.5


@pytest.mark.parametrize("sigma", [0.0, NOISE])
def test_blink_of_three_frames_is_kept(mean_face, sigma):
    clean = motion(mean_face, 60, x=lambda t: 5 * np.sin(0.1 * t))
    eye = load_topology("mediapipe478").regions["left_eye"]
    middle = clean[:, eye, 1].mean(axis=1, keepdims=True)
    closing = np.zeros(60)
    closing[29:32] = [0.6, 1.0, 0.6]
    open_eye = clean[:, eye, 1] - middle
    clean[:, eye, 1] = middle + open_eye * (1 - closing[:, None])
    smooth = smooth_landmarks(noisy(clean, sigma=sigma), times(60))

    # A fixed weight per point, because an extreme point of the eye would pick up the noise.
    weights = open_eye[20] / np.abs(open_eye[20]).sum()

    def opening(clip):
        return clip[:, eye, 1] @ weights

    kept = (opening(smooth)[20] - opening(smooth)[30]) / (opening(clean)[20] - opening(clean)[30])
    assert kept > 0.9


def test_zero_phase(mean_face):
    rough = noisy(motion(mean_face, 50, x=lambda t: 20 * np.sin(0.3 * t)))
    forwards = smooth_landmarks(rough, times(50))
    backwards = smooth_landmarks(rough[::-1].copy(), times(50))[::-1]
    assert np.abs(forwards - backwards).max() < 0.05


def test_result_moves_and_scales_with_the_face(mean_face):
    rough = noisy(motion(mean_face, 40, x=lambda t: 10 * np.sin(0.3 * t)))
    smooth = smooth_landmarks(rough, times(40))
    assert np.abs(smooth_landmarks(rough + np.float32(64), times(40)) - 64 - smooth).max() < 0.01
    assert np.abs(smooth_landmarks(rough * np.float32(2), times(40)) / 2 - smooth).max() < 0.01


def test_frames_without_the_face_stay_and_separate(mean_face):
    rough = noisy(motion(mean_face, 50))
    rough[20:23] = np.nan
    smooth = smooth_landmarks(rough, times(50))
    assert np.isnan(smooth[20:23]).all() and np.isfinite(np.delete(smooth, slice(20, 23), axis=0)).all()
    alone = smooth_landmarks(rough[:20], times(50)[:20])
    np.testing.assert_array_equal(smooth[:20], alone)


@pytest.mark.parametrize("count", [0, 1, 2, 4, 5, 6])
def test_short_stretches(mean_face, count):
    rough = noisy(motion(mean_face, count))
    smooth = smooth_landmarks(rough, times(count))
    assert smooth.shape == rough.shape and smooth.dtype == np.float32
    assert np.abs(smooth - rough).max(initial=0) < 4 * NOISE
    if count < 5:
        np.testing.assert_array_equal(smooth, rough)


def test_all_nan_and_degenerate_points():
    empty = np.full((6, 478, 3), np.nan, np.float32)
    assert np.isnan(smooth_landmarks(empty, times(6))).all()
    point = np.full((6, 478, 3), 7, np.float32)
    np.testing.assert_array_equal(smooth_landmarks(point, times(6)), point)


def test_input_is_not_changed_and_uneven_times_are_fine(mean_face):
    rough = noisy(motion(mean_face, 30, x=lambda t: 3 * t))
    before = rough.copy()
    uneven = np.cumsum(np.random.default_rng(1).uniform(0.01, 0.08, 30))
    smooth = smooth_landmarks(rough, uneven)
    np.testing.assert_array_equal(rough, before)
    assert np.isfinite(smooth).all()


@pytest.mark.parametrize(
    ("shape", "moments", "words"),
    [
        ((5, 478, 2), times(5), "landmarks must be"),
        ((5, 478, 3), times(4), "landmarks must be"),
        ((5, 478, 3), times(5)[::-1], "times must increase"),
        ((5, 478, 3), np.zeros(5), "times must increase"),
    ],
)
def test_wrong_shapes_and_times(shape, moments, words):
    with pytest.raises(ValueError, match=words):
        smooth_landmarks(np.zeros(shape, np.float32), moments)


@pytest.mark.parametrize("clip", ["media/faces/liveportrait_driving_d18.mp4", "media/faces/lipnet_GRID_bbaf2n.mpg"])
def test_real_clip_jitters_less_and_stays_in_place(clip_frames, clip):
    from toolkit.faces import create_analyser

    analyser = create_analyser(max_faces=1)
    rough = np.stack([analyser.analyse(frame)[0].landmarks for frame in clip_frames(clip, 0, 40)])
    analyser.close()
    smooth = smooth_landmarks(rough, times(len(rough)))
    size = np.ptp(rough[..., 0], axis=1).mean()
    moved = np.linalg.norm((smooth - rough)[..., :2], axis=-1)
    # Speech and blinks are not jitter, so compare the stillest half of the frames, away from eyes and mouth.
    stable = np.setdiff1d(np.arange(468), np.concatenate(list(analyser.topology.regions.values())))
    shake = [np.mean(np.diff(track[:, stable, :2], n=2, axis=0) ** 2, axis=(1, 2)) for track in (rough, smooth)]
    still = shake[0] <= np.median(shake[0])
    assert shake[1][still].mean() < shake[0][still].mean() / 3
    assert moved.mean() < 0.005 * size and np.percentile(moved, 99.9) < 0.03 * size
