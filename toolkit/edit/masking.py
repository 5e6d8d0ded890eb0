"""Where the attribute is, by the maskers of the removers' tasks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from toolkit.edit.config import EditConfig
from toolkit.edit.removers import EditRemover
from toolkit.errors import ContractError, InputError, ToolkitError, UsageError
from toolkit.faces.topology import Topology
from toolkit.registry import load_task
from toolkit.task import AttributeTask, FaceClip, Masker, MaskFunction, as_masker
from toolkit.validation import did_you_mean

LENGTH, MARGIN = 32, 8
"""Frames that a masker is asked about at a time, and frames around them that it sees so as to be steady."""


class TaskMaskers:
    """The maskers of a remover's tasks, built at their first use.

    Args:
        names: of the tasks.
        options: of all tasks, by name.

    Raises:
        ToolkitError: a task is not installed or broken, or does not know an option.
    """

    def __init__(self, names: Sequence[str], options: Mapping[str, Mapping[str, Any]]):
        self.tasks: list[AttributeTask] = [_task(name, options.get(name)) for name in names]
        self._maskers: list[Masker] = []

    @property
    def exact(self) -> bool:
        """Whether all of them find the attribute itself."""
        return all(task.exact_mask for task in self.tasks)

    def __call__(self, clip: FaceClip) -> np.ndarray:
        """bool ``[T, H, W]``: where any of the tasks' attributes is or may be.

        Raises:
            ContractError: a masker gave something else than masks.
        """
        return self._joined(clip, [(task.name, masker) for task, masker in self._built()])

    def opaque(self, clip: FaceClip) -> np.ndarray:
        """bool ``[T, H, W]``: parts of them that nothing behind them shows through, as far as the maskers know them.

        Raises:
            ContractError: a masker gave something else than masks.
        """
        return self._joined(clip, [(task.name, masker.opaque) for task, masker in self._built()])

    def _built(self) -> Iterator[tuple[AttributeTask, Masker]]:
        if not self._maskers:
            self._maskers = [as_masker(task.masker()) for task in self.tasks]
        return zip(self.tasks, self._maskers)

    def _joined(self, clip: FaceClip, maskers: Sequence[tuple[str, MaskFunction]]) -> np.ndarray:
        masks = np.zeros(clip.frames.shape[:3], bool)
        for name, masker in maskers:
            found = np.asarray(masker(clip))
            if found.shape != masks.shape:
                raise ContractError(
                    f"the masker of the task {name} must give masks {list(masks.shape)}, found {list(found.shape)}"
                )
            masks |= found >= 0.5 if found.dtype != bool else found
        return masks


def make_maskers(config: EditConfig, removers: Sequence[EditRemover]) -> list[TaskMaskers] | None:
    """The maskers of each remover; None where no masks are needed.

    Raises:
        ToolkitError: as for `TaskMaskers`.
        UsageError: an option is given for a task that no remover has.
    """
    known = {task for remover in removers for task in remover.tasks}
    for name in config.options:
        if name not in known:
            raise UsageError(
                f"options are given for the task {name!r}, and the removers' are {', '.join(sorted(known))}"
                f"{did_you_mean(name, known)}"
            )
    if not config.masking.needed and all(remover.hint == "frame" for remover in removers):
        return None
    return [TaskMaskers(remover.tasks, config.options) for remover in removers]


def _task(name: str, options: Mapping[str, Any] | None) -> AttributeTask:
    try:
        load_task(name)
    except ToolkitError as error:
        raise InputError(
            f"the task {name!r} of the remover is needed to find masks, and cannot be used: {error}; or edit without "
            "masks: --masks off --normalisation none --composite crop"
        ) from error
    return load_task(name, options)


def mask_blocks(
    maskers: TaskMaskers,
    count: int,
    frames: Any,
    landmarks: Any,
    topology: Topology,
    times: np.ndarray,
    box: np.ndarray,
    source: tuple[str, str],
    start_frame: int,
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Masks of a run, block by block, so that memory does not grow with it.

    Args:
        count: frames of the run.
        frames, landmarks: functions of a first frame and the one after the last, which give crops uint8
            ``[K, R, R, 3]`` and landmarks float32 ``[K, N, 3]`` in their pixels.
        times: ``[count]`` seconds.
        box: ``[4]``, of the first crop in pixels of the video.
        source: name and digest of the video.
        start_frame: of the run in the video.

    Yields:
        A first frame, and bool ``[K, R, R]`` twice: masks, and opaque parts.
    """
    for start in range(0, count, LENGTH):
        stop = min(start + LENGTH, count)
        low, high = max(0, start - MARGIN), min(count, stop + MARGIN)
        pictures = frames(low, high)
        pictures.flags.writeable = False
        clip = FaceClip(
            frames=pictures,
            landmarks=landmarks(low, high),
            topology=topology,
            times=times[low:high],
            start_frame=start_frame + low,
            box=box.astype(np.float32),
            source=source[0],
            source_digest=source[1],
        )
        inner = slice(start - low, stop - low)
        yield start, maskers(clip)[inner], maskers.opaque(clip)[inner]
