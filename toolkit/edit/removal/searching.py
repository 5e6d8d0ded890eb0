"""Where the attribute is in one part of a track."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel

from toolkit.edit.masks import MaskClip, mask_block
from toolkit.edit.removal.parts import Advance, Part
from toolkit.edit.removal.region import Box, box_of
from toolkit.edit.session import Session


@dataclass(frozen=True, eq=False)
class SearchPart(Part):
    """Frames in which the attribute is searched for.

    Attributes:
        block: the frames with their neighbours; as many as masks are found for together.
    """

    block: MaskClip


class Searched(BaseModel):
    """Where the attribute was found.

    Attributes:
        start: the first frame.
        hidden: for each frame, whether the attribute hides the eyes.
        boxes: for each frame, the edges of its mask in pixels; null without one.
    """

    start: int
    hidden: list[bool]
    boxes: list[Box | None]


def search(session: Session, part: SearchPart, advance: Advance) -> Searched:
    """Store the masks of a part.

    Raises:
        ContractError: a masker returned something else than masks.
    """
    assert session.maskers is not None  # otherwise nothing is searched for
    with part.opened() as stores:
        pictures = stores.composited(part.index, part.block.low, part.block.high)
        block = mask_block(session.maskers[part.index], part.block, pictures)
        stores.masks(part.index).write(part.start, block.masks.astype(np.uint8))
        stores.opaque(part.index).write(part.start, block.opaque.astype(np.uint8))
    boxes = [box_of(mask[None]) for mask in block.masks]
    masked = np.array([box is not None for box in boxes])
    return Searched(start=part.start, hidden=(block.hidden & masked).tolist(), boxes=boxes)
