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


class TasksDetector:
    """Scores of the detector in the bundle."""

    def __init__(self, model_file: Path):
        self._mediapipe = import_mediapipe()
        with zipfile.ZipFile(model_file) as bundle:
            model = bundle.read("face_detector.tflite")
        vision = self._mediapipe.tasks.vision
        options = vision.FaceDetectorOptions(
            base_options=self._mediapipe.tasks.BaseOptions(model_asset_buffer=model), min_detection_confidence=0.2
        )
        with hidden():
            self._detector = vision.FaceDetector.create_from_options(options)

    def scores(self, picture: np.ndarray) -> list[tuple[float, np.ndarray]]:
        """Score in 0..1, and the centre ``[2]`` in 0..1, of each face in an RGB picture, uint8 ``[H, W, 3]``."""
        image = self._mediapipe.Image(image_format=self._mediapipe.ImageFormat.SRGB, data=picture)
        with hidden():
            found = self._detector.detect(image).detections
        size = np.array([picture.shape[1], picture.shape[0]])
        boxes = [(face.categories[0].score, face.bounding_box) for face in found]
        return [
            (float(score), np.array([box.origin_x + box.width / 2, box.origin_y + box.height / 2]) / size)
            for score, box in boxes
        ]

    def close(self) -> None:
        with hidden():
            self._detector.close()
