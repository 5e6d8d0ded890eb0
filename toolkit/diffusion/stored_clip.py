"""The original clip of an edit: what the ControlNet sees, latents, noise and masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from toolkit.diffusion.edit_progress import EditProgress
from toolkit.diffusion.frame_store import Frames
from toolkit.diffusion.latent_mask import mask_to_latent


class StoredClip:
    """An encoded clip in the stores of an edit.

    Args:
        progress: of the edit; it opens the stores.
        picture: shape of a frame, ``(H, W, 3)``.
        latent: shape of its latents, ``(C, h, w)``.
        dtype: of the latents.
        masked: whether there are masks.
        hidden: whether the ControlNet's input hides the masked pixels.
        separate: whether other latents than `source` are blended in around the masks.
        shared_noise: whether all frames have the same noise.
        count: frames that are already stored.
    """

    def __init__(
        self,
        progress: EditProgress,
        picture: Sequence[int],
        latent: Sequence[int],
        dtype: torch.dtype,
        masked: bool,
        hidden: bool = False,
        separate: bool = False,
        shared_noise: bool = False,
        count: int = 0,
    ):
        self.count, self._shared_noise = count, shared_noise
        self._latent = tuple(latent)
        self.pictures = progress.store("pictures", tuple(picture), torch.uint8)
        self.source, self._noise = (progress.store(name, tuple(latent), dtype) for name in ("source", "noise"))
        self.blended = progress.store("blended", tuple(latent), dtype) if separate else self.source
        self.mask = progress.store("mask", (1, *latent[1:]), torch.float32) if masked else None
        self.hidden = progress.store("hidden", (picture[0], -(-picture[1] // 8)), torch.uint8) if hidden else None

    @property
    def description(self) -> dict[str, Any]:
        """The arguments, besides `progress`, that open this clip again."""
        return {
            "picture": self.pictures.shape,
            "latent": self._latent,
            "dtype": self.source.dtype,
            "masked": self.mask is not None,
            "hidden": self.hidden is not None,
            "separate": self.blended is not self.source,
            "shared_noise": self._shared_noise,
            "count": self.count,
        }

    def add(
        self,
        pictures: torch.Tensor,
        latents: torch.Tensor,
        masks: np.ndarray | None,
        cell: int,
        blended: torch.Tensor | None = None,
    ) -> None:
        """Append frames.

        Args:
            pictures: uint8 ``[K, H, W, 3]``, what the ControlNet sees.
            latents: ``[K, C, h, w]``, of the frames.
            masks: bool, or float in 0..1, ``[K, H, W]``; needed if the clip is masked or hidden.
            cell: side of a latent cell in pixels.
            blended: ``[K, C, h, w]``, what is blended in around the masks, if that is `separate`.
        """
        self.pictures.write(self.count, pictures)
        self.source.write(self.count, latents)
        if self.mask is not None and masks is not None:
            self.mask.write(self.count, mask_to_latent(masks, cell))
        if self.hidden is not None and masks is not None:
            self.hidden.write(self.count, torch.from_numpy(np.packbits(masks >= 0.5, axis=-1)))
        if blended is not None:
            self.blended.write(self.count, blended)
        self.count += len(pictures)

    def hint(self, start: int, stop: int, device: torch.device) -> torch.Tensor:
        """The ControlNet's input: float32 ``[K, 3, H, W]`` in 0..1, and -1 in hidden pixels."""
        shown = self.pictures.read(start, stop).to(device).permute(0, 3, 1, 2).float() / 255
        if self.hidden is None:
            return shown
        hidden = np.unpackbits(self.hidden.read(start, stop).numpy(), axis=-1, count=shown.shape[-1])
        return shown.masked_fill(torch.from_numpy(hidden).to(device)[:, None] > 0, -1.0)

    def noise(self, start: int, stop: int) -> torch.Tensor:
        """The noise of frames, ``[K, C, h, w]``."""
        if not self._shared_noise:
            return self._noise.read(start, stop)
        return self._noise.read(0, 1).expand(stop - start, *self._latent)

    def write_noise(self, start: int, noise: torch.Tensor) -> None:
        """Store noise from a frame on; that of the first one is enough if it is shared."""
        self._noise.write(start, noise)

    def flush(self) -> None:
        """Hand all frames to the operating system."""
        for store in self._stores:
            store.flush()

    def close(self) -> None:
        """Close the stores."""
        for store in self._stores:
            store.close()

    @property
    def _stores(self) -> list[Frames]:
        stores = [self.pictures, self.source, self._noise, self.mask, self.hidden]
        if self.blended is not self.source:
            stores.append(self.blended)
        return [store for store in stores if store is not None]
