"""Where one shot ends and the next begins, from small pictures of consecutive frames."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

SIDE = 32
"""Side of the small pictures in pixels."""
SHIFT = 2
"""Largest motion between frames that is undone before comparing, in their pixels."""
FLAT = 4.0
"""Standard deviation of the brightness below which a picture is blank: a dip to black, a white flash."""
MIN_DISSIMILARITY = 0.05
"""A cut has at least this 1 - correlation. Motion of a head reaches 0.14, so this only guards against flashes."""
MIN_CHANGE, HISTORY_WEIGHT, HISTORY = 0.25, 2.0, 8
"""A cut's change exceeds `MIN_CHANGE` plus `HISTORY_WEIGHT` times the mean over about the last `HISTORY` frames."""


class SceneCutDetector:
    """Tells hard cuts from motion, frame by frame.

    The change between two frames is the geometric mean of three measures on small pictures: of structure, correlation
    under the best small shift; of colour per pixel, without its mean; and of the colour histogram. Motion moves
    the first, a change of light the last, a cut all three. It counts as a cut where it is much above the change of the
    frames before. Blank frames never start a shot: what follows them is compared with what preceded them. A shot has
    two frames or more: a fast pan from its first frame on is one cut, not a cut at each frame.
    """

    def __init__(self):
        self.reset()

    def reset(self) -> None:
        """Forget the frames seen, as at the start of another video."""
        self._previous: _Picture | None = None
        self._mean_change: float | None = None
        self._begins = False

    def update(self, image: np.ndarray) -> bool:
        """Whether a frame, uint8 ``[H, W, 3]``, starts a new shot; False for the first. Frames come in order."""
        picture = _reduce(image)
        if picture.blank:
            return False
        previous, self._previous = self._previous, picture
        if previous is None:
            return False
        dissimilarity, change = _compare(previous, picture)
        mean = self._mean_change or 0.0
        differs = dissimilarity > MIN_DISSIMILARITY and change > MIN_CHANGE + HISTORY_WEIGHT * mean
        if differs and not self._begins:
            self._mean_change, self._begins = None, True
            return True
        self._begins = False
        self._mean_change = change if self._mean_change is None else mean + (change - mean) / HISTORY
        return False


@dataclass(frozen=True, eq=False)
class _Picture:
    luma: np.ndarray
    centred: np.ndarray
    histogram: np.ndarray
    blank: bool


def _reduce(image: np.ndarray) -> _Picture:
    # Every k-th pixel is enough for a small picture and makes the cost independent of the frame's size.
    step = max(1, min(image.shape[:2]) // 64)
    small = cv2.resize(np.ascontiguousarray(image[::step, ::step]), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    ycc = cv2.cvtColor(small, cv2.COLOR_RGB2YCrCb)
    # Chroma fills a small part of its range.
    histogram = cv2.calcHist([ycc], [0, 1, 2], None, [8, 8, 8], [0, 256, 64, 192, 64, 192]).ravel() / SIDE**2
    mean, deviation = cv2.meanStdDev(ycc)
    luma = np.ascontiguousarray(ycc[..., 0])
    return _Picture(luma, ycc - mean.ravel().astype(np.float32), histogram, float(deviation[0, 0]) < FLAT)


def _compare(a: _Picture, b: _Picture) -> tuple[float, float]:
    """1 - correlation in 0..2, and the change (not bounded; within a shot it stays below 0.25 or so)."""
    inner = b.luma[SHIFT:-SHIFT, SHIFT:-SHIFT]
    dissimilarity = 1 - float(cv2.matchTemplate(a.luma, inner, cv2.TM_CCOEFF_NORMED).max())
    colour = float(np.abs(a.centred - b.centred).mean())
    histogram = 1 - float(np.minimum(a.histogram, b.histogram).sum())
    return dissimilarity, float(np.cbrt(max(dissimilarity, 0) * colour * max(histogram, 0)))
