"""Checks pairs before they are stored."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from toolkit.errors import ContractError
from toolkit.task import FaceClip, Pair

Limits = Mapping[str, tuple[float | None, float | None]]

MIN_MASK_PIXELS = 16
"""Masks with fewer pixels count as an invisible attribute."""
MAX_MASK_SHARE = 0.5
"""Masks that cover more of the crop hide too much of the face."""

INVISIBLE, TOO_LARGE = "attribute not visible", "mask over half of the crop"


def changed_outside(image: np.ndarray, conditioning_image: np.ndarray, mask: np.ndarray) -> int:
    """Count the pixels outside the mask in which two pictures differ.

    Args:
        image, conditioning_image: uint8 ``[H, W, 3]``.
        mask: bool ``[H, W]``.
    """
    import cv2

    difference = cv2.absdiff(image, conditioning_image)
    difference[mask] = 0
    # Nearly all pairs have no such pixel, and this is the cheapest way to see it.
    return (
        0 if not cv2.countNonZero(difference.reshape(len(mask), -1)) else int(np.count_nonzero(difference.any(axis=-1)))
    )


def pair_problem(pair: Pair, clip: FaceClip) -> str | None:
    """How a pair breaks the contract, in words, or None.

    A pair must have the right shapes and types, hold the clip's frame unchanged as one of its pictures, and show no
    change outside the mask. Builds and the conformance checks both use this function.
    """
    if not 0 <= pair.index < len(clip):
        return f"index must be in 0..{len(clip) - 1}, found {pair.index}"
    frame = clip.frames[pair.index]
    if not clip.present[pair.index]:
        return "a frame without the face must give no pair"
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
    """The reason to leave a pair out, or None.

    Args:
        pair: the pair.
        clip: the clip that it comes from.
        task: name of the task, for messages.
        limits: lowest and highest valid value of numbers in `pair.info`, as `AttributeTask.limits` returns them.

    Raises:
        ContractError: the pair breaks the contract, or lacks a number that the task limits.
    """
    problem = pair_problem(pair, clip)
    if problem:
        raise ContractError(
            f"the task {task!r} returned an invalid pair for frame {clip.start_frame + pair.index}: {problem}"
        )
    area = int(np.count_nonzero(pair.mask))
    if area < MIN_MASK_PIXELS:
        return INVISIBLE
    if area > MAX_MASK_SHARE * pair.mask.size:
        return TOO_LARGE
    for name, (low, high) in (limits or {}).items():
        value = pair.info.get(name)
        if isinstance(value, str) or value is None or not np.isfinite(value):
            raise ContractError(
                f"the task {task!r} limits {name!r}, so every pair must have that number, found {value!r}"
            )
        if low is not None and value < low:
            return f"{name} under {low:g}"
        if high is not None and value > high:
            return f"{name} over {high:g}"
    return None
