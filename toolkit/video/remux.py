"""Writes a video with new pictures and the other streams of its source unchanged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from os import PathLike
from pathlib import Path
from typing import Self

import av
from av.container import InputContainer, OutputContainer
from av.stream import Stream
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from toolkit.errors import InputError, UsageError
from toolkit.files import publish, remove, staging_path
from toolkit.video.carrying import AudioMode, CarryingPlan, carriers, describe_track, exact_starts, plan_carrying
from toolkit.video.container import ADVICE, open_source, open_video
from toolkit.video.copying import describe, lasting, shifted_chapters, timed_packets
from toolkit.video.decode import frame_rate
from toolkit.video.encode import THREADS
from toolkit.video.notes import VideoNote
from toolkit.video.target import check_distinct, check_target, repeatable, write_errors, written_through
from toolkit.video.timing import Timeline
from toolkit.words import counted


class Remuxer:
    """Base of `VideoRewriter` and `VideoRetoucher`: writes everything except the pictures.

    A context manager. The file is written under a temporary name in the same folder and renamed when the block ends. If
    the block raises, the file is deleted and an earlier file of that name stays as it was.

    Audio and subtitle packets are copied bit for bit, with their times, languages, titles and dispositions. A track
    that the container cannot hold is left out, or converted if it is sound and `audio` says so; `notes` name such
    tracks. Times begin at the source's start. Chapters are copied too. Matroska files also keep attachments, such as
    fonts; other containers keep the start of the timecode. Cover pictures and data streams are left out.
    """

    def __init__(
        self,
        source: str | PathLike,
        target: str | PathLike,
        crf: float,
        lossless: bool,
        metadata: Mapping[str, str] | None,
        threads: int = THREADS,
        carrying: CarryingPlan | AudioMode = "copy",
    ):
        self.source, self.target = Path(source), Path(target)
        check_target(self.target, {".mkv", ".mp4"} if lossless else {".mp4", ".mov", ".mkv"}, crf)
        check_distinct(self.source, self.target)
        self._crf, self._lossless, self._metadata, self._threads = crf, lossless, dict(metadata or {}), threads
        self._written = written_through(self.target)
        self._staged = staging_path(self._written.with_name(f"{self._written.stem}{self.target.suffix}"), shared=True)
        self._carrying = carrying
        self._last: int | None = None
        self._stop_time = float("inf")
        """Time in seconds at which the other streams end."""

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            self._source, self._video = opened.enter_context(open_video(self.source))
            # A second reader, so that sound is copied at the pace of the pictures.
            self._others = opened.enter_context(open_source(self.source))
            if self._video.time_base is None:
                raise InputError(f"expected a video with a time base, but {self.source} has none; {ADVICE}")
            self._clock: Fraction = self._video.time_base
            suffix = self.target.suffix.lower()
            if isinstance(self._carrying, str):
                self._carrying = plan_carrying(self.source, suffix, self._carrying)
            self.notes = list(self._carrying.notes)
            pictures = self._others.streams[self._video.index]
            assert isinstance(pictures, VideoStream)  # the same file
            self._timeline = Timeline(self._others, pictures)
            exact = exact_starts(self._others, pictures, self._carrying, self._timeline.origin)
            options = {**repeatable(suffix), **exact}
            with self._reporting():
                self._output = av.open(f"file:{self._staged}", "w", options=options, metadata_errors="replace")
                opened.callback(self._output.close)
            try:
                self._prepare()
            except BaseException:
                opened.close()
                remove(self._staged)
                raise
            self._opened = opened.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._check_complete()
                with self._reporting():
                    self._output.mux(self._stream.encode(None))
                    self._copy_until(self._stop_time)
                    for index, track in self._tracks.items():
                        track.finish()
                        if track.damaged:
                            self.notes.append(_damaged(self._others.streams[index], track.damaged))
                    self._opened.close()
                    publish(self._staged, self._written, durable=True)
        finally:
            try:
                self._opened.close()
            except av.FFmpegError:
                if kind is None:
                    raise
            finally:
                remove(self._staged)

    def _check_complete(self) -> None:
        """Raise if the block ended without an error but too early."""
        if self._last is None:
            raise UsageError(f"expected at least one frame for {self.target}, found none")

    def _ends_early(self) -> bool:
        """Whether the new video should end before its source."""
        return self._stop_time != float("inf")

    def _prepare(self) -> None:
        self._output.metadata.update({**lasting(self._source.metadata), **self._metadata})
        if not self._ends_early():
            self._output.set_chapters(shifted_chapters(self._source, self._timeline.origin))
        rate = Fraction(frame_rate(self._video)).limit_denominator(1001)
        self._stream = self._output.add_stream("ffv1" if self._lossless else "libx264", rate=rate)
        self._stream.time_base = self._stream.codec_context.time_base = self._clock
        self._stream.codec_context.thread_count = self._threads
        describe(self._stream, self._video)
        assert isinstance(self._carrying, CarryingPlan)  # since the block began
        self._tracks = carriers(self._others, self._output, self._carrying)
        copy_attachments(self._others, self._output, self.target)
        streams = [self._others.streams[index] for index in self._tracks]
        self._waiting = timed_packets(self._timeline, streams) if streams else iter(())
        self._packet = next(self._waiting, None)

    def _encode(self, frame: VideoFrame, time: float, ticks: int, duration: int = 0) -> None:
        """Encode a frame shown at `ticks` of the source's clock, and copy the packets that precede it."""
        self._last = ticks
        frame.pts, frame.duration, frame.time_base = ticks, duration, self._clock
        # Lets the encoder choose picture types; it would otherwise repeat those of the source.
        frame.pict_type = PictureType.NONE
        self._output.mux(self._stream.encode(frame))
        self._copy_until(min(time, self._stop_time))

    def _copy_until(self, time: float) -> None:
        """Copy the other streams' packets up to a time in seconds."""
        while self._packet is not None:
            packet = self._packet
            assert packet.dts is not None and packet.time_base is not None  # sound and subtitles have them
            if float(packet.dts * packet.time_base) >= time:
                return
            following = next(self._waiting, None)
            self._tracks[packet.stream.index].carry(packet)
            self._packet = following

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        with write_errors(self.target):
            try:
                yield
            except av.error.InvalidDataError as error:
                raise InputError(
                    f"a stream to copy from {self.source} is damaged: {error.strerror}; {ADVICE}"
                ) from None


def _damaged(stream: Stream, packets: int) -> VideoNote:
    verb = "is damaged and was" if packets == 1 else "are damaged and were"
    return VideoNote("damaged sound", f"{counted(packets, 'packets')} of {describe_track(stream)} {verb} left out")


def copy_attachments(source: InputContainer, output: OutputContainer, target: Path) -> None:
    """Copy attachments, such as fonts, if the new container is Matroska; others cannot hold them."""
    if target.suffix.lower() == ".mkv":
        for stream in source.streams.attachments:
            output.add_attachment(stream.name or "unnamed", stream.mimetype or "", stream.data)
