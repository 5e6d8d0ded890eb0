"""Convert a clip and its masks into model inputs, batch by batch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch


@dataclass(frozen=True, eq=False)
class ClipInput:
    """Frames and masks checked by `check_clip`, converted one batch at a time.

    Attributes:
        frames: numpy uint8 ``[T, H, W, 3]``, or torch float ``[T, 3, H, W]`` in 0..1.
        masks: numpy bool, or floating in 0..1, ``[T, H, W]``.
        keep: numpy bool ``[T, H, W]``, pixels that stay as they are; None if no others than those outside the masks.
    """

    frames: np.ndarray | torch.Tensor
    masks: np.ndarray
    keep: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.masks)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.masks.shape[1], self.masks.shape[2]

    @cached_property
    def empty(self) -> np.ndarray:
        """bool ``[T]``: frames in which nothing is masked."""
        return ~np.array([(mask >= 0.5).any() for mask in self.masks])

    def pixels(self, indices: list[int], device: torch.device) -> torch.Tensor:
        """The frames: float32 ``[B, 3, H, W]`` in 0..1."""
        if isinstance(self.frames, torch.Tensor):
            return self.frames[indices].to(device, torch.float32)
        return torch.from_numpy(self.frames[indices]).to(device).permute(0, 3, 1, 2).float() / 255

    def hard_masks(self, indices: list[int], device: torch.device) -> torch.Tensor:
        """The masks thresholded at 0.5, as in diffusers: bool ``[B, 1, H, W]``."""
        return torch.from_numpy(self.masks[indices] >= 0.5).to(device)[:, None]

    def masked_pixels(self, indices: list[int], device: torch.device) -> torch.Tensor:
        """The frames with mid-grey in masked pixels, as in diffusers: float32 ``[B, 3, H, W]`` in 0..1."""
        return self.pixels(indices, device).masked_fill(self.hard_masks(indices, device), 0.5)

    def hint(self, indices: list[int], device: torch.device) -> torch.Tensor:
        """Input of ControlNet 1.1 inpaint: float32 ``[B, 3, H, W]`` in 0..1, and -1 in masked pixels."""
        return self.pixels(indices, device).masked_fill(self.hard_masks(indices, device), -1.0)
