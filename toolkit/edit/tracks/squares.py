"""The square that is cut out around a face: it follows the face smoothly, and only its content is edited, upright."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CENTRE_SIGMA, SIDE_SIGMA = 0.15, 0.6
"""Standard deviations in seconds of the Gaussians that smooth the square's centre and side. A size that pulsates is
more visible than a centre that drifts."""


@dataclass(frozen=True, eq=False)
class Squares:
    """A square for each frame, in pixels of the frame; it may reach beyond the frame's border.

    Attributes:
        centres: float64 ``[T, 2]``, x and y; NaN if the face is not in the frame.
        sides: float64 ``[T]``; NaN in the same frames.
        quarters: how often ``np.rot90`` turns a crop so that the face in it is upright, 0..3.
    """

    centres: np.ndarray
    sides: np.ndarray
    quarters: int = 0

    def __len__(self) -> int:
        return len(self.sides)

    @property
    def present(self) -> np.ndarray:
        """bool ``[T]``: the frames that have a square."""
        return np.isfinite(self.sides)

    def box(self, index: int) -> np.ndarray:
        """float64 ``[4]``: x0 y0 x1 y1 of a square."""
        half = self.sides[index] / 2
        return np.concatenate([self.centres[index] - half, self.centres[index] + half])

    def to_crop(self, index: int, resolution: int) -> np.ndarray:
        """float64 ``[2, 3]``: from pixels of the frame to pixels of its crop of `resolution` pixels.

        Pixel centres are at whole numbers in both, so the square's edges are half a pixel outside the first and last.
        """
        scale = resolution / self.sides[index]
        corner = self.centres[index] - self.sides[index] / 2
        upright = np.array([[scale, 0, -scale * corner[0] - 0.5], [0, scale, -scale * corner[1] - 0.5]])
        if not self.quarters:
            return upright
        x, y, far = upright[0], upright[1], np.array([0, 0, resolution - 1])
        return np.stack([[x, y], [y, far - x], [far - x, far - y], [far - y, x]][self.quarters])


def scale_of(to_crop: np.ndarray) -> float:
    """Pixels of the crop for one of the frame, of a matrix from `Squares.to_crop`."""
    return float(np.hypot(to_crop[0, 0], to_crop[1, 0]))


def follow(boxes: np.ndarray, times: np.ndarray, crop_scale: float = 1.6) -> Squares:
    """Smooth, enlarged squares around the boxes of one face.

    Gaussians over time smooth centre and side without lag, in each stretch of frames with the face on its own. The
    square grows if smoothing would cut into the face, so it always contains the face's box.

    Args:
        boxes: ``[T, 4]``, x0 y0 x1 y1 in pixels; rows that are not finite are frames without the face.
        times: ``[T]`` seconds, increasing.
        crop_scale: side of the square relative to the larger side of the box, at least 1.

    Raises:
        ValueError: shapes or values do not fit.
    """
    boxes, times = np.asarray(boxes, np.float64), np.asarray(times, np.float64)
    if boxes.shape != (len(times), 4) or crop_scale < 1:
        raise ValueError(
            f"boxes must be [{len(times)}, 4] and crop_scale at least 1, found {boxes.shape} and {crop_scale}"
        )
    centres, sides = np.full((len(times), 2), np.nan), np.full(len(times), np.nan)
    present = np.isfinite(boxes).all(axis=1)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], present, [False]]).astype(np.int8)))
    for start, stop in edges.reshape(-1, 2):
        stretch = boxes[start:stop]
        middle = (stretch[:, :2] + stretch[:, 2:]) / 2
        size = (stretch[:, 2:] - stretch[:, :2]).max(axis=1)
        if (size <= 0).any():
            raise ValueError("a box must have its lower corner first")
        moments = times[start:stop]
        smooth = _gaussian(middle, moments, CENTRE_SIGMA)
        side = crop_scale * np.exp(_gaussian(np.log(size)[:, None], moments, SIDE_SIGMA)[:, 0])
        # The corner of the face's box that is farthest from the smoothed centre must stay inside.
        reach = 2 * np.maximum(np.abs(stretch[:, :2] - smooth), np.abs(stretch[:, 2:] - smooth)).max(axis=1)
        centres[start:stop], sides[start:stop] = smooth, np.maximum(side, reach)
    return Squares(centres, sides)


def _gaussian(values: np.ndarray, times: np.ndarray, sigma: float) -> np.ndarray:
    """Weighted means ``[T, D]`` over times in seconds; at the ends only the existing side counts.

    Linear motion is preserved at the ends too: the trend over the mean of the times is removed, as in local linear
    regression.
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
