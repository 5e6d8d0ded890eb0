"""Draw clips of heads with exactly known landmarks. Needs no model and no file."""

from __future__ import annotations

import numpy as np

from toolkit.faces.topology import load_topology
from toolkit.task import FaceClip

EYE_DISTANCE = 0.3
"""Distance between the outer eye corners as a share of the height of the frame."""

_SKIN = np.array([205, 160, 135], np.float32)
_LIGHT = np.array([-0.4, -0.5, -0.77], np.float32)  # from the upper left, on the viewer's side


def synthetic_clip(frames: int = 6, size: int = 128, faces: int = 1, seed: int = 0) -> FaceClip:
    """A drawn head that turns from one side to the other, in front of a blurred background.

    Args:
        frames: number of frames T.
        size: height in pixels; the width is `faces` times as much.
        faces: number of heads, side by side; the landmarks belong to the leftmost.
        seed: seed of the background, the skin and the movement.

    Returns:
        A clip with uint8 ``[T, size, faces * size, 3]`` frames and the topology ``mediapipe478``.
    """
    return _clips(frames, size, faces, seed)[0]


def two_face_clips(frames: int = 6, size: int = 128, seed: int = 0) -> tuple[FaceClip, FaceClip]:
    """Two clips with the same frames, each with the landmarks of one of the two faces."""
    first, second = _clips(frames, size, 2, seed)
    return first, second


def no_face_clip(frames: int = 6, size: int = 128, seed: int = 0) -> FaceClip:
    """A clip of background only; all landmarks are NaN."""
    rng = np.random.default_rng(seed)
    pictures = np.repeat(_background(size, size, rng)[None], frames, axis=0)
    topology = load_topology("mediapipe478")
    landmarks = np.full((frames, topology.count, 3), np.nan, np.float32)
    return _clip(pictures, landmarks, "no face")


def _clips(frames: int, size: int, faces: int, seed: int) -> list[FaceClip]:
    rng = np.random.default_rng(seed)
    background = _background(size, size * faces, rng)
    texture = _smooth_noise((size, size * faces), size / 6, rng)
    heads = [_movement(frames, size, size * (face + 0.5), rng) for face in range(faces)]
    pictures = np.stack([_draw(background, texture, [head[t] for head in heads]) for t in range(frames)])
    return [_clip(pictures, head, f"synthetic head {face}") for face, head in enumerate(heads)]


def _clip(pictures: np.ndarray, landmarks: np.ndarray, source: str) -> FaceClip:
    height, width = pictures.shape[1:3]
    box = np.array([0, 0, width, height], np.float32)
    times = np.arange(len(pictures)) / 25
    return FaceClip(pictures, landmarks, load_topology("mediapipe478"), times, 0, box, source, source)


def _movement(frames: int, size: int, centre_x: float, rng: np.random.Generator) -> np.ndarray:
    """Landmarks float32 ``[T, N, 3]`` of the mean face, which turns by up to 14 degrees and shifts slightly."""
    mean = load_topology("mediapipe478").mean
    phase = rng.uniform(0, 2 * np.pi)
    turn = np.sin(phase + np.linspace(0, np.pi, frames))
    result = np.empty((frames, len(mean), 3), np.float32)
    for t in range(frames):
        yaw, pitch = np.radians(14 * turn[t]), np.radians(5 * turn[t])
        about_y = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
        about_x = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
        centre = [centre_x + 0.03 * size * turn[t], size / 2, 0]
        result[t] = mean @ (about_x @ about_y).T * (EYE_DISTANCE * size) + centre
    return result


def _smooth_noise(shape: tuple[int, int], sigma: float, rng: np.random.Generator) -> np.ndarray:
    import cv2

    noise = cv2.GaussianBlur(rng.standard_normal(shape).astype(np.float32), (0, 0), sigma)
    return noise / np.abs(noise).max()


def _background(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    colour = rng.uniform(70, 150, 3).astype(np.float32)
    picture = colour + 40 * np.stack([_smooth_noise((height, width), height / 4, rng) for _ in range(3)], axis=-1)
    return np.clip(picture, 0, 255).astype(np.uint8)


def _draw(background: np.ndarray, texture: np.ndarray, heads: list[np.ndarray]) -> np.ndarray:
    """Draw at three times the size and average, which antialiases the edges."""
    import cv2

    fine = 3
    height, width = background.shape[:2]
    picture = cv2.resize(background, (width * fine, height * fine), interpolation=cv2.INTER_LINEAR)
    face = np.zeros(picture.shape[:2], np.uint8)
    topology = load_topology("mediapipe478")
    for head in heads:
        points = head * fine
        low, high = points[:, :2].min(0), points[:, :2].max(0)
        middle, axes = (low + high) / 2, (high - low) / 2 * [1.08, 1.16]
        for target, colour in ((picture, (_SKIN * 0.8).tolist()), (face, 255)):
            cv2.ellipse(
                target, np.rint(middle).astype(int).tolist(), np.rint(axes).astype(int).tolist(), 0, 0, 360, colour, -1
            )
        _fill_mesh(picture, points, topology.triangles)
    picture = cv2.GaussianBlur(picture, (0, 0), 2.5 * height * fine / 384)
    for head in heads:
        _draw_features(picture, head * fine, topology.regions)
    picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
    skin = cv2.resize(face, (width, height), interpolation=cv2.INTER_AREA)[..., None] / np.float32(255)
    return np.clip(picture + 10 * texture[..., None] * skin, 0, 255).astype(np.uint8)


def _fill_mesh(picture: np.ndarray, points: np.ndarray, triangles: np.ndarray) -> None:
    """Draw flat-shaded triangles, the farthest first."""
    import cv2

    corners = points[triangles]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-9
    normals *= -np.sign(normals[:, 2:])  # either winding may occur; the viewer sees the side with negative z
    shade = 0.55 + 0.5 * np.clip(normals @ _LIGHT / np.linalg.norm(_LIGHT), 0, 1)
    for index in np.argsort(-corners[..., 2].mean(1)):
        polygon = np.rint(corners[index, :, :2]).astype(np.int32)
        cv2.fillConvexPoly(picture, polygon, (_SKIN * shade[index]).tolist())


def _draw_features(picture: np.ndarray, points: np.ndarray, regions) -> None:
    import cv2

    def polygon(region: str) -> np.ndarray:
        return np.rint(points[regions[region], :2]).astype(np.int32)

    for side in ("left", "right"):
        cv2.fillPoly(picture, [polygon(f"{side}_eye")], (235, 232, 228), cv2.LINE_AA)
        eye = np.zeros(picture.shape[:2], np.uint8)
        cv2.fillPoly(eye, [polygon(f"{side}_eye")], 1)
        iris = np.zeros_like(eye)
        cv2.fillConvexPoly(iris, cv2.convexHull(polygon(f"{side}_iris")), 1)
        picture[(eye & iris) > 0] = (70, 50, 40)
        cv2.fillPoly(picture, [polygon(f"{side}_brow")], (85, 60, 50), cv2.LINE_AA)
    cv2.fillPoly(picture, [polygon("lips")], (175, 85, 85), cv2.LINE_AA)
    cv2.fillPoly(picture, [polygon("lips_inner")], (110, 45, 50), cv2.LINE_AA)
