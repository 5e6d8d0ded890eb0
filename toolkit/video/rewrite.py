"""A video with other pictures and everything else as it was: times, audio, subtitles, metadata."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike

import numpy as np

from toolkit.video.remux import Remuxer
from toolkit.video.upright import UprightPictures


class VideoRewriter(Remuxer):
    """Writes a video whose frames are given, with the other streams of a source.

    A context manager: the file appears under its own name when the block ends without an error, and what was there
    before stays until then. Frames keep their times to the tick of the source's clock, so a variable frame rate stays
    variable. H.264 in ``yuv420p``, limited range, BT.709, upright and with square pixels, as `read_frames` gives them;
    FFV1 in RGB where `lossless`. The pictures may have another size than the source's; to edit within a source's
    pictures use `toolkit.video.retouch.VideoRetoucher`. What is copied: see `Remuxer`.

    Args:
        source: the video that was read.
        target: the new file; its suffix chooses the container: ``.mp4``, ``.mov`` or ``.mkv``; lossless: ``.mkv`` or
            ``.mp4``. Matroska rounds times to milliseconds.
        crf: x264's constant rate factor, 0 (best) to 51.
        lossless: FFV1 instead of H.264.
        metadata: added to the source's own.
        stop_time: seconds at which audio and subtitles end, for a video that ends before its source; without chapters.

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
        stop_time: float | None = None,
    ):
        super().__init__(source, target, crf, lossless, metadata)
        self._pictures = UprightPictures(crf, lossless)
        if stop_time is not None:
            self._stop_time = stop_time

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
                height, width, _ = image.shape
                self._pictures.configure(self._stream.codec_context, width, height)
            self._encode(self._pictures.frame(image), time, ticks)
