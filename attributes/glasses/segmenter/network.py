"""Define the network: the shared one with the maps of glasses."""

from __future__ import annotations

from attributes.segmenting.network import SegmenterNetwork

CHANNELS = ("frame", "lens", "reflection", "dark")
"""Names of the maps, in the order of the network's output."""
WIDTHS = (28, 40, 64, 96)
"""Feature channels at 1/2, 1/4, 1/8 and 1/16 of the region's size."""


class GlassesNetwork(SegmenterNetwork):
    """Predicts logits of `CHANNELS`, and of the presence of glasses."""

    def __init__(self) -> None:
        super().__init__(len(CHANNELS), WIDTHS)
