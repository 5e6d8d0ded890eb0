"""Computes optical flow with RAFT, or with OpenCV's DIS if RAFT's weights are not installed."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np

from toolkit.errors import InputError, MissingExtra, UsageError
from toolkit.fetch.downloads import DOWNLOADS
from toolkit.files import sha256_of
from toolkit.validation import did_you_mean

NAMES = ("auto", "raft", "dis")

RAFT_ITERATIONS = 12
"""Updates of the flow, torchvision's default."""

RAFT_MIN_SIDE = 128
"""px; RAFT's correlation pyramid needs at least this."""

DIS_MIN_SIDE = 16
"""px; DIS refuses sides below 12."""


class Flow(Protocol):
    """Optical flow between frames.

    Attributes:
        name: description for reports. Flows with the same name give the same numbers on the same machine.
    """

    name: str

    def __call__(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """The displacement of every pixel of `one` to its position in `other`.

        Args:
            one, other: uint8 ``[B, H, W, 3]``, RGB.

        Returns:
            float32 ``[B, H, W, 2]``, pixels, x then y.

        Raises:
            ValueError: the frames have another shape or type.
        """
        ...


class RaftFlow:
    """RAFT (Teed and Deng, ECCV 2020): torchvision's `raft_large` in float32, for its weights C_T_SKHT_V2.

    Frames are scaled to -1..1 and padded by repeating the border, to multiples of 8 and at least `RAFT_MIN_SIDE`; the
    flow is cropped back. `toolkit.evaluate.correlation.MAX_BYTES` limits memory: as many pairs are processed at once
    as fit. For frames above 1.3 megapixels correlations are computed when they are looked up, which is slower and
    gives the same flow.

    Args:
        weights: state dict, ``.pth`` or ``.safetensors``; if None, the file that `toolkit fetch raft` downloaded.
            Nothing is downloaded here.
        device: torch device; if None, the one that `choose_device_name` returns.
        iterations: updates of the flow.

    Raises:
        MissingExtra: the weights are not installed.
        InputError: a named file does not exist, or is damaged or holds something else.
        UsageError: the device is not available.
    """

    def __init__(self, weights: Path | None = None, device: str | None = None, iterations: int = RAFT_ITERATIONS):
        path = _raft_weights(weights)
        digest = sha256_of(path)
        published = digest.startswith(DOWNLOADS["raft"].files[0].sha256 or "")
        if weights is None and not published:
            raise InputError(f"RAFT's weights at {path} are damaged; run `toolkit fetch raft` to replace them")
        import torch
        from torchvision.models.optical_flow import raft_large

        from toolkit.device import choose_device_name
        from toolkit.evaluate.correlation import BoundedCorrelation

        self._device = torch.device(choose_device_name(device))
        self._correlation = BoundedCorrelation()
        model = raft_large(weights=None, corr_block=self._correlation)
        _load(model, path)
        self._model = model.to(self._device).eval()
        self._iterations = iterations
        which = "C_T_SKHT_V2" if published else f"with the weights {path.name} (SHA-256 {digest[:8]})"
        updates = "" if iterations == RAFT_ITERATIONS else f", {iterations} updates"
        self.name = f"RAFT large {which}{updates}"

    def __call__(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """See `Flow.__call__`."""
        import torch

        _check(one, other)
        height, width = one.shape[1:3]
        left, right = _padding(width)
        top, bottom = _padding(height)
        pairs = self._correlation.pairs_at_once((height + top + bottom) // 8, (width + left + right) // 8)
        flow = np.empty((*one.shape[:3], 2), np.float32)
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, deterministic=True):
            for start in range(0, len(one), pairs):
                part = slice(start, start + pairs)
                inputs = (self._input(frames[part], (left, right, top, bottom)) for frames in (one, other))
                found = self._model(*inputs, num_flow_updates=self._iterations)[-1]
                found = found[..., top : top + height, left : left + width]
                flow[part] = found.permute(0, 2, 3, 1).cpu().numpy()
        self._correlation.clear()
        return flow

    def _input(self, frames: np.ndarray, padding: tuple[int, int, int, int]):
        import torch

        tensor = torch.from_numpy(np.ascontiguousarray(frames)).to(self._device).permute(0, 3, 1, 2)
        return torch.nn.functional.pad(tensor.float() / 127.5 - 1, padding, mode="replicate")


class DisFlow:
    """OpenCV's dense inverse search (Kroeger et al., ECCV 2016), preset medium, on grey frames.

    Frames with a side below `DIS_MIN_SIDE` are padded by repeating the border; the flow is cropped back.
    """

    name = "OpenCV DIS (medium)"

    def __init__(self) -> None:
        import cv2

        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def __call__(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """See `Flow.__call__`."""
        _check(one, other)
        height, width = one.shape[1:3]
        flow = np.empty((*one.shape[:3], 2), np.float32)
        for index in range(len(one)):
            flow[index] = self._dis.calc(_grey(one[index]), _grey(other[index]), None)[:height, :width]
        return flow


def choose_flow(name: str = "auto", weights: Path | None = None, device: str | None = None) -> Flow:
    """Build a flow by name; ``auto`` is RAFT if its weights are named or installed, otherwise DIS.

    Args:
        name: one of `NAMES`.
        weights: of RAFT, as for `RaftFlow`.
        device: of RAFT; DIS runs on the CPU.

    Raises:
        UsageError: an unknown name, or weights for DIS.
        MissingExtra, InputError: as for `RaftFlow`. With ``auto`` too, a damaged file is an error.
    """
    if name not in NAMES:
        raise UsageError(f"there is no flow {name!r}{did_you_mean(name, NAMES)}; choose one of {', '.join(NAMES)}")
    if name == "dis" and weights is not None:
        raise UsageError(f"the flow dis has no weights, but {weights} is named; leave that out, or choose raft")
    if name == "raft" or (name == "auto" and (weights is not None or raft_weights().is_file())):
        return RaftFlow(weights, device)
    return DisFlow()


def raft_weights() -> Path:
    """Where `toolkit fetch raft` saves RAFT's weights, in torch hub's cache. The file may not exist."""
    source = DOWNLOADS["raft"]
    return source.folder() / source.files[0].name


def _raft_weights(named: Path | None) -> Path:
    path = raft_weights() if named is None else Path(named)
    if path.is_file():
        return path
    if named is not None:
        raise InputError(f"expected RAFT's weights at {path}, found no file; check the path")
    raise MissingExtra(
        f"RAFT expects its weights at {path}; run `toolkit fetch raft`, name the file with --flow-weights, or choose "
        "--flow dis"
    )


def _load(model, path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    wanted = "expected the state dict of torchvision's raft_large"
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can make torch raise anything
        raise InputError(f"{wanted}, but {path} is damaged or holds more than tensors; fetch it again") from error
    if not isinstance(state, dict):
        raise InputError(f"{wanted}, but {path} holds a {type(state).__name__}; fetch it again")
    try:
        model.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise InputError(f"{wanted}, but {path} holds other tensors; fetch it again") from error


def _check(one: np.ndarray, other: np.ndarray) -> None:
    for frames in (one, other):
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or 0 in frames.shape[1:]:
            raise ValueError(f"expected frames as uint8 [B, H, W, 3], found {frames.dtype} {frames.shape}")
    if one.shape != other.shape:
        raise ValueError(f"expected both sides in one shape, found {one.shape} and {other.shape}")


def _padding(side: int) -> tuple[int, int]:
    """Pixels to add before and after, half each, as RAFT's own padder does."""
    extra = max(RAFT_MIN_SIDE, -(-side // 8) * 8) - side
    return extra // 2, extra - extra // 2


def _grey(frame: np.ndarray) -> np.ndarray:
    import cv2

    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    missing = [max(0, DIS_MIN_SIDE - side) for side in grey.shape]
    return np.pad(grey, [(0, extra) for extra in missing], mode="edge") if any(missing) else grey
