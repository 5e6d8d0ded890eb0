"""Run the segmenter on clips, and read and write its weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import torch

from attributes.glasses.segmenter.network import CHANNELS, GlassesNetwork
from attributes.glasses.segmenter.region import HEIGHT, WIDTH, cut_out, eye_regions
from attributes.segmenting import weights
from attributes.segmenting.network import normalise
from attributes.segmenting.region import Regions, put_back
from toolkit.device import choose_device_name
from toolkit.task import FaceClip

BATCH = 4
"""Frames per forward pass."""
FORMAT = "glasses-segmenter-1"
"""Format name in the metadata of weights files."""


@dataclass(frozen=True, eq=False)
class GlassesMaps:
    """Maps of the parts of glasses in 0..1; 0 outside the region of the eyes and in frames without the face.

    Attributes:
        frame: float32 ``[T, H, W]``, rims, bridge, hinges, pads, temples.
        lens: float32 ``[T, H, W]``, lenses, including clear ones.
        reflection: float32 ``[T, H, W]``, share of the light that is reflected by a lens.
        dark: float32 ``[T, H, W]``, share of the light that a lens blocks.
        presence: float32 ``[T]``, probability that the person wears glasses.
    """

    frame: np.ndarray
    lens: np.ndarray
    reflection: np.ndarray
    dark: np.ndarray
    presence: np.ndarray


@dataclass(frozen=True, eq=False)
class RegionMaps:
    """Output of the network in the region of the eyes.

    Attributes:
        maps: float32 ``[T, 128, 256, 4]``, 0..1, in the order of `CHANNELS`; 0 in frames without a region.
        presence: float32 ``[T]``, 0..1; 0 in frames without a region.
        regions: the positions of the regions in the frames.
    """

    maps: np.ndarray
    presence: np.ndarray
    regions: Regions

    def in_frames(self, size: tuple[int, ...]) -> GlassesMaps:
        """The maps in the pixels of frames of `size`, height and width."""
        planes = np.zeros((len(self.maps), len(CHANNELS), *size), np.float32)
        for t in np.flatnonzero(self.regions.usable):
            put_back(self.maps[t], self.regions.to_region[t], planes[t])
        frame, lens, reflection, dark = np.moveaxis(planes, 1, 0)
        return GlassesMaps(frame, lens, reflection, dark, self.presence)


class GlassesSegmenter:
    """Finds glasses in each frame of a clip independently. Build one with `load`.

    Args:
        network: a trained network.
        device: a torch device.
    """

    def __init__(self, network: GlassesNetwork, device: str = "cpu"):
        self._device = torch.device(device)
        self._network = weights.folded(network).to(self._device, memory_format=torch.channels_last)

    @classmethod
    def load(cls, path: str | Path | None = None, device: str | None = None) -> GlassesSegmenter:
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

    def segment(self, clip: FaceClip) -> GlassesMaps:
        """Maps in the pixels of the clip; zero in frames without the face.

        The maps of a frame are multiplied by its presence, which suppresses false rims on people without glasses.
        """
        found = self.segment_regions(clip)
        maps = found.maps * found.presence[:, None, None, None]
        return replace(found, maps=maps).in_frames(clip.frames.shape[1:3])

    def segment_regions(self, clip: FaceClip) -> RegionMaps:
        """Maps in the region that follows the face, not multiplied by presence."""
        regions = eye_regions(clip.landmarks, clip.topology)
        maps = np.zeros((len(clip), HEIGHT, WIDTH, len(CHANNELS)), np.float32)
        presence = np.zeros(len(clip), np.float32)
        usable = np.flatnonzero(regions.usable)
        for start in range(0, len(usable), BATCH):
            batch = usable[start : start + BATCH]
            cut = np.stack([cut_out(clip.frames[t], regions.to_region[t]) for t in batch])
            maps[batch], presence[batch] = self.infer(cut)
        return RegionMaps(maps, presence, regions)

    def presence(self, clip: FaceClip, frames: np.ndarray, regions: Regions) -> np.ndarray:
        """The presence of glasses in some frames of a clip, float32 ``[len(frames)]`` in 0..1, without maps."""
        found = np.zeros(len(frames), np.float32)
        for start in range(0, len(frames), BATCH):
            batch = slice(start, start + BATCH)
            cut = np.stack([cut_out(clip.frames[t], regions.to_region[t]) for t in frames[batch]])
            with torch.inference_mode():
                logits = self._network.only_presence(normalise(torch.from_numpy(cut).to(self._device)))
                found[batch] = logits.sigmoid().cpu().numpy()
        return found

    def infer(self, cut: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Regions uint8 ``[B, 128, 256, 3]`` -> maps float32 ``[B, 128, 256, 4]`` and presence ``[B]``, in 0..1."""
        with torch.inference_mode():
            maps, presence = self._network(normalise(torch.from_numpy(cut).to(self._device)))
            return maps.sigmoid().permute(0, 2, 3, 1).cpu().numpy(), presence.sigmoid().cpu().numpy()


def write_weights(network: GlassesNetwork, path: Path, about: dict[str, str]) -> None:
    """Save the weights as safetensors in half precision, with `about` in the metadata."""
    weights.write_weights(network, path, {"format": FORMAT, **about}, half=True)


def read_weights(path: Path) -> GlassesNetwork:
    """Load the network from a weights file.

    Raises:
        InputError: the file is missing, damaged, or of another kind.
    """
    return weights.read_weights(path, GlassesNetwork(), FORMAT, "glasses")
