"""Computes the warp error: how far an edited video departs from the motion of its original.

It follows `evaluate_WarpError` of Lai et al., "Learning Blind Video Temporal Consistency" (ECCV 2018), with occlusions
as in Ruder et al., "Artistic Style Transfer for Videos" (GCPR 2016).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from toolkit.errors import InputError
from toolkit.evaluate.flow import Flow


def warp(image: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Sample `image` at the positions that `flow` points to: bilinear, clamped to the border.

    Pixel centres are at whole numbers.

    Args:
        image: floats ``[H, W, C]``.
        flow: floats ``[H, W, 2]``, pixels, x then y.

    Returns:
        float64 ``[H, W, C]``.

    Raises:
        ValueError: the flow is not finite.
    """
    import torch

    if not np.isfinite(flow).all():
        raise ValueError("expected a finite flow, found NaN or infinite values")
    height, width = flow.shape[:2]
    x = (np.arange(width) + flow[..., 0].astype(np.float64)) * 2 / max(width - 1, 1) - 1
    y = (np.arange(height)[:, None] + flow[..., 1].astype(np.float64)) * 2 / max(height - 1, 1) - 1
    planes = torch.from_numpy(np.ascontiguousarray(image, np.float64)).permute(2, 0, 1)[None]
    grid = torch.from_numpy(np.stack([x, y], axis=-1))[None]
    found = torch.nn.functional.grid_sample(planes, grid, padding_mode="border", align_corners=True)
    return found[0].permute(1, 2, 0).numpy()


def visible(forward: np.ndarray, backward: np.ndarray) -> np.ndarray:
    """Find the pixels of a frame that are visible in the next one and not at a motion boundary.

    Args:
        forward: floats ``[H, W, 2]``, flow from the frame to the next one.
        backward: the flow from the next frame back.

    Returns:
        bool ``[H, W]``.
    """
    forward = forward.astype(np.float64)
    back = warp(backward, forward)
    size = _squared(forward)
    occluded = _squared(back + forward) > 0.01 * (_squared(back) + size) + 0.5
    gradients = np.zeros_like(size)
    gradients[:, :-1] += _squared(np.diff(forward, axis=1))
    gradients[:-1] += _squared(np.diff(forward, axis=0))
    return ~(occluded | (gradients > 0.01 * size + 0.002))


def error_where(now: np.ndarray, following: np.ndarray, forward: np.ndarray, where: np.ndarray) -> float:
    """Mean squared difference of an edited frame and the next one warped onto it, over pixels and channels.

    Args:
        now, following: the edited frames ``[H, W, 3]``, RGB: uint8, or floats in 0..1.
        forward: floats ``[H, W, 2]``, flow of the *original* from the frame to the next one.
        where: bool ``[H, W]``, the original's `visible` pixels. Without any, the error is 0, as in the reference code.

    Raises:
        ValueError: the frames have another type, or the flow is not finite.
    """
    difference = warp(_unit(following), forward) - _unit(now)
    return float((difference[where] ** 2).mean()) if where.any() else 0.0


def frame_error(now: np.ndarray, following: np.ndarray, forward: np.ndarray, backward: np.ndarray) -> float:
    """The error of one pair of frames: `error_where` the original's pixels are `visible` according to both flows."""
    return error_where(now, following, forward, visible(forward, backward))


class WarpError:
    """Computes the warp errors of edited videos frame by frame, with the original's flow in both directions.

    E_warp of a video is the mean of its values; the paper's tables print it in 1e-4. Memory holds at most `batch` + 1
    frames of every video.

    Args:
        flow: computes the flow of `batch` pairs at once.
        batch: pairs of frames, at least one.
    """

    def __init__(self, flow: Flow, batch: int = 8):
        if batch < 1:
            raise ValueError(f"batch must be at least 1, found {batch}")
        self._flow, self._batch = flow, batch
        self._originals: list[np.ndarray] = []
        self._edited: list[list[np.ndarray | None]] = []

    def push(self, original: np.ndarray, edited: Sequence[np.ndarray | None]) -> list[list[float | None]]:
        """Add the next frame.

        Args:
            original: uint8 ``[H, W, 3]``, RGB.
            edited: the same frame of every edited video; None for a video that has ended.

        Returns:
            Finished values in order: for each pair of consecutive frames a list with one value per edited video, or
            None if one of its two frames is missing. T frames give T - 1 lists in all; `finish` returns the last ones.

        Raises:
            InputError: the sizes of the frames differ.
            ValueError: a frame has another shape or type, or the number of edited videos changed.
        """
        self._check(original, edited)
        self._originals.append(original.copy())
        self._edited.append([None if frame is None else frame.copy() for frame in edited])
        return self._measure() if len(self._originals) > self._batch else []

    def finish(self) -> list[list[float | None]]:
        """End the videos and return their remaining values, as `push` does. The next `push` starts new videos."""
        values = self._measure() if len(self._originals) > 1 else []
        self._originals, self._edited = [], []
        return values

    def _measure(self) -> list[list[float | None]]:
        frames = np.stack(self._originals)
        forward, backward = self._flow(frames[:-1], frames[1:]), self._flow(frames[1:], frames[:-1])
        values = []
        for index, (there, back) in enumerate(zip(forward, backward)):
            where = visible(there, back)
            values.append(
                [
                    None if now is None or following is None else error_where(now, following, there, where)
                    for now, following in zip(self._edited[index], self._edited[index + 1])
                ]
            )
        self._originals, self._edited = self._originals[-1:], self._edited[-1:]
        return values

    def _check(self, original: np.ndarray, edited: Sequence[np.ndarray | None]) -> None:
        for frame in (original, *edited):
            if frame is not None and (frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3):
                raise ValueError(f"expected a frame as uint8 [H, W, 3], found {frame.dtype} {frame.shape}")
        if self._edited and len(edited) != len(self._edited[0]):
            raise ValueError(f"expected frames of {len(self._edited[0])} edited videos, found {len(edited)}")
        if self._originals and original.shape != self._originals[0].shape:
            raise InputError(
                f"expected frames of one size in the original, found {_size(self._originals[0])} and {_size(original)}"
            )
        for frame in edited:
            if frame is not None and frame.shape != original.shape:
                raise InputError(
                    f"expected edited frames of the original's size, {_size(original)}, found {_size(frame)}; resize "
                    "the edited video, or crop the original in the same way"
                )


def _unit(frame: np.ndarray) -> np.ndarray:
    """Convert a frame to float64, RGB in 0..1."""
    if frame.dtype == np.uint8:
        return frame / 255
    if not np.issubdtype(frame.dtype, np.floating):
        raise ValueError(f"expected frames as uint8, or floats in 0..1, found {frame.dtype}")
    return frame.astype(np.float64)


def _squared(vectors: np.ndarray) -> np.ndarray:
    """Squared lengths of vectors ``[..., 2]``; numpy sums over so short an axis many times more slowly."""
    return vectors[..., 0] ** 2 + vectors[..., 1] ** 2


def _size(frame: np.ndarray) -> str:
    return f"{frame.shape[1]}x{frame.shape[0]}"
