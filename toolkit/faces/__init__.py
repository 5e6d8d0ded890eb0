"""Finding faces in frames: one protocol, several analysers. Importing this loads no model and no heavy library.

`create_analyser` builds one by name. `toolkit.faces.tracking` gives faces an identity over time and
`toolkit.faces.smoothing` takes the jitter out of a track.
"""

from __future__ import annotations

from pathlib import Path

from toolkit.errors import MissingExtra, UsageError
from toolkit.faces.topology import Topology, load_topology
from toolkit.faces.types import Face, FaceAnalyser

__all__ = ["ANALYSERS", "Face", "FaceAnalyser", "Topology", "availability", "create_analyser", "load_topology"]

ANALYSERS = {
    "mediapipe": "the default: 478 points with irises and a triangle mesh, on the CPU, models inside the wheel",
    "facer": "the paper's: RetinaFace boxes, FaRL parsing (19 CelebAMask classes) and 68 points, on any torch device",
}
"""Names of the analysers with one line about each."""


def create_analyser(
    name: str = "mediapipe",
    *,
    max_faces: int = 4,
    model_file: str | Path | None = None,
    device: str | None = None,
    **weights: str | Path | None,
) -> FaceAnalyser:
    """Build an analyser and load its models.

    Args:
        name: a key of `ANALYSERS`.
        max_faces: at most so many faces per frame, the largest.
        model_file: mediapipe only, a ``face_landmarker.task`` bundle instead of the models inside the wheel.
        device: facer only, a torch device such as ``cuda``; mediapipe always runs on the CPU.
        weights: facer only: ``detector_file``, ``parser_file``, ``aligner_file``.

    Raises:
        UsageError: an unknown name or an argument that the analyser does not have.
        MissingExtra: a library or a weights file is absent.
        InputError: a named file is missing or is not what it should be.
    """
    if max_faces < 1:
        raise UsageError(f"max_faces must be at least 1, not {max_faces}")
    weights = {key: value for key, value in weights.items() if value is not None}
    if name == "mediapipe":
        from toolkit.faces.mediapipe import MediapipeAnalyser

        _refuse(name, weights)
        return MediapipeAnalyser(max_faces=max_faces, model_file=model_file)
    if name == "facer":
        from toolkit.faces.facer import FacerAnalyser
        from toolkit.fetch.downloads import FACER_FILES

        unknown = {key: value for key, value in weights.items() if key not in FACER_FILES}
        _refuse(name, unknown | ({} if model_file is None else {"model_file": model_file}))
        return FacerAnalyser(max_faces=max_faces, device=device, **weights)
    raise UsageError(f"there is no face analyser {name!r}; choose one of {', '.join(ANALYSERS)}")


def availability(name: str) -> str | None:
    """None when the analyser can be built with its default models, else the sentence that says how to get it.

    Looks for packages and files only: it loads nothing and downloads nothing.

    Raises:
        UsageError: there is no analyser of that name.
    """
    if name == "mediapipe":
        from toolkit.faces.mediapipe import require_models as require
    elif name == "facer":
        from toolkit.faces.facer import require_weights as require
    else:
        raise UsageError(f"there is no face analyser {name!r}; choose one of {', '.join(ANALYSERS)}")
    try:
        require()
    except MissingExtra as error:
        return str(error)
    return None


def _refuse(name: str, arguments: dict) -> None:
    if arguments:
        raise UsageError(f"the {name} analyser takes no {', '.join(sorted(arguments))}")
