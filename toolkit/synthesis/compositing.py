"""Composites a model's pictures into the untouched frames: what all inpainters share."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from toolkit.task import Inpainted

EDGE = 1 / 170
"""Width of the feathered edge around the mask, divided by the width of the frame: 3 pixels of 512."""


def feathered(mask: np.ndarray, width: int) -> np.ndarray:
    """Compositing weights: 1 on the mask, falling to 0 over `2 * width` pixels around it.

    Args:
        mask: bool ``[H, W]``.

    Returns:
        float32 ``[H, W]`` in 0..1.
    """
    import cv2

    side = 2 * width + 1
    grown = cv2.dilate(mask.astype(np.float32), np.ones((side, side), np.uint8))
    # Dilation and average use the same square, so the average is 1 everywhere on the mask itself.
    return np.clip(cv2.blur(grown, (side, side), borderType=cv2.BORDER_REPLICATE), 0, 1)


def composite_over(
    frame: np.ndarray, output: np.ndarray, mask: np.ndarray, width: int, keep: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, float]:
    """Composite a model's output over the frame, inside the mask.

    Args:
        frame, output: uint8 ``[H, W, 3]``.
        mask: bool ``[H, W]``.
        width: of the feathered edge in pixels.
        keep: bool ``[H, W]``: pixels of the frame that stay. The edge around them lies inside the mask.

    Returns:
        The picture uint8 ``[H, W, 3]``; where it may differ from `frame`, bool ``[H, W]``; and the mean absolute
        difference (0..255) of `output` and `frame` in all other pixels.
    """
    weights = feathered(mask, width)
    if keep is not None and keep.any():
        # Half as wide: rims often run close to an eye, and what lies under this edge stays half visible.
        weights = weights * (1 - feathered(keep, max(1, width // 2)))
    touched = weights > 0
    blended = frame + weights[..., None] * (output.astype(np.float32) - frame)
    picture = np.where(touched[..., None], np.rint(blended).astype(np.uint8), frame)
    outside = np.abs(output.astype(np.int16) - frame)[~touched]
    return picture, touched, float(outside.mean()) if outside.size else 0.0


def composited(frames: np.ndarray, outputs: np.ndarray, masks: np.ndarray, keep: np.ndarray | None) -> Inpainted:
    """Composite a model's pictures of a clip over its frames.

    Args:
        frames, outputs: uint8 ``[T, H, W, 3]``.
        masks: bool ``[T, H, W]``.
        keep: bool ``[T, H, W]``, pixels that stay, or None.
    """
    width = max(1, round(frames.shape[2] * EDGE))
    kept = [None] * len(frames) if keep is None else keep
    parts = [
        composite_over(frame, output, mask, width, stay)
        for frame, output, mask, stay in zip(frames, outputs, masks, kept)
    ]
    pictures, touched, outside = zip(*parts)
    return Inpainted(np.stack(pictures), np.stack(touched), np.array(outside, np.float32))


class CompositingInpainter(ABC):
    """An `Inpainter` whose model makes whole pictures, which are then composited into the frames."""

    def __call__(
        self,
        frames: np.ndarray,
        masks: np.ndarray,
        *,
        prompt: str,
        negative_prompt: str = "",
        seed: int = 0,
        keep: np.ndarray | None = None,
    ) -> Inpainted:
        outputs = self.generate(frames, masks, prompt=prompt, negative_prompt=negative_prompt, seed=seed, keep=keep)
        return composited(frames, outputs, masks, keep)

    @abstractmethod
    def generate(
        self,
        frames: np.ndarray,
        masks: np.ndarray,
        *,
        prompt: str,
        negative_prompt: str = "",
        seed: int = 0,
        keep: np.ndarray | None = None,
    ) -> np.ndarray:
        """The model's pictures, uint8 ``[T, H, W, 3]``; arguments as for `Inpainter`."""
