"""Compares frames with a target by PSNR, SSIM and LPIPS: over the frame, inside a mask and outside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

REGIONS = ("frame", "inside", "outside")

PEAK = 255.0

SSIM_MIN_SIDE = 11
"""px; the window of the similarity must fit."""

LPIPS_MIN_SIDE = 64
"""px; smaller frames are too small for AlexNet's layers."""


def psnr(edited: np.ndarray, target: np.ndarray, inside: np.ndarray) -> dict[str, float]:
    """Peak signal-to-noise ratio in dB for each of `REGIONS`; infinite if equal, NaN for a region without pixels.

    Args:
        edited, target: uint8 ``[H, W, 3]``.
        inside: bool ``[H, W]``.
    """
    squared = ((edited.astype(np.int32) - target) ** 2).mean(axis=2)
    return {region: _decibels(mean) for region, mean in _means(squared, inside).items()}


def psnr_of_video(values: Sequence[float]) -> float | None:
    """Combine the ratios of single frames into that of their mean squared error, as ffmpeg's filter does.

    A plain mean would be infinite as soon as one frame is equal. Returns None if all values are NaN.
    """
    known = np.array([value for value in values if not np.isnan(value)])
    return _decibels(float((PEAK**2 / 10 ** (known / 10)).mean())) if len(known) else None


def ssim(edited: np.ndarray, target: np.ndarray, inside: np.ndarray) -> dict[str, float]:
    """Structural similarity (Wang et al., 2004: Gaussian window of 1.5, population covariance) for each of `REGIONS`.

    For the frame it is the mean without the border that the window does not fill, as in scikit-image; for the other
    regions, the mean of the similarity map. NaN for regions without pixels and frames below `SSIM_MIN_SIDE`. The
    arguments are those of `psnr`.
    """
    from skimage.metrics import structural_similarity

    if min(edited.shape[:2]) < SSIM_MIN_SIDE:
        return dict.fromkeys(REGIONS, np.nan)
    mean, full = structural_similarity(
        edited,
        target,
        channel_axis=2,
        data_range=PEAK,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    return _means(full.mean(axis=2), inside) | {"frame": float(mean)}


class Lpips:
    """Learned perceptual distance (Zhang et al., 2018), computed by the package `lpips`.

    Its AlexNet weights are torchvision's, from torch's cache. Nothing is downloaded.
    """

    def __init__(self) -> None:
        import lpips

        self._model: Any = lpips.LPIPS(net="alex", verbose=False).eval()

    def __call__(self, edited: np.ndarray, target: np.ndarray, inside: np.ndarray) -> dict[str, float]:
        """The distance for each of `REGIONS`: for the frame as published, for the others the mean of the package's map.

        NaN for regions without pixels and frames below `LPIPS_MIN_SIDE`. The arguments are those of `psnr`.
        """
        import torch

        if min(edited.shape[:2]) < LPIPS_MIN_SIDE:
            return dict.fromkeys(REGIONS, np.nan)
        with torch.inference_mode():
            pictures = [torch.from_numpy(p).permute(2, 0, 1)[None].float() / 127.5 - 1 for p in (edited, target)]
            self._model.spatial = False
            frame = float(self._model(*pictures))
            self._model.spatial = True
            full = self._model(*pictures)[0, 0].numpy()
        return _means(full, inside) | {"frame": frame}


def lpips_or_none() -> Lpips | None:
    """Build `Lpips`; returns None if the package or its weights are not installed."""
    from importlib.util import find_spec

    from toolkit.fetch.downloads import DOWNLOADS

    source = DOWNLOADS["lpips"]
    weights = source.folder() / source.files[0].name
    return Lpips() if find_spec("lpips") and weights.is_file() else None


def _means(values: np.ndarray, inside: np.ndarray) -> dict[str, float]:
    """Means of a map ``[H, W]`` by region; NaN for regions without pixels."""
    parts = {"frame": values, "inside": values[inside], "outside": values[~inside]}
    return {region: float(parts[region].mean()) if parts[region].size else np.nan for region in REGIONS}


def _decibels(mean_squared_error: float) -> float:
    with np.errstate(divide="ignore"):
        return float(10 * np.log10(PEAK**2 / np.float64(mean_squared_error)))
