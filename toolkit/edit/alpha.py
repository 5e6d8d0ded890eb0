"""How much of the edit is pasted, pixel by pixel: masks with soft edges, where the remover did change something."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from toolkit.edit.config import MaskConfig
from toolkit.filling import closed, disc

BLUR = 0.006
"""Standard deviation, as a share of the side, of the blur before a change is told from noise."""
GROW = 0.03
"""By how much the changed part is widened, as a share of the side: its own faint surroundings belong to it."""
REMOVED = 0.1
"""Change in 0..1 of the full range, around greater ones, that counts as taking something off."""
SMALLEST = 0.003
"""Share of the crop that is taken off at least, where masks only say where the attribute may be. What changed on real
faces without stickers (nostrils, freckles, wrinkles) was smaller in 58 of 59 videos, drawn stickers in 2 of 40."""
RIM = 1 / 256
"""By how much what was taken off is widened, as a share of the side: edges are soft."""
REACH = 2
"""Frames before and after in which a change counts too, so that the paste does not flicker."""


def alphas(
    count: int,
    originals: Callable[[int, int], np.ndarray],
    made: Callable[[int, int], np.ndarray],
    masks: Callable[[int, int], np.ndarray] | None,
    side: int,
    config: MaskConfig,
    certain: float = 0.0,
) -> Iterator[np.ndarray]:
    """Weights of the edit for each frame of a run, float32 ``[R, R]`` in 0..1.

    Args:
        count: frames of the run.
        originals, made: functions of a first frame and the one after the last, which give uint8 ``[K, R, R, 3]``.
        masks: such a function for bool ``[K, R, R]``; None where masks are not known.
        side: R.
        config: of the masks.
        certain: see `changes`.
    """
    changed: dict[int, np.ndarray] = {}
    for k in range(count):
        mask = None if masks is None else masks(k, k + 1)[0]
        if config.min_change > 0:
            for near in range(max(0, k - REACH), min(count, k + REACH + 1)):
                if near not in changed:
                    pictures = originals(near, near + 1)[0], made(near, near + 1)[0]
                    changed[near] = changes(*pictures, config.min_change, certain)
            changed.pop(k - REACH - 1, None)
            where = np.logical_or.reduce([changed[near] for near in changed if abs(near - k) <= REACH])
        else:
            where = None
        yield alpha(mask, where, side, config)


def changes(original: np.ndarray, made: np.ndarray, threshold: float, certain: float = 0.0) -> np.ndarray:
    """bool ``[R, R]``: where two pictures differ by more than noise.

    Args:
        original, made: uint8 ``[R, R, 3]``.
        threshold: in 0..1 of the full range.
        certain: such a difference must be somewhere in a part for the part to count (hysteresis; Canny, 1986), and the
            part must not be tiny, as freckles are.
    """
    import cv2
    from scipy import ndimage

    difference = cv2.absdiff(original, made).max(axis=2)
    blurred = cv2.GaussianBlur(difference, (0, 0), max(0.3, BLUR * len(original))) / 255
    where = blurred > threshold
    if certain <= threshold:
        return where
    parts, count = ndimage.label(where)
    certainly = np.bincount(parts[blurred > certain], minlength=count + 1) > 0
    large = np.bincount(parts[blurred > REMOVED], minlength=count + 1) >= SMALLEST * where.size
    return (certainly & large & (np.arange(count + 1) > 0))[parts]


def removed(original: np.ndarray, made: np.ndarray, certain: float) -> np.ndarray:
    """bool ``[R, R]``: where a remover took something off, without gaps and holes.

    Args:
        original, made: uint8 ``[R, R, 3]``.
        certain: see `changes`.
    """
    import cv2

    where = closed(changes(original, made, min(REMOVED, certain), certain)).astype(np.uint8)
    return cv2.dilate(where, disc(2 * math.ceil(RIM * len(where)))) > 0


def alpha(mask: np.ndarray | None, changed: np.ndarray | None, side: int, config: MaskConfig) -> np.ndarray:
    """The weights of one frame, float32 ``[R, R]``; see `alphas`."""
    result = np.ones((side, side), np.float32)
    if mask is not None and (config.pastes == "mask" or not mask.any()):
        result = soft(mask, config.dilation * side, config.feather * side)
    if changed is not None:
        result = result * soft(changed, GROW * side, GROW * side)
    return result


def soft(mask: np.ndarray, grow: float, feather: float) -> np.ndarray:
    """float32 ``[R, R]``: 1 within `grow` pixels of the mask, falling to 0 over `feather` more along half a cosine."""
    import cv2

    if not mask.any() or mask.all():
        return mask.astype(np.float32)
    distance = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    share = np.clip((distance - grow) / max(feather, 1e-6), 0, 1)
    return (0.5 + 0.5 * np.cos(np.pi * share)).astype(np.float32)


def over(
    below: np.ndarray, below_alpha: np.ndarray, above: np.ndarray, above_alpha: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """One edit over another (Porter and Duff, 1984), for several removers.

    Args:
        below, above: float32 ``[..., 3]``.
        below_alpha, above_alpha: float32 ``[...]`` in 0..1.

    Returns:
        Colours float32 ``[..., 3]``, and their weights ``[...]``.
    """
    kept = (below_alpha * (1 - above_alpha))[..., None]
    weight = kept[..., 0] + above_alpha
    colour = (below * kept + above * above_alpha[..., None]) / np.maximum(weight, 1e-6)[..., None]
    return np.where(weight[..., None] > 0, colour, above), weight
