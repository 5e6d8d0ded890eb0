"""Measures how much of the attribute an edit removes, and how much else it changes."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

MAX_PSNR = 100.0
"""PSNR of equal pictures in dB, instead of infinity."""


@dataclass(frozen=True)
class Measures:
    """The measures of one edit, or the mean of several. NaN stands for values that cannot be measured.

    Attributes:
        psnr_inside: dB, edit against target inside the mask.
        psnr_outside: dB, edit against input outside it.
        removal: 0 for the unedited input, 1 for the target, negative if the edit is further from the target.
        artefact: 0 for a flawless edit, about 1 if the damage is as strong as the attribute.
        outside, eye_holes, blur, agreement: damage of four kinds, which `measure` explains; `artefact` has some.
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
        """The values that are not NaN, by name."""
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

    Removal and artefact are relative to pictures that went through the VAE, so that the VAE's losses do not count
    against the remover. Let c = rms(source - target) inside the mask, the contrast of the attribute.

    For perfect pairs the target is real. Removal is 1 - rms(output - target inside) / c, and the artefact is
    `outside`, rms(output - source outside) / c.

    For imperfect pairs the target was inpainted, so matching its detail has no merit. What counts is the result of an
    edit with masks: the output inside the mask, composited over the source outside it and in the eye holes. Removal is
    computed from pictures smoothed with sigma = side / 64 inside the mask. The artefact is the mean of

    - `blur`: 1 - gradient energy inside the mask / that of the source in a ring around it, at least 0;
    - `agreement`: correlation of the output's detail with the target's inside the mask, after removing the part that
      both share with the source's detail, at least 0. It nears 1 if an edit copies the target's artefacts.

    `outside` as above, and `eye_holes`, the same in the holes of the mask, are measured on the output before it is
    composited. They do not count: the mask keeps them out of the result, so it would look the same without them.

    This follows the paper's argument for stopping early, after Deep Video Prior (V-LASIK, section 2): training learns
    the removal that all pairs share before the artefacts of single pairs.

    Args:
        output, source, target: uint8 ``[R, R, 3]``: the edit, the frame with the attribute, the frame without.
        mask: bool ``[R, R]``, not empty.
        source_coded, target_coded: source and target, encoded and decoded by the VAE.
        perfect: whether the target is real.
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
        "blur": _blur(out, src, mask),
        "agreement": _agreement(out, src, tgt, mask, sigma),
    }
    eye_holes = _rms(out - src, _holes(mask)) / contrast
    return Measures(**figures, **parts, eye_holes=eye_holes, removal=removal, artefact=_mean(list(parts.values())))


def average(measures: Sequence[Measures]) -> Measures:
    """The mean of each measure over the edits that have it."""
    rows = [asdict(one) for one in measures]
    return Measures(**{name: _mean([row[name] for row in rows]) for name in rows[0]})


def _mean(values: Sequence[float]) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the mean of nothing is NaN
        return float(np.nanmean(values))


def _rms(difference: np.ndarray, where: np.ndarray) -> float:
    return float(np.sqrt(np.mean(difference[where] ** 2))) if where.any() else math.nan


def _psnr(one: np.ndarray, other: np.ndarray, where: np.ndarray) -> float:
    error = _rms(one.astype(np.float32) - other, where)
    return MAX_PSNR if error == 0 else min(MAX_PSNR, 20 * math.log10(255 / error)) if error > 0 else math.nan


def _smooth(picture: np.ndarray, mask: np.ndarray, sigma: float) -> np.ndarray:
    """Blur inside the mask, ignoring pixels outside it; the result outside the mask is meaningless."""
    import cv2

    weights = mask.astype(np.float32)
    blurred = cv2.GaussianBlur(picture * weights[..., None], (0, 0), sigma)
    return blurred / np.maximum(cv2.GaussianBlur(weights, (0, 0), sigma), 1e-6)[..., None]


def _holes(mask: np.ndarray) -> np.ndarray:
    from scipy.ndimage import binary_fill_holes

    return binary_fill_holes(mask) & ~mask


def _blur(out: np.ndarray, src: np.ndarray, mask: np.ndarray) -> float:
    import cv2

    # Two pixels inside, so that a seam at the mask's edge does not count as sharpness.
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
