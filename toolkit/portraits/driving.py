"""Tracks head poses, expressions and blinks in videos, so that synthetic people can move in the same way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from toolkit.errors import InputError
from toolkit.files import atomic, sha256_of
from toolkit.portraits.relief import Pose

FPS = 25

SHORTEST = 16
"""Fewest frames of a movement."""

LIMITS = np.radians([45, 22, 22])
"""Largest yaw, pitch and roll: beyond them, a portrait would show parts that its camera did not see."""

UPPER = np.array([246, 161, 160, 159, 158, 157, 173, 466, 388, 387, 386, 385, 384, 398])
LOWER = np.array([7, 163, 144, 145, 153, 154, 155, 249, 390, 373, 374, 380, 381, 382])
"""Landmarks on the edges of the upper and lower lids, in pairs that meet when an eye closes."""

UPPER_LIP = np.array([191, 80, 81, 82, 13, 312, 311, 310, 415])
LOWER_LIP = np.array([95, 88, 178, 87, 14, 317, 402, 318, 324])
"""Landmarks on the inner edges of the lips, in pairs that meet when the mouth closes."""

NEAR = 0.06
"""Distance, in face widths, within which skin follows lids and lips."""

OPENING = 0.06
"""Largest gap between the lips in face widths, because a portrait does not show what is behind them."""


@dataclass(frozen=True, eq=False)
class Movement:
    """How one face moves, at 25 frames per second.

    Attributes:
        angles: float32 ``[T, 3]``, yaw, pitch and roll in radians, as in `Pose`.
        shifts: float32 ``[T, 2]``, offset of the head from its median position, in face widths.
        scales: float32 ``[T]``, size of the head divided by its median size.
        changes: float32 ``[T, 478, 3]``, offset of each landmark from the face at rest, in face widths; frontal.
    """

    angles: np.ndarray
    shifts: np.ndarray
    scales: np.ndarray
    changes: np.ndarray

    def __len__(self) -> int:
        return len(self.angles)

    def poses(self, start: int, frames: int, width: float) -> list[Pose]:
        """Poses of some frames.

        Args:
            start: the first frame.
            frames: number of frames.
            width: width of the face, as a share of the canvas.
        """
        return [Pose.of(self.angles[k], self.shifts[k] * width, self.scales[k]) for k in range(start, start + frames)]


def track_movements(video: Path) -> list[Movement]:
    """Track the largest face of a video; each uninterrupted track becomes one movement.

    Raises:
        InputError: the video cannot be read.
    """
    from toolkit.faces.config import FaceConfig, build_analyser
    from toolkit.faces.smoothing import smooth_landmarks
    from toolkit.video import SceneCutDetector, read_frames

    analyser, cuts = build_analyser(FaceConfig(max_faces=1)), SceneCutDetector()
    tracks: list[list[tuple[float, np.ndarray]]] = [[]]
    try:
        for frame in read_frames(video, max_side=1280):
            if cuts.update(frame.image):
                analyser.reset()
                tracks.append([])
            faces = analyser.analyse(frame.image)
            if faces:
                tracks[-1].append((frame.time, faces[0].landmarks))
            elif tracks[-1]:
                tracks.append([])
        mean = analyser.topology.mean
    finally:
        analyser.close()
    movements = []
    for track in tracks:
        if len(track) < 2:
            continue
        times = np.array([time for time, _ in track])
        landmarks = smooth_landmarks(np.stack([points for _, points in track]), times)
        evenly = np.arange(times[0], times[-1], 1 / FPS)
        if len(evenly) >= SHORTEST:
            movements.append(_movement(_resampled(landmarks, times, evenly), mean))
    return movements


def load_movements(videos: Sequence[Path], cache: Path) -> list[Movement]:
    """Load the movements of some videos, from the cache if they were tracked before.

    Args:
        videos: videos of faces.
        cache: folder that keeps the results; it must exist.

    Raises:
        InputError: a video cannot be read, or none of them shows a face for long enough.
    """
    found: list[Movement] = []
    for video in videos:
        try:
            path = cache / f"movement-{sha256_of(video)[:16]}.npz"
        except OSError as error:
            raise InputError(f"the video {video} cannot be read: {error.strerror}") from error
        if not path.is_file():
            arrays: dict[str, np.ndarray] = {}
            for number, movement in enumerate(track_movements(video)):
                arrays |= {f"{name}-{number}": value for name, value in vars(movement).items()}
            with atomic(path, durable=True) as staged:
                np.savez(staged, **arrays)
        with np.load(path) as saved:
            names = Movement.__dataclass_fields__
            count = len(saved.files) // len(names)
            found += [Movement(**{name: saved[f"{name}-{k}"] for name in names}) for k in range(count)]
    if videos and not found:
        raise InputError(f"the driving videos show no face for {SHORTEST / FPS:.1f} seconds; choose others")
    return found


def _resampled(landmarks: np.ndarray, times: np.ndarray, evenly: np.ndarray) -> np.ndarray:
    from scipy.interpolate import interp1d

    return interp1d(times, landmarks, axis=0)(evenly)


def _movement(landmarks: np.ndarray, mean: np.ndarray) -> Movement:
    """Separate the motion of the head from that of the face.

    Args:
        landmarks: ``[T, 478, 3]`` in pixels.
        mean: float ``[478, 3]``, the frontal mean face of the mesh.
    """
    from scipy.spatial.transform import Rotation

    still = _still_points()
    heads = []
    for points in landmarks:
        turn, scale, shift = _similarity(mean[still], points[still])
        yaw, pitch, roll = Rotation.from_matrix(turn).as_euler("yxz")
        heads.append(((-yaw, pitch, roll), (points - shift) @ turn / scale, points[still, :2].mean(axis=0), scale))
    angles, frontal, centres, scales = (np.array(values) for values in zip(*heads))
    width, usual = float(np.ptp(mean[:, 0])), np.median(scales)
    # Half of a lasting turn is kept; the rest is taken for the position of the camera.
    angles = np.clip(angles - 0.5 * np.median(angles, axis=0), -LIMITS, LIMITS)
    return Movement(
        angles=angles.astype(np.float32),
        shifts=((centres - np.median(centres, axis=0)) / (usual * width)).clip(-0.3, 0.3).astype(np.float32),
        scales=(scales / usual).clip(0.85, 1.15).astype(np.float32),
        changes=((frontal - _rest(frontal)) / width).astype(np.float32),
    )


def _rest(frontal: np.ndarray) -> np.ndarray:
    """The face at rest, ``[478, 3]``: eyes open and lips closed, as in portraits."""
    eyes = (frontal[:, LOWER, 1] - frontal[:, UPPER, 1]).mean(axis=1)
    lips = (frontal[:, LOWER_LIP, 1] - frontal[:, UPPER_LIP, 1]).mean(axis=1)
    open_eyed = eyes >= np.median(eyes)
    return np.median(frontal[open_eyed & (lips <= np.quantile(lips[open_eyed], 0.3))], axis=0)


def fitting(landmarks: np.ndarray, change: np.ndarray) -> np.ndarray:
    """Adapt a change of landmarks from another face, so that lids and lips of this face close without overlapping.

    Args:
        landmarks: float32 ``[478, 3]`` of a frontal face in pixels.
        change: offsets of the same shape, in pixels.

    Returns:
        The adapted offsets.
    """
    change = change.copy()
    width = np.ptp(landmarks[:468, 0])
    for upper, lower, least, most in (
        (UPPER, LOWER, 0.15, np.inf),
        (UPPER_LIP, LOWER_LIP, 1.0, OPENING * width),
    ):
        before = np.maximum(landmarks[lower, 1] - landmarks[upper, 1], 0)
        after = before + change[lower, 1] - change[upper, 1]
        surplus = np.clip(after, least * before, before + most) - after
        edges, moves = np.concatenate([lower, upper]), np.concatenate([surplus, -surplus]) / 2
        # Skin near the edges moves with them, or it would fold.
        near, distance = _nearest(landmarks[:, :2], landmarks[edges, :2])
        change[:, 1] += moves[near] * np.exp(-((distance / (NEAR * width)) ** 2))
    return change


def _nearest(points: np.ndarray, among: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Index in `among` and distance of the nearest neighbour of each point."""
    from scipy.spatial import cKDTree

    distance, index = cKDTree(among).query(points)
    return index, distance


def _still_points() -> np.ndarray:
    """Landmarks that expressions do not move: forehead, bridge of the nose, temples, cheekbones."""
    return np.array([10, 67, 109, 151, 297, 338, 6, 168, 197, 195, 5, 21, 54, 127, 162, 234, 251, 284, 356, 389, 454])


def _similarity(source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
    """Rotation, scale and shift that best align `source` with `target`, both ``[N, 3]`` (Umeyama, 1991)."""
    from scipy.spatial.transform import Rotation

    a, b = source - source.mean(axis=0), target - target.mean(axis=0)
    turn = Rotation.align_vectors(b, a)[0].as_matrix()
    scale = float((b * (a @ turn.T)).sum() / (a**2).sum())
    return turn, scale, target.mean(axis=0) - scale * source.mean(axis=0) @ turn.T
