"""Brings one track of a source into a new file, packet by packet or as newly encoded sound."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any, Protocol, cast

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Stream

from toolkit.video.container import DAMAGE
from toolkit.video.timing import Timeline

OUTDATED = re.compile(
    r"(major_brand|minor_version|compatible_brands|encoder|rotate|_?(BPS|DURATION|NUMBER_OF|STATISTICS).*)"
)
"""Metadata that describes the source file, not its content; muxers write their own."""
LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
"""The usual layout of a number of channels, for files that state the number only."""
BITS_PER_SECOND = 128_000
"""Rate of converted lossy sound, for each channel."""
TOLERANCE = 0.1
"""Seconds by which the times of sound may wander; a larger gap is filled with silence, a larger overlap cut."""
LOST = 0.02
"""Seconds of a sudden gap that is filled too, if it is about as long as a packet: one was lost."""


class TrackCarrier(Protocol):
    """Takes the packets of one track in the order of the file.

    Attributes:
        damaged: number of packets that are damaged and were left out.
    """

    damaged: int

    def carry(self, packet: Packet) -> None:
        """Write a packet. It must not be used afterwards."""

    def finish(self) -> None:
        """Write what was held back."""


class PacketCopier:
    """Copies packets bit for bit; only times that the muxer would refuse are moved.

    Sound packets that are visibly damaged are left out: MP4 and MOV need their headers, and would end the whole file.

    Raises:
        ValueError: the container does not take the track, or the track has no codec or sample rate.
    """

    def __init__(self, writer: OutputContainer, stream: Stream):
        if isinstance(stream, AudioStream):
            check_sound(stream)
        self._writer = writer
        self._copy = writer.add_stream_from_template(stream)
        if isinstance(stream, AudioStream) and isinstance(self._copy, AudioStream):
            layout = stated_layout(stream)
            if layout != stream.codec_context.layout.name:
                self._copy.codec_context.layout = layout
        describe(self._copy, stream)
        self.damaged = 0
        self._intact = HEADERS.get(stream.codec_context.name if stream.codec_context is not None else "")
        if self._intact is _is_adts and stream.codec_context.extradata:
            self._intact = None  # the header is in the file's, not in each packet
        # Matroska allows packets of one time, such as subtitles that are shown together.
        self._equal = "matroska" in writer.format.name
        self._last: int | None = None

    def carry(self, packet: Packet) -> None:
        if self._intact is not None and not self._intact(bytes(packet)):
            self.damaged += 1
            return
        if packet.dts is not None:
            least = packet.dts if self._last is None else self._last + (0 if self._equal else self._step(packet))
            packet.dts = max(packet.dts, least)
            if packet.pts is not None and packet.pts < packet.dts:
                packet.pts = packet.dts
            self._last = packet.dts
        packet.stream = self._copy
        self._writer.mux(packet)

    def _step(self, packet: Packet) -> int:
        """The smallest step in the packet's ticks that is one in those of the new file."""
        self._writer.start_encoding()  # which settles them
        return max(1, math.ceil((self._copy.time_base or 0) / packet.time_base))

    def finish(self) -> None:
        pass


