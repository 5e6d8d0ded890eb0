"""What becomes of a source's other tracks in a new file: copied, converted or left out, as was tried beforehand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Literal

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Stream
from av.video.stream import VideoStream

from toolkit.video.container import DAMAGE, open_source, open_video, picture_streams
from toolkit.video.copying import PacketCopier, SoundConverter, TrackCarrier, timed_packets
from toolkit.video.notes import VideoNote
from toolkit.video.timing import Timeline

AudioMode = Literal["copy", "convert"]

FORMATS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska"}
"""FFmpeg's name of the container for each suffix of a result, in the order in which they are chosen."""
CONVERTED = {".mp4": "aac", ".mov": "aac", ".mkv": "flac"}
"""Codec of converted sound: what most players of the container know, and lossless where that is so."""
CARRIED = ("audio", "subtitle")
"""Types of streams that a new file keeps."""
TRIED_PACKETS, TRIED_BYTES = 3, 32 << 20
"""What is tried of each track, and how far into the file its packets are looked for."""


@dataclass(frozen=True)
class Track:
    """A track that the new file keeps.

    Attributes:
        index: index of the stream in the source.
        encoder: codec that sound is converted to; None copies the packets as they are.
    """

    index: int
    encoder: str | None = None


@dataclass(frozen=True)
class CarryingPlan:
    """The tracks of a new file beside its pictures. Its container took them when it was tried.

    Attributes:
        suffix: of the new file.
        tracks: those that are kept, in the order of the source.
        notes: one for each track that is left out or converted.
        lost: number of tracks that are left out.
    """

    suffix: str
    tracks: tuple[Track, ...]
    notes: tuple[VideoNote, ...] = ()
    lost: int = 0

    @property
    def converted(self) -> int:
        """Number of tracks that are converted."""
        return sum(track.encoder is not None for track in self.tracks)


def plan_carrying(source: Path, suffix: str, audio: AudioMode = "copy", others: Sequence[str] = ()) -> CarryingPlan:
    """Find out by trying which tracks a container takes beside new pictures.

    The real muxer writes a header, the first packets of each track and a trailer into memory.

    Args:
        source: the video.
        suffix: of the new file, such as ``.mp4``.
        audio: what to do with sound that the container cannot hold: `convert`, or leave out.
        others: suffixes of other containers that a note may recommend, if they turn out to keep a track.

    Raises:
        InputError: the source cannot be read.
    """
    with open_video(source) as (reader, _):
        streams = [stream for stream in reader.streams if stream.type in CARRIED]
        copied = tuple(Track(stream.index) for stream in streams if _copies(stream, suffix))
        if len(copied) == len(streams) and _works(source, suffix, copied):
            return CarryingPlan(suffix, copied, _data_notes(reader))
        tracks: tuple[Track, ...] = ()
        notes: list[VideoNote] = []
        lost = 0
        for stream in streams:
            options = _options(stream, suffix, audio)
            track = next((option for option in options if _works(source, suffix, (*tracks, option))), None)
            if track is None:
                lost += 1
                notes.append(_dropped(source, stream, suffix, audio, others))
                continue
            tracks = (*tracks, track)
            if track.encoder is not None:
                notes.append(_converted(stream, suffix, track.encoder))
        return CarryingPlan(suffix, tracks, (*notes, *_data_notes(reader)), lost)


def plan_copying(source: Path, suffix: str) -> CarryingPlan | None:
    """The plan to copy pictures and all other tracks as they are; None if the container does not take them."""
    with open_video(source) as (reader, _):
        streams = [stream for stream in reader.streams if stream.type in ("video", *CARRIED)]
        tracks = tuple(Track(stream.index) for stream in streams)
        if all(_copies(stream, suffix) for stream in streams) and _works(source, suffix, tracks, drawn=False):
            return CarryingPlan(suffix, tracks)
    return None


def best_plan(source: Path, suffixes: Sequence[str], audio: AudioMode) -> CarryingPlan:
    """The plan of the first container that keeps most tracks, and of these as they are.

    Args:
        source: the video.
        suffixes: of the containers to choose from.
        audio: as for `plan_carrying`; with `convert`, converted sound is as good as copied.

    Raises:
        InputError: the source cannot be read.
    """
    best: CarryingPlan | None = None
    for suffix in suffixes:
        plan = plan_carrying(source, suffix, audio, [other for other in suffixes if other != suffix])
        if _rank(plan, audio) == (0, 0):
            return plan
        if best is None or _rank(plan, audio) < _rank(best, audio):
            best = plan
    assert best is not None  # there is a suffix
    return best


def _rank(plan: CarryingPlan, audio: AudioMode) -> tuple[int, int]:
    return plan.lost, plan.converted if audio == "copy" else 0


def carriers(
    reader: InputContainer, writer: av.container.OutputContainer, plan: CarryingPlan
) -> dict[int, TrackCarrier]:
    """Add the tracks of a plan to a new file; the result is by index of the source's streams."""
    made: dict[int, TrackCarrier] = {}
    for track in plan.tracks:
        stream = reader.streams[track.index]
        if track.encoder is None:
            made[track.index] = PacketCopier(writer, stream)
        else:
            assert isinstance(stream, AudioStream)
            made[track.index] = SoundConverter(writer, stream, track.encoder)
    return made


