"""A clip in chunks, as `VideoEditPipeline.stream` takes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeAlias

import numpy as np

CHUNK = 16
"""Frames of a chunk: diffusers' `decode_chunk_size`, which random draws depend on."""


class Chunk(NamedTuple):
    """Consecutive frames of a clip.

    Attributes:
        frames: uint8 ``[K, H, W, 3]``.
        masks: bool, or float in 0..1, ``[K, H, W]``; None if unknown.
        hints: uint8 ``[K, H, W, 3]``: the ControlNet's input, if it is not the frames.
    """

    frames: np.ndarray
    masks: np.ndarray | None = None
    hints: np.ndarray | None = None

    @property
    def shown(self) -> np.ndarray:
        """What the ControlNet sees."""
        return self.frames if self.hints is None else self.hints

    def part(self, start: int, stop: int) -> Chunk:
        """Some of its frames."""
        return self.mapped(lambda pictures: pictures[start:stop])

    def mapped(self, function: Callable[[np.ndarray], np.ndarray]) -> Chunk:
        """The same function applied to all that is there."""
        masks, hints = (None if one is None else function(one) for one in (self.masks, self.hints))
        return Chunk(function(self.frames), masks, hints)


Chunks: TypeAlias = Iterable[Chunk | tuple[np.ndarray, np.ndarray | None]]
"""A clip, chunk by chunk."""
