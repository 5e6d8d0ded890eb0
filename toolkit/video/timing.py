"""Times of a source: from its own start, and without the jumps at which recordings were joined."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction

import av
from av.container import InputContainer
from av.stream import Stream
from av.video.stream import VideoStream

from toolkit.video.notes import VideoNote
from toolkit.words import counted

LEAD_IN = Fraction(1, 2)
"""Seconds before zero at which sound may begin in an ordinary file: codecs such as AAC start with a few samples to
warm up."""
DELAY = 5
"""Seconds by which an edit list may delay an ordinary MP4 or MOV file; a longer one comes from a late clock."""
BACK, FORWARD = Fraction(1, 10), Fraction(10)
"""Steps of a clock in seconds, back and forward, that are not taken for a jump."""
NEAR = Fraction(5)
"""Seconds between streams that belong together."""
PATIENCE, HELD = Fraction(1), 32 << 20
"""Seconds and bytes after a jump in which the other streams should jump too."""
LATEST = 1 << 60
"""Ticks; later times are damaged."""
JOINED_FORMATS = {"mpegts", "mpeg"}
"""Recordings that may be joined end to end. In others, a jump forward is a picture that is shown for long."""


def start_of(container: InputContainer, video: VideoStream) -> Fraction:
    """Seconds that the source's clock shows at its start, where the times of a new video begin.

    It is the earliest start of the pictures and of all sound, so that both stay in step. It is 0 for files whose clock
    begins at zero, even if sound begins slightly before, and for MP4 and MOV files that delay their start a little;
    only a lone fragment of such a file has a clock of its own.
    """
    streams = [video, *container.streams.audio]
    starts = [
        stream.start_time * stream.time_base
        for stream in streams
        if stream.start_time is not None and stream.time_base is not None
    ]
    start = min(starts, default=Fraction(0))
    delay = DELAY if "mp4" in container.format.name and video.frames else 0
    ordinary = (video.start_time or 0) >= 0 and -LEAD_IN <= start <= delay
    return Fraction(0) if ordinary else start


@dataclass
class _Clock:
    """The last time that a stream's clock showed in seconds, its usual step, and the part of the source it is in."""

    part: int
    last: Fraction
    step: Fraction


@dataclass
class _Jump:
    """A jump of a stream's clock whose meaning is not known yet.

    Attributes:
        index: of the stream.
        before: its clock before the jump.
        first: the first time after it.
        shown: when that packet is presented.
        shifts: for each stream that jumped, by how much to shift it so that it goes on without a gap.
    """

    index: int
    before: _Clock
    first: Fraction
    shown: Fraction
    shifts: dict[int, Fraction] = field(default_factory=dict)


