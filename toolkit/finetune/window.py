"""Cuts pairs to the parts around their masks that a remover of regions sees."""

from __future__ import annotations

import numpy as np

from toolkit.finetune.augment import Pictures

Window = tuple[slice, slice]
"""Rows and columns of a picture."""


def draw_window(mask: np.ndarray, size: tuple[int, int], cell: int, rng: np.random.Generator | None = None) -> Window:
    """A part of a picture that shows the mask, at whole latent cells.

    Args:
        mask: bool ``[R, R]``; if empty, the part may be anywhere.
        size: width and height of the part, multiples of `cell`, at most R.
        cell: side of a latent cell in pixels.
        rng: moves the part: anywhere as long as it holds the mask or, if that is larger, is filled by it. If None, the
            middle of the mask is in its middle.
    """
    found = mask if mask.any() else np.ones_like(mask)
    starts = []
    for axis, length in ((0, size[1]), (1, size[0])):
        filled = np.flatnonzero(found.any(axis=1 - axis))
        first, last = int(filled[0]), int(filled[-1]) + 1
        low, high = sorted((last - length, first))
        at = (low + high) / 2 if rng is None else rng.uniform(low, high)
        starts.append(int(np.clip(round(at / cell), 0, (mask.shape[axis] - length) // cell)) * cell)
    return slice(starts[0], starts[0] + size[1]), slice(starts[1], starts[1] + size[0])


def cut(pictures: Pictures, window: Window) -> Pictures:
    """The part of each picture."""
    return {name: np.ascontiguousarray(picture[window]) for name, picture in pictures.items()}


def cells_of(window: Window, cell: int) -> Window:
    """The same part of latents."""
    rows, columns = (slice(part.start // cell, part.stop // cell) for part in window)
    return rows, columns
