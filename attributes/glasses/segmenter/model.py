"""The segmenter: clips in, soft maps of glasses out."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import torch

from attributes.glasses.segmenter.network import CHANNELS, GlassesNetwork, normalise
from attributes.glasses.segmenter.region import HEIGHT, WIDTH, Regions, cut_out, eye_regions, put_back
from toolkit.device import choose_device_name
from toolkit.errors import InputError
from toolkit.task import FaceClip

BATCH = 16
"""Frames per pass of the network."""
FORMAT = "glasses-segmenter-1"
"""What a weights file says of itself in its metadata."""


@dataclass(frozen=True, eq=False)
class GlassesMaps:
    """Where the parts of glasses are: values in 0..1, 0 outside the region of the eyes and where there is no face.

    Attributes:
        frame: float32 ``[T, H, W]``: rims, bridge, hinges, pads, temples.
        lens: float32 ``[T, H, W]``: lenses, clear ones too.
        reflection: float32 ``[T, H, W]``: share of the light that is mirrored by a lens.
        dark: float32 ``[T, H, W]``: share of the light that a lens keeps from passing.
        presence: float32 ``[T]``: probability that the person wears glasses.
    """

    frame: np.ndarray
    lens: np.ndarray
    reflection: np.ndarray
    dark: np.ndarray
    presence: np.ndarray


@dataclass(frozen=True, eq=False)
class RegionMaps:
    """The network's output where it is made, before it goes back to the frames.

    Attributes:
        maps: float32 ``[T, 128, 256, 4]``, 0..1, in the order of `CHANNELS`; 0 where there is no region.
        presence: float32 ``[T]``, 0..1; 0 where there is no region.
        regions: where in the frames they lie.
    """

    maps: np.ndarray
    presence: np.ndarray
    regions: Regions

    def in_frames(self, size: tuple[int, int]) -> GlassesMaps:
        """The maps in frames of `size`, height and width in px."""
        count = len(self.maps)
        planes = np.zeros((count, len(CHANNELS), *size), np.float32)
        for t in np.flatnonzero(self.regions.usable):
            put_back(self.maps[t], self.regions.to_region[t], planes[t])
        return GlassesMaps(*np.moveaxis(planes, 1, 0), presence=self.presence)


class GlassesSegmenter:
    """Finds glasses in the frames of a clip, each for itself. Build one with `load`.

    Args:
        network: its weights are used as they are.
        device: a torch device.
    """

    def __init__(self, network: GlassesNetwork, device: str = "cpu"):
        self._device = torch.device(device)
        self._network = _folded(network).to(self._device, memory_format=torch.channels_last)

    @classmethod
    def load(cls, path: str | Path | None = None, device: str | None = None) -> GlassesSegmenter:
        """Read a weights file.

        Args:
            path: a file that training wrote; the embedded weights if None.
            device: a torch device; as `toolkit.device.choose_device_name` chooses if None.

        Raises:
            InputError: the file is missing, damaged, or of another kind.
            UsageError: the device is not here.
        """
        device = choose_device_name(device)
        if path is not None:
            return cls(read_weights(Path(path)), device)
        with as_file(files(__package__) / "weights.safetensors") as embedded:
            return cls(read_weights(embedded), device)

    def segment(self, clip: FaceClip) -> GlassesMaps:
        """Soft maps in the clip's pixels, each frame for itself; zero in frames without the face.

        A frame's maps are multiplied by its presence: rims on a person who wears none are not to be believed.
        """
        found = self.segment_regions(clip)
        believed = found.maps * found.presence[:, None, None, None]
        return replace(found, maps=believed).in_frames(clip.frames.shape[1:3])

    def segment_regions(self, clip: FaceClip) -> RegionMaps:
        """What the network says, in the region that moves with the face and not multiplied by presence."""
        regions = eye_regions(clip.landmarks, clip.topology)
        maps = np.zeros((len(clip), HEIGHT, WIDTH, len(CHANNELS)), np.float32)
        presence = np.zeros(len(clip), np.float32)
        usable = np.flatnonzero(regions.usable)
        for start in range(0, len(usable), BATCH):
            batch = usable[start : start + BATCH]
            cut = np.stack([cut_out(clip.frames[t], regions.to_region[t]) for t in batch])
            maps[batch], presence[batch] = self.infer(cut)
        return RegionMaps(maps, presence, regions)

    def infer(self, cut: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """uint8 ``[B, 128, 256, 3]`` -> maps float32 ``[B, 128, 256, 4]`` and presence ``[B]``, both 0..1."""
        with torch.inference_mode():
            maps, presence = self._network(normalise(torch.from_numpy(cut).to(self._device)))
            return maps.sigmoid().permute(0, 2, 3, 1).cpu().numpy(), presence.sigmoid().cpu().numpy()


def _folded(network: GlassesNetwork) -> GlassesNetwork:
    """A copy for inference, its batch normalisations folded into the convolutions before them."""
    folded = copy.deepcopy(network).eval()
    for module in list(folded.modules()):
        if isinstance(module, torch.nn.Sequential) and len(module) > 1 and isinstance(module[1], torch.nn.BatchNorm2d):
            module[0] = torch.nn.utils.fuse_conv_bn_eval(module[0], module[1])
            del module[1]
    return folded


def write_weights(network: GlassesNetwork, path: Path, about: dict[str, str]) -> None:
    """Save the weights as safetensors, through a temporary file; `about` goes into the metadata."""
    from safetensors.torch import save_file

    state = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    save_file(state, temporary, {"format": FORMAT, **about})
    temporary.chmod(0o644)  # safetensors lets nobody else read it
    temporary.replace(path)


def read_weights(path: Path) -> GlassesNetwork:
    """The network of a weights file.

    Raises:
        InputError: the file is missing, damaged, or of another kind.
    """
    from safetensors import SafetensorError, safe_open

    wanted = "expected weights of the glasses segmenter"
    if not path.is_file():
        raise InputError(f"{wanted}, but there is no file {path}; name one that its training wrote")
    try:
        with safe_open(path, "pt") as file:
            found = (file.metadata() or {}).get("format")
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118, no mapping
    except (SafetensorError, OSError) as error:
        raise InputError(f"{wanted}, but {path} is damaged or not a safetensors file; write it anew") from error
    if found != FORMAT:
        raise InputError(f"{wanted} of format {FORMAT}, but {path} says {found!r}; train it with this version")
    network = GlassesNetwork()
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(f"{wanted}, but the tensors in {path} are those of another network") from error
    if not all(torch.isfinite(value).all() for value in network.state_dict().values()):
        raise InputError(f"{wanted}, but {path} holds values that are not finite; train it anew")
    return network
