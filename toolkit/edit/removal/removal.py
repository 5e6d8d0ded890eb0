"""Applies the removers to a track, one after the other: work on its parts, and decisions in between."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import numpy as np

from toolkit.diffusion.chunks import CHUNK
from toolkit.edit.masks import mask_clips
from toolkit.edit.removal.denoising import (
    Denoised,
    DenoisePart,
    Networks,
    denoise,
    examine,
    remove_remains,
)
from toolkit.edit.removal.parts import Part, Run, cut, mapped
from toolkit.edit.removal.paste_weights import REACH
from toolkit.edit.removal.region import Box, Region, joined, regions_around, whole
from toolkit.edit.removal.searching import Searched, SearchPart, search
from toolkit.edit.removal.stores import TrackStores
from toolkit.edit.removal.stretches import active_stretches, mostly_hidden
from toolkit.edit.removal.weighing import Weighed, WeighPart, weigh
from toolkit.edit.resolved import ResolvedEdit
from toolkit.edit.results import RemoverFindings
from toolkit.edit.tracks.track import FaceTrack


def remove_attributes(resolved: ResolvedEdit, track: FaceTrack, stores: TrackStores, run: Run) -> None:
    """Apply all removers to a track whose crops are stored; removers that an interrupted run applied are skipped.

    Afterwards the colours and paste weights of the last remover hold the edit, and the masks of all are stored.

    Args:
        resolved: the settings.
        track: the face.
        stores: its pictures.
        run: works on the parts, here or in other processes.

    Raises:
        ToolkitError: a model returned NaN, memory or the disk is full, or a masker breaks its contract.
    """
    try:
        for index in range(stores.finished, len(resolved.removers)):
            _Application(resolved, index, track, stores, run).apply()
            stores.finish(index)
    finally:
        stores.close()


class _Application:
    """One remover on one track."""

    def __init__(self, resolved: ResolvedEdit, index: int, track: FaceTrack, stores: TrackStores, run: Run):
        self._resolved, self._index, self._track, self._stores, self._run = resolved, index, track, stores, run
        self._remover = resolved.removers[index]

    def apply(self) -> None:
        """Edit the stretches that show the attribute, with the frames around them that the result depends on."""
        self._stores.reserve(self._index, len(self._track))
        hidden, boxes = self._search()
        masked = np.array([box is not None for box in boxes])
        shown = masked & (self._track.turns <= self._resolved.crop.max_turn)
        findings = RemoverFindings(hidden=hidden.tolist())
        if self._resolved.crop.hidden_eyes == "keep" and mostly_hidden(hidden, shown):
            findings, shown = findings.model_copy(update={"kept": "eyes hidden"}), np.zeros_like(shown)
        self._stores.write_findings(self._index, findings)
        if not shown.any():
            self._stores.pass_through(self._index, len(self._track))
            return
        edited, votes = self._denoise([box if pasted else None for box, pasted in zip(boxes, shown)])
        if 2 * sum(votes) > len(votes):
            kept = "face paint" if self._resolved.crop.face_paint == "keep" else None
            self._stores.write_findings(self._index, findings.model_copy(update={"painted": True, "kept": kept}))
            if kept:
                self._stores.pass_through(self._index, len(self._track))
                return
        self._weigh(edited, shown)

    def _part(self, start: int, stop: int) -> Part:
        return Part(self._stores.folder, self._stores.side, self._index, start, stop)

    def _search(self) -> tuple[np.ndarray, list[Box | None]]:
        """Store the masks; the frames in which the attribute hides the eyes, bool ``[T]``, and the masks' edges."""
        hidden = np.zeros(len(self._track), bool)
        boxes: list[Box | None] = [None] * len(self._track)
        if not self._resolved.masking.finds_masks:
            return hidden, [(0, 0, self._stores.side, self._stores.side)] * len(boxes)
        parts = (
            SearchPart(**vars(self._part(block.start, block.stop)), block=block) for block in mask_clips(self._track)
        )
        with closing(mapped(self._run, "masks", search, Searched, parts)) as results:
            for found in results:
                frames = slice(found.start, found.start + len(found.boxes))
                hidden[frames], boxes[frames] = found.hidden, found.boxes
        return hidden, boxes

    def _denoise(self, boxes: list[Box | None]) -> tuple[np.ndarray, list[bool]]:
        """Store the remover's output, and what it changed.

        Args:
            boxes: edges of the masks; None in frames that are not to be edited.

        Returns:
            bool ``[T]``, the frames that were edited, and for each frame whether the remover took face paint for the
            attribute; nothing where that is not asked.
        """
        ((_, networks),) = self._run(examine, [self._part(0, 0)])
        margin = REACH if networks.alone else self._resolved.motion.context_length
        stretches = active_stretches(np.array([box is not None for box in boxes]), margin)
        edited, votes = np.zeros(len(self._track), bool), []
        for start, stop in stretches:
            edited[start:stop] = True
        parts = self._denoise_parts(stretches, networks, boxes)
        with closing(mapped(self._run, "output", denoise, Denoised, parts)) as results:
            for found in results:
                votes += found.votes
                remove_remains(self._part(found.start, found.stop))
        return edited, votes

    def _denoise_parts(
        self, stretches: list[tuple[int, int]], networks: Networks, boxes: list[Box | None]
    ) -> Iterator[DenoisePart]:
        # Nothing is told if the edit also removes an attribute that may lie on the eyes, such as glasses: it would be
        # taken for paint.
        asked = all(remover.spares_eyes for remover in self._resolved.removers)
        regions = self._regions(stretches, networks, boxes)
        for start, stop in stretches:
            for first, last in cut(start, stop) if networks.alone else [(start, stop)]:
                yield DenoisePart(
                    **vars(self._part(first, last)),
                    # Frames that know nothing of each other start from the same noise wherever their stretch begins.
                    key=(
                        *("edit", self._track.source.digest, self._track.seed_name),
                        *(0 if networks.alone else start, self._index),
                    ),
                    alone=networks.alone,
                    regions=tuple(regions[group] for group in _groups(first, last, networks.alone)),
                    unit=networks.unit,
                    landmarks=self._landmarks(first, last) if asked else None,
                    topology=self._track.topology,
                )

    def _regions(
        self, stretches: list[tuple[int, int]], networks: Networks, boxes: list[Box | None]
    ) -> dict[tuple[int, int], Region]:
        """What the first pass sees of each group of frames."""
        groups = [group for stretch in stretches for group in _groups(*stretch, networks.alone)]
        side, remover = self._stores.side, self._remover
        if remover.region == "crop" or not remover.exact_masks:
            regions = [whole(remover.resolution)] * len(groups)
        else:
            around = [joined(boxes[start:stop]) for start, stop in groups]
            regions = regions_around(around, side, remover.resolution, networks.unit)
        return dict(zip(groups, regions))

    def _landmarks(self, start: int, stop: int) -> np.ndarray:
        """float32 ``[K, N, 3]``: smoothed in groups that do not depend on where parts end."""
        groups = [self._track.landmarks(first, min(first + CHUNK, stop)) for first in range(start, stop, CHUNK)]
        return np.concatenate(groups)

    def _weigh(self, edited: np.ndarray, pasted: np.ndarray) -> None:
        """Decide how much of the output is pasted, and composite it over the removers before."""
        parts = (
            WeighPart(
                **vars(self._part(start, stop)),
                count=len(self._track),
                edited=edited[start:stop],
                pasted=pasted[start:stop],
            )
            for start, stop in cut(0, len(self._track))
        )
        with closing(mapped(self._run, "weights", weigh, Weighed, parts)) as results:
            for _ in results:
                pass


def _groups(start: int, stop: int, alone: bool) -> list[tuple[int, int]]:
    """Groups of frames that share a region."""
    return [(first, min(first + CHUNK, stop)) for first in range(start, stop, CHUNK)] if alone else [(start, stop)]
