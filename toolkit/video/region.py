"""Computes a square region for a whole clip and crops frames to it."""

from __future__ import annotations

import numpy as np


def square_region(boxes: np.ndarray, frame_size: tuple[int, int], crop_scale: float = 1.6) -> np.ndarray:
    """The square that contains a face over a whole clip.

    Args:
        boxes: float ``[T, 4]``, x0 y0 x1 y1 in pixels; rows with NaN are frames without the face.
        frame_size: height and width of the frames in pixels.
        crop_scale: side of the square divided by the larger side of the boxes' union.

    Returns:
        int32 ``[4]``, x0 y0 x1 y1: inside the frame, centred on the union as far as the frame allows. Its side is at
        most the frame's smaller side.

    Raises:
        ValueError: no row is finite, or `crop_scale` is not positive.
    """
    height, width = frame_size
    boxes = np.asarray(boxes, float).reshape(-1, 4)
    boxes = boxes[np.isfinite(boxes).all(axis=1)]
    if not len(boxes) or crop_scale <= 0:
        raise ValueError(f"expected a finite box and crop_scale > 0, found {len(boxes)} boxes, crop_scale {crop_scale}")
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    side = int(np.clip(np.rint(crop_scale * (high - low).max()), 1, min(height, width)))
    corner = np.clip(np.rint((low + high - side) / 2), 0, [width - side, height - side])
    return np.concatenate([corner, corner + side]).astype(np.int32)


def crop(image: np.ndarray, box: np.ndarray, resolution: int) -> np.ndarray:
    """Cut a box out of a frame and scale it to a square.

    Args:
        image: uint8 ``[H, W, 3]``.
        box: int ``[4]``, x0 y0 x1 y1 in pixels, inside the frame.
        resolution: side of the output in pixels.

    Returns:
        uint8 ``[resolution, resolution, 3]``, never a view of `image`.

    Raises:
        ValueError: the box is empty or extends beyond the frame.
    """
    import cv2

    x0, y0, x1, y1 = map(int, box)
    if not (0 <= x0 < x1 <= image.shape[1] and 0 <= y0 < y1 <= image.shape[0]):
        raise ValueError(f"box {[x0, y0, x1, y1]} is not inside a frame of {image.shape[1]}x{image.shape[0]}")
    cut = image[y0:y1, x0:x1]
    if cut.shape[:2] == (resolution, resolution):
        return cut.copy()
    method = cv2.INTER_AREA if resolution < max(cut.shape[:2]) else cv2.INTER_CUBIC
    return cv2.resize(cut, (resolution, resolution), interpolation=method)
