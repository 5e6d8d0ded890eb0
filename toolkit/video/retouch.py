"""A video with some of its pixels changed and every other sample as it was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from os import PathLike

import numpy as np
from av.video.frame import VideoFrame

from toolkit.errors import InputError, UsageError
from toolkit.video.color import RGBConverter, has_alpha
from toolkit.video.container import ADVICE, DAMAGE, reason
from toolkit.video.decode import Clock, decode, pixel_aspect
from toolkit.video.encode import THREADS
from toolkit.video.geometry import Display, display_of
from toolkit.video.native import NativePictures
from toolkit.video.remux import Remuxer
from toolkit.video.types import Frame
from toolkit.video.upright import UprightPictures


class VideoRetoucher(Remuxer):
    """Gives a video's frames and takes them back with changes.

    A context manager: the file appears under its own name when the block ends without an error, and what was there
    before stays until then::

        with VideoRetoucher("in.mp4", "out.mp4") as retoucher:
            for frame in retoucher:
                retoucher.put(edit(frame.image))
    """

    def __init__(
        self,
        source: str | PathLike,
        target: str | PathLike,
        crf: float = 16,
        lossless: bool = False,
        metadata: Mapping[str, str] | None = None,
        stop: int | None = None,
        threads: int = THREADS,
    ):
        if stop is not None and stop < 1:
            raise UsageError(f"expected to stop after frame 1 or later, found stop={stop}")
        super().__init__(source, target, crf, lossless, metadata, threads)
        self._stop = stop
        self._decoded: VideoFrame | None = None
        self._frame: Frame | None = None
        self._pictures: NativePictures | UprightPictures | None = None
        self._exhausted = False

    def __iter__(self) -> Iterator[Frame]:
        """Upright RGB frames, equal to those of `read_frames`; each is to be `put` before the next."""
        converter, display, clock = RGBConverter(), None, Clock(self._video)
        packets = self._source.demux(self._video)
        for index, decoded in enumerate(decode(self.source, self._source, self._video, packets)):
            time = clock.time(decoded)
            display = display or display_of(decoded, pixel_aspect(self._video), None)
            try:
                image = display.turn(converter.convert(decoded, display.width, display.height))
            except DAMAGE as error:
                raise InputError(
                    f"Frame {index} of {self.source} cannot be converted to RGB ({reason(error)}); {ADVICE}"
                ) from None
            if self._pictures is None:
                self._begin(decoded, display)
            # The caller may draw into the frame's own picture.
            self._decoded, self._frame = decoded, Frame(index, time, image.copy())
            yield Frame(index, time, image)
            if self._frame is not None:
                raise ValueError(f"expected frame {index} to be put before the next one is taken")
            if self._stop is not None and index + 1 >= self._stop:
                self._stop_time = time + self._shown_for(decoded)
                break
        self._exhausted = True

    def put(self, image: np.ndarray) -> None:
        """Append the frame that was given last, with changes or without.

        Args:
            image: uint8 ``[H, W, 3]``, RGB, upright, of the frame's size.
        """
        if self._frame is None:
            raise ValueError("expected each frame to be put once, after it was given, found another one")
        frame, decoded = self._frame, self._decoded
        if image.dtype != np.uint8 or image.shape != frame.image.shape:
            raise ValueError(f"expected uint8 {list(frame.image.shape)}, found {image.dtype} {list(image.shape)}")
        ticks = round(frame.time / self._clock)
        if self._last is not None:
            ticks = max(ticks, self._last + 1)
        duration = decoded.duration
        with self._reporting():
            if isinstance(self._pictures, NativePictures):
                picture = self._pictures.frame(decoded, frame.image, image)
            else:
                picture = self._pictures.frame(image)
            self._encode(picture, frame.time, ticks, duration)
        self._frame = self._decoded = None

    def _begin(self, first: VideoFrame, display: Display) -> None:
        if first.format.is_rgb or has_alpha(first):
            self._pictures = UprightPictures(self._crf, self._lossless)
            self._pictures.configure(self._stream.codec_context, *display.shown_size)
            return
        self._pictures = NativePictures(first, display, self._lossless)
        self._pictures.configure(self._stream, self._video, first, self._crf)

    def _shown_for(self, decoded: VideoFrame) -> float:
        return float(decoded.duration * self._clock)

    def _ends_early(self) -> bool:
        return self._stop is not None

    def _check_complete(self) -> None:
        super()._check_complete()
        if self._frame is not None or not self._exhausted:
            raise ValueError("expected every frame to be put, but the block ended before the last one")
