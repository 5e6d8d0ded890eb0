"""Track the rigid motion of a head over a clip, and place glasses on the person's nose.

Head coordinates are those of `Topology.mean` in millimetres (x to the picture's right, y down, z away from the
viewer), with the outer eye corners 90 mm apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from attributes.glasses.geometry import PARTS, GlassesMesh
from toolkit.errors import InputError
from toolkit.task import FaceClip

EYE_DISTANCE = 90.0
"""Distance between the outer eye corners in millimetres, which varies little between adults."""

# Landmarks of mediapipe that move with the skull: nose bridge, forehead, temples, cheekbones, eye corners.
# fmt: off
STABLE = np.array([
    6, 168, 197, 195, 8, 9, 122, 351, 193, 417, 10, 151, 67, 297, 103, 332, 54, 284, 21, 251, 162, 389, 127, 356,
    234, 454, 116, 345, 117, 346, 111, 340, 123, 352, 33, 263, 133, 362,
])
# fmt: on
SIDES = {-1: (127, 234), 1: (356, 454)}
"""Landmarks in front of the ear, by side of the picture."""

LIDS = np.array([159, 145, 386, 374])
IRISES = np.array([468, 473])

WINDOW = 5
"""Frames of the Savitzky-Golay filter, which follows turns without lag and without flattening them."""

BREADTH = (0.93, 1.06)
"""Range of the front's width divided by the head's width at the ears. People choose glasses that fit."""

CLEARANCE = 0.6
"""Least distance between the front of the frame and the skin, in millimetres."""

LOW_ON_THE_NOSE = 4.0
"""Factor on how far glasses slide beyond 2.4 mm."""

VERTEX_DISTANCE = (8.0, 17.5)
"""Range of the distance between lids and lenses, in millimetres."""


@dataclass(frozen=True, eq=False)
class HeadTrack:
    """Motion of a head over a clip: ``pixels = scale * rotation @ millimetres + translation``.

    Attributes:
        rotation: float64 ``[T, 3, 3]``.
        translation: float64 ``[T, 3]`` in pixels of the frames.
        scale: float64 ``[T]``, pixels per millimetre.
        shape: float64 ``[N, 3]``, the person's landmarks in head coordinates, as the median over the clip.
    """

    rotation: np.ndarray
    translation: np.ndarray
    scale: np.ndarray
    shape: np.ndarray

    def to_pixels(self, t: int, points: np.ndarray) -> np.ndarray:
        """Head coordinates ``[V, 3]`` -> pixels ``[V, 3]`` of frame `t`."""
        return self.scale[t] * points @ self.rotation[t].T + self.translation[t]

    def to_head(self, t: int, points: np.ndarray) -> np.ndarray:
        """Pixels ``[V, 3]`` of frame `t` -> head coordinates."""
        return (points - self.translation[t]) / self.scale[t] @ self.rotation[t]


def track_head(clip: FaceClip) -> HeadTrack:
    """Track the head of a clip.

    Raises:
        InputError: a frame does not show the face, or the analyser has no dense mesh.
    """
    if clip.topology.name != "mediapipe478":
        raise InputError(
            f"drawing glasses needs the 478 landmarks of the mediapipe analyser, found those of {clip.topology.name}: "
            "use --analyser mediapipe"
        )
    if not clip.present.all():
        raise InputError("glasses can only be drawn on frames that show the face: select these with clip.present")
    points = clip.landmarks.astype(np.float64)
    mean = clip.topology.mean.astype(np.float64) * EYE_DISTANCE
    rotation, translation, scale = _align(mean[STABLE], points[:, STABLE])
    for _ in range(2):
        local = np.einsum("tni,tij->tnj", (points - translation[:, None]) / scale[:, None, None], rotation)
        shape = np.median(local, axis=0)
        # The median shape may drift from the mean face in size and pose; align it again.
        r, move, size = (value[0] for value in _align(mean[STABLE], shape[None, STABLE]))
        shape = (shape - move) / size @ r
        rotation, translation, scale = _align(shape[STABLE], points[:, STABLE])
    rotation, translation, scale = _smooth(rotation, translation, scale)
    return HeadTrack(rotation, translation, scale, shape)


def _align(source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Least-squares similarity from points ``[N, 3]`` to each of ``[T, N, 3]`` (Umeyama 1991)."""
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=1)
    a, b = source - source_mean, target - target_mean[:, None]
    u, s, vt = np.linalg.svd(np.einsum("tni,nj->tij", b, a))
    sign = np.ones_like(s)
    sign[:, 2] = np.sign(np.linalg.det(u @ vt))
    rotation = u * sign[:, None] @ vt
    scale = np.maximum((s * sign).sum(axis=1) / (a**2).sum(), 1e-6)
    translation = target_mean - scale[:, None] * (rotation @ source_mean)
    return rotation, translation, scale


