"""The square around a face that is edited: it follows the face smoothly, and the cost follows it and not the frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CENTRE_SIGMA, SIDE_SIGMA = 0.15, 0.6
"""Standard deviations in seconds of the Gaussians that smooth the square's centre and side; a size that breathes shows
more than a place that drifts."""


@dataclass(frozen=True, eq=False)
class Squares:
    """A square for each frame, upright, in pixels of the frame; it may reach beyond the frame's border.

    Attributes:
        centres: float64 ``[T, 2]``, x and y; NaN where the face is not in the frame.
        sides: float64 ``[T]``, NaN there too.
    """

    centres: np.ndarray
    sides: np.ndarray

    def __len__(self) -> int:
        return len(self.sides)

    @property
    def present(self) -> np.ndarray:
        """bool ``[T]``: the frames that have one."""
        return np.isfinite(self.sides)

    def to_crop(self, index: int, resolution: int) -> np.ndarray:
        """float64 ``[2, 3]``: from pixels of the frame to those of its crop of `resolution` pixels.

        Pixel centres are at whole numbers in both, so the square's edges are half a pixel outside the first and last.
        """
        scale = resolution / self.sides[index]
        corner = self.centres[index] - self.sides[index] / 2
        return np.array([[scale, 0, -scale * corner[0] - 0.5], [0, scale, -scale * corner[1] - 0.5]])


def follow(boxes: np.ndarray, times: np.ndarray, padding: float = 1.6) -> Squares:
    """Smoothed, padded squares around the boxes of one track.

    Centre and side are smoothed by Gaussians over time without lag, each run of frames with the face by itself. Where
    smoothing would cut into the face the square grows, so that it always holds the face's box.

    Args:
        boxes: ``[T, 4]``, x0 y0 x1 y1 in pixels; rows that are not finite are frames without the face.
        times: ``[T]`` seconds, increasing.
        padding: side of the square over the larger side of the box, at least 1.

    Raises:
        ValueError: shapes or values do not fit.
    """
    boxes, times = np.asarray(boxes, np.float64), np.asarray(times, np.float64)
    if boxes.shape != (len(times), 4) or padding < 1:
        raise ValueError(f"boxes must be [{len(times)}, 4] and padding at least 1, found {boxes.shape} and {padding}")
    centres, sides = np.full((len(times), 2), np.nan), np.full(len(times), np.nan)
    present = np.isfinite(boxes).all(axis=1)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], present, [False]]).astype(np.int8)))
    for start, stop in edges.reshape(-1, 2):
        run = boxes[start:stop]
        middle, size = (run[:, :2] + run[:, 2:]) / 2, (run[:, 2:] - run[:, :2]).max(axis=1)
        if (size <= 0).any():
            raise ValueError("a box must have its lower corner first")
        moment = times[start:stop]
        smooth = _gaussian(middle, moment, CENTRE_SIGMA)
        side = padding * np.exp(_gaussian(np.log(size)[:, None], moment, SIDE_SIGMA)[:, 0])
        # The farthest corner of the face's own box from the smoothed centre must stay inside.
        reach = 2 * np.maximum(np.abs(run[:, :2] - smooth), np.abs(run[:, 2:] - smooth)).max(axis=1)
        centres[start:stop], sides[start:stop] = smooth, np.maximum(side, reach)
    return Squares(centres, sides)


def _gaussian(values: np.ndarray, times: np.ndarray, sigma: float) -> np.ndarray:
    """Weighted means ``[T, D]`` over times in seconds; at the ends of a run the weights are of what is there.

    A line is kept as it is also at the ends: the mean of the times is taken off, as in local linear regression.
    """
    result = np.empty_like(values)
    for index, time in enumerate(times):
        low, high = np.searchsorted(times, [time - 4 * sigma, time + 4 * sigma])
        offset = times[low : high + 1] - time
        weights = np.exp(-0.5 * (offset / sigma) ** 2)
        weights /= weights.sum()
        near = values[low : high + 1]
        mean, mean_offset = weights @ near, weights @ offset
        spread = weights @ (offset - mean_offset) ** 2
        slope = (weights * (offset - mean_offset)) @ (near - mean) / spread if spread > 1e-12 else 0.0
        result[index] = mean - slope * mean_offset
    return result
