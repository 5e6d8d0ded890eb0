"""Against a target: PSNR and SSIM over a frame, inside a mask and outside of it, and LPIPS where it is installed."""

from __future__ import annotations

from typing import Any

import numpy as np

REGIONS = ("frame", "inside", "outside")


def psnr(one: np.ndarray, other: np.ndarray, where: np.ndarray | None = None) -> float | None:
    """Peak signal-to-noise ratio in dB of uint8 pictures ``[H, W, 3]``; infinite where they are equal.

    Args:
        where: bool ``[H, W]``: only these pixels; None where there are none of them.
    """
    difference = one.astype(np.float64) - other
    if where is not None:
        difference = difference[where]
    if not difference.size:
        return None
    error = float((difference**2).mean())
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def ssim(one: np.ndarray, other: np.ndarray, where: np.ndarray | None = None) -> float | None:
    """Structural similarity (Wang et al., 2004: Gaussian window of 1.5, population covariance), mean over the pixels.

    Args:
        where: as for `psnr`; the similarity's map is averaged there.
    """
    from skimage.metrics import structural_similarity

    if min(one.shape[:2]) < 11 or (where is not None and not where.any()):
        return None
    mean, full = structural_similarity(
        one,
        other,
        channel_axis=2,
        data_range=255,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    return float(mean) if where is None else float(full[where].mean())


class Lpips:
    """Learned perceptual distance (Zhang et al., 2018), by the package `lpips` if it is installed.

    Its AlexNet weights are torchvision's, from torch's cache; nothing is downloaded.
    """

    def __init__(self) -> None:
        import lpips

        self._model: Any = lpips.LPIPS(net="alex", verbose=False).eval()

    def __call__(self, one: np.ndarray, other: np.ndarray) -> float:
        import torch

        with torch.no_grad():
            pictures = [torch.from_numpy(p).permute(2, 0, 1)[None].float() / 127.5 - 1 for p in (one, other)]
            return float(self._model(*pictures))


def lpips_or_none() -> Lpips | None:
    """None where the package or its weights are not here."""
    from importlib.util import find_spec
    from pathlib import Path

    import torch

    weights = Path(torch.hub.get_dir()) / "checkpoints" / "alexnet-owt-7be5be79.pth"
    return Lpips() if find_spec("lpips") and weights.is_file() else None