def _smooth(rotation: np.ndarray, translation: np.ndarray, scale: np.ndarray):
    from scipy.spatial.transform import Rotation

    window = min(WINDOW, (len(scale) - 1) // 2 * 2 + 1)
    if window < 5:
        return rotation, translation, scale
    turns = Rotation.from_matrix(rotation)
    middle = turns.mean()
    vectors = parabolic((middle.inv() * turns).as_rotvec(), window)
    smooth = (middle * Rotation.from_rotvec(vectors)).as_matrix()
    return smooth, parabolic(translation, window), np.exp(parabolic(np.log(scale)[:, None], window)[:, 0])


def parabolic(values: np.ndarray, window: int) -> np.ndarray:
    """Each value ``[T, C]`` from a parabola fitted to the `window` values around it, or at the ends, nearest to it.

    Equals ``scipy.signal.savgol_filter(values, window, 2, axis=0)``, whose import takes 0.7 s.

    Args:
        window: an odd number of frames, at most T.
    """
    from scipy.ndimage import convolve1d

    half = window // 2
    offsets = np.arange(-half, half + 1, dtype=np.float64)
    middle = np.linalg.lstsq(offsets[::-1] ** np.arange(3)[:, None], np.array([1.0, 0, 0]), rcond=None)[0]
    smooth = convolve1d(values, middle, axis=0, mode="constant")
    steps = np.arange(window, dtype=np.float64)
    for part, ends in ((np.s_[:window], np.s_[:half]), (np.s_[-window:], np.s_[-half:])):
        fitted = np.polyfit(steps, values[part], 2)
        smooth[part][ends] = np.polyval(fitted[:, None], steps[ends][:, None])
    return smooth


def seat(mesh: GlassesMesh, shape: np.ndarray, rng: np.random.Generator) -> GlassesMesh:
    """Put glasses on a head: set size, height, distance and a slight tilt, and lay the temples along the head.

    Args:
        mesh: glasses in their own coordinates.
        shape: `HeadTrack.shape`.
        rng: draws how far they have slid down, and their tilt.

    Returns:
        The same mesh with vertices and normals in head coordinates.
    """
    from dataclasses import replace

    from scipy.interpolate import LinearNDInterpolator
    from scipy.spatial.transform import Rotation

    rigid = np.isin(mesh.part, [PARTS.index(name) for name in ("rim", "bridge", "hinge", "lens")])
    share = np.ptp(mesh.vertices[rigid, 0]) / (shape[SIDES[1][0], 0] - shape[SIDES[-1][0], 0])
    size = np.clip(share, *BREADTH) / share
    roll = Rotation.from_euler("z", np.clip(rng.normal(0, 0.5), -1.5, 1.5), degrees=True)
    slide = abs(rng.normal(0, 1.5))
    slide = float(np.clip(slide + LOW_ON_THE_NOSE * max(slide - 2.4, 0), 0, 12))  # one in nine is further down
    points = roll.apply(mesh.vertices.astype(np.float64)) * size
    lens = mesh.part == PARTS.index("lens")
    front = lens | np.isin(mesh.part, [PARTS.index("rim"), PARTS.index("bridge")])
    eyes = shape[IRISES]
    low, high = points[lens, 1].min(), points[lens, 1].max()
    # Opticians centre the pupil slightly above the middle of the lens, more so in tall lenses.
    points[:, 1] += eyes[:, 1].mean() + 0.07 * (high - low) + slide - (low + high) / 2
    points[:, 0] += shape[[168, 6, 197], 0].mean()
    skin = LinearNDInterpolator(shape[:468, :2], shape[:468, 2])(points[front, :2])
    room = skin - CLEARANCE - points[front, 2]
    # A few points may touch: skin yields, and landmarks are only accurate to a millimetre.
    contact = np.nanpercentile(room, 2) if np.isfinite(room).any() else 0.0
    before = [points[lens][np.linalg.norm(points[lens, :2] - eye[:2], axis=1).argmin(), 2] for eye in eyes]
    to_lids = shape[LIDS, 2].min() - max(before)
    near, far = VERTEX_DISTANCE
    points[:, 2] += np.clip(contact, to_lids - far, to_lids - near)
    _lead_temples(points, mesh, shape)
    return replace(mesh, vertices=points.astype(np.float32), normals=roll.apply(mesh.normals).astype(np.float32))


def _lead_temples(points: np.ndarray, mesh: GlassesMesh, shape: np.ndarray) -> None:
    """Bend the temples in place until they touch the head in front of the ears, at the height of the ear's root."""
    for side, (upper, lower) in SIDES.items():
        temple = np.flatnonzero((mesh.part == PARTS.index("temple")) & (mesh.side == side))
        if not len(temple):
            continue
        along = points[temple]
        hinge = along[:, 2].min()
        goal = shape[upper]
        reach = max(goal[2] - hinge, 20.0)
        near = np.abs(along[:, 2] - goal[2]) < 12
        section = along[near] if near.any() else along
        inner = (section[:, 0] * side).min()
        bend = np.clip((goal[0] * side + 0.8 - inner) / reach, -0.16, 0.16)
        ear = goal[1] - 0.45 * (shape[lower, 1] - goal[1])  # the root of the ear is slightly above the landmark
        drop = np.clip((ear - section[:, 1].mean()) / reach, -0.12, 0.12)
        behind = along[:, 2] - hinge
        points[temple, 0] += side * bend * behind
        points[temple, 1] += drop * behind
