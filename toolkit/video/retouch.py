"""Writes a video with some pixels changed and every other sample unchanged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from os import PathLike
from typing import NamedTuple

import numpy as np
from av.video.frame import VideoFrame

from toolkit.errors import UsageError
from toolkit.video.carrying import AudioMode, CarryingPlan
from toolkit.video.color import has_alpha
from toolkit.video.decode import frame_rate, shown_frames
from toolkit.video.encode import THREADS
from toolkit.video.geometry import Display
from toolkit.video.native import Box, NativePictures
from toolkit.video.remux import Remuxer
from toolkit.video.types import Frame
from toolkit.video.upright import UprightPictures


class Taken(NamedTuple):
    """A frame on its way through a `VideoRetoucher`.

    Attributes:
        frame: as of `read_frames`.
        decoded: its decoded form, which is changed when the frame is given back.
        display: how that is displayed.
    """

    frame: Frame
    decoded: VideoFrame
    display: Display


class VideoRetoucher(Remuxer):
    """Yields a video's frames and takes them back with changes.

    A context manager: the file gets its name when the block ends without an error, and an earlier file of that name
    stays until then::

        with VideoRetoucher("in.mp4", "out.mp4") as retoucher:
            for frame in retoucher:
                retoucher.put(edit(frame.image))

    Frames are those of `read_frames`: upright RGB. For each changed pixel, the decoded frame's luma sample and the
    chroma samples of its cell are replaced. All other samples reach the encoder as decoded, in the source's pixel
    format, size, matrix and range. The new file also keeps times to the tick, frame rate, colour tags, chroma siting,
    static HDR metadata, pixel aspect, rotation and mirroring, interlacing, metadata, and the streams that `Remuxer`
    copies.

    The codec is H.264 (libx264), or FFV1 if `lossless`, which preserves every sample exactly. Some things cannot be
    kept:

    - A pixel format that the encoder does not support becomes the one that loses least. For H.264, 12 bits become 10,
      4:4:0 becomes 4:4:4 and 4:1:1 becomes 4:2:2.
    - H.264 needs even sides in 4:2:0 and an even width in 4:2:2, so an odd side grows by one pixel that repeats the
      edge. FFV1 keeps every size.
    - RGB, palettes and transparency are written as in `VideoRewriter`: as displayed, on black, upright, BT.709;
      lossless as RGB.
    - Matroska rounds times to milliseconds. It starts at 0 with the earliest stream, and AAC sound starts early, so
      pictures and sound shift together by a few milliseconds. MP4 and MOV keep all times.
    - FFV1 cannot store static HDR metadata and interlacing. In Matroska it cannot store non-square pixels, which raises
      an error. In MP4 it cannot store chroma siting, and if one colour tag is set, the others are set too, to the
      values that players assume.
    - HDR video is shown tone mapped. Pixels that change by 32 levels or more get a standard-range value; smaller
      changes keep part of the highlights and colours beyond that range.

    Args:
        source: the video.
        target: the new file; its suffix selects the container: ``.mp4``, ``.mov`` or ``.mkv``; lossless: ``.mkv`` or
            ``.mp4``.
        crf: x264's constant rate factor, 0 (best) to 51.
        lossless: FFV1 instead of H.264.
        metadata: added to the source's metadata.
        stop: write only frames before this index, for a preview. Audio and subtitles end with them; chapters are left
            out.
        threads: threads of the encoder. Files are equal only for equal numbers.

    Raises:
        UsageError: source and target are the same file, a value is not allowed, or the container cannot hold a stream
            of the source or, for FFV1 in Matroska, its pixel aspect.
        InputError: the source cannot be read, is damaged or ends early; the message names the frame.
        ToolkitError: the file cannot be written, for example because the disk is full.
        ValueError: a frame was not put exactly once.
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
        carrying: CarryingPlan | AudioMode = "copy",
    ):
        if stop is not None and stop < 1:
            raise UsageError(f"expected stop to be at least 1, found {stop}")
        super().__init__(source, target, crf, lossless, metadata, threads, carrying)
        self._stop = stop
        self._taken: Taken | None = None
        self._pictures: NativePictures | UprightPictures | None = None
        self._exhausted = False

    def __iter__(self) -> Iterator[Frame]:
        """Upright RGB frames, equal to those of `read_frames`. `put` each frame before taking the next."""
        for taken in self.taken():
            self._taken = taken
            # A copy, because the caller may draw into the frame.
            yield replace(taken.frame, image=taken.frame.image.copy())
            if self._taken is not None:
                raise ValueError(f"expected frame {taken.frame.index} to be put before the next is taken")

    def put(self, image: np.ndarray) -> None:
        """Append the last frame that was taken, changed or not.

        Args:
            image: uint8 ``[H, W, 3]``, RGB, upright, as large as the frame.

        Raises:
            ValueError: no frame was taken since the last call, or the image has another type or size.
            ToolkitError: the file cannot be written.
        """
        if self._taken is None:
            raise ValueError("expected each frame to be put once, after it was taken, found one more")
        self.give(self._taken, image)
        self._taken = None

    def taken(self) -> Iterator[Taken]:
        """Frames as by iteration, for a caller who takes several, or in another thread, before giving them back.

        Each must be given back in order, by `give`, and the caller must not draw into them.
        """
        shown = shown_frames(self.source, self._source, self._video, stop=self._stop)
        for decoded, display, frame in shown:
            end = frame.time + (float(decoded.duration * self._clock) or 1 / frame_rate(self._video))
            yield Taken(frame, decoded, display)
        if self._stop is not None and frame.index + 1 == self._stop:
            self._stop_time = end
        self._exhausted = True

    def give(self, taken: Taken, image: np.ndarray, area: Box | None = None) -> None:
        """Append a frame that was taken.

        Args:
            taken: the frame.
            image: as for `put`; the frame's own image if nothing was changed.
            area: rows and columns outside which nothing was changed; if None, this is found out.

        Raises:
            ValueError: the image has another type or size.
            ToolkitError: the file cannot be written.
        """
        frame, decoded = taken.frame, taken.decoded
        if image.dtype != np.uint8 or image.shape != frame.image.shape:
            raise ValueError(f"expected uint8 {list(frame.image.shape)}, found {image.dtype} {list(image.shape)}")
        if self._pictures is None:
            self._pictures = self._begin(decoded, taken.display)
        ticks = round(frame.time / self._clock)
        if self._last is not None:
            ticks = max(ticks, self._last + 1)
        with self._reporting():
            if isinstance(self._pictures, NativePictures):
                picture = self._pictures.frame(decoded, frame.image, image, area)
            else:
                picture = self._pictures.frame(image)
            self._encode(picture, frame.time, ticks, decoded.duration)

    def _begin(self, first: VideoFrame, display: Display) -> NativePictures | UprightPictures:
        if first.format.is_rgb or has_alpha(first):
            upright = UprightPictures(self._crf, self._lossless)
            upright.configure(self._stream.codec_context, *display.shown_size)
            return upright
        scaled = (display.width, display.height) != (first.width, first.height)
        if scaled and self._lossless and self.target.suffix.lower() == ".mkv":
            raise UsageError(
                f"the pixels of {self.source.name} are not square, which a lossless .mkv file cannot store; name an "
                "output that ends in .mp4"
            )
        native = NativePictures(first, display, self._lossless)
        native.configure(self._stream, self._video, first, self._crf)
        return native

    def _ends_early(self) -> bool:
        return self._stop is not None

    def _check_complete(self) -> None:
        super()._check_complete()
        if self._taken is not None or not self._exhausted:
            raise ValueError("expected every frame to be put, but the block ended before the last one")
