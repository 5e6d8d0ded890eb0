"""Face mesh with a ``face_landmarker.task`` bundle (``mediapipe.tasks``, whose releases contain no models)."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from toolkit.errors import InputError, MissingExtra
from toolkit.faces.mediapipe_solutions import import_mediapipe, to_pixels
from toolkit.native_logs import hidden

MEMBERS = {"face_detector.tflite", "face_landmarks_detector.tflite"}
"""Files that a bundle must contain."""


def check_bundle(path: str | Path) -> Path:
    """The path as a `Path`, if it holds a valid bundle.

    Raises:
        InputError: the file is missing, unreadable, damaged or not a bundle.
    """
    path = Path(path)
    wanted = "expected a MediaPipe face_landmarker.task bundle"
    if not path.is_file():
        raise InputError(f"{wanted}, but there is no file {path}")
    try:
        with zipfile.ZipFile(path) as bundle:
            missing = MEMBERS - set(bundle.namelist())
            damaged = bundle.testzip()
    except zipfile.BadZipFile as error:
        raise InputError(
            f"{wanted}, but {path} is truncated or of another kind ({error}); download it again"
        ) from error
    except OSError as error:
        raise InputError(f"{wanted}, but {path} cannot be read: {error.strerror}") from error
    if missing:
        raise InputError(f"{wanted}, but {path} lacks {', '.join(sorted(missing))}; name a face landmarker bundle")
    if damaged:
        raise InputError(f"{wanted}, but {damaged} in {path} is damaged; download it again")
    return path


class TasksMesh:
    """Landmarks of the faces, followed over the video."""

    def __init__(self, max_faces: int, model_file: str | Path):
        self._bundle = check_bundle(model_file).read_bytes()
        try:
            self._mediapipe = import_mediapipe()
        except ImportError as error:
            raise MissingExtra("the mediapipe analyser needs the package mediapipe: pip install mediapipe") from error
        vision = self._mediapipe.tasks.vision
        self._options = vision.FaceLandmarkerOptions(
            base_options=self._mediapipe.tasks.BaseOptions(model_asset_buffer=self._bundle),
            running_mode=vision.RunningMode.VIDEO,
            # With num_faces=1, MediaPipe smooths the landmarks over time, which adds a lag.
            num_faces=max(max_faces, 2),
        )
        try:
            self._start()
        except (RuntimeError, ValueError) as error:
            raise InputError(f"mediapipe cannot use {model_file}: {str(error).partition(chr(10))[0]}") from error

    def _start(self) -> None:
        with hidden():
            self._landmarker = self._mediapipe.tasks.vision.FaceLandmarker.create_from_options(self._options)
        self._clock = 0

    def landmarks(self, frame: np.ndarray) -> list[np.ndarray]:
        """float32 ``[478, 3]`` in pixels for every face found."""
        image = self._mediapipe.Image(image_format=self._mediapipe.ImageFormat.SRGB, data=frame)
        with hidden():
            result = self._landmarker.detect_for_video(image, self._clock)
        self._clock += 33
        height, width = frame.shape[:2]
        return [to_pixels(face, width, height) for face in result.face_landmarks]

    def reset(self) -> None:
        self.close()
        self._start()

    def close(self) -> None:
        with hidden():
            self._landmarker.close()
