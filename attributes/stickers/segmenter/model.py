"""Run the segmenter on clips, and read and write its weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import torch

from attributes.segmenting import weights
from attributes.segmenting.network import normalise
from attributes.segmenting.region import Regions, cut_out, put_back, regions_of
from attributes.segmenting.stabilise import averaged
from attributes.stickers.segmenter.network import StickerNetwork
from attributes.stickers.segmenter.region import FACE, SIDE
from toolkit.device import choose_device_name
from toolkit.task import FaceClip

BATCH = 4
"""Frames per forward pass."""
FORMAT = "stickers-segmenter-1"
"""Format name in the metadata of weights files."""


@dataclass(frozen=True, eq=False)
class StickerMaps:
    """Output of the network in the region of the face.

    Attributes:
        maps: float32 ``[T, 192, 192]`` in 0..1, where stickers are; 0 in frames without a region.
        presence: float32 ``[T]``, probability that there are any; 0 in frames without a region.
        regions: the positions of the regions in the frames.
    """

    maps: np.ndarray
    presence: np.ndarray
    regions: Regions

    def averaged(self) -> StickerMaps:
        """The same with maps averaged over neighbouring frames, so that they do not flicker."""
        return replace(self, maps=averaged(self.maps, self.regions))

    def in_frames(self, size: tuple[int, ...]) -> np.ndarray:
        """The maps in the pixels of frames of `size`, height and width: float32 ``[T, H, W]``."""
        planes = np.zeros((len(self.maps), 1, *size), np.float32)
        for t in np.flatnonzero(self.regions.usable):
            put_back(self.maps[t][..., None], self.regions.to_region[t], planes[t])
        return planes[:, 0]


class StickerSegmenter:
    """Finds stickers in each frame of a clip independently. Build one with `load`.

    Args:
        network: a trained network.
        device: a torch device.
    """

    def __init__(self, network: StickerNetwork, device: str = "cpu"):
        self._device = torch.device(device)
        self._network = weights.folded(network).to(self._device, memory_format=torch.channels_last)

    @classmethod
    def load(cls, path: str | Path | None = None, device: str | None = None) -> StickerSegmenter:
        """Read a weights file.

        Args:
            path: a file written by the training; if None, the embedded weights.
            device: a torch device; if None, the choice of `toolkit.device.choose_device_name`.

        Raises:
            InputError: the file is missing, damaged, or of another kind.
            UsageError: the device is not available.
        """
        device = choose_device_name(device)
        if path is not None:
            return cls(read_weights(Path(path)), device)
        with as_file(files(__package__) / "weights.safetensors") as embedded:
            return cls(read_weights(embedded), device)

    def segment(self, clip: FaceClip) -> StickerMaps:
        """Maps in the region that follows the face."""
        regions = regions_of(clip.landmarks, clip.topology, FACE)
        maps = np.zeros((len(clip), SIDE, SIDE), np.float32)
        presence = np.zeros(len(clip), np.float32)
        usable = np.flatnonzero(regions.usable)
        for start in range(0, len(usable), BATCH):
            batch = usable[start : start + BATCH]
            cut = np.stack([cut_out(clip.frames[t], regions.to_region[t], SIDE, SIDE) for t in batch])
            maps[batch], presence[batch] = self.infer(cut)
        return StickerMaps(maps, presence, regions)

    def infer(self, cut: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Regions uint8 ``[B, 192, 192, 3]`` -> maps float32 ``[B, 192, 192]`` and presence ``[B]``, in 0..1."""
        with torch.inference_mode():
            maps, presence = self._network(normalise(torch.from_numpy(cut).to(self._device)))
            return maps[:, 0].sigmoid().cpu().numpy(), presence.sigmoid().cpu().numpy()


def write_weights(network: StickerNetwork, path: Path, about: dict[str, str]) -> None:
    """Save the weights as safetensors in half precision, with `about` in the metadata."""
    weights.write_weights(network, path, {"format": FORMAT, **about}, half=True)


def read_weights(path: Path) -> StickerNetwork:
    """Load the network from a weights file.

    Raises:
        InputError: the file is missing, damaged, or of another kind.
    """
    return weights.read_weights(path, StickerNetwork(), FORMAT, "stickers")
