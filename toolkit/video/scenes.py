"""Detects cuts between shots from small versions of consecutive frames."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

SIDE = 32
"""Side of the small pictures in pixels."""
SHIFT = 2
"""Largest motion between small pictures, in their pixels, that is compensated before comparing."""
FLAT = 4.0
"""A picture whose brightness has a lower standard deviation is blank: a dip to black or a white flash."""
MIN_DISSIMILARITY = 0.05
"""A cut needs a larger 1 - correlation. Head motion reaches 0.14, so this only guards against flashes."""
MIN_CHANGE, HISTORY_WEIGHT, HISTORY = 0.25, 2.0, 8
"""A cut needs a change above `MIN_CHANGE` + `HISTORY_WEIGHT` * the mean change of about the last `HISTORY` frames."""


class SceneCutDetector:
    """Distinguishes hard cuts from motion, frame by frame.

    The change between two frames is the geometric mean of three measures on small pictures: correlation under the best
    small shift, difference of colours without their mean, and difference of colour histograms. Motion affects mainly
    the first, a change of light mainly the last, a cut all three. A cut is a change far above that of the preceding
    frames. Blank frames never start a shot: the next frame is compared with the last one before them. A shot has at
    least two frames, so a shot that opens with a fast pan is one cut, not a cut at each frame.
    """

    def __init__(self):
        self.reset()

    def reset(self) -> None:
        """Forget all previous frames, as at the start of another video."""
        self._previous: _Picture | None = None
        self._mean_change: float | None = None
        self._starts = False

    def update(self, image: np.ndarray) -> bool:
        """Whether a frame, uint8 ``[H, W, 3]``, starts a new shot; False for the first. Frames must be in order."""
        picture = _reduce(image)
        if picture.blank:
            return False
        previous, self._previous = self._previous, picture
        if previous is None:
            return False
        dissimilarity, change = _compare(previous, picture)
        mean = self._mean_change or 0.0
        differs = dissimilarity > MIN_DISSIMILARITY and change > MIN_CHANGE + HISTORY_WEIGHT * mean
        if differs and not self._starts:
            self._mean_change, self._starts = None, True
            return True
        self._starts = False
        self._mean_change = change if self._mean_change is None else mean + (change - mean) / HISTORY
        return False


@dataclass(frozen=True, eq=False)
class _Picture:
    luma: np.ndarray
    centred: np.ndarray
    histogram: np.ndarray
    blank: bool


def _reduce(image: np.ndarray) -> _Picture:
    # Every k-th pixel suffices for a small picture and makes the cost independent of the frame size.
    step = max(1, min(image.shape[:2]) // 64)
    small = cv2.resize(np.ascontiguousarray(image[::step, ::step]), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    ycc = cv2.cvtColor(small, cv2.COLOR_RGB2YCrCb)
    # Chroma occupies a small part of its range.
    histogram = cv2.calcHist([ycc], [0, 1, 2], None, [8, 8, 8], [0, 256, 64, 192, 64, 192]).ravel() / SIDE**2
    mean, deviation = cv2.meanStdDev(ycc)
    luma = np.ascontiguousarray(ycc[..., 0])
    return _Picture(luma, ycc - mean.ravel().astype(np.float32), histogram, float(deviation[0, 0]) < FLAT)


def _compare(a: _Picture, b: _Picture) -> tuple[float, float]:
    """1 - correlation, in 0..2, and the change, which is unbounded but stays below about 0.25 within a shot."""
    inner = b.luma[SHIFT:-SHIFT, SHIFT:-SHIFT]
    dissimilarity = 1 - float(cv2.matchTemplate(a.luma, inner, cv2.TM_CCOEFF_NORMED).max())
    colour = float(np.abs(a.centred - b.centred).mean())
    histogram = 1 - float(np.minimum(a.histogram, b.histogram).sum())
    return dissimilarity, float(np.cbrt(max(dissimilarity, 0) * colour * max(histogram, 0)))
