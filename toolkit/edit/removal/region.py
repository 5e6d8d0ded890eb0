"""The part of the crops that goes through a remover: a rectangle around what may be removed, which does not jump."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

MARGIN = 0.06
"""Width of the surroundings that a remover sees around masks, as a share of the crop's side. docs/edit.md compares
widths."""


Box: TypeAlias = tuple[int, int, int, int]
"""x0, y0, x1, y1."""


@dataclass(frozen=True)
class Region:
    """A rectangle of square pictures.

    Attributes:
        x0, y0, x1, y1: left and upper edge, and the ones after the last column and row, in pixels.
        side: of the pictures.
    """

    x0: int
    y0: int
    x1: int
    y1: int
    side: int

    @property
    def whole(self) -> bool:
        """Whether this is the whole picture."""
        return (self.x0, self.y0, self.x1, self.y1) == (0, 0, self.side, self.side)

    @property
    def share(self) -> float:
        """The larger side, as a share of the picture's."""
        return max(self.x1 - self.x0, self.y1 - self.y0) / self.side

    def of(self, pictures: np.ndarray) -> np.ndarray:
        """The rectangle of pictures ``[K, R, R, ...]``, as contiguous memory."""
        return np.ascontiguousarray(pictures[:, self.y0 : self.y1, self.x0 : self.x1])

    def within(self, pictures: np.ndarray, made: np.ndarray) -> np.ndarray:
        """Pictures ``[K, R, R, ...]`` with other ones, ``[K, h, w, ...]``, in the rectangle."""
        result = pictures.copy()
        result[:, self.y0 : self.y1, self.x0 : self.x1] = made
        return result

    def scaled(self, side: int) -> Region:
        """The same rectangle of pictures of another side, without pixels that it covers in part."""
        scale = side / self.side
        low, high = (lambda edge: math.ceil(edge * scale)), (lambda edge: math.floor(edge * scale))
        return Region(low(self.x0), low(self.y0), high(self.x1), high(self.y1), side)


def whole(side: int) -> Region:
    """The whole picture."""
    return Region(0, 0, side, side, side)


def box_of(masks: np.ndarray) -> Box | None:
    """Edges x0, y0, x1, y1 of the masked pixels of bool ``[K, R, R]``; None if there are none."""
    found = masks.any(axis=0)
    columns, rows = np.flatnonzero(found.any(axis=0)), np.flatnonzero(found.any(axis=1))
    if not len(rows):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def joined(boxes: Iterable[Box | None]) -> Box | None:
    """Edges of all boxes together; None if there are none."""
    known = [box for box in boxes if box is not None]
    if not known:
        return None
    x0, y0, x1, y1 = zip(*known)
    return min(x0), min(y0), max(x1), max(y1)


def regions_around(boxes: Sequence[Box | None], from_side: int, side: int, unit: int) -> list[Region]:
    """Regions of consecutive groups of frames. All have one size, and a region moves only where it must.

    Args:
        boxes: of each group's masks, in pixels of pictures of `from_side`; None if a group has no masks: it gets the
            region before, or after.
        from_side: of the pictures that the boxes are in.
        side: of the remover's pictures.
        unit: sides and places of regions are multiples of this number of pixels, as the networks need. Where a region
            is as wide as the picture, its width is that of the picture.

    Returns:
        One region for each group, which contains its box and `MARGIN` around it.
    """
    wanted = [None if box is None else _snapped(box, side / from_side, side, unit) for box in boxes]
    known = [edges for edges in wanted if edges is not None]
    if not known:
        return [whole(side)] * len(boxes)
    width, height = (max(edges[axis + 2] - edges[axis] for edges in known) for axis in (0, 1))
    result: list[Region] = []
    count = 0  # groups whose region is not decided yet
    union: Box | None = None
    for edges in [*wanted, (-side, -side, 2 * side, 2 * side)]:  # the last one ends the run
        both = joined([union, edges])
        if both is not None and (both[2] - both[0] > width or both[3] - both[1] > height):
            assert union is not None
            x0, y0 = (
                _start(union[axis], union[axis + 2], size, side, unit) for axis, size in ((0, width), (1, height))
            )
            result += [Region(x0, y0, x0 + width, y0 + height, side)] * count
            both, count = edges, 0
        union, count = both, count + 1
    return result


def _snapped(box: Box, scale: float, side: int, unit: int) -> Box:
    """A box with its margin, widened to multiples of `unit`."""
    margin = MARGIN * side
    low = [max(0, math.floor((edge * scale - margin) / unit) * unit) for edge in box[:2]]
    high = [min(side, math.ceil((edge * scale + margin) / unit) * unit) for edge in box[2:]]
    # Next to the far border of a picture that is no multiple of the unit, the other edge makes up for it.
    low = [0 if (stop - start) % unit and stop == side else start for start, stop in zip(low, high)]
    return low[0], low[1], high[0], high[1]


def _start(low: int, high: int, size: int, side: int, unit: int) -> int:
    """Where a region of that size begins so that it holds `low` to `high`, near its middle."""
    return min(max(0, low - (size - (high - low)) // 2 // unit * unit), side - size)
