"""What is damaged in a video, as its decoding shows, and notes that say so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.video.frame import VideoFrame

from toolkit.errors import InputError
from toolkit.video.container import ADVICE
from toolkit.video.notes import VideoNote
from toolkit.video.transport import lost_after
from toolkit.words import counted

APART = 1.0
"""Seconds between two places of damage, from which they are told apart."""
NAMED = 10
"""Places that get a note of their own."""
SENT = 300
"""Pictures that a decoder may hold back, many more than any does."""


@dataclass
class _Place:
    """Damage in consecutive frames, and pictures that are missing before it.

    Attributes:
        start, stop: first frame that may show errors, and the one after the last.
        begin, end: their times in seconds.
        missing: pictures that cannot be decoded.
        last: whether these are the last of the video.
    """

    start: int
    stop: int
    begin: float
    end: float
    missing: int
    last: bool = False

    @property
    def sentence(self) -> str:
        parts = []
        if self.missing:
            frame = f"after frame {self.start - 1}" if self.last else f"before frame {self.start}"
            where = f"{frame} ({self.begin:.2f} s)"
            verb = "was" if self.missing == 1 else "were"
            parts.append(f"{counted(self.missing, 'pictures')} {where} cannot be decoded and {verb} left out")
        if self.stop == self.start + 1:
            parts.append(f"frame {self.start} ({self.begin:.2f} s) is damaged and was kept as it decodes")
        elif self.stop > self.start:
            parts.append(
                f"frames {self.start} to {self.stop - 1} ({self.begin:.2f} s to {self.end:.2f} s) may show damage and "
                "were kept as they decode"
            )
        return "; ".join(parts)


class Damage:
    """Follows the decoding of a video and collects what is wrong with it.

    Damage to a frame can show in those that follow, until a key frame.

    Args:
        path: the video.
        strict: raise an error instead.
        joins: times in seconds at which recordings were joined, where a gap is no damage; may grow while reading.
    """

    def __init__(self, path: Path, strict: bool = False, joins: Sequence[Fraction] = ()):
        self._path, self._strict, self._joins = path, strict, joins
        self._places: list[_Place] = []
        self._open = False  # the last place may go on
        self._bad: set[int | None] = set()
        self._lost: list[int] = []
        self._sent: list[int] = []  # times of pictures that the decoder has not returned yet
        self._early: list[int] | None = []
        self.early = 0
        """Number of pictures before the first one that can be decoded, whose key frame is not in the file."""
        self._next_is_bad = False
        self._suspect = 0  # packets that are still near a wrong counter
        self._due: int | None = None  # the latest time that the next packet should have
        self._frames, self._time = 0, 0.0
        self._others: list[VideoNote] = []

    def resume(self, frames: int) -> None:
        """Decoding begins at a key frame after a number of frames."""
        self._frames, self._early = frames, None

    def packet(self, packet: av.Packet) -> None:
        """A packet that is to be decoded.

        Raises:
            InputError: it is damaged, if `strict`.
        """
        bad, self._next_is_bad = self._next_is_bad, False
        if packet.is_corrupt:
            shift = self._lack(packet)
            bad, self._next_is_bad = bad or shift == 0, shift == 1
            self._suspect = 3
        # Where a counter is wrong, whole pictures may be missing.
        late = packet.dts is not None and self._due is not None and packet.dts > self._due
        bad, self._suspect = bad or (late and self._suspect > 0 and not self._joined(packet)), self._suspect - 1
        self._due = packet.dts + 3 * packet.duration // 2 if packet.dts is not None and packet.duration else None
        if bad:
            self._refuse(f"is damaged or cut off at frame {self._frames}")
            self._bad.add(_ticks(packet))
        ticks = _ticks(packet)
        if self._early is not None and ticks is not None and not packet.is_discard:
            self._early.append(ticks)
        if packet.pts is not None and not packet.is_discard:
            self._sent = [*self._sent[-SENT:], packet.pts]

    def undecodable(self, packet: av.Packet | None, why: str) -> None:
        """The decoder refused a packet, or its last frames.

        Raises:
            InputError: if `strict`.
        """
        self._refuse(f"is damaged at frame {self._frames} ({why})")
        ticks = None if packet is None or packet.is_discard else _ticks(packet)
        if ticks is not None:
            self._lost.append(ticks)

    def frame(self, frame: VideoFrame, time: float) -> None:
        """A frame that was decoded, in order, and its time in seconds.

        Raises:
            InputError: it is damaged, if `strict`.
        """
        if frame.is_corrupt:
            self._refuse(f"is damaged at frame {self._frames}")
        ticks = _ticks(frame)
        bad = frame.is_corrupt or (ticks is not None and (ticks in self._bad or ticks in self._lost))
        passed = self._passed(frame)
        if self._early is not None:
            self._begin(ticks, time)
            passed = []
        missing = len({*passed, *(lost for lost in self._lost if ticks is None or lost < ticks)})
        self._lost = [lost for lost in self._lost if ticks is not None and lost > ticks]
        if bad or missing:
            place = self._place(time)
            place.missing += missing
            self._open = bad or not frame.key_frame
        elif frame.key_frame:
            self._open = False
        if self._open:
            self._places[-1].stop, self._places[-1].end = self._frames + 1, time
        self._frames, self._time = self._frames + 1, time

    def cut_off(self, lack: str) -> None:
        """The file ends before its last frame.

        Raises:
            InputError: if `strict`.
        """
        self._refuse(f"is cut off at frame {self._frames}: {lack}")
        sentence = f"the video is cut off at {self._time:.2f} s, after frame {self._frames - 1}: {lack}"
        if not any(note.kind == "cut off" for note in self._others):
            self._others.append(VideoNote("cut off", sentence))
        self._lost.clear()
        self._sent.clear()

    def finish(self) -> None:
        """The decoder returned its last frame.

        Raises:
            InputError: damaged pictures are missing at the end, if `strict`.
        """
        if any(self._is_damaged(sent) for sent in self._sent):
            self._lost = sorted({*self._lost, *self._sent})

    def notes(self, start: int = 0, stop: int | None = None) -> Iterator[VideoNote]:
        """What was found in frames `start` to `stop`."""
        if start == 0:
            yield from (note for note in self._others if note.kind == "late start")
        if self._lost and not self._open:
            place = self._place(self._time)
            place.last = place.start == self._frames
        if self._lost:
            self._places[-1].missing += len(self._lost)
            self._lost.clear()
        last = float("inf") if stop is None else stop
        places = [place for place in self._places if place.start < last and max(place.stop, place.start + 1) > start]
        for place in places[:NAMED]:
            yield VideoNote("damaged frames", place.sentence, place.start, max(place.stop, place.start + 1))
        if more := places[NAMED:]:
            sentence = (
                f"{counted(len(more), 'more places')} between {more[0].begin:.2f} s and {more[-1].end:.2f} s, frames "
                f"{more[0].start} to {more[-1].stop - 1}, may show damage"
            )
            yield VideoNote("damaged frames", sentence, more[0].start, max(more[-1].stop, more[-1].start + 1))
        yield from (note for note in self._others if note.kind == "cut off")

    def _passed(self, frame: VideoFrame) -> list[int]:
        """Pictures before this frame that the decoder left out because of damage, often without an error.

        Without damage, packets that give no picture are ordinary: hidden frames, and second fields.
        """
        if frame.pts is None:
            return []
        passed = [sent for sent in self._sent if sent < frame.pts]
        self._sent = [sent for sent in self._sent if sent > frame.pts]
        return passed if any(self._is_damaged(sent) for sent in passed) else []

    def _is_damaged(self, ticks: int) -> bool:
        return ticks in self._bad or ticks in self._lost

    def _joined(self, packet: av.Packet) -> bool:
        """Whether recordings were joined near a packet."""
        ticks = _ticks(packet)
        if ticks is None:
            return False
        return any(abs(float(join - ticks * packet.time_base)) < APART for join in self._joins)

    def _refuse(self, problem: str) -> None:
        if self._strict:
            raise InputError(f"{self._path} {problem}; {ADVICE}")

    def _lack(self, packet: av.Packet) -> int | None:
        """How many packets after this one data is missing; None if nothing is missing."""
        stream = packet.stream
        if stream.container.format.name != "mpegts" or packet.pos is None or packet.pos < 0:
            return 0
        return lost_after(self._path, packet.pos, stream.id)

    def _begin(self, ticks: int | None, time: float) -> None:
        """Note pictures before the first one that can be decoded."""
        early = [] if ticks is None or self._early is None else [one for one in self._early if one < ticks]
        self._early, self.early = None, len(early)
        if early and ticks is not None:
            self._lost = [lost for lost in self._lost if lost > ticks]
            sentence = (
                f"the first {counted(len(early), 'pictures')} cannot be decoded, because the key frame that they need "
                f"is missing; pictures begin at {time:.2f} s"
            )
            self._others.append(VideoNote("late start", sentence))

    def _place(self, time: float) -> _Place:
        """The place of damage that the next frame belongs to."""
        if not self._open and not (self._places and time - self._places[-1].end < APART):
            self._places.append(_Place(self._frames, self._frames, time, time, 0))
        return self._places[-1]


def _ticks(timed: av.Packet | VideoFrame) -> int | None:
    return timed.pts if timed.pts is not None else timed.dts
