"""The embedded default analyser: MediaPipe's face mesh, 478 points with irises.

Models and graphs: Kartynnik et al., "Real-time Facial Surface Geometry from Monocular Video on Mobile GPUs" (2019), and
Grishchenko et al., "Attention Mesh" (2020).
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

from toolkit.errors import MissingExtra
from toolkit.faces.topology import load_topology
from toolkit.faces.types import Face

MIN_FRAME_SIDE = 16
"""px; no face is looked for in a smaller frame."""

MIN_FACE_SIDE = 12.0
"""px; a smaller set of landmarks is noise, not a face."""

MIN_INSIDE = 1 / 3
"""Smallest part of a face's box that must lie in the frame."""

SAME_FACE_IOU = 0.5
"""Two boxes that overlap more are one face found twice."""


def require_models() -> None:
    """Check, without importing it, that mediapipe is installed and that its wheel carries the face models.

    Raises:
        MissingExtra: it is not, or it is of the newer line, which takes a file.
    """
    spec = importlib.util.find_spec("mediapipe")
    if spec is None:
        raise MissingExtra("the mediapipe analyser needs the package mediapipe: pip install 'mediapipe==0.10.21'")
    graph = Path("modules", "face_landmark", "face_landmark_front_cpu.binarypb")
    if not any((Path(folder) / graph).is_file() for folder in spec.submodule_search_locations or ()):
        raise MissingExtra(
            "the installed mediapipe carries no face models: name a face_landmarker.task file as the analyser's "
            "model file, or pip install 'mediapipe==0.10.21'"
        )


class MediapipeAnalyser:
    """Faces by MediaPipe, in the order of the video: a face is followed from frame to frame, then detected anew.

    Without a file it uses the models inside the wheel (mediapipe up to 0.10.21) and looks again for faces that are too
    far away for their detector. With a ``face_landmarker.task`` file it uses the tasks API, which every later release
    has. The same frames give the same faces in every process. The score of a face is always 1.0, because
    MediaPipe keeps its own to itself and gives only the faces over 0.5.

    Raises:
        MissingExtra: mediapipe, or models without a file, are not installed.
        InputError: the file is missing, truncated, or not a face landmarker bundle.
    """

    name = "mediapipe"

    def __init__(self, *, max_faces: int = 4, model_file: str | Path | None = None):
        self.topology = load_topology("mediapipe478")
        self.max_faces = max_faces
        if model_file is None:
            from toolkit.faces.mediapipe_solutions import SolutionsMesh

            require_models()
            self._mesh = SolutionsMesh(max_faces)
        else:
            from toolkit.faces.mediapipe_tasks import TasksMesh

            self._mesh = TasksMesh(max_faces, model_file)

    def analyse(self, frame: np.ndarray) -> list[Face]:
        """Faces of one RGB frame, uint8 ``[H, W, 3]``, the largest first.

        Raises:
            ValueError: the frame is of another shape or type.
        """
        if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
            raise ValueError(f"a frame must be uint8 [H, W, 3], not {frame.dtype} {list(frame.shape)}")
        if min(frame.shape[:2]) < MIN_FRAME_SIDE:
            return []
        found = self._mesh.landmarks(np.ascontiguousarray(frame))
        return plausible_faces(found, frame.shape[:2])[: self.max_faces]

    def reset(self) -> None:
        """Forget the previous frames."""
        self._mesh.reset()

    def close(self) -> None:
        """Free the models."""
        self._mesh.close()


def plausible_faces(landmarks: list[np.ndarray], frame_size: tuple[int, int]) -> list[Face]:
    """Faces from sets of points float32 ``[N, 3]``, largest first, without the tiny, the lost and the repeated.

    `frame_size` is height, width in pixels.
    """
    height, width = frame_size
    faces: list[Face] = []
    boxes = [np.concatenate([points[:, :2].min(axis=0), points[:, :2].max(axis=0)]) for points in landmarks]
    for index in sorted(range(len(boxes)), key=lambda k: -_area(boxes[k])):
        box = boxes[index]
        if not np.isfinite(landmarks[index]).all() or max(box[2] - box[0], box[3] - box[1]) < MIN_FACE_SIDE:
            continue
        inside = _area(_intersection(box, np.array([0, 0, width, height], np.float32)))
        if inside < MIN_INSIDE * _area(box) or any(_iou(box, face.box) > SAME_FACE_IOU for face in faces):
            continue
        faces.append(Face(box, 1.0, landmarks[index]))
    return faces


def _intersection(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.concatenate([np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])])


def _area(box: np.ndarray) -> float:
    return float(max(box[2] - box[0], 0) * max(box[3] - box[1], 0))


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    common = _area(_intersection(a, b))
    return common / max(_area(a) + _area(b) - common, 1e-9)
