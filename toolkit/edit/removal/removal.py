"""Applies the removers to a track, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch

from toolkit.diffusion.edit_pipeline import CHUNK
from toolkit.diffusion.edit_settings import EditSettings
from toolkit.edit.masks import mask_blocks
from toolkit.edit.removal.changes import changed_parts, removed_parts
from toolkit.edit.removal.paint import shows_paint
from toolkit.edit.removal.paste_weights import composite_over, paste_weights
from toolkit.edit.removal.stores import TrackStores
from toolkit.edit.removal.stretches import active_stretches, mostly_hidden
from toolkit.edit.resolved import OWN_FRAME
from toolkit.edit.results import RemoverFindings
from toolkit.edit.session import Session
from toolkit.edit.tracks.track import FaceTrack
from toolkit.errors import ToolkitError
from toolkit.files import remove
from toolkit.filling import filled
from toolkit.seeds import generator


def remove_attributes(
    session: Session, track: FaceTrack, stores: TrackStores, on_windows: Callable[[int], object]
) -> None:
    """Apply all removers to a track whose crops are stored; removers that an interrupted run applied are skipped.

    Afterwards the colours and paste weights of the last remover hold the edit, and the masks of all are stored.

    Args:
        session: models and settings.
        track: the face.
        stores: its pictures.
        on_windows: called with the number of windows that were denoised since the last call.

    Raises:
        ToolkitError: a model returned NaN, memory or the disk is full, or a masker breaks its contract.
    """
    try:
        for index in range(stores.finished, len(session.resolved.removers)):
            _Application(session, index, track, stores, on_windows).run()
            stores.finish(index)
            # Not before: the next run would resume in what is left of a folder.
            for folder in stores.folder.glob(f"denoising-{index}-*"):
                remove(folder)
    except torch.OutOfMemoryError as error:
        raise _out_of_memory(session) from error
    except RuntimeError as error:
        if "can't allocate memory" not in str(error) and "not enough memory" not in str(error):
            raise
        raise _out_of_memory(session) from error
    finally:
        stores.close()


def _out_of_memory(session: Session) -> ToolkitError:
    resolved = session.resolved
    return ToolkitError(
        f"a window of {resolved.motion.context_length} frames of {resolved.resolution} pixels does not fit in the free "
        f"memory of {resolved.compute.device}: lower --context-length, or choose --dtype float16"
    )


class _Application:
    """One remover on one track."""

    def __init__(
        self,
        session: Session,
        index: int,
        track: FaceTrack,
        stores: TrackStores,
        on_windows: Callable[[int], object],
    ):
        self._session, self._index, self._track, self._stores = session, index, track, stores
        self._on_windows = on_windows
        self._resolved, self._remover = session.resolved, session.resolved.removers[index]

    def run(self) -> None:
        """Edit the stretches that show the attribute, with a window of frames around them."""
        shown = self._track.turns <= self._resolved.crop.max_turn
        masked, hidden = self._find_masks()
        stretches = active_stretches(masked & shown, self._resolved.motion.context_length)
        findings = RemoverFindings(hidden=hidden.tolist())
        if self._resolved.crop.hidden_eyes == "keep" and mostly_hidden(hidden, masked & shown):
            findings, stretches = findings.model_copy(update={"kept": "eyes hidden"}), []
        self._stores.write_findings(self._index, findings)
        if not stretches:
            self._pass_through()
            return
        for start, stop in self._chunks(0, len(self._track)):
            self._stores.output(self._index).write(start, self._input(start, stop))
        for number, stretch in enumerate(stretches):
            name = f"denoising-{self._index}-{number}"
            self._denoise(stretch, name, second_pass=False)
            if self._remover.second_pass and self._find_removed(stretch):
                self._denoise(stretch, f"{name}-again", second_pass=True)
        if self._is_painted(stretches):
            kept = "face paint" if self._resolved.crop.face_paint == "keep" else None
            self._stores.write_findings(self._index, findings.model_copy(update={"painted": True, "kept": kept}))
            if kept:
                self._pass_through()
                return
        self._weigh(shown)

    def _input(self, start: int, stop: int) -> np.ndarray:
        """The crops after the removers before this one, uint8 ``[K, R, R, 3]``."""
        return self._stores.composited(self._index, start, stop)

    @staticmethod
    def _chunks(start: int, stop: int) -> Iterator[tuple[int, int]]:
        for first in range(start, stop, CHUNK):
            yield first, min(first + CHUNK, stop)

    def _find_masks(self) -> tuple[np.ndarray, np.ndarray]:
        """Store the masks; bool ``[T]`` twice: frames in which there is a mask, and in which it hides the eyes."""
        masked, hidden = np.zeros((2, len(self._track)), bool)
        if self._session.maskers is None:
            return ~masked, hidden
        for block in mask_blocks(self._session.maskers[self._index], self._track, self._input):
            frames = slice(block.start, block.start + len(block.masks))
            masked[frames] = block.masks.any(axis=(1, 2))
            hidden[frames] = block.hidden & masked[frames]
            self._stores.masks(self._index).write(block.start, block.masks.astype(np.uint8))
            self._stores.opaque(self._index).write(block.start, block.opaque.astype(np.uint8))
        return masked, hidden

    def _find_removed(self, stretch: tuple[int, int]) -> bool:
        """Store what the first pass removed; whether it removed anything."""
        found = False
        for k in range(*stretch):
            original, output = self._input(k, k + 1)[0], self._stores.output(self._index).read(k, k + 1)[0]
            parts = removed_parts(original, output, self._resolved.masking.min_peak_change)
            self._stores.removed(self._index).write(k, parts.astype(np.uint8)[None])
            found |= bool(parts.any())
        return found

    def _is_painted(self, stretches: list[tuple[int, int]]) -> bool:
        """Whether the remover took face paint for the attribute, in most frames of the stretches.

        Nothing is told if the edit also removes an attribute that may lie on the eyes, such as glasses: it would be
        taken for paint.
        """
        if not all(remover.spares_eyes for remover in self._resolved.removers):
            return False
        masking, regions = self._resolved.masking, self._track.topology.regions
        eyes, votes = (regions["left_eye"], regions["right_eye"]), []
        for k in (k for stretch in stretches for k in range(*stretch)):
            original, output = self._input(k, k + 1)[0], self._stores.output(self._index).read(k, k + 1)[0]
            changed = changed_parts(original, output, masking.min_change, masking.min_peak_change)
            area = self._read_masks(k, k + 1)[0]
            votes.append(shows_paint(changed, area, self._track.landmarks(k, k + 1)[0], eyes))
        return 2 * sum(votes) > len(votes)

    def _denoise(self, stretch: tuple[int, int], name: str, second_pass: bool) -> None:
        """Write the remover's output for a stretch."""
        folder = self._stores.folder / name
        folder.mkdir(exist_ok=True)
        resolved, track = self._resolved, self._track
        denoising, motion, masking = resolved.denoising, resolved.motion, resolved.masking
        key = ("edit", track.source.digest, track.seed_name, stretch[0], self._index)
        seed = int(generator(resolved.seed, *key).integers(2**63))
        outputs = self._session.pipelines.with_remover(self._index).stream(
            self._hints(stretch, second_pass),
            settings=EditSettings(
                prompt=self._remover.prompt,
                negative_prompt=self._remover.negative_prompt,
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
                blend_width=masking.blend_width,
                normalisation=self._remover.normalisation,
            ),
            generator=torch.Generator().manual_seed(seed),
            folder=folder,
            resume=True,
            on_windows=self._on_windows,
        )
        start = stretch[0]
        for pictures in outputs:
            self._stores.output(self._index).write(start, _resized(pictures, self._stores.side))
            start += len(pictures)

    def _hints(self, stretch: tuple[int, int], second_pass: bool) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        """Frames and masks for the pipeline; parts that the remover must not see are filled from around them."""
        side, stores = self._remover.resolution, self._stores
        hidden = [stores.removed(self._index)] if second_pass else []
        if self._remover.fill_opaque:
            hidden.append(stores.opaque(self._index))
        for start, stop in self._chunks(*stretch):
            frames = _resized(self._input(start, stop), side)
            masks = None
            if self._session.maskers is not None:
                masks = _shrunk(stores.masks(self._index).read(start, stop), side)
            if hidden:
                frames = filled(frames, np.logical_or.reduce([_shrunk(p.read(start, stop), side) for p in hidden]))
            yield frames, masks

    def _weigh(self, shown: np.ndarray) -> None:
        """Decide how much of the output is pasted, and composite it over the removers before.

        Args:
            shown: bool ``[T]``: frames in which the head is turned to the camera.
        """
        stores, index, masks, peak = self._stores, self._index, None, 0.0
        if self._session.maskers is not None:
            peak = 0.0 if self._remover.exact_masks else self._resolved.masking.min_peak_change
            masks = self._read_masks
        weights = paste_weights(
            len(self._track), self._input, stores.output(index).read, masks, stores.side, self._resolved.masking, peak
        )
        for k, weight in enumerate(weights):
            colours = stores.output(index).read(k, k + 1)[0].astype(np.float32)
            weight = weight * shown[k]
            if index:
                below, below_weights = stores.edit(index - 1, k, k + 1)
                colours, weight = composite_over(below[0], below_weights[0], colours, weight)
            stores.new_colours(index).write(k, np.rint(colours).astype(np.uint8)[None])
            stores.new_paste_weights(index).write(k, np.rint(255 * weight).astype(np.uint8)[None])

    def _read_masks(self, start: int, stop: int) -> np.ndarray:
        return self._stores.masks(self._index).read(start, stop) > 0

    def _pass_through(self) -> None:
        """Keep the edit of the removers before: the track does not show the attribute."""
        stores, index = self._stores, self._index
        for start, stop in self._chunks(0, len(self._track)):
            if index:
                colours = stores.colours(index - 1).read(start, stop)
                weights = stores.paste_weights(index - 1).read(start, stop)
            else:
                colours = stores.crops.read(start, stop)
                weights = np.zeros(colours.shape[:3], np.uint8)
            stores.new_colours(index).write(start, colours)
            stores.new_paste_weights(index).write(start, weights)


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
