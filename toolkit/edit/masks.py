"""Where the attribute is along a track, found by the maskers of the removers' tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from toolkit.edit.removers import mask_task
from toolkit.edit.tracks.track import FaceTrack
from toolkit.errors import ContractError
from toolkit.registry import bare_name
from toolkit.task import AttributeTask, FaceClip, Masker, MaskFunction, as_masker

LENGTH, MARGIN = 32, 8
"""Frames that a masker returns masks for at a time, and frames around them that it sees so that masks are steady."""


class TaskMaskers:
    """The maskers of a remover's tasks, built at their first use.

    Args:
        names: names of the tasks, or ``distribution:name``.
        options: options of all tasks, by name without distribution.

    Raises:
        InputError: a task is not installed or broken.
        UsageError: a task does not have one of the options.
    """

    def __init__(self, names: Sequence[str], options: Mapping[str, Mapping[str, Any]]):
        self.tasks = [mask_task(name, options.get(bare_name(name))) for name in names]
        self._maskers: list[Masker] = []

    def __call__(self, clip: FaceClip) -> np.ndarray:
        """bool ``[T, H, W]``: where any of the tasks' attributes is or may be.

        Raises:
            ContractError: a masker returned something else than masks.
        """
        return _joined(clip, [(task.name, masker) for task, masker in self._built()])

    def opaque(self, clip: FaceClip) -> np.ndarray:
        """bool ``[T, H, W]``: opaque parts of the attributes, as far as the maskers find them.

        Raises:
            ContractError: a masker returned something else than masks.
        """
        return _joined(clip, [(task.name, masker.opaque) for task, masker in self._built()])

    def hides_eyes(self, clip: FaceClip) -> np.ndarray:
        """bool ``[T]``: frames in which any of the attributes hides the eyes.

        Raises:
            ContractError: a masker returned something else than one value for each frame.
        """
        hidden = np.zeros(len(clip), bool)
        for task, masker in self._built():
            found = np.asarray(masker.hides_eyes(clip))
            if found.shape != hidden.shape:
                raise ContractError(
                    f"hides_eyes of the task {task.name} must return {list(hidden.shape)}, found {list(found.shape)}"
                )
            hidden |= found.astype(bool)
        return hidden

    def _built(self) -> Iterator[tuple[AttributeTask, Masker]]:
        if not self._maskers:
            self._maskers = [as_masker(task.masker()) for task in self.tasks]
        return zip(self.tasks, self._maskers)


def _joined(clip: FaceClip, maskers: Sequence[tuple[str, MaskFunction]]) -> np.ndarray:
    masks = np.zeros(clip.frames.shape[:3], bool)
    for name, masker in maskers:
        found = np.asarray(masker(clip))
        if found.shape != masks.shape:
            raise ContractError(
                f"the masker of the task {name} must return masks {list(masks.shape)}, found {list(found.shape)}"
            )
        masks |= found >= 0.5 if found.dtype != bool else found
    return masks


class MaskBlock(NamedTuple):
    """Masks of consecutive frames of a track.

    Attributes:
        start: the first frame.
        masks: bool ``[K, R, R]``.
        opaque: bool ``[K, R, R]``, opaque parts.
        hidden: bool ``[K]``, frames in which the attribute hides the eyes.
    """

    start: int
    masks: np.ndarray
    opaque: np.ndarray
    hidden: np.ndarray


@dataclass(frozen=True, eq=False)
class MaskClip:
    """Frames that masks are found for together, with their neighbours; everything but the pictures. Can be pickled.

    Attributes:
        start, stop: first frame of the track that masks are found for, and the one after the last.
        low, high: the same of the frames that maskers see.
        clip: the arguments of the `FaceClip`, besides its frames.
    """

    start: int
    stop: int
    low: int
    high: int
    clip: Mapping[str, Any]


def mask_clips(track: FaceTrack) -> Iterator[MaskClip]:
    """The blocks of a track that masks are found for, in order."""
    for start in range(0, len(track), LENGTH):
        stop = min(start + LENGTH, len(track))
        low, high = max(0, start - MARGIN), min(len(track), stop + MARGIN)
        clip = {
            "landmarks": track.landmarks(low, high),
            "topology": track.topology,
            "times": track.times[low:high],
            "start_frame": track.start + low,
            "box": track.squares.box(0).astype(np.float32),
            "source": track.source.path.name,
            "source_digest": track.source.digest,
        }
        yield MaskClip(start, stop, low, high, clip)


def mask_block(maskers: TaskMaskers, block: MaskClip, pictures: np.ndarray) -> MaskBlock:
    """The masks of a block.

    Args:
        maskers: of the tasks.
        block: the frames.
        pictures: their crops, uint8 ``[high - low, R, R, 3]``.

    Raises:
        ContractError: a masker returned something else than masks.
    """
    pictures.flags.writeable = False
    clip = FaceClip(frames=pictures, **block.clip)
    inner = slice(block.start - block.low, block.stop - block.low)
    return MaskBlock(block.start, maskers(clip)[inner], maskers.opaque(clip)[inner], maskers.hides_eyes(clip)[inner])


def mask_blocks(maskers: TaskMaskers, track: FaceTrack, crops: Callable[[int, int], np.ndarray]) -> Iterator[MaskBlock]:
    """Masks along a track, block by block, so that memory does not grow with its length.

    Args:
        maskers: of the tasks.
        track: of the face.
        crops: function of a first frame of the track and the one after the last that returns their crops, uint8
            ``[K, R, R, 3]``.
    """
    for block in mask_clips(track):
        yield mask_block(maskers, block, crops(block.low, block.high))
