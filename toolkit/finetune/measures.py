"""How much of the attribute an edit removes, and how much else it changes: two numbers that are kept apart."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

MAX_PSNR = 100.0
"""dB; what equal pictures get instead of infinity."""


@dataclass(frozen=True)
class Measures:
    """One edit, or the mean of several; NaN where something cannot be measured.

    Attributes:
        psnr_inside: dB, edit against target inside the mask.
        psnr_outside: dB, edit against source outside it.
        removal: 0 for the source as it was, 1 for the target; below 0 where the edit is further away than the source.
        artefact: 0 for a flawless edit; about 1 where the damage is as strong as the attribute itself.
        outside, eye_holes, blur, agreement: parts of `artefact`, see `measure`.
    """

    psnr_inside: float
    psnr_outside: float
    removal: float
    artefact: float
    outside: float
    eye_holes: float = math.nan
    blur: float = math.nan
    agreement: float = math.nan

    def figures(self) -> dict[str, float]:
        """The values that could be measured, by name."""
        return {name: value for name, value in asdict(self).items() if not math.isnan(value)}


def measure(
    output: np.ndarray,
    source: np.ndarray,
    target: np.ndarray,
    mask: np.ndarray,
    *,
    source_coded: np.ndarray,
    target_coded: np.ndarray,
    perfect: bool,
) -> Measures:
    """Measure one edit of a held-out pair.

    Pictures that went through the VAE are the yardstick of removal and artefact, so that what the VAE loses is not
    held against the remover. With c = rms(source - target inside the mask), the contrast of the attribute:

    Perfect pairs (the target is true): removal is 1 - rms(output - target inside) / c, and the artefact is `outside`,
    rms(output - source outside) / c.

    Imperfect pairs (the target was inpainted): to follow the target in detail is no merit. Removal is taken from
    pictures smoothed with sigma = side / 64, inside the mask. The artefact is the mean of what can be measured of

    - `outside` as above, and `eye_holes`, the same in the holes of the mask;
    - `blur`: 1 - gradient energy inside the mask / that of the source in a ring around it, at least 0;
    - `agreement`: correlation of the output's detail with the target's inside the mask, after what both share with
      the source's detail is taken away, at least 0. An edit that copies the target's artefacts nears 1.

    This is the paper's argument for stopping early, after Deep Video Prior (V-LASIK, section 4.2): the removal that
    all pairs share is learned before the artefacts that each has of its own.

    Args:
        output, source, target: uint8 ``[R, R, 3]``: the edit, the frame with the attribute, the frame without.
        mask: bool ``[R, R]``, with a masked pixel at least.
        source_coded, target_coded: source and target once through the VAE.
        perfect: whether the target is true.
    """
    inside, outside = mask, ~mask
    out, src, tgt = (picture.astype(np.float32) for picture in (output, source_coded, target_coded))
    contrast = _rms(src - tgt, inside)
    if not contrast > 0:
        contrast = math.nan
    figures = {
        "psnr_inside": _psnr(output, target, inside),
        "psnr_outside": _psnr(output, source, outside),
        "outside": _rms(out - src, outside) / contrast,
    }
    if perfect:
        removal = 1 - _rms(out - tgt, inside) / contrast
        return Measures(**figures, removal=removal, artefact=figures["outside"])
    sigma = mask.shape[0] / 64
    before = _rms(_smooth(src - tgt, mask, sigma), inside)
    removal = 1 - _rms(_smooth(out - tgt, mask, sigma), inside) / before if before > 0 else math.nan
    parts = {
        "eye_holes": _rms(out - src, _holes(mask)) / contrast,
        "blur": _blur(out, src, mask),
        "agreement": _agreement(out, src, tgt, mask, sigma),
    }
    artefact = _mean([figures["outside"], *parts.values()])
    return Measures(**figures, **parts, removal=removal, artefact=artefact)


def average(measures: Sequence[Measures]) -> Measures:
    """The mean of each figure over the edits that have it."""
    rows = [asdict(one) for one in measures]
    return Measures(**{name: _mean([row[name] for row in rows]) for name in rows[0]})


def _mean(values: Sequence[float]) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # nothing to average is NaN, not a surprise
        return float(np.nanmean(values))


def _rms(difference: np.ndarray, where: np.ndarray) -> float:
    return float(np.sqrt(np.mean(difference[where] ** 2))) if where.any() else math.nan


def _psnr(one: np.ndarray, other: np.ndarray, where: np.ndarray) -> float:
    error = _rms(one.astype(np.float32) - other, where)
    return MAX_PSNR if error == 0 else min(MAX_PSNR, 20 * math.log10(255 / error)) if error > 0 else math.nan


def _smooth(picture: np.ndarray, mask: np.ndarray, sigma: float) -> np.ndarray:
    """A Gaussian that sees the inside of the mask only; outside it the result means nothing."""
    import cv2

    weights = mask.astype(np.float32)
    blurred = cv2.GaussianBlur(picture * weights[..., None], (0, 0), sigma)
    return blurred / np.maximum(cv2.GaussianBlur(weights, (0, 0), sigma), 1e-6)[..., None]


def _holes(mask: np.ndarray) -> np.ndarray:
    from scipy.ndimage import binary_fill_holes

    return binary_fill_holes(mask) & ~mask


def _blur(out: np.ndarray, src: np.ndarray, mask: np.ndarray) -> float:
    import cv2

    # Two pixels inside, so that a seam at the mask's edge does not pass for sharpness.
    core = cv2.erode(mask.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    reach = 2 * max(2, mask.shape[0] // 32) + 1
    around = cv2.dilate(mask.astype(np.uint8), np.ones((reach, reach), np.uint8)) > 0
    around &= cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8)) == 0
    return max(0.0, 1 - _gradient(out, core) / max(_gradient(src, around), 1e-6)) if core.any() else math.nan


def _gradient(picture: np.ndarray, where: np.ndarray) -> float:
    import cv2

    grey = picture.mean(axis=2)
    return _rms(np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)), where)


def _agreement(out: np.ndarray, src: np.ndarray, tgt: np.ndarray, mask: np.ndarray, sigma: float) -> float:
    detail = [(picture - _smooth(picture, mask, sigma))[mask].ravel() for picture in (out, src, tgt)]
    own, shared, artefacts = (values.astype(np.float64) for values in detail)
    power = shared @ shared
    if power > 0:
        own, artefacts = (values - shared * (values @ shared) / power for values in (own, artefacts))
    size = math.sqrt((own @ own) * (artefacts @ artefacts))
    return max(0.0, float(own @ artefacts) / size) if size > 0 else 0.0
