"""Against a target: PSNR and SSIM over a frame, inside a mask and outside of it, and LPIPS where it is installed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

REGIONS = ("frame", "inside", "outside")

PEAK = 255.0

SSIM_MIN_SIDE = 11
"""px; the similarity's window must fit."""

LPIPS_MIN_SIDE = 64
"""px; smaller frames do not pass AlexNet's layers."""


def psnr(edited: np.ndarray, target: np.ndarray, inside: np.ndarray) -> dict[str, float]:
    """Peak signal-to-noise ratio in dB of each of `REGIONS`; infinite where they are equal, NaN without pixels.

    Args:
        edited, target: uint8 ``[H, W, 3]``.
        inside: bool ``[H, W]``.
    """
    squared = ((edited.astype(np.int32) - target) ** 2).mean(axis=2)
    return {region: _decibels(mean) for region, mean in _means(squared, inside).items()}


def psnr_of_video(values: Sequence[float]) -> float | None:
    """One ratio for frames of which each has its own: that of their mean squared error, as ffmpeg's filter has it.

    The mean of the ratios would be infinite by one frame that is equal. None where all are NaN.
    """
    known = np.array([value for value in values if not np.isnan(value)])
    return _decibels(float((PEAK**2 / 10 ** (known / 10)).mean())) if len(known) else None


def ssim(edited: np.ndarray, target: np.ndarray, inside: np.ndarray) -> dict[str, float]:
    """Structural similarity (Wang et al., 2004: Gaussian window of 1.5, population covariance) of each of `REGIONS`.

    Of the frame it is the mean without the border that the window does not fill, as in scikit-image; of the others the
    mean of the similarity's map. NaN without pixels and in frames below `SSIM_MIN_SIDE`. The arguments are as for
    `psnr`.
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
    """Learned perceptual distance (Zhang et al., 2018), by the package `lpips` if it is installed.

    Its AlexNet weights are torchvision's, from torch's cache; nothing is downloaded.
    """

    def __init__(self) -> None:
        import lpips

        self._model: Any = lpips.LPIPS(net="alex", verbose=False).eval()

    def __call__(self, edited: np.ndarray, target: np.ndarray, inside: np.ndarray) -> dict[str, float]:
        """Of each of `REGIONS`: of the frame as it is published, of the others the mean of the package's map.

        NaN without pixels and in frames below `LPIPS_MIN_SIDE`. The arguments are as for `psnr`.
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
    """None where the package or its weights are not here."""
    from importlib.util import find_spec

    from toolkit.fetch.downloads import DOWNLOADS

    source = DOWNLOADS["lpips"]
    weights = source.folder() / source.files[0].name
    return Lpips() if find_spec("lpips") and weights.is_file() else None


def _means(values: np.ndarray, inside: np.ndarray) -> dict[str, float]:
    """Of a map ``[H, W]``, by region; NaN where there are no pixels."""
    parts = {"frame": values, "inside": values[inside], "outside": values[~inside]}
    return {region: float(parts[region].mean()) if parts[region].size else np.nan for region in REGIONS}


def _decibels(mean_squared_error: float) -> float:
    with np.errstate(divide="ignore"):
        return float(10 * np.log10(PEAK**2 / np.float64(mean_squared_error)))
