"""Define the network: the shared one with one map."""

from __future__ import annotations

from torch import nn

from attributes.segmenting.network import SegmenterNetwork

WIDTHS = (24, 40, 64, 96)
"""Feature channels at 1/2, 1/4, 1/8 and 1/16 of the region's size."""


PRIOR = -4.0
"""First logit of the map: about 2 % of the pixels are of stickers (Lin et al., 2017). From 0, the many other pixels
teach the last features to mean "no sticker", and no logit gets above the bias again."""


class StickerNetwork(SegmenterNetwork):
    """Predicts logits of where stickers are, and of whether there are any."""

    def __init__(self) -> None:
        super().__init__(1, WIDTHS)
        head = self.maps[0]
        assert isinstance(head, nn.Conv2d) and head.bias is not None
        nn.init.constant_(head.bias, PRIOR)
