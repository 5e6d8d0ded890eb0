"""Converts high dynamic range to standard range (ITU-R BT.2100 to BT.709) and back, with lookup tables."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

PEAK = 1000.0
"""Luminance in cd/m2 that becomes white: the peak of most mastered video, and HLG's nominal peak."""
SDR_WHITE = 203.0
"""Luminance in cd/m2 of diffuse white in HDR (ITU-R BT.2408); the target peak of the tone curve."""
LEVELS = 4096
HLG = 0.17883277, 0.28466892, 0.55991073
"""The constants a, b and c of BT.2100, table 5."""
BT2020_TO_BT709 = np.array(
    [[1.660491, -0.587641, -0.072850], [-0.124550, 1.132900, -0.008349], [-0.018151, -0.100579, 1.118730]], np.float32
)
BT709_TO_BT2020 = np.linalg.inv(BT2020_TO_BT709.astype(np.float64)).astype(np.float32)
BT2020_LUMA = np.array([[0.2627, 0.6780, 0.0593]], np.float32)


def to_sdr(rgb: np.ndarray, transfer: str) -> np.ndarray:
    """Convert BT.2020 HDR pixels to BT.709 SDR pixels.

    The tone curve of ITU-R BT.2390 (section 5.4) compresses BT.2100 display light to `SDR_WHITE`. It is applied to the
    largest channel, so hues stay. Primaries are then converted, colours outside BT.709 clipped, and the result is
    encoded for a BT.1886 display.

    Args:
        rgb: uint16 ``[H, W, 3]``, full range of 16 bits.
        transfer: ``pq`` or ``hlg``.

    Returns:
        uint8 ``[H, W, 3]``.
    """
    light = _light_table(transfer)[rgb >> 4]
    if transfer == "hlg":
        # The system gamma of 1.2 works on luminance (BT.2100, table 5).
        luma = np.maximum(cv2.transform(light, BT2020_LUMA) / PEAK, 1e-6)
        light *= (luma**0.2)[..., None]
    # Twenty times faster than a maximum over an axis of length three.
    largest = np.minimum(np.maximum(np.maximum(light[..., 0], light[..., 1]), light[..., 2]), PEAK)
    light *= _gain_table()[(np.sqrt(largest / PEAK) * (LEVELS - 1)).astype(np.int32)][..., None]
    linear = np.clip(cv2.transform(light, BT2020_TO_BT709), 0, 1)
    # The square root places most of the table's levels in the dark, where the display gamma needs them.
    return _display_table()[(np.sqrt(linear) * (LEVELS - 1) + 0.5).astype(np.int32)]


def from_sdr(rgb: np.ndarray, transfer: str) -> np.ndarray:
    """Convert BT.709 SDR pixels to BT.2020 HDR pixels: the inverse of `to_sdr` for values that it does not clip.

    `to_sdr` restores each value to within one or two of its 8-bit steps, except in the dark channels of saturated
    colours, where a step is less light than the tables resolve.

    Args:
        rgb: uint8 ``[H, W, 3]``.
        transfer: ``pq`` or ``hlg``.

    Returns:
        uint16 ``[H, W, 3]``, full range of 16 bits.
    """
    light = cv2.transform(_linear_table()[rgb], BT709_TO_BT2020)
    largest = np.maximum(np.maximum(light[..., 0], light[..., 1]), light[..., 2])
    light *= _expansion_table()[(np.sqrt(np.minimum(largest, 1)) * (LEVELS - 1) + 0.5).astype(np.int32)][..., None]
    if transfer == "hlg":
        # Display luminance is scene luminance to the power of 1.2.
        luma = np.maximum(cv2.transform(light, BT2020_LUMA), 1e-6)
        light *= (luma ** (1 / 1.2 - 1))[..., None]
    # The fourth root distributes the table's levels as the eye and PQ do.
    return _code_table(transfer)[(np.sqrt(np.sqrt(np.minimum(light, 1))) * 65535 + 0.5).astype(np.int32)]


def pq_to_light(code: np.ndarray) -> np.ndarray:
    """Luminance in cd/m2 of PQ values in 0..1 (SMPTE ST 2084)."""
    power = np.power(code, 1 / 78.84375)
    return 10000 * np.power(np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power), 1 / 0.1593017578125)


def light_to_pq(light: np.ndarray | float) -> np.ndarray:
    """PQ values in 0..1 of luminance in cd/m2 (SMPTE ST 2084)."""
    power = np.power(np.maximum(light, 0) / 10000, 0.1593017578125)
    return np.power((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power), 78.84375)


def tone_map(light: np.ndarray) -> np.ndarray:
    """Map luminance in cd/m2 from `PEAK` to `SDR_WHITE`: the EETF of BT.2390 without black lift."""
    source_peak = light_to_pq(PEAK)
    code = light_to_pq(light) / source_peak
    target = light_to_pq(SDR_WHITE) / source_peak
    knee = 1.5 * target - 0.5
    t = np.clip((code - knee) / (1 - knee), 0, 1)
    spline = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (-2 * t**3 + 3 * t**2) * target
    return pq_to_light(np.where(code < knee, code, spline) * source_peak)


@cache
def _light_table(transfer: str) -> np.ndarray:
    code = np.linspace(0, 1, LEVELS)
    if transfer == "pq":
        return pq_to_light(code).astype(np.float32)
    a, b, c = HLG
    return (PEAK * np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12)).astype(np.float32)


@cache
def _gain_table() -> np.ndarray:
    light = PEAK * np.linspace(0, 1, LEVELS) ** 2
    light[0] = light[1]
    return (tone_map(light) / light / SDR_WHITE).astype(np.float32)


@cache
def _display_table() -> np.ndarray:
    return np.round(255 * np.linspace(0, 1, LEVELS) ** (2 / 2.4)).astype(np.uint8)


@cache
def _linear_table() -> np.ndarray:
    return (np.linspace(0, 1, 256) ** 2.4).astype(np.float32)


@cache
def _expansion_table() -> np.ndarray:
    """Factors from light relative to `SDR_WHITE` to light relative to `PEAK`, indexed by the former's square root."""
    source = PEAK * np.linspace(0, 1, 16 * LEVELS) ** 2
    target = np.linspace(0, 1, LEVELS) ** 2
    target[0] = target[1]
    return (np.interp(target, tone_map(source) / SDR_WHITE, source) / PEAK / target).astype(np.float32)


@cache
def _code_table(transfer: str) -> np.ndarray:
    """16-bit signal, indexed by the fourth root of light relative to `PEAK`."""
    light = np.linspace(0, 1, 1 << 16) ** 4
    if transfer == "pq":
        code = light_to_pq(PEAK * light)
    else:
        a, b, c = HLG
        code = np.where(light <= 1 / 12, np.sqrt(3 * light), a * np.log(np.maximum(12 * light - b, b)) + c)
    return np.round(np.clip(code, 0, 1) * 65535).astype(np.uint16)
