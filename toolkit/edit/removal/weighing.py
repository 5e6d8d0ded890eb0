"""How much of the edit is pasted in one part of a track."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel

from toolkit.edit.removal.parts import Advance, Part
from toolkit.edit.removal.paste_weights import REACH, composite_over, paste_weights
from toolkit.edit.session import Session


@dataclass(frozen=True, eq=False)
class WeighPart(Part):
    """Frames whose edit is weighed.

    Attributes:
        count: frames of the track.
        edited: bool ``[K]``: frames that the remover edited.
        pasted: bool ``[K]``: frames of which the edit is pasted.
    """

    count: int
    edited: np.ndarray
    pasted: np.ndarray


class Weighed(BaseModel):
    """Says that a part is done."""

    start: int


def weigh(session: Session, part: WeighPart, advance: Advance) -> Weighed:
    """Decide how much of the output is pasted, and composite it over the removers before."""
    masking, index = session.resolved.masking, part.index
    low, high = max(0, part.start - REACH), min(part.count, part.stop + REACH)
    with part.opened() as stores:
        changes = stores.changed(index).read(low, high) > 0 if masking.min_change > 0 else None
        for k in range(part.start, part.stop):
            edited, pasted = part.edited[k - part.start], part.pasted[k - part.start]
            if not pasted and not index:
                continue  # what is not written is zero
            weight = np.zeros((stores.side, stores.side), np.float32)
            if pasted:
                mask = stores.masks(index).read(k, k + 1)[0] > 0 if masking.finds_masks else None
                near = slice(max(low, k - REACH) - low, k + REACH + 1 - low)
                changed = None if changes is None else changes[near].any(axis=0)
                weight = paste_weights(mask, changed, stores.side, masking)
            if index:
                made = stores.output(index).read(k, k + 1) if edited else stores.composited(index, k, k + 1)
                below, below_weights = stores.edit(index - 1, k, k + 1)
                colours, weight = composite_over(below[0], below_weights[0], made[0].astype(np.float32), weight)
                stores.colours(index).write(k, np.rint(colours).astype(np.uint8)[None])
            stores.paste_weights(index).write(k, np.rint(255 * weight).astype(np.uint8)[None])
    return Weighed(start=part.start)