class SoundConverter:
    """Decodes sound and encodes it again, from the same sample on.

    Samples follow each other without a gap. Where a packet is damaged or missing, or times jump by more than
    `TOLERANCE`, silence is added or samples are left out, so that sound stays in step with the pictures.

    Raises:
        ValueError: the track has no codec or sample rate.
        av.FFmpegError: the encoder does not take such sound.
    """

    def __init__(self, writer: OutputContainer, stream: AudioStream, encoder: str):
        check_sound(stream)
        self.damaged = 0
        self._writer, self._stream = writer, stream
        source = stream.codec_context
        codec = av.Codec(encoder, "w")
        rates = codec.audio_rates
        self._rate = source.sample_rate
        rate = min(rates, key=lambda one: (one < self._rate, abs(one - self._rate))) if rates else self._rate
        self._encoded = cast(AudioStream, writer.add_stream(encoder, rate=rate))
        context = self._encoded.codec_context
        self._layout = stated_layout(stream)
        context.layout = self._layout
        context.time_base = Fraction(1, rate)
        if encoder == "aac":
            context.bit_rate = BITS_PER_SECOND * source.layout.nb_channels
        else:
            small = source.format.name.removesuffix("p") in ("u8", "s16")
            formats = [one.name for one in codec.audio_formats or []]
            context.format = next(name for name in formats if name.startswith("s16" if small else "s32"))
        describe(self._encoded, stream)
        self._next: int | None = None
        """The next sample's number since time 0."""
        self._ahead = 0
        """Samples by which the times were ahead of those written."""
        self._resampler: AudioResampler | None = None
        self._decoded: tuple[str, int, int] | None = None

    def carry(self, packet: Packet) -> None:
        try:
            frames = self._stream.codec_context.decode(packet)
        except DAMAGE:
            self.damaged += 1
            return
        for frame in frames:
            self._encode(frame)

    def finish(self) -> None:
        try:
            frames = self._stream.codec_context.decode(None)
        except DAMAGE:
            frames = []
        for frame in frames:
            self._encode(frame)
        self._writer.mux(self._encoded.encode(None))

    def _encode(self, frame: AudioFrame) -> None:
        rate = frame.sample_rate
        samples: Any = frame.to_ndarray()
        channels = frame.layout.nb_channels
        if not frame.format.is_planar:
            samples = samples.reshape(-1, channels).T
        if (frame.format.name, rate, channels) != self._decoded:
            self._decoded = (frame.format.name, rate, channels)
            if rate != self._rate and self._next is not None:
                self._next = round(self._next * rate / self._rate)
            self._rate = rate
        if frame.pts is not None and frame.time_base is not None:
            samples = self._in_step(samples, round(frame.pts * frame.time_base * rate))
        self._next = self._next or 0
        if not samples.shape[1]:
            return
        planar = frame.format.name if frame.format.is_planar else f"{frame.format.name}p"
        layout = self._layout if channels == len_of(self._layout) else LAYOUTS.get(channels, f"{channels} channels")
        sound = AudioFrame.from_ndarray(np.ascontiguousarray(samples), planar, layout)
        sound.sample_rate, sound.pts, sound.time_base = rate, self._next, Fraction(1, rate)
        self._next += samples.shape[1]
        self._writer.mux(self._encoded.encode(sound))

    def _in_step(self, samples: np.ndarray, start: int) -> np.ndarray:
        """The samples with silence before them, or without their beginning, if they start too late or too early."""
        if self._next is None:
            self._next = start
        ahead, before = start - self._next, self._ahead
        self._ahead = ahead
        lost = ahead - before > max(LOST * self._rate, 0.9 * samples.shape[1])
        if ahead > 0 and (lost or ahead > TOLERANCE * self._rate):
            self._ahead = 0
            silent = 128 if samples.dtype == np.uint8 else 0
            return np.pad(samples, ((0, 0), (ahead, 0)), constant_values=silent)
        return samples[:, -ahead:] if -ahead > TOLERANCE * self._rate else samples


def _is_adts(packet: bytes) -> bool:
    """Whether AAC begins with a header (ISO 13818-7, 6.2)."""
    return len(packet) > 7 and packet[0] == 0xFF and packet[1] & 0xF6 == 0xF0 and packet[2] >> 2 & 15 < 13


def _is_ac3(packet: bytes) -> bool:
    """Whether AC-3 begins with a header (ATSC A/52, 5.3.1)."""
    return len(packet) > 7 and packet[:2] == b"\x0b\x77" and packet[4] >> 6 < 3 and packet[4] & 63 < 38


def _is_eac3(packet: bytes) -> bool:
    return len(packet) > 7 and packet[:2] == b"\x0b\x77"


HEADERS: dict[str, Callable[[bytes], bool]] = {"aac": _is_adts, "ac3": _is_ac3, "eac3": _is_eac3}
"""For codecs whose packets MP4 and MOV examine: whether a packet begins as it must."""


def check_sound(stream: AudioStream) -> None:
    """Refuse sound of unknown rate, by which a muxer would divide.

    Raises:
        ValueError: the rate or the number of channels is not positive.
    """
    context = stream.codec_context
    if context is None or context.sample_rate < 1 or context.layout.nb_channels < 1:
        raise ValueError(f"expected a sample rate and channels, but track {stream.index} has none")


def len_of(layout: str) -> int:
    """Number of channels of a layout."""
    return av.AudioLayout(layout).nb_channels


def stated_layout(stream: AudioStream) -> str:
    """The layout of the channels; the usual one if the file states only their number."""
    layout = stream.codec_context.layout
    if layout.name.endswith("channels"):
        return LAYOUTS.get(layout.nb_channels, layout.name)
    return layout.name


def lasting(metadata: Mapping[str, str]) -> dict[str, str]:
    """The metadata that also holds for a copy, without sizes, encoder names and similar."""
    return {key: value for key, value in metadata.items() if not OUTDATED.fullmatch(key)}


def describe(copy: Stream, stream: Stream) -> None:
    """Copy language, title and disposition, such as default, forced or for the hearing impaired."""
    copy.metadata.update(lasting(stream.metadata))
    copy.disposition = stream.disposition


def timed_packets(timeline: Timeline, streams: Sequence[Stream]) -> Iterator[Packet]:
    """The packets of some streams in the order of the file that have a time."""
    for packet in timeline.packets(*streams):
        if packet.dts is None and packet.stream.type != "video":
            packet.dts = packet.pts  # the muxer works out those of pictures, which come in another order
        if packet.dts is not None or packet.pts is not None:
            yield packet


def shifted_chapters(reader: InputContainer, start: Fraction) -> list[Any]:
    """The chapters, with times from the source's start."""
    chapters = reader.chapters()
    for chapter in chapters:
        ticks = round(start / (chapter["time_base"] or 1))
        chapter["start"], chapter["end"] = max(0, chapter["start"] - ticks), max(0, chapter["end"] - ticks)
    return chapters
