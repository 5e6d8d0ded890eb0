"""The pose of the head and the seat of glasses on it."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from attributes.glasses.design import GlassesDesign, random_design
from attributes.glasses.geometry import PARTS, glasses_mesh
from attributes.glasses.placement import BREADTH, EYE_DISTANCE, IRISES, LIDS, parabolic, seat, track_head
from toolkit.errors import InputError
from toolkit.faces.topology import load_topology
from toolkit.task import FaceClip

TOPOLOGY = load_topology("mediapipe478")
MEAN = TOPOLOGY.mean.astype(np.float64) * EYE_DISTANCE
LENS = PARTS.index("lens")


def moving_clip(frames=15, turn=5.0, noise=0.0, scale=2.0):
    """The mean face turning by `turn` degrees per frame; the true rotations too."""
    rng = np.random.default_rng(0)
    angles = turn * (np.arange(frames) - frames / 2)
    rotations = Rotation.from_euler("y", angles[:, None], degrees=True).as_matrix()
    points = scale * np.einsum("tij,nj->tni", rotations, MEAN) + np.array([256, 256, 0])
    points = points + rng.normal(0, noise, points.shape)
    pictures = np.full((frames, 512, 512, 3), 150, np.uint8)
    return FaceClip(pictures, points.astype(np.float32), TOPOLOGY, np.arange(frames) / 25), rotations


def test_a_turning_head_is_followed_without_lag():
    clip, rotations = moving_clip(turn=6)
    track = track_head(clip)
    apart = Rotation.from_matrix(np.einsum("tij,tkj->tik", track.rotation, rotations)).magnitude()
    assert np.degrees(apart).max() < 0.3
    np.testing.assert_allclose(track.scale, 2.0, rtol=1e-3)
    np.testing.assert_allclose(track.shape, MEAN, atol=0.2)


def test_noise_of_landmarks_does_not_shake_the_glasses():
    clip, _ = moving_clip(frames=30, turn=0, noise=0.8)
    track = track_head(clip)
    mesh = seat(glasses_mesh(GlassesDesign()), track.shape, np.random.default_rng(0))
    front = mesh.vertices[mesh.part == LENS][::40]
    path = np.stack([track.to_pixels(t, front)[:, :2] for t in range(len(clip))])
    steps = np.linalg.norm(np.diff(path, axis=0), axis=-1)
    assert steps.mean() < 0.3


def test_head_and_pixel_coordinates_are_inverse():
    clip, _ = moving_clip()
    track = track_head(clip)
    np.testing.assert_allclose(track.to_head(3, track.to_pixels(3, MEAN)), MEAN, atol=1e-6)


def test_one_and_two_frames_are_followed():
    clip, _ = moving_clip(frames=2)
    assert len(track_head(clip).scale) == 2
    assert len(track_head(clip.select(np.array([0]))).scale) == 1


def test_a_frame_without_the_face_is_refused():
    clip, _ = moving_clip(frames=3)
    landmarks = clip.landmarks.copy()
    landmarks[1] = np.nan
    with pytest.raises(InputError, match=r"clip\.present"):
        track_head(replace(clip, landmarks=landmarks))


def test_sparse_landmarks_are_refused():
    topology = load_topology("ibug68")
    clip = FaceClip(np.zeros((1, 8, 8, 3), np.uint8), np.zeros((1, 68, 3), np.float32), topology, np.zeros(1))
    with pytest.raises(InputError, match="mediapipe"):
        track_head(clip)


@pytest.mark.parametrize("seed", range(12))
def test_glasses_sit_before_the_eyes_on_the_nose(seed):
    rng = np.random.default_rng(seed)
    mesh = seat(glasses_mesh(random_design(rng)), MEAN, rng)
    for side, iris in zip((-1, 1), IRISES):
        lens = mesh.vertices[(mesh.part == LENS) & (mesh.side == side)]
        low, high = lens.min(axis=0), lens.max(axis=0)
        assert low[0] < MEAN[iris, 0] < high[0]
        assert low[1] < MEAN[iris, 1] < high[1]
        assert MEAN[iris, 1] < (low[1] + high[1]) / 2 + 1.5  # the pupil is not in the lower half
        near = lens[np.linalg.norm(lens[:, :2] - MEAN[iris, :2], axis=1).argmin(), 2]
        assert 7.9 < MEAN[LIDS, 2].min() - near < 18.5
    bridge = mesh.vertices[mesh.part == PARTS.index("bridge")]
    assert abs(bridge[:, 0].mean() - MEAN[168, 0]) < 2
    assert np.ptp(mesh.vertices[mesh.part == LENS, 0]) < 1.1 * np.ptp(MEAN[:, 0])


@pytest.mark.parametrize("seed", range(6))
def test_temples_reach_the_sides_of_the_head(seed):
    rng = np.random.default_rng(seed)
    mesh = seat(glasses_mesh(random_design(rng)), MEAN, rng)
    for side, landmark in ((-1, 127), (1, 356)):
        temple = mesh.vertices[(mesh.part == PARTS.index("temple")) & (mesh.side == side)]
        beside = temple[np.abs(temple[:, 2] - MEAN[landmark, 2]) < 10]
        out = side * (beside[:, 0] - MEAN[landmark, 0])
        assert -3 < out.min() < 6
        assert np.abs(beside[:, 1] - MEAN[landmark, 1]).min() < 20


@pytest.mark.parametrize("factor", [0.85, 1.0, 1.2])
def test_the_front_is_made_to_fit_the_head(factor):
    shape = MEAN * [factor, 1, 1]
    mesh = seat(glasses_mesh(GlassesDesign()), shape, np.random.default_rng(0))
    front = mesh.vertices[np.isin(mesh.part, [PARTS.index(n) for n in ("rim", "bridge", "hinge", "lens")])]
    share = np.ptp(front[:, 0]) / (shape[356, 0] - shape[127, 0])
    assert BREADTH[0] - 0.02 < share < BREADTH[1] + 0.02


def test_the_seat_is_decided_by_the_generator():
    mesh = glasses_mesh(GlassesDesign())
    one, same, other = (seat(mesh, MEAN, np.random.default_rng(seed)).vertices for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 0.1


@pytest.mark.parametrize("frames", [5, 6, 40])
def test_poses_are_smoothed_as_by_savitzky_and_golay(frames):
    from scipy.signal import savgol_filter

    values = np.random.default_rng(0).normal(scale=100, size=(frames, 3))
    np.testing.assert_allclose(parabolic(values, 5), savgol_filter(values, 5, 2, axis=0), rtol=1e-12, atol=1e-12)
