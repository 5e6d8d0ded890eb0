"""Writes a video with new pictures; times, audio, subtitles and metadata stay the same."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike

import numpy as np

from toolkit.video.carrying import AudioMode, CarryingPlan
from toolkit.video.remux import Remuxer
from toolkit.video.upright import UprightPictures


class VideoRewriter(Remuxer):
    """Writes new frames together with the other streams of a source.

    A context manager: the file gets its name when the block ends without an error, and an earlier file of that name
    stays until then. Frames keep their times to the tick of the source's clock, so a variable frame rate stays
    variable. Frames are written as `read_frames` returns them, upright and with square pixels: as H.264 in
    ``yuv420p``, limited range, BT.709, or if `lossless` as FFV1 in RGB. They may differ in size from the source's. To
    change pixels within the source's own pictures, use `toolkit.video.retouch.VideoRetoucher`. `Remuxer` copies the
    other streams.

    Args:
        source: the video that the frames come from.
        target: the new file; its suffix selects the container: ``.mp4``, ``.mov`` or ``.mkv``; lossless: ``.mkv`` or
            ``.mp4``. Matroska rounds times to milliseconds.
        crf: x264's constant rate factor, 0 (best) to 51.
        lossless: FFV1 instead of H.264.
        metadata: added to the source's metadata.
        stop_time: time in seconds at which audio and subtitles end, for a video shorter than its source. Chapters are
            then left out.

    Raises:
        UsageError: source and target are the same file, a value is not allowed, or the container cannot hold a stream
            of the source.
        InputError: the source cannot be read.
        ToolkitError: the file cannot be written, for example because the disk is full.
    """

    def __init__(
        self,
        source: str | PathLike,
        target: str | PathLike,
        crf: float = 16,
        lossless: bool = False,
        metadata: Mapping[str, str] | None = None,
        stop_time: float | None = None,
        carrying: CarryingPlan | AudioMode = "copy",
    ):
        super().__init__(source, target, crf, lossless, metadata, carrying=carrying)
        self._pictures = UprightPictures(crf, lossless)
        if stop_time is not None:
            self._stop_time = stop_time

    def write(self, image: np.ndarray, time: float) -> None:
        """Append a frame.

        Args:
            image: uint8 ``[H, W, 3]``, RGB, as large as the first frame.
            time: presentation time in seconds, later than that of the previous frame.

        Raises:
            ValueError: the time is not later than the previous one.
            ToolkitError: the file cannot be written.
        """
        ticks = round(time / self._clock)
        if self._last is not None and ticks <= self._last:
            raise ValueError(
                f"times must increase by at least one tick of {self._clock} s, found {time} after tick {self._last}"
            )
        with self._reporting():
            if self._last is None:
                height, width, _ = image.shape
                self._pictures.configure(self._stream.codec_context, width, height)
            self._encode(self._pictures.frame(image), time, ticks)
