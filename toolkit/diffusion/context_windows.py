"""Split a clip into overlapping windows for the motion module, and blend the predictions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import ceil
from typing import TypeAlias

import torch

from toolkit.errors import UsageError

Window: TypeAlias = tuple[int, int]
"""First frame, and the frame after the last."""


def context_windows(
    length: int, context_length: int = 16, context_overlap: int = 4, cuts: Sequence[int] = ()
) -> list[Window]:
    """Windows that cover a clip, in order.

    The windows of a shot are spaced evenly. Their number is chosen so that neighbours share as close to
    `context_overlap` frames as possible, and at least half of that. A shot that fits in one window has one. The paper
    uses windows of 16 frames with 4 shared frames (section C.2). With an overlap of 0 no frame is in two windows, and
    the windows of a shot differ by at most one frame in length.

    Args:
        length: frames in the clip, at least 1.
        context_length: frames in a window, at least 1.
        context_overlap: frames shared by neighbouring windows, less than `context_length`.
        cuts: first frames of new shots. No window crosses a cut. 0 and indices beyond the clip are ignored.

    Raises:
        UsageError: a length is below 1, or the overlap is negative or not below `context_length`.
    """
    if length < 1 or context_length < 1 or not 0 <= context_overlap < context_length:
        raise UsageError(
            "expected at least one frame, a context length of at least 1 and a smaller overlap of at least 0, found "
            f"{length}, {context_length} and {context_overlap}"
        )
    edges = [0, *sorted({int(cut) for cut in cuts if 0 < cut < length}), length]
    windows = []
    for first, last in pairwise(edges):
        if last - first <= context_length:
            windows.append((first, last))
            continue
        if not context_overlap:
            count = ceil((last - first) / context_length)
            windows += pairwise(first + k * (last - first) // count for k in range(count + 1))
            continue
        room, step = last - first - context_length, context_length - context_overlap
        steps = max(round(room / step), ceil(room / (context_length - (context_overlap + 1) // 2)))
        windows += [(start, start + context_length) for k in range(steps + 1) for start in [first + k * room // steps]]
    return windows


def window_weights(size: int) -> torch.Tensor:
    """Weights of a window at each of its frames, not normalised: float32 ``[size]``.

    The weights rise by one per frame from both ends, so a window fades in while the one before fades out.
    """
    ramp = torch.arange(1, size + 1)
    return torch.minimum(ramp, ramp.flip(0)).float()


class WindowBlender:
    """Weighted means over overlapping windows. Keeps only frames that a later window can still change.

    Args:
        windows: all windows, in order.
    """

    def __init__(self, windows: Sequence[Window]):
        self._windows = list(windows)
        self._next = self._first = 0
        self._sum: torch.Tensor | None = None
        self._weights = torch.zeros(0)

    def add(self, window: Window, values: torch.Tensor) -> Iterator[tuple[int, torch.Tensor]]:
        """Add the values of a window.

        Args:
            window: the next window.
            values: ``[K, ...]`` for its K frames.

        Yields:
            A first frame and the means ``[M, ...]``, for frames that no later window covers. Each frame comes once, in
            order.

        Raises:
            ValueError: this is not the next window, or the number of frames is wrong.
        """
        start, stop = window
        if self._next >= len(self._windows) or window != self._windows[self._next] or len(values) != stop - start:
            raise ValueError(f"expected the next window with all its frames, found {window} with {len(values)}")
        self._next += 1
        if self._sum is None:
            self._first, self._sum = start, values.new_zeros((0, *values.shape[1:]))
        grow = stop - self._first - len(self._sum)
        self._sum = torch.cat([self._sum, values.new_zeros((grow, *values.shape[1:]))])
        self._weights = torch.cat([self._weights, torch.zeros(grow)])
        weights, covered = window_weights(len(values)), slice(start - self._first, stop - self._first)
        self._sum[covered] += values * self._shaped(weights, values)
        self._weights[covered] += weights
        done = self._windows[self._next][0] if self._next < len(self._windows) else stop
        count = done - self._first
        if count > 0:
            mean = self._sum[:count] / self._shaped(self._weights[:count], values)
            first, self._first = self._first, done
            self._sum, self._weights = self._sum[count:], self._weights[count:]
            yield first, mean

    @staticmethod
    def _shaped(weights: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        return weights.to(values).view(-1, *[1] * (values.ndim - 1))
