"""Which face a pixel belongs to where faces overlap, so that no face's edit spoils its neighbour's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from toolkit.filling import distances

SPREAD = 0.12
"""How far a face's attribute may stand out of the hull of its landmarks, such as the temples of glasses, as a share of
the face's size."""

SOFT = 0.03
"""Width of the soft border between two faces, as a share of the face's size."""

Area = tuple[int, int, int, int]
"""x0 y0 x1 y1 in pixels of the frame."""


@dataclass(frozen=True, eq=False)
class Territory:
    """A face in one frame.

    Attributes:
        hull: float32 ``[N, 2]``, its landmarks in pixels of the frame.
        area: the pixels that its edit may change.
    """

    hull: np.ndarray
    area: Area

    @property
    def size(self) -> float:
        """The face's size in pixels."""
        return float(max(np.sqrt(np.ptp(self.hull, axis=0).prod()), 1.0))

    def distances(self, area: Area) -> np.ndarray:
        """float32 ``[H, W]``: distance of each pixel of an area from the face, in sizes of the face; 0 on it."""
        import cv2

        low, high = np.floor(self.hull.min(axis=0)).astype(int) - 1, np.ceil(self.hull.max(axis=0)).astype(int) + 2
        low, high = np.minimum(low, area[:2]), np.maximum(high, area[2:])
        inside = np.zeros((high[1] - low[1], high[0] - low[0]), np.uint8)
        points = np.rint(self.hull - 0.5 - low).astype(np.int32)
        cv2.fillConvexPoly(inside, cv2.convexHull(points), 1)
        far = distances(inside > 0) / self.size
        return far[area[1] - low[1] : area[3] - low[1], area[0] - low[0] : area[2] - low[0]]


def shares(faces: Sequence[Territory], in_front: Callable[[int, int], bool]) -> list[np.ndarray | None]:
    """How much each face's edit may change of each pixel of its area.

    A face that is in front owns its hull, and may change what is close to it. Elsewhere the nearest face owns a pixel,
    in sizes of the face.

    Args:
        faces: those that are edited in a frame.
        in_front: whether the first of two faces, by their indices, is in front.

    Returns:
        For each face float32 ``[H, W]`` in 0..1, or None if it may change all of its area.
    """
    found: list[np.ndarray | None] = [None] * len(faces)
    for pair in combinations(range(len(faces)), 2):
        if not _overlap(*(faces[index].area for index in pair)):
            continue
        front, back = pair if in_front(*pair) else pair[::-1]
        for index, other in ((front, back), (back, front)):
            area = faces[index].area
            own, others = faces[index].distances(area), faces[other].distances(area)
            allowed = (others - own) / SOFT
            if index == front:
                allowed = 1 + np.maximum(allowed, (SPREAD - own) / SOFT)
            share = np.clip(allowed, 0, 1).astype(np.float32)
            known = found[index]
            found[index] = share if known is None else known * share
    return found


def _overlap(one: Area, other: Area) -> bool:
    return max(one[0], other[0]) < min(one[2], other[2]) and max(one[1], other[1]) < min(one[3], other[3])
