"""One part of a track through a remover, once or twice, and what it changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import torch
from pydantic import BaseModel

from toolkit.diffusion.checks import OutOfMemory, is_out_of_memory
from toolkit.diffusion.chunks import CHUNK, Chunk
from toolkit.diffusion.edit_settings import EditSettings
from toolkit.edit.removal.changes import changed_parts, removed_parts
from toolkit.edit.removal.paint import PAINTED, changed_lids, shows_paint
from toolkit.edit.removal.parts import Advance, Part
from toolkit.edit.removal.region import Box, Region, box_of, joined, regions_around, whole
from toolkit.edit.removal.stores import Pictures, TrackStores
from toolkit.edit.resolved import OWN_FRAME, ResolvedEdit
from toolkit.edit.session import Session
from toolkit.errors import ToolkitError
from toolkit.faces.topology import Topology
from toolkit.files import remove
from toolkit.filling import continued, filled
from toolkit.seeds import generator


@dataclass(frozen=True, eq=False)
class DenoisePart(Part):
    """Frames that a remover edits: a whole stretch, or any part of it if each frame is edited alone.

    Attributes:
        key: what the noise is drawn from.
        alone: whether each frame is edited alone.
        regions: what the remover sees, for each group of `CHUNK` frames if they are edited alone, else for all.
        unit: of the sides of regions, in pixels.
        landmarks: float32 ``[K, N, 3]`` in pixels of the crops, to tell face paint; None if that is not asked.
        topology: of the landmarks.
    """

    key: tuple[str | int, ...]
    alone: bool
    regions: tuple[Region, ...]
    unit: int
    landmarks: np.ndarray | None
    topology: Topology

    @property
    def single(self) -> bool:
        return not self.alone


class Denoised(BaseModel):
    """What the remover did.

    Attributes:
        start: the first frame.
        stop: the frame after the last.
        votes: for each frame, whether the remover took face paint for the attribute; empty if that was not asked.
    """

    start: int
    stop: int
    votes: list[bool]


class Networks(NamedTuple):
    """What decides how a track can be cut.

    Attributes:
        alone: whether the remover edits each frame without looking at others.
        unit: number of pixels of which the sides of its pictures are multiples.
    """

    alone: bool
    unit: int


def examine(session: Session, part: Part, advance: Advance) -> Networks:
    """Load the remover of a part, and tell how its track can be cut."""
    pipeline = session.pipelines.with_remover(part.index)
    levels = len(pipeline.unet.config.block_out_channels)
    return Networks(
        alone=pipeline.independent(edit_settings(session.resolved, part.index)),
        unit=pipeline.vae_scale_factor * 2 ** (levels - 1),
    )


def denoise(session: Session, part: DenoisePart, advance: Advance) -> Denoised:
    """Store the remover's output for a part, and where it changed the pictures.

    Raises:
        ToolkitError: a model returned NaN, or memory is full.
    """
    with _memory_errors(session.resolved.compute.device), part.opened() as stores:
        return _Denoising(session, part, stores, advance).run()


def remove_remains(part: Part) -> None:
    """Delete what an interrupted run would need to go on within a part that is done."""
    for name in _folders(part):
        remove(part.folder / name)


def edit_settings(resolved: ResolvedEdit, index: int, share: float = 1.0) -> EditSettings:
    """The pipeline's settings for a remover.

    Args:
        resolved: all settings.
        index: of the remover.
        share: larger side of what the remover sees, as a share of the crop's.
    """
    remover, denoising = resolved.removers[index], resolved.denoising
    motion, masking = resolved.motion, resolved.masking
    return EditSettings(
        prompt=remover.prompt,
        negative_prompt=remover.negative_prompt,
        num_inference_steps=denoising.num_inference_steps,
        strength=denoising.strength,
        guidance_scale=denoising.guidance_scale,
        controlnet_conditioning_scale=denoising.controlnet_conditioning_scale,
        context_length=motion.context_length,
        context_overlap=motion.context_overlap,
        shared_noise=motion.shared_noise,
        reference_frames=None if motion.reference_frames == OWN_FRAME else motion.reference_frames,
        blend_masks=masking.blend_original,
        blend_range=masking.blend_range,
        blend_width=masking.blend_width / share,
        blend_source=masking.blend_source,
        normalisation=remover.normalisation,
    )


def _folders(part: Part) -> tuple[str, str]:
    """Names of the folders of both passes."""
    name = f"denoising-{part.index}-{part.start}"
    return name, f"{name}-again"


MEMORY_ADVICE = {
    "vae": "choose --dtype float16, free memory, or choose another --device",
    "networks": "lower --context-length, or choose --dtype float16",
}
"""What helps where memory is full, by stage."""


@contextmanager
def _memory_errors(device: str) -> Iterator[None]:
    try:
        yield
    except OutOfMemory as error:
        advice = MEMORY_ADVICE[error.stage]
        raise ToolkitError(f"there is not enough free memory on {device} to {error.work}: {advice}") from error
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise ToolkitError(f"the memory of {device} is full: free some, or choose another --device") from error


class _Denoising:
    """The passes over a part."""

    def __init__(self, session: Session, part: DenoisePart, stores: TrackStores, advance: Advance):
        self._session, self._part, self._stores, self._advance = session, part, stores, advance
        self._index, self._resolved = part.index, session.resolved
        self._remover = session.resolved.removers[part.index]

    def run(self) -> Denoised:
        """Run the first pass over all frames, and the second one: with search areas, if the first removed anything."""
        part, masking, (first, again) = self._part, self._resolved.masking, _folders(self._part)
        frames = list(range(part.start, part.stop))
        groups = self._groups(frames)
        around = [(group, part.regions[number]) for number, group in groups.items()]
        self._pass(around, first, again=False)
        if self._averages:
            # Where nothing is opaque, the second look would be the first one.
            self._pass([(group, region) for group, region in around if self._hides(group)], again, again=True)
        elif self._remover.second_pass:
            coded = self._coded(frames, masking.min_peak_change > 0)
            boxes = {k: self._find_removed(k, reference) for k, reference in zip(frames, coded)}
            if any(boxes.values()):
                # A frame in which nothing was removed would look the same again, and so would the output.
                groups = self._groups([k for k in frames if boxes[k]] if part.alone else frames)
                around = [(group, self._region_of([boxes[k] for k in group])) for group in groups.values()]
                self._pass(around, again, again=True)
        coded = self._coded(frames, masking.min_change > 0 or part.landmarks is not None)
        votes = [vote for k, reference in zip(frames, coded) for vote in self._find_changes(k, reference)]
        return Denoised(start=part.start, stop=part.stop, votes=votes)

    @property
    def _averages(self) -> bool:
        """Whether the output is the mean of two looks: one at the attribute, one at the fill in its place."""
        return self._remover.second_pass and self._remover.exact_masks

    def _hides(self, frames: list[int]) -> bool:
        """Whether anything is opaque in a group of frames."""
        return any(self._stores.opaque(self._index).read(k, k + 1).any() for k in frames)

    def _groups(self, frames: list[int]) -> dict[int, list[int]]:
        """Frames that go through the networks together, so that no picture depends on where parts end."""
        groups: dict[int, list[int]] = {}
        for k in frames:
            groups.setdefault((k - self._part.start) // CHUNK if self._part.alone else 0, []).append(k)
        return groups

    def _region_of(self, boxes: list[Box | None]) -> Region:
        """What the second pass sees: the surroundings of what the first one changed, or everything."""
        side = self._remover.resolution
        if self._remover.region == "crop":
            return whole(side)
        return regions_around([joined(boxes)], self._stores.side, side, self._part.unit)[0]

    def _pass(self, groups: list[tuple[list[int], Region]], name: str, again: bool) -> None:
        """Store the output for groups of frames."""
        options: dict[str, Any] = {}
        if not self._part.alone:
            folder = self._stores.folder / name
            folder.mkdir(exist_ok=True)
            options = {"folder": folder, "resume": True}
        seed = int(generator(self._resolved.seed, *self._part.key).integers(2**63))
        for share, alike in groupby(groups, lambda group: group[1].share):
            several = list(alike)
            outputs = self._session.pipelines.with_remover(self._index).stream(
                (
                    self._chunk(frames[first : first + CHUNK], region, again)
                    for frames, region in several
                    for first in range(0, len(frames), CHUNK)
                ),
                settings=edit_settings(self._resolved, self._index, share),
                generator=torch.Generator().manual_seed(seed),
                on_windows=self._advance,
                **options,
            )
            waiting = ((k, region) for frames, region in several for k in frames)
            for pictures in outputs:
                for picture, (k, region) in zip(pictures, waiting):
                    self._store(k, picture, region, again)

    def _store(self, k: int, picture: np.ndarray, region: Region, again: bool) -> None:
        """Store the output for a frame; outside the region it is the input."""
        stores, made = self._stores, picture[None]
        if not region.whole:
            original = self._input(k)
            made = _resized(region.within(_resized(original, region.side), made), stores.side)
            seen = region.scaled(stores.side)
            made = seen.within(original, seen.of(made))
        made = _resized(made, stores.side)
        if self._averages:
            if not again:
                stores.output(self._index).write(k, made)
                return
            made = ((self._output(k)[None].astype(np.uint16) + made + 1) // 2).astype(np.uint8)
        stores.output(self._index).write(k, self._continued(k, made))

    def _continued(self, k: int, made: np.ndarray) -> np.ndarray:
        """The output, uint8 ``[1, R, R, 3]``, without a step in colour where all of the attribute is opaque."""
        if not (self._remover.fill_opaque and self._remover.exact_masks):
            return made
        opaque, masks = (kind(self._index).read(k, k + 1)[0] > 0 for kind in (self._stores.opaque, self._stores.masks))
        if (masks & ~opaque).any():  # what is around the opaque parts is edited too, and tells no colours
            return made
        return continued(self._input(k)[0], made[0], opaque)[None]

    def _chunk(self, frames: list[int], region: Region, again: bool) -> Chunk:
        """Frames for the pipeline; in what the remover sees, parts that it must not see are filled from around them."""
        side, stores = self._remover.resolution, self._stores
        hidden = [stores.removed(self._index)] if again and not self._averages else []
        if self._remover.fill_opaque and (again or not self._averages):
            hidden.append(stores.opaque(self._index))

        def masks_of(pictures: Pictures) -> np.ndarray:
            return _shrunk(np.concatenate([pictures.read(k, k + 1) for k in frames]), side)

        pictures = _resized(np.concatenate([self._input(k) for k in frames]), side)
        masks = masks_of(stores.masks(self._index)) if self._resolved.masking.finds_masks else None
        hints = filled(pictures, np.logical_or.reduce([masks_of(one) for one in hidden])) if hidden else None
        return Chunk(pictures, masks, hints).mapped(region.of)

    def _input(self, k: int) -> np.ndarray:
        """A crop after the removers before this one, uint8 ``[1, R, R, 3]``."""
        return self._stores.composited(self._index, k, k + 1)

    def _output(self, k: int) -> np.ndarray:
        return self._stores.output(self._index).read(k, k + 1)[0]

    def _coded(self, frames: list[int], asked: bool) -> Iterator[np.ndarray]:
        """What the output is compared with, uint8 ``[R, R, 3]`` for each frame: the input, or what a lossy VAE makes of
        it, which is no change.

        Args:
            asked: whether anything is compared at all.
        """
        side, pipeline = self._remover.resolution, self._session.pipelines.with_remover(self._index)
        for first in range(0, len(frames), CHUNK):
            group = frames[first : first + CHUNK]
            pictures = np.concatenate([self._input(k) for k in group])
            if asked and not pipeline.lossless:
                coded = _resized(pipeline.coded(_resized(pictures, side)), self._stores.side)
                outputs = np.stack([self._output(k) for k in group])
                # What no network saw, around a region, was not coded either.
                pictures = np.where((outputs == pictures).all(axis=-1, keepdims=True), pictures, coded)
            yield from pictures

    def _find_removed(self, k: int, original: np.ndarray) -> Box | None:
        """Store what the first pass removed from a frame; its edges, or None if it removed nothing."""
        parts = removed_parts(original, self._output(k), self._resolved.masking.min_peak_change)
        self._stores.removed(self._index).write(k, parts.astype(np.uint8)[None])
        return box_of(parts[None])

    def _find_changes(self, k: int, original: np.ndarray) -> list[bool]:
        """Store what was changed in a frame, and vote on whether that is face paint, if that is asked."""
        masking, part, output = self._resolved.masking, self._part, self._output(k)
        peak = masking.min_peak_change if masking.finds_masks and not self._remover.exact_masks else 0.0
        changed = changed_parts(original, output, masking.min_change, peak)
        self._stores.changed(self._index).write(k, changed.astype(np.uint8)[None])
        if part.landmarks is None:
            return []
        landmarks = part.landmarks[k - part.start]
        eyes = part.topology.regions["left_eye"], part.topology.regions["right_eye"]
        masks = self._stores.masks(self._index).read(k, k + 1)[0] > 0
        if self._remover.exact_masks:
            return [changed_lids(masks, landmarks, eyes) > PAINTED]
        if peak != masking.min_peak_change:
            changed = changed_parts(original, output, masking.min_change, masking.min_peak_change)
        return [shows_paint(changed, masks, landmarks, eyes)]


def _resized(frames: np.ndarray, side: int) -> np.ndarray:
    import cv2

    if frames.shape[1] == side:
        return frames
    method = cv2.INTER_AREA if side < frames.shape[1] else cv2.INTER_CUBIC
    return np.stack([cv2.resize(frame, (side, side), interpolation=method) for frame in frames])


def _shrunk(masks: np.ndarray, side: int) -> np.ndarray:
    """bool ``[K, side, side]``: a pixel is masked if any of the pixels that it stands for is."""
    import cv2

    if masks.shape[1] == side:
        return masks > 0
    sized = [cv2.resize(mask * 255, (side, side), interpolation=cv2.INTER_AREA) for mask in masks]
    return np.stack(sized) > 0
