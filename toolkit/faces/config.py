"""Settings of face analysis, shared by every command that looks for faces, and the one way to build an analyser."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from toolkit.faces import create_analyser
from toolkit.faces.types import FaceAnalyser
from toolkit.fetch.downloads import FACER_FILES

FILES = ("model_file", *FACER_FILES)
"""Fields of `FaceConfig` that name a model file."""


class FaceConfig(BaseModel):
    """Which analyser finds faces, with which model files."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    analyser: str = Field("mediapipe", description="Face analyser to use; `toolkit doctor` lists them.")
    model_file: Path | None = Field(None, description="mediapipe: path of a `face_landmarker.task` file.")
    detector_file: Path | None = Field(None, description="facer: path of the RetinaFace weights.")
    parser_file: Path | None = Field(None, description="facer: path of the FaRL parser (TorchScript).")
    aligner_file: Path | None = Field(None, description="facer: path of the FaRL aligner (TorchScript).")
    max_faces: int = Field(4, ge=1, le=32, description="Largest number of faces to find in one frame.")


def build_analyser(
    config: FaceConfig, device: str | None = None, *, name: str | None = None, max_faces: int | None = None
) -> FaceAnalyser:
    """Build the analyser that the settings describe and load its models.

    Args:
        config: the settings.
        device: torch device for facer, such as ``cuda``; mediapipe always runs on the CPU.
        name: another analyser than the configured one; it uses its own default weights.
        max_faces: another number of faces than the configured one.

    Raises:
        UsageError: an unknown analyser, or a file that the analyser does not use.
        MissingExtra: a library or a weights file is missing.
        InputError: a named file is missing or invalid.
    """
    own = name is None or name == config.analyser
    files = {file: getattr(config, file) for file in FILES} if own else {}
    return create_analyser(name or config.analyser, max_faces=max_faces or config.max_faces, device=device, **files)
