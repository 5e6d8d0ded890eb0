"""Videos of one set in step: chunks of the same frames of the original, the target and every method."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from toolkit.errors import InputError
from toolkit.video.types import Frame


@dataclass(frozen=True, eq=False)
class Chunk:
    """Consecutive frames.

    Attributes:
        start: index of the first.
        times: float64 ``[K]`` seconds, of the original.
        original: uint8 ``[K, H, W, 3]``.
        others: name -> frames of the same shape; those that broke off or differ are left out from then on.
    """

    start: int
    times: np.ndarray
    original: np.ndarray
    others: dict[str, np.ndarray]


class InStep:
    """Reads an original and others frame by frame; memory does not depend on their length.

    Args:
        original: the video that counts.
        others: name -> video, which must have as many frames of the same size.
        length: frames of a chunk.

    Attributes:
        problems: name -> sentence: why another was left out.
        count: frames of the original, when it was read.
    """

    def __init__(self, original: Path, others: Mapping[str, Path], length: int):
        self._original, self._paths, self._length = original, dict(others), length
        self.problems: dict[str, str] = {}
        self.count = 0

    def __iter__(self) -> Iterator[Chunk]:
        """
        Raises:
            InputError: the original cannot be decoded.
        """
        from toolkit.video import read_frames

        streams = {name: read_frames(path) for name, path in self._paths.items()}
        frames: list[Frame] = []
        held: dict[str, list[np.ndarray]] = {name: [] for name in streams}
        for frame in read_frames(self._original):
            frames.append(frame)
            for name in [name for name in streams if name not in self.problems]:
                picture = self._next(name, streams[name], frame)
                if picture is not None:
                    held[name].append(picture)
            self.count = frame.index + 1
            if len(frames) == self._length:
                yield self._chunk(frames, held)
                frames, held = [], {name: [] for name in streams}
        if frames:
            yield self._chunk(frames, held)
        for name, stream in streams.items():
            if name not in self.problems:
                self._ends(name, stream)

    def _chunk(self, frames: list[Frame], held: dict[str, list[np.ndarray]]) -> Chunk:
        return Chunk(
            start=frames[0].index,
            times=np.array([frame.time for frame in frames]),
            original=np.stack([frame.image for frame in frames]),
            others={name: np.stack(pictures) for name, pictures in held.items() if len(pictures) == len(frames)},
        )

    def _next(self, name: str, stream: Iterator[Frame], frame: Frame) -> np.ndarray | None:
        try:
            other = next(stream, None)
        except InputError as error:
            self.problems[name] = str(error)
            return None
        if other is None:
            self.problems[name] = self._differ(name, f"has {frame.index} frames", "has more")
            return None
        if other.image.shape != frame.image.shape:
            sizes = [f"has frames of {shape[1]}x{shape[0]} pixels" for shape in (other.image.shape, frame.image.shape)]
            self.problems[name] = self._differ(name, *sizes)
            return None
        return other.image

    def _ends(self, name: str, stream: Iterator[Frame]) -> None:
        try:
            if next(stream, None) is not None:
                self.problems[name] = self._differ(name, "has more frames", f"has {self.count}")
        except InputError as error:
            self.problems[name] = str(error)

    def _differ(self, name: str, of_other: str, of_original: str) -> str:
        return (
            f"{self._paths[name]} {of_other} and {self._original} {of_original}: they must have the same frames; edit "
            "without changing the frame rate or the size"
        )
