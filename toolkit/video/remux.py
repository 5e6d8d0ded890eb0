"""A new file with a video's other streams as they were: the common part of everything that replaces pictures."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from os import PathLike
from pathlib import Path

import av
from av.container import InputContainer, OutputContainer
from av.stream import Stream
from av.video.frame import PictureType, VideoFrame

from toolkit.errors import InputError, ToolkitError, UsageError
from toolkit.video.container import open_video
from toolkit.video.decode import frame_rate
from toolkit.video.encode import THREADS

COPIED = ("audio", "subtitle")
"""Kinds of streams whose packets are copied bit for bit."""
OUTDATED = re.compile(
    r"(major_brand|minor_version|compatible_brands|encoder|rotate|_?(BPS|DURATION|NUMBER_OF|STATISTICS).*)"
)
"""Metadata that describes the source's file and not its content; muxers write their own."""


class Remuxer:
    """Base of `VideoRewriter` and `VideoRetoucher`: all but the pictures.

    A context manager: the file is written under a temporary name in the same folder and takes its own name when the
    block ends; an error in the block removes it and leaves what was there before.

    Packets of audio and subtitles are copied bit for bit with their times, languages, titles and dispositions, and so
    are chapters, attachments (such as fonts) where the container is Matroska, and the start of the timecode where it is
    not. Cover pictures and data streams are left out.
    """

    def __init__(
        self,
        source: str | PathLike,
        target: str | PathLike,
        crf: float,
        lossless: bool,
        metadata: Mapping[str, str] | None,
        threads: int = THREADS,
    ):
        self.source, self.target = Path(source), Path(target)
        suffixes = {".mkv", ".mp4"} if lossless else {".mp4", ".mov", ".mkv"}
        if self.target.suffix.lower() not in suffixes:
            raise UsageError(f"expected a name that ends in {' or '.join(sorted(suffixes))}, found {self.target.name}")
        if not 0 <= crf <= 51:
            raise UsageError(f"expected a crf from 0 to 51, found {crf}")
        if not self.target.parent.is_dir():
            raise UsageError(f"expected a folder {self.target.parent} to write {self.target.name} into; make it first")
        if self.target.exists() and self.source.exists() and self.target.samefile(self.source):
            raise UsageError(f"{self.target} is the video itself, which would be lost; name another output")
        self._crf, self._lossless, self._metadata, self._threads = crf, lossless, dict(metadata or {}), threads
        self._temporary = self.target.with_name(f".{self.target.stem}.{os.getpid()}.part{self.target.suffix}")
        self._last: int | None = None
        self._stop_time = float("inf")
        """Seconds; the other streams end here."""

    def __enter__(self):
        with ExitStack() as opened:
            self._source, self._video = opened.enter_context(open_video(self.source))
            # By a second reader, so that sound comes along at the pace of the pictures.
            self._others = opened.enter_context(av.open(f"file:{self.source}", metadata_errors="replace"))
            self._clock = self._video.time_base
            with self._reporting():
                self._output = av.open(f"file:{self._temporary}", "w", metadata_errors="replace")
                opened.callback(self._output.close)
            try:
                self._prepare()
            except BaseException:
                opened.close()
                self._temporary.unlink(missing_ok=True)
                raise
            self._opened = opened.pop_all()
        return self

    def __exit__(self, kind, value, traceback) -> None:
        try:
            if kind is None:
                self._check_complete()
                with self._reporting():
                    self._output.mux(self._stream.encode(None))
                    self._copy_until(self._stop_time)
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

    def _check_complete(self) -> None:
        """Raise where the block ended without an error, but too early."""
        if self._last is None:
            raise UsageError(f"expected at least one frame for {self.target}, found none")

    def _ends_early(self) -> bool:
        """Whether the new video is meant to end before the source does."""
        return self._stop_time != float("inf")

    def _prepare(self) -> None:
        self._output.metadata.update({**lasting(self._source.metadata), **self._metadata})
        if not self._ends_early():
            self._output.set_chapters(self._source.chapters())
        rate = Fraction(frame_rate(self._video)).limit_denominator(1001)
        self._stream = self._output.add_stream("ffv1" if self._lossless else "libx264", rate=rate)
        self._stream.time_base = self._stream.codec_context.time_base = self._clock
        self._stream.codec_context.thread_count = self._threads
        describe(self._stream, self._video)
        copied = [stream for stream in self._others.streams if stream.type in COPIED]
        self._copies = {stream.index: self._copy(stream) for stream in copied}
        copy_attachments(self._others, self._output, self.target)
        self._waiting = (
            (packet for packet in self._others.demux(copied) if packet.dts is not None) if copied else iter(())
        )
        self._packet = next(self._waiting, None)

    def _copy(self, stream: Stream) -> Stream:
        try:
            copy = self._output.add_stream_from_template(stream)
        except (ValueError, av.FFmpegError) as error:
            other = self.source.suffix if self.target.suffix.lower() == ".mkv" else ".mkv"
            raise UsageError(
                f"a {self.target.suffix} file cannot hold the {stream.type} of {self.source.name}: {error}; name "
                f"an output that ends in {other}"
            ) from error
        describe(copy, stream)
        return copy

    def _encode(self, frame: VideoFrame, time: float, ticks: int, duration: int = 0) -> None:
        """Encode a frame that is shown at `ticks` of the source's clock, and copy what belongs before it."""
        self._last = ticks
        frame.pts, frame.duration, frame.time_base = ticks, duration, self._clock
        # The encoder decides; it would else repeat the source's kinds of pictures.
        frame.pict_type = PictureType.NONE
        self._output.mux(self._stream.encode(frame))
        self._copy_until(min(time, self._stop_time))

    def _copy_until(self, time: float) -> None:
        """Copy what the other streams have before a time in seconds."""
        while self._packet is not None:
            packet = self._packet
            if float(packet.dts * packet.time_base) >= time:
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


def lasting(metadata: Mapping[str, str]) -> dict[str, str]:
    """Metadata that is as true of a copy: without sizes, dates of encoding and such."""
    return {key: value for key, value in metadata.items() if not OUTDATED.fullmatch(key)}


def describe(copy: Stream, stream: Stream) -> None:
    """Language, title and whether the stream is the default one, forced, for the hearing impaired and so on."""
    copy.metadata.update(lasting(stream.metadata))
    copy.disposition = stream.disposition


def copy_attachments(source: InputContainer, output: OutputContainer, target: Path) -> None:
    """Fonts and such, where the new container is Matroska, which can hold them."""
    if target.suffix.lower() == ".mkv":
        for stream in source.streams.attachments:
            output.add_attachment(stream.name or "unnamed", stream.mimetype or "", stream.data)
