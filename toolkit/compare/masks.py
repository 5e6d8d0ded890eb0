"""Masks of whole frames, for methods that know nothing about faces."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from toolkit.edit.alpha import soft
from toolkit.edit.config import RegionConfig
from toolkit.edit.crops import CROPPED, Cropper
from toolkit.edit.editing import input_of, squares_of
from toolkit.edit.faces import find_faces, groups_of, runs_of
from toolkit.edit.masking import TaskMaskers, mask_blocks
from toolkit.edit.removal import RunStores
from toolkit.errors import InputError
from toolkit.evaluate.measuring import DIFFERS, TARGET
from toolkit.evaluate.reading import InStep
from toolkit.faces.types import FaceAnalyser

SIDE = 512
"""px; side of the crops on which masks are found, as in the paper."""

_MASKED = "masked"


class FrameMasks:
    """The task's masks of all faces that an edit would change, in the coordinates of the frames.

    Masks are found once and stored, so iterating again is cheap.

    Args:
        source: the video.
        digest: its SHA-256.
        maskers: of the task.
        analyser: finds the faces.
        region: which faces count, and how much of the frame is cropped around them.
        dilation: how far masks are widened, as a share of the crop's side.
        folder: for the stored masks, 0.3 MB for each frame and face.

    Raises:
        InputError: the video cannot be decoded.
    """

    def __init__(
        self,
        source: Path,
        digest: str,
        maskers: TaskMaskers,
        analyser: FaceAnalyser,
        region: RegionConfig,
        dilation: float,
        folder: Path,
    ):
        self._source, self._region, self._dilation, self._folder = source, region, dilation, folder
        folder.mkdir(parents=True, exist_ok=True)
        self._sightings = find_faces(source, analyser, region, folder)
        self._runs = runs_of(self._sightings)
        self._squares = {run.number: squares_of(run, self._sightings, region.padding) for run in self._runs}
        cropper = Cropper(source, SIDE)
        for group in groups_of(self._runs):
            pending = [run for run in group if not (self._of(run.number) / _MASKED).exists()]
            if not pending:
                continue
            folders = {run.number: self._of(run.number) for run in pending}
            for run in pending:
                folders[run.number].mkdir(exist_ok=True)
            cropper.cut(pending, self._squares, folders)
            for run in pending:
                self._find(run, (source.name, digest), maskers, analyser)

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield bool ``[H, W]`` for each frame of the video."""
        import cv2

        height, width = self._sightings.size
        stores = {run.number: RunStores(self._of(run.number), SIDE) for run in self._runs}
        for index in range(len(self._sightings.times)):
            whole = np.zeros((height, width), bool)
            for run in self._runs:
                if not run.start <= index < run.stop:
                    continue
                mask = stores[run.number].read("mask", index - run.start, index - run.start + 1, 1)[0] > 0
                if mask.any():
                    weights = soft(mask, self._dilation * SIDE, 0)
                    to_crop = self._squares[run.number].to_crop(index - run.start, SIDE)
                    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
                    whole |= cv2.warpAffine(weights, to_crop, (width, height), flags=flags) >= 0.5
            yield whole
        for store in stores.values():
            store.close()

    def _of(self, number: int) -> Path:
        return self._folder / f"run-{number}"

    def _find(self, run, source: tuple[str, str], maskers: TaskMaskers, analyser: FaceAnalyser) -> None:
        folder = self._of(run.number)
        given = input_of(run, self._squares[run.number], self._sightings, folder, SIDE, analyser.topology, source)
        stores = RunStores(folder, SIDE)
        blocks = mask_blocks(
            maskers,
            given.count,
            lambda start, stop: stores.read("crops", start, stop),
            given.landmarks,
            given.topology,
            given.times,
            given.box,
            given.source,
            given.start,
        )
        for start, masks, _ in blocks:
            stores.write("mask", start, masks.astype(np.uint8), 1)
        stores.close()
        for name in ("crops", CROPPED):
            (folder / name).unlink()
        (folder / _MASKED).touch()


class TargetMasks:
    """The region where a video and its target differ: the attribute itself.

    Args:
        source, target: videos with the same number and size of frames.
    """

    def __init__(self, source: Path, target: Path):
        self._source, self._target = source, target

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield bool ``[H, W]`` for each frame.

        Raises:
            InputError: one of the videos cannot be decoded, or their frames differ in number or size.
        """
        stream = InStep(self._source, {TARGET: self._target}, 1)
        for chunk in stream:
            if TARGET in chunk.others:
                difference = np.abs(chunk.original[0].astype(np.int16) - chunk.others[TARGET][0]).max(axis=2)
                yield difference > DIFFERS
        if stream.problems:
            raise InputError(stream.problems[TARGET])
