"""Windows of a clip that a motion module sees at a time, and the blending of what it says in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import ceil

import torch

from toolkit.errors import UsageError

Window = tuple[int, int]
"""First frame, and the one after the last."""


def context_windows(
    length: int, context_length: int = 16, context_overlap: int = 4, cuts: Sequence[int] = ()
) -> list[Window]:
    """Windows that cover a clip, in order.

    Within a shot they are spread evenly, so that neighbours share about `context_overlap` frames: as many windows as
    come nearest to that, and never less than half of it. A shot of fewer frames is one window. The paper has 16 and 4
    (section 4.3).

    Args:
        length: frames of the clip, at least 1.
        cuts: first frames of new shots; no window crosses one. 0 and what lies beyond the clip are ignored.

    Raises:
        UsageError: a length is below 1, or the overlap is not between 0 and the length less one.
    """
    if length < 1 or context_length < 1 or not 0 <= context_overlap < context_length:
        raise UsageError(
            "expected at least one frame, a context length of at least 1 and an overlap from 0 to below it, found "
            f"{length}, {context_length} and {context_overlap}"
        )
    edges = [0, *sorted({int(cut) for cut in cuts if 0 < cut < length}), length]
    windows = []
    for first, last in pairwise(edges):
        if last - first <= context_length:
            windows.append((first, last))
            continue
        room, step = last - first - context_length, context_length - context_overlap
        steps = max(round(room / step), ceil(room / (context_length - (context_overlap + 1) // 2)))
        windows += [(start, start + context_length) for k in range(steps + 1) for start in [first + k * room // steps]]
    return windows


def window_weights(size: int) -> torch.Tensor:
    """float32 ``[size]``: how much a window counts at each of its frames before weights are made to sum to 1.

    They rise from both ends by one for each frame, so that a window fades in where the one before fades out.
    """
    ramp = torch.arange(1, size + 1)
    return torch.minimum(ramp, ramp.flip(0)).float()


class WindowBlender:
    """Weighted means of what overlapping windows say; holds no more frames than still can change.

    Args:
        windows: all that will come, in order.
    """

    def __init__(self, windows: Sequence[Window]):
        self._windows = list(windows)
        self._next = self._first = 0
        self._sum: torch.Tensor | None = None
        self._weights = torch.zeros(0)

    def add(self, window: Window, values: torch.Tensor) -> Iterator[tuple[int, torch.Tensor]]:
        """Take in a window.

        Args:
            window: the next of the windows.
            values: ``[K, ...]``, of its K frames.

        Yields:
            A first frame and ``[M, ...]``: frames that no later window reaches, in order, each once.

        Raises:
            ValueError: another window was expected, or the number of frames is another one.
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
        weights, place = window_weights(len(values)), slice(start - self._first, stop - self._first)
        self._sum[place] += values * self._shaped(weights, values)
        self._weights[place] += weights
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
