"""Links the faces of consecutive frames into tracks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from toolkit.faces.types import Face

MAX_DISTANCE = 0.6
"""Mean distance between a face's landmarks and a track's expected ones, in face sizes, above which they differ."""

MEMORY = 0.5
"""Weight of the previous velocity in a track's running mean."""


@dataclass(eq=False)
class _Track:
    id: int
    index: int
    landmarks: np.ndarray
    velocity: np.ndarray

    def expected(self, index: int) -> np.ndarray:
        return self.landmarks + self.velocity * (index - self.index)

    def move(self, index: int, landmarks: np.ndarray) -> None:
        step = (landmarks - self.landmarks).mean(axis=0) / (index - self.index)
        self.velocity = MEMORY * self.velocity + (1 - MEMORY) * step
        self.index, self.landmarks = index, landmarks


class FaceTracker:
    """Assigns a track number to every face of a video.

    Faces are matched to tracks so that the total distance between their landmarks is smallest (Hungarian method). A
    track's landmarks are moved on by its velocity first, and distances are measured in face sizes. A track ends when
    its face is missing for more than `max_gap` frames. Numbers start at 0 and are never reused.
    """

    def __init__(self, max_gap: int = 0):
        self.max_gap = max_gap
        self._tracks: list[_Track] = []
        self._next = 0
        self._index: int | None = None

    def update(self, index: int, faces: list[Face]) -> list[tuple[int, Face]]:
        """Track number and face of each face in frame `index`, in the order of `faces`.

        Raises:
            ValueError: the frames are not in order.
        """
        if self._index is not None and index <= self._index:
            raise ValueError(f"frames must come in order, but {index} came after {self._index}")
        self._index = index
        self._tracks = [track for track in self._tracks if index - track.index <= self.max_gap + 1]
        points = [np.asarray(face.landmarks[:, :2], np.float64) for face in faces]
        matched = self._match(index, points)
        result = []
        for k, face in enumerate(faces):
            track = matched.get(k)
            if track is None:
                track = _Track(self._next, index, points[k], np.zeros(2))
                self._next += 1
                self._tracks.append(track)
            else:
                track.move(index, points[k])
            result.append((track.id, face))
        return result

    def _match(self, index: int, points: list[np.ndarray]) -> dict[int, _Track]:
        if not points or not self._tracks:
            return {}
        cost = np.empty((len(points), len(self._tracks)))
        for column, track in enumerate(self._tracks):
            expected = track.expected(index)
            for row, found in enumerate(points):
                size = np.sqrt(np.ptp(found, axis=0).prod() * np.ptp(expected, axis=0).prod()) ** 0.5
                cost[row, column] = np.linalg.norm(found - expected, axis=1).mean() / max(size, 1e-6)
        # All impossible matches cost the same, so that avoiding one never justifies two bad matches.
        rows, columns = _assigned(np.minimum(cost, MAX_DISTANCE))
        return {r: self._tracks[c] for r, c in zip(rows, columns) if cost[r, c] < MAX_DISTANCE}

    def reset(self) -> None:
        """End all tracks, as at a cut. Frame numbers may restart."""
        self._tracks = []
        self._index = None


def _assigned(cost: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns ``[min(R, C)]`` of the cheapest assignment."""
    if min(cost.shape) == 1:  # nearly always, and scipy takes longer to import than to track a minute
        row, column = divmod(int(cost.argmin()), cost.shape[1])
        return np.array([row]), np.array([column])
    from scipy.optimize import linear_sum_assignment

    return linear_sum_assignment(cost)
