"""Reads the original, the target and all edits of one video in step, in chunks of the same frames."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from toolkit.errors import InputError
from toolkit.video.notes import VideoNote
from toolkit.video.types import Frame

ORIGINAL = ""
"""Name of the original among the videos. It cannot clash: a method's name is never empty."""


@dataclass(frozen=True, eq=False)
class Chunk:
    """Consecutive frames.

    Attributes:
        start: index of the first frame.
        times: float64 ``[K]`` seconds, in the original.
        original: uint8 ``[K, H, W, 3]``, RGB.
        others: name -> frames of the same shape. A video that ends early or differs is missing from then on.
    """

    start: int
    times: np.ndarray
    original: np.ndarray
    others: dict[str, np.ndarray]


class InStep:
    """Reads an original and other videos frame by frame; memory does not depend on their length.

    H.264 needs even sides, so an edit of an odd-sized original has one more row or column; it is cut off.

    Args:
        original: the reference video.
        others: name -> video, which must have the same number and size of frames.
        length: frames in a chunk.
        strict: leave out videos that are damaged or cut off, and refuse such an original.

    Attributes:
        problems: name -> why this video is left out; complete after the last chunk.
        notes: name -> what was noticed while it was read; `ORIGINAL` stands for the original. Complete after the last
            chunk.
        count: frames of the original that were read.
    """

    def __init__(self, original: Path, others: Mapping[str, Path], length: int, strict: bool = False):
        self._original, self._paths, self._length, self._strict = original, dict(others), length, strict
        self._short: dict[str, int] = {}  # name -> frames of a video that ended before the original
        self.problems: dict[str, str] = {}
        self.notes: dict[str, list[VideoNote]] = {name: [] for name in (ORIGINAL, *others)}
        self.count = 0

    def __iter__(self) -> Iterator[Chunk]:
        """Yield the chunks in order.

        Raises:
            InputError: the original cannot be decoded.
        """
        with ExitStack() as stack:
            originals = stack.enter_context(closing(self._frames(ORIGINAL, self._original)))
            streams = {
                name: stack.enter_context(closing(self._frames(name, path))) for name, path in self._paths.items()
            }
            frames: list[Frame] = []
            held: dict[str, list[np.ndarray]] = {name: [] for name in streams}
            for frame in originals:
                self.count = frame.index + 1
                left = [name for name in streams if name not in self.problems and name not in self._short]
                if not left and streams:
                    continue  # from here only the length of the original matters
                frames.append(frame)
                for name in left:
                    picture = self._next(name, streams[name], frame)
                    if picture is not None:
                        held[name].append(picture)
                if len(frames) == self._length:
                    yield self._chunk(frames, held)
                    frames, held = [], {name: [] for name in streams}
            if frames:
                yield self._chunk(frames, held)
            for name, stream in streams.items():
                if name in self._short:
                    self.problems[name] = self._counts(name, self._short[name])
                elif name not in self.problems:
                    self._end(name, stream)

    def _frames(self, name: str, path: Path) -> Generator[Frame]:
        from toolkit.video import read_frames

        yield from read_frames(path, strict=self._strict, on_note=self.notes[name].append)

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
            self._short[name] = frame.index
            return None
        shape, found = frame.image.shape, other.image.shape
        if all(wanted <= side <= wanted + wanted % 2 for wanted, side in zip(shape[:2], found[:2])):
            return other.image[: shape[0], : shape[1]]
        self.problems[name] = (
            f"{self._paths[name]} has frames of {found[1]}x{found[0]} pixels, but {self._original} has "
            f"{shape[1]}x{shape[0]}: they must have the same size; edit without resizing"
        )
        return None

    def _end(self, name: str, stream: Iterator[Frame]) -> None:
        """Count the frames that another video has beyond the end of the original."""
        try:
            more = sum(1 for _ in stream)
        except InputError as error:
            self.problems[name] = str(error)
            return
        if more:
            self.problems[name] = self._counts(name, self.count + more)

    def _counts(self, name: str, frames: int) -> str:
        return (
            f"{self._paths[name]} has {_frames(frames)}, but {self._original} has {_frames(self.count)}: they must "
            "have the same frames; edit without changing the frame rate or the length"
        )


def _frames(count: int) -> str:
    return f"{count} frame{'' if count == 1 else 's'}"
