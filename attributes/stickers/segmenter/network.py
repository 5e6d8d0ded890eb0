"""Define the network: the shared one with one map."""

from __future__ import annotations

from attributes.segmenting.network import SegmenterNetwork

WIDTHS = (24, 40, 64, 96)
"""Feature channels at 1/2, 1/4, 1/8 and 1/16 of the region's size."""


class StickerNetwork(SegmenterNetwork):
    """Predicts logits of where stickers are, and of whether there are any."""

    def __init__(self) -> None:
        super().__init__(1, WIDTHS)
