"""How much of the edit is pasted in one part of a track."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel

from toolkit.edit.removal.detail import transferred
from toolkit.edit.removal.parts import Advance, Part
from toolkit.edit.removal.paste_weights import REACH, composite_over, paste_weights
from toolkit.edit.removal.stores import Edit
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
    remover = session.resolved.removers[index]
    low, high = max(0, part.start - REACH), min(part.count, part.stop + REACH)
    with part.opened() as stores:
        changes = stores.changed(index).read(low, high) > 0 if masking.min_change > 0 else None
        for k in range(part.start, part.stop):
            edited, pasted = part.edited[k - part.start], part.pasted[k - part.start]
            if not pasted and not index:
                continue  # what is not written is zero
            weight = np.zeros((stores.side, stores.side), np.float32)
            mask = None
            if pasted:
                mask = stores.masks(index).read(k, k + 1)[0] > 0 if masking.finds_masks else None
                near = slice(max(low, k - REACH) - low, k + REACH + 1 - low)
                changed = None if changes is None else changes[near].any(axis=0)
                weight = paste_weights(mask, changed, stores.side, masking)
            made = (stores.output(index).read(k, k + 1) if edited else stores.composited(index, k, k + 1))[0]
            replaced = weight
            if remover.keep_detail and mask is not None:
                before, opaque = stores.composited(index, k, k + 1)[0], stores.opaque(index).read(k, k + 1)[0] > 0
                made, share = transferred(before, made, mask, opaque, weight, stores.side / remover.resolution)
                replaced = weight * share
            edit = Edit(made.astype(np.float32)[None], weight[None], replaced[None])
            if index:
                edit = composite_over(stores.edit(index - 1, k, k + 1), edit)
            stores.write_edit(index, k, edit)
    return Weighed(start=part.start)
