"""Crops of a frame along a square, and the edited crop back into the frame with a soft edge."""

from __future__ import annotations

from pathlib import Path

import numpy as np

MARGIN = 0.04
"""Width of the soft rim of a crop, as a share of its side: whatever the mask says, the crop's own edge never shows."""


NEAR = 7
"""Side of the square around a pasted pixel whose colours are kept, in pixels of the crop."""


def cut(frame: np.ndarray, to_crop: np.ndarray, resolution: int) -> np.ndarray:
    """The crop of a frame.

    Args:
        frame: uint8 ``[H, W, 3]``, or float ``[H, W]``, such as a mask.
        to_crop: ``[2, 3]``, see `Squares.to_crop`.
        resolution: side of the crop in pixels.

    Returns:
        Of the frame's type, ``[resolution, resolution, ...]``; beyond the frame's border its edge is repeated.
    """
    import cv2

    scale = to_crop[0, 0]
    if scale < 1:  # only the pixels that are needed are smoothed, so that the cost follows the face
        x0, y0, x1, y1 = _reach(to_crop, resolution, frame.shape, pad=3 / scale)
        part = cv2.GaussianBlur(frame[y0:y1, x0:x1], (0, 0), 0.5 * np.sqrt(1 / scale**2 - 1) + 1e-3)
        to_crop = to_crop @ np.array([[1, 0, x0], [0, 1, y0], [0, 0, 1.0]])
    else:
        part = frame
    flags = cv2.INTER_LINEAR if scale < 1 else cv2.INTER_CUBIC
    return cv2.warpAffine(part, to_crop, (resolution, resolution), flags=flags, borderMode=cv2.BORDER_REPLICATE)


def paste(frame: np.ndarray, edited: np.ndarray, alpha: np.ndarray, to_crop: np.ndarray) -> np.ndarray:
    """The frame with an edited crop in it.

    Args:
        frame: uint8 ``[H, W, 3]``; not changed.
        edited: uint8 ``[R, R, 3]``.
        alpha: float ``[R, R]`` in 0..1; 1 where the edit replaces the frame.
        to_crop: what the crop was cut by.

    Returns:
        uint8 ``[H, W, 3]``; where alpha is 0, and outside the crop, equal to `frame` to the last bit.
    """
    import cv2

    resolution = len(edited)
    x0, y0, x1, y1 = _reach(to_crop, resolution, frame.shape, pad=0)
    if x0 >= x1 or y0 >= y1:
        return frame.copy()
    from_frame = to_crop @ np.array([[1, 0, x0], [0, 1, y0], [0, 0, 1.0]])
    flags = (cv2.INTER_LINEAR if to_crop[0, 0] > 1 else cv2.INTER_CUBIC) | cv2.WARP_INVERSE_MAP
    size = (x1 - x0, y1 - y0)
    smooth = _smoothed(edited, alpha, to_crop[0, 0])
    picture = cv2.warpAffine(smooth, from_frame, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    weights = (alpha * _rim(resolution)).astype(np.float32)
    weights = cv2.warpAffine(weights, from_frame, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)[..., None]
    result = frame.copy()
    below = frame[y0:y1, x0:x1]
    mixed = below + weights * (picture.astype(np.float32) - below)
    result[y0:y1, x0:x1] = np.where(weights > 0, np.rint(mixed), below).astype(np.uint8)
    return result


def _smoothed(edited: np.ndarray, alpha: np.ndarray, scale: float) -> np.ndarray:
    """A crop without the detail that the frame has no pixels for; of pixels without colours nothing is mixed in.

    Args:
        scale: pixels of the crop for one of the frame.
    """
    import cv2

    if scale <= 1:
        return edited
    sigma = 0.5 * np.sqrt(scale**2 - 1) + 1e-3
    known = cv2.dilate((alpha > 0).astype(np.float32), np.ones((NEAR, NEAR), np.uint8))
    weight = cv2.GaussianBlur(known, (0, 0), sigma)[..., None]
    colours = cv2.GaussianBlur(edited * known[..., None], (0, 0), sigma)
    return np.where(weight > 1e-3, colours / np.maximum(weight, 1e-3), edited).astype(np.float32)


def write_patch(path: Path, colours: np.ndarray, weights: np.ndarray) -> None:
    """Keep an edited crop as a PNG with transparency.

    Args:
        colours: ``[R, R, 3]`` in 0..255, RGB.
        weights: ``[R, R]`` in 0..1, stored in 255 steps.
    """
    import cv2

    alpha = np.rint(255 * weights).astype(np.uint8)
    # Interpolation looks two pixels beyond those that count; what lies farther away need not be stored.
    near = cv2.dilate(alpha, np.ones((NEAR, NEAR), np.uint8)) > 0
    rgb = np.where(near[..., None], np.rint(colours), 0).astype(np.uint8)
    _, data = cv2.imencode(".png", np.dstack([rgb[..., ::-1], alpha]), [cv2.IMWRITE_PNG_COMPRESSION, 1])
    path.write_bytes(data.tobytes())


def read_patch(path: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """Colours uint8 ``[R, R, 3]``, RGB, and weights float32 ``[R, R]`` in 0..1; None where nothing was edited."""
    import cv2

    if not path.is_file():
        return None
    picture = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    return np.ascontiguousarray(picture[..., 2::-1]), picture[..., 3].astype(np.float32) / 255


def _reach(to_crop: np.ndarray, resolution: int, shape: tuple[int, ...], pad: float) -> tuple[int, int, int, int]:
    """Pixels x0 y0 x1 y1 of the frame that the crop touches, grown by `pad` pixels, within the frame."""
    scale, offset = to_crop[0, 0], to_crop[:, 2]
    low = np.floor((-0.5 - offset) / scale - pad).astype(int)
    high = np.ceil((resolution - 0.5 - offset) / scale + pad).astype(int) + 1
    limit = np.array([shape[1], shape[0]])
    # A crop beyond the border still needs the pixel at the edge that is repeated there.
    low, high = np.clip(low, 0, limit - (1 if pad else 0)), np.clip(high, 1 if pad else 0, limit)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def _rim(resolution: int) -> np.ndarray:
    """float64 ``[R, R]``: 1 inside, falling to 0 at the edges along half a cosine."""
    width = max(1.0, MARGIN * resolution)
    distance = np.minimum(np.arange(resolution), np.arange(resolution)[::-1])
    ramp = 0.5 - 0.5 * np.cos(np.pi * np.clip(distance / width, 0, 1))
    return np.minimum.outer(ramp, ramp)
