"""Writing frames to a video file that appears whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from os import PathLike
from pathlib import Path

import av
import numpy as np

from toolkit.errors import ToolkitError, UsageError
from toolkit.video.upright import UprightPictures

THREADS = 1
"""Fixed, because x264's output depends on it: the same frames give the same file on every machine."""


class VideoWriter:
    """Encode RGB frames as H.264, or losslessly as FFV1.

    A context manager: the file is written under a temporary name in the same folder and takes its own name when the
    block ends; an error in the block removes it and leaves what was there before.

    H.264 is ``yuv420p``, limited range, tagged BT.709. Its sides are even: an odd side is lengthened by one pixel
    that repeats the edge. FFV1 stores RGB, so that reading gives back every value.

    Args:
        path: the file; its suffix chooses the container (``.mp4``, ``.mov`` or ``.mkv``; lossless: ``.mkv``).
        fps: frames per second.
        crf: x264's constant rate factor, 0 (best) to 51.
        lossless: FFV1 instead of H.264.

    Raises:
        UsageError: the suffix or a value does not fit, or there is no such folder.
        ToolkitError: the file cannot be written, such as on a full disk.
    """

    def __init__(self, path: str | PathLike, fps: float, crf: float = 18, lossless: bool = False):
        self.path = Path(path)
        suffixes = {".mkv"} if lossless else {".mp4", ".mov", ".mkv"}
        if self.path.suffix.lower() not in suffixes:
            raise UsageError(f"Expected a name that ends in {' or '.join(sorted(suffixes))}, found {self.path.name}")
        if not 0 < fps <= 1000 or not 0 <= crf <= 51:
            raise UsageError(f"Expected 0 < fps <= 1000 and 0 <= crf <= 51, found fps={fps}, crf={crf}")
        if not self.path.parent.is_dir():
            raise UsageError(f"Expected a folder {self.path.parent} to write {self.path.name} into; make it first")
        self._rate, self._lossless = Fraction(fps).limit_denominator(1001), lossless
        self._pictures = UprightPictures(crf, lossless)
        self._temporary = self.path.with_name(f".{self.path.stem}.{os.getpid()}.part{self.path.suffix}")
        self._container = self._stream = None
        self._shape: tuple[int, ...] | None = None

    def __enter__(self) -> VideoWriter:
        with self._reporting():
            self._container = av.open(f"file:{self._temporary}", "w")
        return self

    def write(self, image: np.ndarray) -> None:
        """Append a frame.

        Args:
            image: uint8 ``[H, W, 3]``, RGB, of the size of the first one.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f"expected uint8 [H, W, 3], found {image.dtype} {list(image.shape)}")
        self._shape = self._shape or image.shape
        if image.shape != self._shape:
            raise ValueError(f"expected a frame of {list(self._shape)} like the first one, found {list(image.shape)}")
        with self._reporting():
            if self._stream is None:
                self._stream = self._add_stream()
            self._container.mux(self._stream.encode(self._pictures.frame(image)))

    def __exit__(self, kind, value, traceback) -> None:
        try:
            if kind is not None:
                # The error that ended the block is the one to report.
                with suppress(av.FFmpegError):
                    self._container.close()
                return
            if self._stream is None:
                self._container.close()
                raise UsageError(f"Expected at least one frame for {self.path}, found none")
            with self._reporting():
                self._container.mux(self._stream.encode(None))
                self._container.close()
                os.replace(self._temporary, self.path)
        finally:
            self._temporary.unlink(missing_ok=True)

    def _add_stream(self) -> av.VideoStream:
        height, width, _ = self._shape
        stream = self._container.add_stream("ffv1" if self._lossless else "libx264", rate=self._rate)
        context = stream.codec_context
        context.thread_count = THREADS
        self._pictures.configure(context, width, height)
        return stream

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        """Turn the library's and the system's errors into one sentence."""
        try:
            yield
        except (av.FFmpegError, OSError) as error:
            raise ToolkitError(
                f"Expected to write {self.path}, but: {error.strerror}; check the disk's free space and access rights"
            ) from None