def exact_starts(reader: InputContainer, video: VideoStream, plan: CarryingPlan, origin: Fraction) -> dict[str, str]:
    """Options of MP4 and MOV so that tracks which begin late begin at their sample; usually none are needed.

    Late starts are stored in ticks of the whole file, milliseconds unless it is asked for others.
    """
    tracks = [reader.streams[track.index] for track in plan.tracks]
    starts = [
        stream.start_time * stream.time_base - origin
        for stream in (video, *tracks)
        if stream.start_time is not None and stream.time_base is not None
    ]
    if plan.suffix == ".mkv" or (not plan.converted and all((start * 1000).denominator == 1 for start in starts)):
        return {}
    rates = [stream.codec_context.sample_rate for stream in tracks if isinstance(stream, AudioStream)]
    return {"movie_timescale": str(max(rates, default=90000))}


def _copies(stream: Stream, suffix: str) -> bool:
    """Whether packets may be copied: not raw sound into MP4.

    FFmpeg writes it as ``ipcm``, which most players do not know; those that go by the sample size in its header, always
    16 bits, play 24-bit sound as noise.
    """
    if stream.codec_context is None:
        return False
    return suffix != ".mp4" or not stream.codec_context.name.startswith("pcm_")


def _options(stream: Stream, suffix: str, audio: AudioMode) -> Iterator[Track]:
    """Ways to keep a track, the best first."""
    if stream.codec_context is None:
        return
    if _copies(stream, suffix):
        yield Track(stream.index)
    if stream.type != "audio":
        return
    if audio == "convert":
        yield Track(stream.index, CONVERTED[suffix])
    elif not _copies(stream, suffix):
        yield Track(stream.index, "alac")


def _works(source: Path, suffix: str, tracks: tuple[Track, ...], drawn: bool = True) -> bool:
    """Whether the real muxer takes these tracks, beside drawn pictures: header, first packets and trailer."""
    try:
        with open_source(source) as reader, av.open(BytesIO(), "w", format=FORMATS[suffix]) as writer:
            pictures = _pictures(writer) if drawn else None
            made = carriers(reader, writer, CarryingPlan(suffix, tracks))
            if pictures is not None:
                writer.mux([*pictures.encode(av.VideoFrame(64, 64, "yuv420p")), *pictures.encode(None)])
            counts = dict.fromkeys(made, 0)
            size = 0
            streams = [reader.streams[index] for index in made]
            videos = picture_streams(reader)
            packets = timed_packets(Timeline(reader, videos[0]), streams) if streams and videos else ()
            for packet in packets:
                size += packet.size
                if counts[packet.stream.index] < TRIED_PACKETS:
                    counts[packet.stream.index] += 1
                    made[packet.stream.index].carry(packet)
                if size > TRIED_BYTES or all(count >= TRIED_PACKETS for count in counts.values()):
                    break
            for carrier in made.values():
                carrier.finish()
            writer.start_encoding()
    except DAMAGE:
        return False
    return True


def _pictures(writer: av.container.OutputContainer) -> av.VideoStream:
    """A stream of small H.264 pictures in a new file."""
    stream = writer.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
    stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
    return stream


def _dropped(source: Path, stream: Stream, suffix: str, audio: AudioMode, others: Sequence[str]) -> VideoNote:
    """The note on a track that is left out. Its advice was tried."""
    if stream.codec_context is None:
        why = "is of a kind that FFmpeg cannot read"
    else:
        why = f"does not fit into a {suffix} file"
    keeping = [
        other
        for other in others
        if any(
            option.encoder is None and _works(source, other, (option,)) for option in _options(stream, other, "copy")
        )
    ]
    advice = [f"name an output that ends in {' or '.join(keeping)} to keep it"] if keeping else []
    if audio == "copy" and any(
        option.encoder is not None and _works(source, suffix, (option,))
        for option in _options(stream, suffix, "convert")
    ):
        advice.append("convert it with --audio convert")
    hint = f"; {', or '.join(advice)}" if advice else ""
    return VideoNote("stream dropped", f"{describe_track(stream)} {why} and is left out{hint}")


def _converted(stream: Stream, suffix: str, encoder: str) -> VideoNote:
    fits = stream.codec_context.name.startswith("pcm_") and suffix == ".mp4"
    why = "would be noise or silence to many players of a .mp4 file" if fits else f"does not fit into a {suffix} file"
    loss = ", without loss up to 24 bits" if encoder in ("alac", "flac") else ""
    return VideoNote("stream converted", f"{describe_track(stream)} {why} and is converted to {encoder.upper()}{loss}")


def _data_notes(reader: InputContainer) -> tuple[VideoNote, ...]:
    """One note on all data streams, except those with a timecode or chapters, which the new file keeps."""
    chapters = "mp4" in reader.format.name and bool(reader.chapters())
    found = [
        stream
        for stream in reader.streams
        if stream.type == "data" and "timecode" not in stream.metadata and not chapters
    ]
    if not found:
        return ()
    numbers = ", ".join(str(stream.index) for stream in found)
    tracks, verb = ("track", "is") if len(found) == 1 else ("tracks", "are")
    return (VideoNote("stream dropped", f"{tracks} {numbers} (data of a kind that cannot be kept) {verb} left out"),)


def describe_track(stream: Stream) -> str:
    """Number, kind, codec and language, such as ``track 2 (audio, wmav2, deu)``."""
    codec = stream.codec_context.name if stream.codec_context is not None else "unknown codec"
    language = stream.language if stream.language not in (None, "und") else None
    return f"track {stream.index} ({', '.join(filter(None, [stream.type, codec, language]))})"
