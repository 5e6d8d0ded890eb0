"""Removes jitter from the landmarks of one track with an adaptive filter that adds no lag.

Lines are fitted to each signal in ever narrower windows centred on the frame, and each window adds details to the
previous one. Details that the measured noise explains are dropped, the others kept (firm shrinkage: Gao and Bruce,
"WaveShrink with firm shrinkage", 1997). A still face becomes still, while a turn or a blink, whose details stand far
above the noise, stays unchanged.
"""

from __future__ import annotations

import numpy as np

HALF_WIDTHS = (0, 1, 2, 3, 5, 7, 10)
"""Half widths of the windows, in frames."""

KEEP = (2.0, 6.0)
"""Energy of a detail relative to the noise: up to the first value it is dropped, from the second it is kept whole."""

NOISE_RANGE = (0.0002, 0.003)
"""Limits of the standard deviation of a landmark's noise, in face sizes; estimates are clipped to them."""

MIN_FRAMES = 5
"""Shorter stretches stay unchanged because their noise cannot be measured."""


def smooth_landmarks(landmarks: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Remove the jitter from the landmarks of one track.

    The motion of the whole face (shift, rotation in the image plane, size) and the motion within the face are filtered
    separately, so that a nod does not keep the rest from being smoothed.

    Args:
        landmarks: float32 ``[T, N, 3]`` in pixels; a frame with any NaN counts as a frame without the face.
        times: ``[T]``, seconds, increasing.

    Returns:
        float32 ``[T, N, 3]``. Frames without the face stay unchanged, and no smoothing reaches across them.

    Raises:
        ValueError: the shapes do not match, or the times do not increase.
    """
    landmarks = np.asarray(landmarks, np.float32)
    times = np.asarray(times, np.float64)
    if landmarks.ndim != 3 or landmarks.shape[2] != 3 or times.shape != landmarks.shape[:1]:
        raise ValueError(f"landmarks must be [T, N, 3] and times [T], not {landmarks.shape} and {times.shape}")
    if (np.diff(times) <= 0).any():
        raise ValueError("times must increase from frame to frame")
    smooth = landmarks.copy()
    present = np.isfinite(landmarks).all(axis=(1, 2))
    edges = np.flatnonzero(np.diff(np.concatenate([[False], present, [False]]).astype(np.int8)))
    for start, stop in edges.reshape(-1, 2):
        if stop - start >= MIN_FRAMES:
            smooth[start:stop] = _smooth_stretch(landmarks[start:stop].astype(np.float64), times[start:stop])
    return smooth


def _smooth_stretch(points: np.ndarray, times: np.ndarray) -> np.ndarray:
    size = float(np.median(np.sqrt(np.ptp(points[..., :2], axis=1).prod(axis=1))))
    if size <= 0:
        return points
    windows = [_local_line(times, half) for half in HALF_WIDTHS]
    motion, local = _split(points, size)
    # The shared motion averages over all points, so its noise can be lower than a single point's.
    noise = _noise(motion, (0.1 * NOISE_RANGE[0] * size, NOISE_RANGE[1] * size))
    motion = _adaptive(motion[..., None], windows, noise[:, None])[..., 0]
    noise = _noise(local, (NOISE_RANGE[0] * size, NOISE_RANGE[1] * size))
    # A point whose noise seems much higher than the others' is a point that keeps moving.
    noise = np.clip(noise, 0.5 * np.median(noise, axis=0), 2 * np.median(noise, axis=0))
    in_picture = _adaptive(local[..., :2], windows, noise[:, :2])
    depth = _adaptive(local[..., 2:], windows, noise[:, 2:])
    return _join(motion, np.concatenate([in_picture, depth], axis=2), size)


def _split(points: np.ndarray, size: float) -> tuple[np.ndarray, np.ndarray]:
    """Similarity motion ``[T, 5]`` and the points ``[T, N, 3]`` without it.

    The motion is the shift in x, y, z and the complex factor of rotation and scale. The factor is in pixels at the rim
    of the face, so that one noise level fits all components. Points that move least within the face weigh most.
    """
    flat = points[..., 0] + 1j * points[..., 1]
    weights = np.full(points.shape[1], 1.0 / points.shape[1])
    shape = flat[len(flat) // 2]
    for _ in range(3):
        shape = shape - shape @ weights
        centre = flat @ weights
        spread = weights @ np.abs(shape) ** 2
        factor = ((flat - centre[:, None]) * weights) @ shape.conj() / max(spread, 1e-12)
        local = (flat - centre[:, None]) / factor[:, None]
        shape = local.mean(axis=0)
        variance = np.mean(np.abs(local - shape) ** 2, axis=0)
        weights = 1.0 / (variance + np.median(variance) + 1e-9)
        weights /= weights.sum()
    depth = points[..., 2] @ weights
    motion = np.stack([centre.real, centre.imag, depth, factor.real * size / 2, factor.imag * size / 2], axis=1)
    local_z = (points[..., 2] - depth[:, None]) / np.abs(factor)[:, None]
    return motion, np.stack([local.real, local.imag, local_z], axis=2)


def _join(motion: np.ndarray, local: np.ndarray, size: float) -> np.ndarray:
    """The inverse of `_split`."""
    factor = (motion[:, 3] + 1j * motion[:, 4])[:, None] / (size / 2)
    flat = (local[..., 0] + 1j * local[..., 1]) * factor + (motion[:, 0] + 1j * motion[:, 1])[:, None]
    depth = local[..., 2] * np.abs(factor) + motion[:, 2, None]
    return np.stack([flat.real, flat.imag, depth], axis=2).astype(np.float32)


def _noise(signal: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """Standard deviation of each signal's noise in ``[T, ...]``, from the median of its third differences."""
    spread = np.median(np.abs(np.diff(signal, n=3, axis=0)), axis=0)
    # 0.6745 converts the median of a normal variable to its standard deviation; sqrt(20) is the norm of (1, -3, 3, -1).
    return np.clip(spread / 0.6745 / np.sqrt(20.0), *limits)


def _local_line(times: np.ndarray, half: int) -> np.ndarray:
    """Weights ``[T, 2 * half + 1]`` that evaluate, at each frame, a line fitted to its neighbours."""
    count = len(times)
    index = np.arange(count)[:, None] + np.arange(-half, half + 1)
    inside = (index >= 0) & (index < count)
    offset = times[index.clip(0, count - 1)] - times[:, None]
    kernel = np.where(inside, 1.0 - (np.arange(-half, half + 1) / (half + 1)) ** 2, 0.0)
    s1, s2 = ((kernel * offset**power).sum(axis=1, keepdims=True) for power in (1, 2))
    if half == 0:
        return kernel
    weights = kernel * (s2 - s1 * offset)
    return weights / weights.sum(axis=1, keepdims=True)


def _apply(weights: np.ndarray, signal: np.ndarray) -> np.ndarray:
    half, count = weights.shape[1] // 2, len(signal)
    padded = np.concatenate([np.repeat(signal[:1], half, axis=0), signal, np.repeat(signal[-1:], half, axis=0)])
    result, part = np.zeros_like(signal), np.empty_like(signal)
    for column in range(2 * half + 1):
        weight = weights[:, column].reshape(-1, *[1] * (signal.ndim - 1))
        result += np.multiply(weight, padded[column : column + count], out=part)
    return result


def _adaptive(signal: np.ndarray, windows: list[np.ndarray], noise: np.ndarray) -> np.ndarray:
    """The signal ``[T, ..., C]`` without the details that noise can explain; the last axis shares its gain.

    `noise` has the shape of one frame of the signal.
    """
    result = values = _apply(windows[-1], signal)
    for fine, coarse in zip(windows[-2::-1], windows[:0:-1]):
        pad = (coarse.shape[1] - fine.shape[1]) // 2
        gain = np.sqrt(((np.pad(fine, ((0, 0), (pad, pad))) - coarse) ** 2).sum(axis=1))
        finer = _apply(fine, signal)
        detail = finer - values
        expected = gain.reshape(-1, *[1] * (signal.ndim - 1)) * noise
        energy = ((detail / np.maximum(expected, 1e-12)) ** 2).mean(axis=-1, keepdims=True)
        energy = _apply(_local_mean(len(signal), max(pad, 2)), energy)
        share = np.clip((energy - KEEP[0]) / (KEEP[1] - KEEP[0]), 0.0, 1.0)
        result = result + share * detail
        values = finer
    return result


def _local_mean(count: int, half: int) -> np.ndarray:
    """Weights ``[T, 2 * half + 1]`` that average over the neighbours of each frame."""
    offset = np.arange(-half, half + 1)
    index = np.arange(count)[:, None] + offset
    kernel = np.where((index >= 0) & (index < count), 1.0 - np.abs(offset) / (half + 1), 0.0)
    return kernel / kernel.sum(axis=1, keepdims=True)
