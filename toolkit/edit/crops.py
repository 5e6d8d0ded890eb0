"""The second pass over a video: faces are cut out and laid on disk, group by group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from toolkit.edit.composite import cut
from toolkit.edit.faces import FaceRun
from toolkit.edit.regions import Squares
from toolkit.edit.removal import RunStores
from toolkit.video.types import Frame

CROPPED = "cropped"
"""File in a run's folder that says that all its crops are there."""


class Cropper:
    """Walks once through a video and cuts out groups of runs in order.

    Args:
        path: the video.
        side: of the crops in pixels.
    """

    def __init__(self, path: Path, side: int):
        self._path, self._side = path, side
        self._frames: Iterator[Frame] | None = None

    def cut(self, runs: Sequence[FaceRun], squares: dict[int, Squares], folders: dict[int, Path]) -> None:
        """Fill the `crops` of runs that share frames; squares and folders by the runs' numbers.

        Raises:
            InputError: the video cannot be decoded.
            OSError: the disk is full.
        """
        from toolkit.video import read_frames

        start, stop = min(run.start for run in runs), max(run.stop for run in runs)
        if self._frames is None:
            self._frames = read_frames(self._path, start)
        stores = {run.number: RunStores(folders[run.number], self._side) for run in runs}
        for frame in self._frames:
            for run in runs:
                if run.start <= frame.index < run.stop:
                    place = frame.index - run.start
                    crop = cut(frame.image, squares[run.number].to_crop(place, self._side), self._side)
                    stores[run.number].write("crops", place, crop[None])
            if frame.index + 1 >= stop:
                break
        for run in runs:
            stores[run.number].close()
            (folders[run.number] / CROPPED).touch()


def landmarks_in_crops(landmarks: np.ndarray, squares: Squares, start: int, side: int) -> np.ndarray:
    """float32 ``[K, N, 3]`` in pixels of the crops, from those in pixels of the video, of frames from `start` on."""
    result = np.empty_like(landmarks)
    for k, points in enumerate(landmarks):
        matrix = squares.to_crop(start + k, side)
        # Landmarks count from the corner of the first pixel, squares from its centre.
        result[k, :, :2] = (points[:, :2] - 0.5) * matrix[0, 0] + matrix[:, 2] + 0.5
        result[k, :, 2] = points[:, 2] * matrix[0, 0]
    return result