class Timeline:
    """Reads a source's packets, with times that begin at 0 and never jump back.

    Where recordings were joined, clocks begin again. All streams are then shifted by the same time, so that they stay
    in step, go on without a gap, and do not overlap. Whoever reads the same file gets the same times, whichever streams
    it asks for. A single wrong time is replaced by the expected one. Long gaps stay if another stream fills them, or if
    the format is not one that is joined end to end.

    Args:
        container: an open file, at its start.
        video: the stream with the pictures.

    Attributes:
        origin: seconds of the source's clock at time 0; see `start_of`.
        joins: times in seconds, in the result, of the joins met so far.
    """

    def __init__(self, container: InputContainer, video: VideoStream):
        self.origin = start_of(container, video)
        self.joins: list[Fraction] = []
        self._container = container
        self._paced: dict[int, Stream] = {stream.index: stream for stream in (video, *container.streams.audio)}
        self._joined = bool(JOINED_FORMATS.intersection(container.format.name.split(",")))
        self._clocks: dict[int, _Clock] = {}
        self._shifts, self._firsts = [-self.origin], [self.origin]
        self._jump: _Jump | None = None
        self._held: list[tuple[av.Packet, int]] = []
        self._bytes = 0

    def packets(self, *streams: Stream) -> Iterator[av.Packet]:
        """Packets of these streams in the file's order, then an empty one for each; call it once.

        ``pts`` and ``dts`` are shifted; they remain in the stream's time base.
        """
        wanted = {stream.index for stream in streams}
        read = self._paced | {stream.index: stream for stream in streams}
        for packet in self._container.demux(*read.values()):
            if packet.size:
                part = self._part(packet)  # may change what is held
                self._held.append((packet, part))
                self._bytes += packet.size
                if self._jump is not None and not self._decided(self._jump):
                    continue
            self._settle()
            for held, part in self._held:
                if held.stream_index in wanted:
                    yield self._shifted(held, part)
            self._held.clear()
            self._bytes = 0
            if not packet.size and packet.stream_index in wanted:
                yield packet

    @property
    def end(self) -> Fraction:
        """Seconds at which the packets that were read so far end."""
        ends = (clock.last + clock.step + self._shifts[clock.part] for clock in self._clocks.values())
        return max(ends, default=Fraction(0))

    def notes(self, start: float = 0.0) -> Iterator[VideoNote]:
        """One note on the joins met so far, from a time in seconds on, if there are any."""
        joins = [join for join in self.joins if join >= start]
        if joins:
            first, *more = joins
            others = f" and {counted(len(more), 'more places')}" if more else ""
            sentence = f"the clock jumps at {float(first):.2f} s{others}, where recordings were joined"
            yield VideoNote("times repaired", f"{sentence}; times were made to go on without a gap")

    def _shifted(self, packet: av.Packet, part: int) -> av.Packet:
        ticks = round(self._shifts[part] / packet.time_base)
        for name in ("dts", "pts"):
            time = getattr(packet, name)
            if time is not None and abs(time + ticks) > LATEST:
                setattr(packet, name, None)
            elif time is not None and ticks:
                setattr(packet, name, time + ticks)
        return packet

    def _part(self, packet: av.Packet) -> int:
        """The part of the source that a packet belongs to."""
        clock = self._clocks.get(packet.stream_index)
        # Frames that an edit list hides do not count.
        if packet.dts is None or packet.is_discard or packet.stream_index not in self._paced:
            return len(self._shifts) - 1 if clock is None else clock.part
        when, duration = packet.dts * packet.time_base, (packet.duration or 0) * packet.time_base
        if clock is None:
            part = len(self._shifts) - (self._jump is None)
            self._clocks[packet.stream_index] = _Clock(part, when, duration or Fraction(1, 25))
            return part
        ahead = when - clock.last
        returns = self._jump is not None and self._jump.index == packet.stream_index and ahead > BACK + 3 * clock.step
        if returns or not -BACK <= ahead <= FORWARD:
            shown = when if packet.pts is None else packet.pts * packet.time_base
            self._met_jump(packet.stream_index, clock, when, shown)
        elif ahead > 0:
            clock.step = duration or ahead
        clock.last = when
        return clock.part

    def _met_jump(self, index: int, clock: _Clock, when: Fraction, shown: Fraction) -> None:
        jump = self._jump
        if jump is not None and jump.index == index:
            if abs(when - jump.before.last - jump.before.step) <= PATIENCE:
                self._correct(jump, clock)
                return
            self._settle()
        newest = len(self._shifts) - (self._jump is None)
        first = self._firsts[-1]
        if clock.part == newest or abs(when - first) > NEAR:
            self._settle()
            newest = len(self._shifts)
            self._jump = _Jump(index, replace(clock), when, shown)
            self._firsts.append(when)
        if self._jump is not None:
            self._jump.shifts[index] = clock.last + clock.step + self._shifts[clock.part] - when
        clock.part = newest

    def _correct(self, jump: _Jump, clock: _Clock) -> None:
        """The clock is back after a few wrong times: replace these."""
        wrong = [packet for packet, part in self._held if packet.stream_index == jump.index and part == clock.part]
        for number, packet in enumerate(wrong, 1):
            dts = round((jump.before.last + number * jump.before.step) / packet.time_base)
            packet.pts, packet.dts = None if packet.pts is None else dts + packet.pts - (packet.dts or 0), dts
        self._held = [(packet, jump.before.part if packet in wrong else part) for packet, part in self._held]
        clock.part, self._jump = jump.before.part, None
        self._firsts.pop()

    def _decided(self, jump: _Jump) -> bool:
        """Whether enough packets were seen to tell what a jump means."""
        opener = self._clocks[jump.index]
        waiting = [index for index, clock in self._clocks.items() if clock.part == jump.before.part]
        return not waiting or opener.last - jump.first > PATIENCE or self._bytes > HELD

    def _settle(self) -> None:
        """Decide what a jump means, and by how much to shift what follows."""
        jump, self._jump = self._jump, None
        if jump is None:
            return
        old = self._shifts[jump.before.part]
        others = [clock for index, clock in self._clocks.items() if index not in jump.shifts]
        lively = [clock for clock in others if clock.part == jump.before.part and jump.before.last - clock.last < NEAR]
        forward = jump.first > jump.before.last
        if forward:
            honest = not self._joined or any(clock.last >= jump.first - NEAR for clock in lively)
        else:
            honest = any(clock.last > jump.before.last + PATIENCE / 2 for clock in lively)
        shift = old if honest else max(jump.shifts.values())
        if not honest:
            self.joins.append(jump.shown + shift)
        self._shifts.append(shift)
