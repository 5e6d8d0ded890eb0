"""Checks every pair before it is stored."""

from __future__ import annotations

import numpy as np

from toolkit.errors import ContractError
from toolkit.task import FaceClip, Pair

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


def check_pair(pair: Pair, clip: FaceClip, task: str) -> str | None:
    """None for a good pair, or the reason for leaving it out.

    Raises:
        ContractError: the task broke its contract: a wrong shape or type, an image that is not the clip's frame, a
            change outside the mask. Names the task and the frame.
    """

    def refuse(what: str):
        raise ContractError(f"the task {task!r} gave a wrong pair for frame {clip.start_frame + pair.index}: {what}")

    if not 0 <= pair.index < len(clip):
        raise ContractError(f"the task {task!r} gave a pair for frame {pair.index} of a clip of {len(clip)} frames")
    frame = clip.frames[pair.index]
    if not clip.present[pair.index]:
        refuse("the face is not in this frame, which must give none")
    for name in ("image", "conditioning_image"):
        value = getattr(pair, name)
        if value.dtype != np.uint8 or value.shape != frame.shape:
            refuse(f"{name} must be uint8 {frame.shape}, found {value.dtype} {value.shape}")
    if pair.mask.dtype != np.bool_ or pair.mask.shape != frame.shape[:2]:
        refuse(f"mask must be bool {frame.shape[:2]}, found {pair.mask.dtype} {pair.mask.shape}")
    if pair.image is not frame and not np.array_equal(pair.image, frame):
        refuse("image must be the clip's frame, unchanged")
    outside = changed_outside(pair.image, pair.conditioning_image, pair.mask)
    if outside:
        refuse(f"conditioning_image must equal image outside the mask, found {outside} pixels that differ")
    area = int(np.count_nonzero(pair.mask))
    if area < MIN_MASK_PIXELS:
        return INVISIBLE
    if area > MAX_MASK_SHARE * pair.mask.size:
        return TOO_LARGE
    return None
