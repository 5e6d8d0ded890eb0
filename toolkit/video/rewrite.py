"""A video with other pictures and everything else as it was: times, audio, subtitles, colour, metadata."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from os import PathLike
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, VideoReformatter

from toolkit.errors import InputError, ToolkitError, UsageError
from toolkit.video.container import open_video
from toolkit.video.decode import frame_rate
from toolkit.video.encode import THREADS

COPIED = ("audio", "subtitle")
"""Kinds of streams whose packets are copied bit for bit."""


class VideoRewriter:
    """Writes a video whose frames are given, with the other streams of a source.

    A context manager: the file appears under its own name when the block ends without an error, and what was there
    before stays until then. Frames keep their times to the tick of the source's clock, so a variable frame rate stays
    variable. H.264 in ``yuv420p``, limited range, BT.709, upright and with square pixels, as `read_frames` gives them;
    FFV1 in RGB where `lossless`.

    Args:
        source: the video that was read.
        target: the new file; its suffix chooses the container: ``.mp4``, ``.mov`` or ``.mkv``; lossless: ``.mkv``.
        crf: x264's constant rate factor, 0 (best) to 51.
        lossless: FFV1 instead of H.264.
        metadata: added to the source's own.

    Raises:
        UsageError: source and target are one file, a value does not fit, or the container cannot hold a stream of
            the source.
        InputError: the source cannot be read.
        ToolkitError: the file cannot be written, such as on a full disk.
    """

    def __init__(
        self,
        source: str | PathLike,
        target: str | PathLike,
        crf: float = 16,
        lossless: bool = False,
        metadata: Mapping[str, str] | None = None,
    ):
        self.source, self.target = Path(source), Path(target)
        suffixes = {".mkv"} if lossless else {".mp4", ".mov", ".mkv"}
        if self.target.suffix.lower() not in suffixes:
            raise UsageError(f"expected a name that ends in {' or '.join(sorted(suffixes))}, found {self.target.name}")
        if not 0 <= crf <= 51:
            raise UsageError(f"expected a crf from 0 to 51, found {crf}")
        if not self.target.parent.is_dir():
            raise UsageError(f"expected a folder {self.target.parent} to write {self.target.name} into; make it first")
        if self.target.exists() and self.source.exists() and self.target.samefile(self.source):
            raise UsageError(f"{self.target} is the video itself, which would be lost; name another output")
        self._crf, self._lossless, self._metadata = crf, lossless, dict(metadata or {})
        self._temporary = self.target.with_name(f".{self.target.stem}.{os.getpid()}.part{self.target.suffix}")
        self._reformatter = VideoReformatter()
        self._last: int | None = None

    def __enter__(self) -> VideoRewriter:
        with ExitStack() as opened:
            self._source, video = opened.enter_context(open_video(self.source))
            # By a second reader, so that sound comes along at the pace of the pictures.
            self._others = opened.enter_context(av.open(f"file:{self.source}"))
            self._rate, self._clock = Fraction(frame_rate(video)).limit_denominator(1001), video.time_base
            with self._reporting():
                self._output = av.open(f"file:{self._temporary}", "w")
                opened.callback(self._output.close)
            try:
                self._prepare()
            except BaseException:
                opened.close()
                self._temporary.unlink(missing_ok=True)
                raise
            self._opened = opened.pop_all()
        return self

    def _prepare(self) -> None:
        self._output.metadata.update({**self._source.metadata, **self._metadata})
        self._stream = self._output.add_stream("ffv1" if self._lossless else "libx264", rate=self._rate)
        self._stream.time_base = self._stream.codec_context.time_base = self._clock
        copied = [stream for stream in self._others.streams if stream.type in COPIED]
        self._copies = {}
        for stream in copied:
            try:
                self._copies[stream.index] = self._output.add_stream_from_template(stream)
            except (ValueError, av.FFmpegError) as error:
                raise UsageError(
                    f"a {self.target.suffix} file cannot hold the {stream.type} of {self.source.name}: {error}; name "
                    "an output that ends in .mkv"
                ) from error
        self._waiting = (
            (packet for packet in self._others.demux(copied) if packet.dts is not None) if copied else iter(())
        )
        self._packet = next(self._waiting, None)

    def write(self, image: np.ndarray, time: float) -> None:
        """Append a frame.

        Args:
            image: uint8 ``[H, W, 3]``, RGB, of the size of the first one.
            time: seconds, later than the one before.
        """
        ticks = round(time / self._clock)
        if self._last is not None and ticks <= self._last:
            raise ValueError(
                f"times must increase by a tick of {self._clock} at least, found {time} after {self._last}"
            )
        with self._reporting():
            if self._last is None:
                self._begin(image)
            self._last = ticks
            frame = self._frame(image)
            frame.pts, frame.time_base = ticks, self._clock
            self._output.mux(self._stream.encode(frame))
            self._copy_until(time)

    def __exit__(self, kind, value, traceback) -> None:
        try:
            if kind is None and self._last is None:
                raise UsageError(f"expected at least one frame for {self.target}, found none")
            if kind is None:
                with self._reporting():
                    self._output.mux(self._stream.encode(None))
                    self._copy_until(float("inf"))
                    self._opened.close()
                    os.replace(self._temporary, self.target)
        finally:
            try:
                self._opened.close()
            except av.FFmpegError:
                if kind is None:
                    raise
            finally:
                self._temporary.unlink(missing_ok=True)

    def _begin(self, image: np.ndarray) -> None:
        height, width, _ = image.shape
        context = self._stream.codec_context
        context.thread_count = THREADS
        if self._lossless:
            context.width, context.height, context.pix_fmt = width, height, "bgr0"
            return
        context.width, context.height, context.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
        context.options = {"crf": str(self._crf), "preset": "medium", "x264-params": "mbtree=0"}
        context.colorspace, context.color_range = int(Colorspace.ITU709), int(ColorRange.MPEG)
        context.color_primaries, context.color_trc = int(ColorPrimaries.BT709), int(ColorTrc.BT709)

    def _frame(self, image: np.ndarray) -> av.VideoFrame:
        if self._lossless:
            return self._reformatter.reformat(av.VideoFrame.from_ndarray(image, "rgb24"), format="bgr0", threads=1)
        height, width, _ = image.shape
        if width % 2 or height % 2:
            image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        return self._reformatter.reformat(
            av.VideoFrame.from_ndarray(image, "rgb24"),
            format="yuv420p",
            src_color_range=ColorRange.JPEG,
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
            threads=1,
        )

    def _copy_until(self, time: float) -> None:
        """Copy what the other streams have up to a time in seconds."""
        while self._packet is not None:
            packet = self._packet
            if float(packet.dts * packet.time_base) > time:
                return
            following = next(self._waiting, None)
            packet.stream = self._copies[packet.stream.index]
            self._output.mux(packet)
            self._packet = following

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        try:
            yield
        except av.error.InvalidDataError as error:
            raise InputError(f"a stream of {self.source} that should be copied is damaged: {error.strerror}") from None
        except (av.FFmpegError, OSError) as error:
            raise ToolkitError(
                f"expected to write {self.target}, but: {error.strerror}; check the disk's free space and access rights"
            ) from None
