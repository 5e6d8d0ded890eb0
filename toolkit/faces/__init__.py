"""Finds faces in frames, with one protocol for several analysers. Importing this package loads no heavy library.

`create_analyser` builds an analyser by name, `toolkit.faces.config.build_analyser` from settings.
`toolkit.faces.tracking` links the faces of a video into tracks and `toolkit.faces.smoothing` removes their jitter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from toolkit.errors import MissingExtra, UsageError
from toolkit.faces.topology import Topology, load_topology
from toolkit.faces.types import Face, FaceAnalyser

__all__ = ["ANALYSERS", "Face", "FaceAnalyser", "Topology", "availability", "create_analyser", "load_topology"]

ANALYSERS = {
    "mediapipe": "the default: 478 landmarks with irises, a triangle mesh; on the CPU; models in the wheel",
    "facer": "the paper's: RetinaFace boxes, FaRL parsing (19 CelebAMask classes), 68 landmarks; on any torch device",
}
"""A one-line description of each analyser, by name."""


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
        max_faces: most faces per frame; the largest are kept.
        model_file: mediapipe only: a ``face_landmarker.task`` bundle to use instead of the models in the wheel.
        device: facer only: a torch device such as ``cuda``. mediapipe always runs on the CPU.
        weights: facer only: ``detector_file``, ``parser_file``, ``aligner_file``.

    Raises:
        UsageError: the name is unknown, or the analyser has no such argument.
        MissingExtra: a library or a weights file is missing.
        InputError: a named file is missing or invalid.
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
    raise _unknown(name)


def availability(name: str) -> str | None:
    """None if the analyser can be built with its default models, else a sentence that says how to install it.

    Checks only whether packages and files exist; loads and downloads nothing.

    Raises:
        UsageError: there is no analyser of that name.
    """
    if name == "mediapipe":
        from toolkit.faces.mediapipe import require_models

        require: Callable[[], object] = require_models
    elif name == "facer":
        from toolkit.faces.facer import require_weights

        require = require_weights
    else:
        raise _unknown(name)
    try:
        require()
    except MissingExtra as error:
        return str(error)
    return None


def _unknown(name: str) -> UsageError:
    return UsageError(f"there is no face analyser {name!r}; choose one of {', '.join(ANALYSERS)}")


def _refuse(name: str, arguments: Mapping[str, object]) -> None:
    if arguments:
        raise UsageError(f"the {name} analyser takes no {', '.join(sorted(arguments))}")
