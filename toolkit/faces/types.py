"""The face analyser protocol and its result. Imports only numpy; analysers import their libraries when built."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from toolkit.faces.topology import Topology


@dataclass(frozen=True, eq=False)
class Face:
    """One face in one frame.

    Attributes:
        box: float32 ``[4]``, x0 y0 x1 y1 around the landmarks, in pixels of the frame; may extend beyond it.
        score: confidence in 0..1.
        landmarks: float32 ``[N, 3]`` in pixels of the frame; z has the scale of x, grows away from the viewer and has
            its zero near the middle of the head; all zero if the analyser estimates no depth.
        parsing: uint8 ``[H, W]`` class indices of the analyser's parser, or None if it has none.
    """

    box: np.ndarray
    score: float
    landmarks: np.ndarray
    parsing: np.ndarray | None = None


@runtime_checkable
class FaceAnalyser(Protocol):
    """Finds faces and their landmarks in the frames of a video, which come in order.

    An analyser may use previous frames. After `reset`, which marks a new shot, results must not depend on anything
    seen before.
    """

    name: str
    topology: Topology

    def analyse(self, frame: np.ndarray) -> list[Face]:
        """Faces of one RGB frame, uint8 ``[H, W, 3]``, largest first; empty if there are none."""
        ...

    def reset(self) -> None:
        """Forget the previous frames."""
        ...

    def close(self) -> None:
        """Free the models."""
        ...
