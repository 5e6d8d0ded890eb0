"""Numbers that compare a face before and after the edit, each computed only in the pixels that it needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from toolkit.faces.topology import Topology

QUIET = 1.0
"""Change from frame to frame, in 0..255, that every video has."""
FEWEST = 12
"""Fewest pixels that tell the contrast of an eye."""

Box = tuple[slice, slice]


class Numbers(NamedTuple):
    """Numbers of a frame, by their names in `FaceReport`."""

    edited: float = 0.0
    change: float = 0.0
    flicker: float = 1.0
    eyes_edited: float | None = None
    eye_contrast_before: float | None = None
    eye_contrast: float | None = None


class FrameComparison:
    """Compares the frames of a track before and after the edit, in their order.

    Args:
        topology: of the landmarks.
    """

    def __init__(self, topology: Topology):
        self._topology = topology
        self._before: tuple[np.ndarray, np.ndarray, np.ndarray, Box] | None = None

    def unchanged(self) -> Numbers:
        """The numbers of a frame in which nothing was pasted."""
        self._before = None
        return Numbers()

    def compare(
        self,
        original: np.ndarray,
        result: np.ndarray,
        weights: np.ndarray,
        landmarks: np.ndarray,
    ) -> Numbers:
        """The numbers of a frame.

        Args:
            original, result: uint8 ``[R, R, 3]``.
            weights: uint8 ``[R, R]``, how much of the edit is pasted, in steps of 1/255.
            landmarks: float32 ``[N, 3]`` of the original, in pixels of the crop.
        """
        box = box_of(weights)
        if box is None:
            return self.unchanged()
        shares = weights[box].astype(np.float32) / 255
        total = float(shares.sum())
        difference = np.abs(original[box].astype(np.int16) - result[box]).mean(axis=2)
        area, eyes = self._eyes(landmarks, weights.shape)
        both = np.logical_or(*eyes)
        flicker = self._flicker(original, result, weights, box)
        self._before = original, result, weights, box
        return Numbers(
            edited=max(total / weights.size, 1e-4),
            change=float((difference * shares).sum() / total),
            flicker=flicker,
            eyes_edited=float(weights[area][both].mean() / 255) if both.any() else None,
            eye_contrast_before=eye_contrast(original[area], eyes),
            eye_contrast=eye_contrast(result[area], eyes),
        )

    def _flicker(self, original: np.ndarray, result: np.ndarray, weights: np.ndarray, box: Box) -> float:
        if self._before is None:
            return 1.0
        before, result_before, weights_before, box_before = self._before
        shared = _shared(box, box_before)
        pasted = (weights[shared] > 127) & (weights_before[shared] > 127)
        if not pasted.any():
            return 1.0
        change, original_change = (
            np.abs(now[shared][pasted].astype(np.int16) - then[shared][pasted]).mean()
            for now, then in ((result, result_before), (original, before))
        )
        return float(max(change, QUIET) / max(original_change, QUIET))

    def _eyes(self, landmarks: np.ndarray, shape: tuple[int, ...]) -> tuple[Box, list[np.ndarray]]:
        """An area around both eyes, and bool ``[h, w]`` in it for each eye."""
        import cv2

        corners = []
        for name in ("left_eye", "right_eye"):
            points = landmarks[self._topology.regions[name], :2] - 0.5
            corners.append(np.clip(np.rint(points), -(2**15), 2**15).astype(np.int32))
        every = np.concatenate(corners)
        limit = np.array([shape[1], shape[0]])
        low, high = np.clip(every.min(axis=0), 0, limit), np.clip(every.max(axis=0) + 1, 0, limit)
        area = slice(low[1], max(high[1], low[1])), slice(low[0], max(high[0], low[0]))
        eyes = []
        for points in corners:
            inside = np.zeros((area[0].stop - area[0].start, area[1].stop - area[1].start), np.uint8)
            if inside.size:
                cv2.fillConvexPoly(inside, cv2.convexHull(points - low.astype(np.int32)), 1)
            eyes.append(inside > 0)
        return area, eyes


def box_of(mask: np.ndarray) -> Box | None:
    """The smallest box around what is not 0 in uint8 ``[H, W]``; None if all is 0."""
    import cv2

    x, y, width, height = cv2.boundingRect(mask)
    return (slice(y, y + height), slice(x, x + width)) if width else None


def _shared(one: Box, other: Box) -> Box:
    """The part of a box that is in another one, too; empty if there is none."""
    starts = [max(a.start, b.start) for a, b in zip(one, other)]
    stops = [min(a.stop, b.stop) for a, b in zip(one, other)]
    rows, columns = (slice(start, max(start, stop)) for start, stop in zip(starts, stops))
    return rows, columns


def eye_contrast(picture: np.ndarray, eyes: Sequence[np.ndarray]) -> float | None:
    """Range of brightness within the clearer eye, 0..1, after removing a gradient such as a reflection or a shadow.

    None if both eyes are too small to tell.

    Args:
        picture: uint8 ``[h, w, 3]``.
        eyes: bool ``[h, w]`` each.
    """
    found = []
    for eye in eyes:
        y, x = np.nonzero(eye)
        if len(x) < FEWEST:
            continue
        values = picture[y, x].mean(axis=1)
        plane = np.column_stack([x - x.mean(), y - y.mean(), np.ones(len(x))])
        rest = values - plane @ np.linalg.lstsq(plane, values, rcond=None)[0]
        low, high = np.percentile(rest, [5, 95])
        found.append(float(high - low) / 255)
    return max(found, default=None)
