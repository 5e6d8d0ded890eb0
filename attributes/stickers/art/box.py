"""Choose stickers from the embedded set or a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from attributes.stickers.art.drawn import draw, embedded_art
from attributes.stickers.art.folder import load_art
from attributes.stickers.art.sticker import Sticker


class ArtBox:
    """A set of stickers to choose from. It stores names instead of pictures, and pickles."""

    def __init__(self, stickers: Sequence[Sticker] | None = None):
        """
        Args:
            stickers: the stickers, for example from `load_art`; None for the embedded set.
        """
        self._stickers = stickers

    def __len__(self) -> int:
        return len(embedded_art()) if self._stickers is None else len(self._stickers)

    def choose(self, rng: np.random.Generator) -> Sticker:
        """Choose a sticker with equal probabilities. Embedded stickers also vary with `rng`.

        Raises:
            InputError: the chosen file cannot be used.
        """
        index = int(rng.integers(len(self)))
        return draw(embedded_art()[index], rng) if self._stickers is None else self._stickers[index]


def open_art(source: str | Path | None = None) -> ArtBox:
    """The embedded set for None or ``embedded``, otherwise the pictures of a folder (``./embedded`` is a folder).

    Raises:
        InputError: as for `load_art`.
    """
    return ArtBox(None if source is None or source == "embedded" else load_art(source))
