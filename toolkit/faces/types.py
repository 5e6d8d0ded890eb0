"""What a face analyser is and gives. numpy only; the analysers themselves import their libraries when built."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from toolkit.faces.topology import Topology


@dataclass(frozen=True, eq=False)
class Face:
    """One face in one frame.

    Attributes:
        box: float32 ``[4]``, x0 y0 x1 y1 around the landmarks, in pixels of the frame; may leave the frame.
        score: confidence in 0..1.
        landmarks: float32 ``[N, 3]`` in pixels of the frame; z has the scale of x, grows away from the viewer and has
            its zero near the middle of the head (all zero where the analyser is flat).
        parsing: uint8 ``[H, W]`` class indices of the analyser's parser, or None where it has none.
    """

    box: np.ndarray
    score: float
    landmarks: np.ndarray
    parsing: np.ndarray | None = None


@runtime_checkable
class FaceAnalyser(Protocol):
    """Finds faces and their landmarks in frames that come in the order of the video.

    An analyser may use the previous frame to find the next one; `reset` says that a new shot begins, after which the
    result must not depend on anything seen before.
    """

    name: str
    topology: Topology

    def analyse(self, frame: np.ndarray) -> list[Face]:
        """Faces of one RGB frame, uint8 ``[H, W, 3]``, the largest first; an empty list where there is none."""
        ...

    def reset(self) -> None:
        """Forget the previous frames."""
        ...

    def close(self) -> None:
        """Free the models."""
        ...
