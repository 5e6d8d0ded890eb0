"""Face mesh with the models in the mediapipe wheel (``mediapipe.solutions``, releases up to 0.10.21)."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from operator import attrgetter
from types import ModuleType
from typing import Any

import numpy as np

from toolkit.imports import uncollected
from toolkit.native_logs import hidden

SEARCH_EVERY = 5
"""While no near face is found, far faces are searched for every this many frames."""

CROP_SIDE = 256
"""Pixels; side of the enlarged crop in which the mesh is fitted to a far face."""

CROP_FACES = 2.2
"""Side of that crop in face sizes; the near detector needs some surroundings."""

_xyz = attrgetter("x", "y", "z")


def import_mediapipe() -> Any:
    """The mediapipe module."""
    with hidden(), uncollected(), _matplotlib_later():
        import mediapipe
    # mediapipe keeps the error of an import that failed. Its traceback would keep every caller's objects alive.
    audio = sys.modules.get("mediapipe.tasks.python.audio.core.audio_record")
    error = getattr(audio, "sd_error", None)
    if isinstance(error, BaseException):
        error.__traceback__ = error.__context__ = None
    return mediapipe


@contextmanager
def _matplotlib_later() -> Iterator[None]:
    """Delay the import of matplotlib, with which mediapipe draws, to its first use: it takes longer than the rest."""
    names = ("matplotlib", "matplotlib.pyplot")
    if any(name in sys.modules for name in (*names, "mediapipe")):
        yield
        return
    package, pyplot = (_Later(name) for name in names)
    package.__dict__["pyplot"] = pyplot
    sys.modules.update(zip(names, (package, pyplot)))
    try:
        yield
    finally:
        for name, module in zip(names, (package, pyplot)):
            if sys.modules.get(name) is module:
                del sys.modules[name]


class _Later(ModuleType):
    """Stands for a module of this name, which is imported when an attribute is used."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # looked up by the import system
            raise AttributeError(name)
        return getattr(import_module(self.__name__), name)


class Solution:
    """One of mediapipe's solutions, such as ``FaceMesh``, without its native log lines.

    Its graph, with its threads and memory, ends when this object does.

    Args:
        build: creates the solution.
    """

    def __init__(self, build: Callable[[], Any]):
        with hidden():
            self._solution = build()
            self._wait()
        self._end = weakref.finalize(self, _close, self._solution)

    def process(self, frame: np.ndarray) -> Any:
        """The solution's result for an RGB frame, uint8 ``[H, W, 3]``."""
        with hidden():
            return self._solution.process(frame)

    def reset(self) -> None:
        with hidden():
            self._solution.reset()
            self._wait()

    def close(self) -> None:
        self._end()

    def _wait(self) -> None:
        # The graph opens in threads, whose log lines would otherwise come after the call that started them.
        self._solution._graph.wait_until_idle()


def _close(solution: Any) -> None:
    with hidden():
        solution.close()


def to_pixels(landmarks: Iterable[Any], width: float, height: float) -> np.ndarray:
    """Convert normalised MediaPipe landmarks to float32 ``[N, 3]`` in pixels; MediaPipe's z has the scale of x."""
    points = np.array([*map(_xyz, landmarks)], np.float32)
    return points * np.array([width, height, width], np.float32)


class SolutionsMesh:
    """Landmarks of near faces, followed over the video; if there are none, of far faces."""

    def __init__(self, max_faces: int):
        self._solutions = import_mediapipe().solutions
        self._near = Solution(
            lambda: self._solutions.face_mesh.FaceMesh(
                static_image_mode=False, max_num_faces=max_faces, refine_landmarks=True
            )
        )
        self._far: FarFaces | None = None

    def landmarks(self, frame: np.ndarray) -> list[np.ndarray]:
        """float32 ``[478, 3]`` in pixels for every face found."""
        height, width = frame.shape[:2]
        found = self._near.process(frame).multi_face_landmarks
        if found:
            if self._far is not None:
                self._far.reset()
            return [to_pixels(face.landmark, width, height) for face in found]
        if self._far is None:
            self._far = FarFaces(self._solutions)
        return self._far.landmarks(frame)

    def reset(self) -> None:
        self._near.reset()
        if self._far is not None:
            self._far.reset()

    def close(self) -> None:
        self._near.close()
        if self._far is not None:
            self._far.close()


