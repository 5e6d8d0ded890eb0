"""Build the head that occludes the glasses: the tracked face, with closed eyes and a back."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np

from attributes.glasses.placement import HeadTrack
from toolkit.faces.topology import Topology

BACK = 175.0
"""z of the back of the head, in millimetres."""

RINGS = (0.12, 0.3, 0.5, 0.7, 0.85, 0.95, 1.0)
"""Positions of the rings of the back of the head, as shares of the distance to `BACK`."""


def head_mesh(track: HeadTrack, topology: Topology, landmarks: np.ndarray, t: int) -> tuple[np.ndarray, np.ndarray]:
    """The mesh of the head in frame `t`.

    Args:
        landmarks: float32 ``[N, 3]``, landmarks of the frame in pixels.

    Returns:
        Vertices float32 ``[V, 3]`` in head coordinates and triangles int32 ``[F, 3]``.
    """
    oval = topology.regions["oval"]
    face = track.to_head(t, landmarks[: int(topology.triangles.max()) + 1])
    contour = track.shape[oval]
    middle = contour.mean(axis=0)
    rings = []
    for share in RINGS:
        ring = contour.copy()
        # Half an ellipsoid that first widens slightly, as heads do above the ears.
        narrow = (1 - share**2.4) ** (1 / 2.4) * (1 + 0.08 * np.sin(np.pi * min(share * 1.6, 1)))
        ring[:, :2] = middle[:2] + (contour[:, :2] - middle[:2]) * narrow
        ring[:, 2] += (BACK - contour[:, 2]) * share
        rings.append(ring)
    return np.concatenate([face, *rings]).astype(np.float32), _triangles(topology)


@cache
def _triangles_of(oval: tuple[int, ...], holes: tuple[tuple[int, ...], ...], count: int) -> np.ndarray:
    rings = [np.array(oval), *(count + k * len(oval) + np.arange(len(oval)) for k in range(len(RINGS)))]
    parts = []
    for near, far in pairwise(rings):
        a, b = near, far
        c, d = np.roll(near, -1), np.roll(far, -1)
        parts += [np.stack([a, b, c], axis=1), np.stack([c, b, d], axis=1)]
    for hole in holes:
        rim = np.array(hole)
        parts.append(np.stack([np.full(len(rim) - 2, rim[0]), rim[1:-1], rim[2:]], axis=1))
    return np.concatenate(parts).astype(np.int32)


def _triangles(topology: Topology) -> np.ndarray:
    holes = tuple(tuple(topology.regions[name].tolist()) for name in ("left_eye", "right_eye"))
    count = int(topology.triangles.max()) + 1
    extra = _triangles_of(tuple(topology.regions["oval"].tolist()), holes, count)
    return np.concatenate([topology.triangles, extra])
