"""Checks every pair before it is stored."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from toolkit.errors import ContractError
from toolkit.task import FaceClip, Pair

Limits = Mapping[str, tuple[float | None, float | None]]

MIN_MASK_PIXELS = 16
"""A smaller mask counts as an attribute that cannot be seen."""
MAX_MASK_SHARE = 0.5
"""A mask over a larger part of the crop hides the face that is to be restored."""

INVISIBLE, TOO_LARGE = "attribute not visible", "mask over half of the crop"


def changed_outside(image: np.ndarray, conditioning_image: np.ndarray, mask: np.ndarray) -> int:
    """Pixels outside `mask` in which the two pictures differ.

    Args:
        image, conditioning_image: uint8 ``[H, W, 3]``.
        mask: bool ``[H, W]``.
    """
    import cv2

    difference = cv2.absdiff(image, conditioning_image)
    difference[mask] = 0
    # The usual answer first, without a sum over channels: this is asked of every pair.
    return (
        0 if not cv2.countNonZero(difference.reshape(len(mask), -1)) else int(np.count_nonzero(difference.any(axis=-1)))
    )


def pair_problem(pair: Pair, clip: FaceClip) -> str | None:
    """What is wrong with a pair of a clip by the contract, in words, or None: wrong shapes or types, no picture that is
    the clip's own, a change outside the mask. This is asked in builds and in the conformance checks.
    """
    if not 0 <= pair.index < len(clip):
        return f"index must be in 0..{len(clip) - 1}, found {pair.index}"
    frame = clip.frames[pair.index]
    if not clip.present[pair.index]:
        return "the face is not in this frame, which must give none"
    for name in ("image", "conditioning_image"):
        value = getattr(pair, name)
        if value.dtype != np.uint8 or value.shape != frame.shape:
            return f"{name} must be uint8 {frame.shape}, found {value.dtype} {value.shape}"
    if pair.mask.dtype != np.bool_ or pair.mask.shape != frame.shape[:2]:
        return f"mask must be bool {frame.shape[:2]}, found {pair.mask.dtype} {pair.mask.shape}"
    if not any(value is frame or np.array_equal(value, frame) for value in (pair.image, pair.conditioning_image)):
        return "image or conditioning_image must be the clip's frame, unchanged"
    outside = changed_outside(pair.image, pair.conditioning_image, pair.mask)
    if outside:
        return f"conditioning_image must equal image outside the mask, found {outside} pixels that differ"
    return None


def check_pair(pair: Pair, clip: FaceClip, task: str, limits: Limits | None = None) -> str | None:
    """None for a good pair, or the reason for leaving it out.

    Args:
        limits: lowest and highest good value by the names of numbers in `pair.info`, see `AttributeTask.limits`.

    Raises:
        ContractError: the task broke its contract, see `pair_problem`, or limits a number that it does not give. Names
            the task and the frame.
    """
    problem = pair_problem(pair, clip)
    if problem:
        raise ContractError(f"the task {task!r} gave a wrong pair for frame {clip.start_frame + pair.index}: {problem}")
    area = int(np.count_nonzero(pair.mask))
    if area < MIN_MASK_PIXELS:
        return INVISIBLE
    if area > MAX_MASK_SHARE * pair.mask.size:
        return TOO_LARGE
    for name, (low, high) in (limits or {}).items():
        value = pair.info.get(name)
        if isinstance(value, str) or value is None or not np.isfinite(value):
            raise ContractError(f"the task {task!r} limits {name!r}, so every pair needs that number, found {value!r}")
        if low is not None and value < low:
            return f"{name} under {low:g}"
        if high is not None and value > high:
            return f"{name} over {high:g}"
    return None