class SolutionsDetector:
    """Scores of the detector for near faces."""

    def __init__(self) -> None:
        solutions = import_mediapipe().solutions
        self._detector = Solution(
            lambda: solutions.face_detection.FaceDetection(min_detection_confidence=0.2, model_selection=0)
        )

    def scores(self, picture: np.ndarray) -> list[tuple[float, np.ndarray]]:
        """Score in 0..1, and the centre ``[2]`` in 0..1, of each face in an RGB picture, uint8 ``[H, W, 3]``."""
        found = []
        for detection in self._detector.process(picture).detections or ():
            box = detection.location_data.relative_bounding_box
            centre = np.array([box.xmin + box.width / 2, box.ymin + box.height / 2])
            found.append((float(detection.score[0]), centre))
        return found

    def close(self) -> None:
        self._detector.close()


class FarFaces:
    """Faces too small for the mesh's own detector, which sees the frame at 128 pixels.

    The full-range detector searches for them every few frames. The mesh is fitted in an enlarged crop around each face,
    and the crop follows the landmarks.
    """

    def __init__(self, solutions: Any):
        self._detector = Solution(
            lambda: solutions.face_detection.FaceDetection(min_detection_confidence=0.5, model_selection=1)
        )
        # Static mode: every crop moves and scales, so tracking from crop to crop would fail.
        self._mesh = Solution(
            lambda: solutions.face_mesh.FaceMesh(static_image_mode=True, max_num_faces=1, refine_landmarks=True)
        )
        self.reset()

    def reset(self) -> None:
        self._squares: list[np.ndarray] = []
        self._frame = 0

    def close(self) -> None:
        self._detector.close()
        self._mesh.close()

    def landmarks(self, frame: np.ndarray) -> list[np.ndarray]:
        """float32 ``[478, 3]`` in pixels for every far face."""
        squares = list(self._squares)
        if self._frame % SEARCH_EVERY == 0:
            for square in self._detect(frame):
                if not any(_within(square, known) for known in squares):
                    squares.append(square)
        self._frame += 1
        found = [points for square in squares if (points := self._fit(frame, square)) is not None]
        self._squares = [_square(points[:, :2].min(axis=0), points[:, :2].max(axis=0)) for points in found]
        return found

    def _detect(self, frame: np.ndarray) -> list[np.ndarray]:
        squares = []
        for x0, y0, side in _tiles(*frame.shape[:2]):
            tile = np.ascontiguousarray(frame[y0 : y0 + side, x0 : x0 + side])
            for detection in self._detector.process(tile).detections or ():
                box = detection.location_data.relative_bounding_box
                low = np.array([box.xmin, box.ymin], np.float32) * side + np.array([x0, y0], np.float32)
                squares.append(_square(low, low + np.array([box.width, box.height], np.float32) * side))
        return squares

    def _fit(self, frame: np.ndarray, square: np.ndarray) -> np.ndarray | None:
        import cv2

        x, y, side = (float(v) for v in square)
        scale = CROP_SIDE / side
        # Pixel centres lie at half coordinates in the landmarks and at whole ones in warpAffine.
        shift = 0.5 * scale - 0.5
        matrix = np.array([[scale, 0, shift - x * scale], [0, scale, shift - y * scale]], np.float64)
        crop = cv2.warpAffine(frame, matrix, (CROP_SIDE, CROP_SIDE), flags=cv2.INTER_LINEAR)
        faces = self._mesh.process(crop).multi_face_landmarks
        if not faces:
            return None
        points = to_pixels(faces[0].landmark, side, side)
        return points + np.array([x, y, 0], np.float32)


def _tiles(height: int, width: int) -> list[tuple[int, int, int]]:
    """x, y, side of squares that cover the frame and overlap by at least half.

    The detector sees 192 x 192 pixels; square tiles need no border.
    """
    side, excess = min(height, width), abs(width - height)
    starts = np.linspace(0, excess, -(-2 * excess // side) + 1).astype(int)
    return [(int(s), 0, side) if width > height else (0, int(s), side) for s in starts]


def _square(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """x, y, side of the square crop around a face's box."""
    side = max(CROP_FACES * float((high - low).max()), 1.0)
    return np.array([*((low + high - side) / 2), side], np.float32)


def _within(square: np.ndarray, other: np.ndarray) -> bool:
    """Whether the centre of a square lies within the face in the middle of another square."""
    distance = np.abs(square[:2] + square[2] / 2 - other[:2] - other[2] / 2).max()
    return bool(distance < other[2] / CROP_FACES / 2)
