"""The default face analyser: MediaPipe's face mesh with 478 landmarks, irises included.

Models and graphs: Kartynnik et al., "Real-time Facial Surface Geometry from Monocular Video on Mobile GPUs" (2019), and
Grishchenko et al., "Attention Mesh" (2020).
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

from toolkit.errors import MissingExtra
from toolkit.faces.mediapipe_solutions import SolutionsDetector, SolutionsMesh
from toolkit.faces.mediapipe_tasks import TasksDetector, TasksMesh, check_bundle
from toolkit.faces.orientation import AnyWayUp
from toolkit.faces.plausible import check_frame, plausible_faces
from toolkit.faces.topology import load_topology
from toolkit.faces.types import Face
from toolkit.fetch.downloads import DOWNLOADS

MIN_FRAME_SIDE = 16
"""Pixels; smaller frames count as frames without a face."""


def require_models() -> Path | None:
    """Check that mediapipe is installed and has face models, without importing it.

    Returns:
        None if the wheel contains the models, else the file that `toolkit fetch mediapipe` downloaded.

    Raises:
        MissingExtra: mediapipe is not installed, or it contains no models and none were downloaded.
    """
    spec = importlib.util.find_spec("mediapipe")
    if spec is None:
        raise MissingExtra("the mediapipe analyser needs the package mediapipe: pip install 'mediapipe==0.10.21'")
    graph = Path("modules", "face_landmark", "face_landmark_front_cpu.binarypb")
    if any((Path(folder) / graph).is_file() for folder in spec.submodule_search_locations or ()):
        return None
    download = DOWNLOADS["mediapipe"]
    fetched = download.folder() / download.files[0].name
    if fetched.is_file():
        return fetched
    raise MissingExtra(
        "the installed mediapipe contains no face models; run `toolkit fetch mediapipe`, name a face_landmarker.task "
        "file with --model-file, or pip install 'mediapipe==0.10.21'"
    )


class MediapipeAnalyser:
    """Finds faces with MediaPipe. Frames must come in order: each face is followed from frame to frame.

    By default, the analyser uses the models in the wheel (mediapipe up to 0.10.21) and searches a second time for faces
    that are too far away for their detector. If the wheel has no models, it uses the file that
    `toolkit fetch mediapipe` downloaded. A ``face_landmarker.task`` file selects the tasks API, which all later
    releases have. Faces that lie or are upside down are found too. The same frames give the same faces in every
    process. Scores are always 1.0, because MediaPipe does not expose its own; it returns only faces above 0.5.

    Args:
        max_faces: most faces per frame; the largest are kept.
        model_file: a ``face_landmarker.task`` bundle.

    Raises:
        MissingExtra: mediapipe is not installed, or it contains no models and none were named or downloaded.
        InputError: the file is missing, truncated or not a face landmarker bundle.
    """

    name = "mediapipe"

    def __init__(self, *, max_faces: int = 4, model_file: str | Path | None = None):
        self.topology = load_topology("mediapipe478")
        self.max_faces = max_faces
        if model_file is None:
            model_file = require_models()
        if model_file is None:
            self._faces = AnyWayUp(lambda: SolutionsMesh(max_faces), SolutionsDetector, self.topology.mean)
        else:
            bundle = check_bundle(model_file)
            self._faces = AnyWayUp(
                lambda: TasksMesh(max_faces, bundle), lambda: TasksDetector(bundle), self.topology.mean
            )

    def analyse(self, frame: np.ndarray) -> list[Face]:
        """Faces of one RGB frame, uint8 ``[H, W, 3]``, the largest first.

        Raises:
            ValueError: the frame is of another shape or type.
        """
        check_frame(frame)
        if min(frame.shape[:2]) < MIN_FRAME_SIDE:
            return []
        height, width, _ = frame.shape
        faces = self._faces.faces(np.ascontiguousarray(frame))
        return plausible_faces(faces, (height, width))[: self.max_faces]

    def reset(self) -> None:
        """Forget the previous frames."""
        self._faces.reset()

    def close(self) -> None:
        """Free the models."""
        self._faces.close()
