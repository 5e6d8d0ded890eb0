"""The embedded default analyser: MediaPipe's face mesh, 478 points with irises.

Models and graphs: Kartynnik et al., "Real-time Facial Surface Geometry from Monocular Video on Mobile GPUs" (2019), and
Grishchenko et al., "Attention Mesh" (2020).
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

from toolkit.errors import MissingExtra
from toolkit.faces.plausible import box_around, check_frame, plausible_faces
from toolkit.faces.topology import load_topology
from toolkit.faces.types import Face
from toolkit.fetch.downloads import DOWNLOADS

MIN_FRAME_SIDE = 16
"""px; no face is looked for in a smaller frame."""


def require_models() -> Path | None:
    """Check, without importing it, that mediapipe is installed and has face models.

    Returns:
        None where the wheel carries the models; else the file that `toolkit fetch mediapipe` brought.

    Raises:
        MissingExtra: it is not, or it is of the newer line, which takes a file, and there is none.
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
        "the installed mediapipe carries no face models: run `toolkit fetch mediapipe` where there is a network, name "
        "a face_landmarker.task file as the analyser's model file, or pip install 'mediapipe==0.10.21'"
    )


class MediapipeAnalyser:
    """Faces by MediaPipe, in the order of the video: a face is followed from frame to frame, then detected anew.

    Without a file it uses the models inside the wheel (mediapipe up to 0.10.21) and looks again for faces that are too
    far away for their detector; where the wheel has none, the file that `toolkit fetch mediapipe` brought. With a
    ``face_landmarker.task`` file it uses the tasks API, which every later release has. The same frames give the same
    faces in every process. The score of a face is always 1.0, because MediaPipe keeps its own to itself and gives only
    the faces over 0.5.

    Raises:
        MissingExtra: mediapipe, or models without a file, are not installed.
        InputError: the file is missing, truncated, or not a face landmarker bundle.
    """

    name = "mediapipe"

    def __init__(self, *, max_faces: int = 4, model_file: str | Path | None = None):
        self.topology = load_topology("mediapipe478")
        self.max_faces = max_faces
        if model_file is None:
            model_file = require_models()
        if model_file is None:
            from toolkit.faces.mediapipe_solutions import SolutionsMesh

            self._mesh = SolutionsMesh(max_faces)
        else:
            from toolkit.faces.mediapipe_tasks import TasksMesh

            self._mesh = TasksMesh(max_faces, model_file)

    def analyse(self, frame: np.ndarray) -> list[Face]:
        """Faces of one RGB frame, uint8 ``[H, W, 3]``, the largest first.

        Raises:
            ValueError: the frame is of another shape or type.
        """
        check_frame(frame)
        if min(frame.shape[:2]) < MIN_FRAME_SIDE:
            return []
        found = self._mesh.landmarks(np.ascontiguousarray(frame))
        faces = [Face(box_around(landmarks), 1.0, landmarks) for landmarks in found]
        return plausible_faces(faces, frame.shape[:2])[: self.max_faces]

    def reset(self) -> None:
        """Forget the previous frames."""
        self._mesh.reset()

    def close(self) -> None:
        """Free the models."""
        self._mesh.close()
