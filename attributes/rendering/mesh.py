"""Define the tracked surface of a face, and the protocol of classes that compute it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from toolkit.task import FaceClip


@dataclass(frozen=True, eq=False)
class FaceMesh:
    """A triangle mesh that follows the skin over a clip.

    Attributes:
        vertices: float32 ``[T, V, 3]`` in pixels of the clip's frames; z grows away from the viewer at the scale of x;
            NaN in frames without the face.
        triangles: int32 ``[F, 3]``, wound so that normals ``(b - a) x (c - a)`` of visible triangles have negative z.
        uv: float32 ``[V, 2]`` in 0..1, v downwards; one continuous chart for the front of the face.
        rest: float32 ``[V, 3]``, the mesh in a neutral frontal pose (x right, y down, z away), in distances between the
            outer eye corners. Sizes on the skin are measured on it.
        regions: names (``left_eye``, ``right_eye``, ``lips``, ``left_brow``, ``right_brow``, ``oval``, ``nose``) to
            int32 vertex indices, in order along contours; left and right are the person's own.
    """

    vertices: np.ndarray
    triangles: np.ndarray
    uv: np.ndarray
    rest: np.ndarray
    regions: dict[str, np.ndarray]


class Mesher(Protocol):
    """Fits a mesh to the face of a clip."""

    def mesh(self, clip: FaceClip) -> FaceMesh:
        """The mesh of a clip."""
        ...
