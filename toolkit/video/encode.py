"""Encodes frames to a video file, which appears complete or not at all."""

from __future__ import annotations

from contextlib import suppress
from fractions import Fraction
from os import PathLike
from pathlib import Path

import av
import numpy as np

from toolkit.errors import UsageError
from toolkit.files import publish, remove, staging_path
from toolkit.video.target import check_target, repeatable, write_errors
from toolkit.video.upright import UprightPictures

THREADS = 1
"""Fixed because x264's output depends on it: the same frames give the same file on every machine."""


class VideoWriter:
    """Encode RGB frames as H.264, or losslessly as FFV1.

    A context manager. The file is written under a temporary name in the same folder and renamed when the block ends. If
    the block raises, the file is deleted and an earlier file of that name stays as it was.

    H.264 is ``yuv420p``, limited range, tagged BT.709. Its sides must be even, so an odd side grows by one pixel that
    repeats the edge. FFV1 stores RGB, so decoding returns every value unchanged.

    Args:
        path: the new file; its suffix selects the container (``.mp4``, ``.mov`` or ``.mkv``; lossless: ``.mkv``).
        fps: frames per second.
        crf: x264's constant rate factor, 0 (best) to 51.
        lossless: FFV1 instead of H.264.

    Raises:
        UsageError: the suffix or a value is not allowed, or the folder does not exist.
        ToolkitError: the file cannot be written, for example because the disk is full.
    """

    def __init__(self, path: str | PathLike, fps: float, crf: float = 18, lossless: bool = False):
        self.path = Path(path)
        check_target(self.path, {".mkv"} if lossless else {".mp4", ".mov", ".mkv"}, crf)
        if not 0 < fps <= 1000:
            raise UsageError(f"expected 0 < fps <= 1000, found {fps}")
        self._rate, self._lossless = Fraction(fps).limit_denominator(1001), lossless
        self._pictures = UprightPictures(crf, lossless)
        self._staged = staging_path(self.path, shared=True)
        self._stream: av.VideoStream | None = None
        self._shape: tuple[int, ...] | None = None

    def __enter__(self) -> VideoWriter:
        with write_errors(self.path):
            self._container = av.open(f"file:{self._staged}", "w", options=repeatable(self.path.suffix))
        return self

    def write(self, image: np.ndarray) -> None:
        """Append a frame.

        Args:
            image: uint8 ``[H, W, 3]``, RGB, as large as the first frame.

        Raises:
            ValueError: the frame has another type or size.
            ToolkitError: the file cannot be written.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f"expected uint8 [H, W, 3], found {image.dtype} {list(image.shape)}")
        self._shape = self._shape or image.shape
        if image.shape != self._shape:
            raise ValueError(f"expected a frame of {list(self._shape)} like the first, found {list(image.shape)}")
        with write_errors(self.path):
            if self._stream is None:
                self._stream = self._add_stream(*image.shape[:2])
            self._container.mux(self._stream.encode(self._pictures.frame(image)))

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is not None:
                # Report the error that ended the block, not its consequences.
                with suppress(av.FFmpegError):
                    self._container.close()
                return
            if self._stream is None:
                self._container.close()
                raise UsageError(f"expected at least one frame for {self.path}, found none")
            with write_errors(self.path):
                self._container.mux(self._stream.encode(None))
                self._container.close()
                publish(self._staged, self.path, durable=True)
        finally:
            remove(self._staged)

    def _add_stream(self, height: int, width: int) -> av.VideoStream:
        stream = self._container.add_stream("ffv1" if self._lossless else "libx264", rate=self._rate)
        context = stream.codec_context
        context.thread_count = THREADS
        self._pictures.configure(context, width, height)
        return stream
