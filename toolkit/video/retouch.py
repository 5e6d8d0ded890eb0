"""A video with some of its pixels changed and every other sample as it was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from os import PathLike

import numpy as np
from av.video.frame import VideoFrame

from toolkit.errors import UsageError
from toolkit.video.color import has_alpha
from toolkit.video.decode import frame_rate, shown_frames
from toolkit.video.encode import THREADS
from toolkit.video.geometry import Display
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

    The frames are those of `read_frames`: upright RGB. Where a pixel comes back changed, the samples of the decoded
    frame that lie under it are replaced, of chroma those whose cell has a changed pixel. Every other sample goes to the
    encoder as it was decoded, in the source's own pixel format, size, matrix and range. Kept too are the times to the
    tick, frame rate, colour tags, chroma siting, static HDR metadata, pixel aspect, rotation and mirroring,
    interlacing, metadata, and what `Remuxer` copies.

    H.264 (libx264), or FFV1 where `lossless`, which gives back every sample to the bit. What cannot be kept:

    - A pixel format that the encoder lacks becomes the one that loses least: for H.264 12 bits become 10, 4:4:0 becomes
      4:4:4, 4:1:1 becomes 4:2:2.
    - H.264 in 4:2:0 has even sides and in 4:2:2 an even width: an odd side is lengthened by one pixel that repeats the
      edge. FFV1 keeps every size.
    - RGB, palettes and transparency are written as `VideoRewriter` does it: as they are shown, on black, upright,
      BT.709; lossless as RGB.
    - Matroska rounds times to milliseconds, and begins at 0 with sound that begins earlier, as AAC does: pictures and
      sound move together by some milliseconds. MP4 and MOV keep all times.
    - FFV1 in Matroska cannot say that pixels are not square (refused), nor in either container static HDR metadata and
      interlacing; in MP4 nor where chroma lies, and of its colour tags, if any is stated, the others are stated too, as
      players assume them.
    - High dynamic range is shown tone mapped. A pixel that comes back changed by 32 levels or more gets a value of
      standard range; a smaller change keeps a part of the highlights and colours beyond it.

    Args:
        source: the video.
        target: the new file; its suffix chooses the container: ``.mp4``, ``.mov`` or ``.mkv``; lossless: ``.mkv`` or
            ``.mp4``.
        crf: x264's constant rate factor, 0 (best) to 51.
        lossless: FFV1 instead of H.264.
        metadata: added to the source's own.
        stop: only frames before this index, for a preview; audio and subtitles end with them, chapters are left out.
        threads: of the encoder. The same number gives the same file; another number, another file.

    Raises:
        UsageError: source and target are one file, a value does not fit, or the container cannot hold a stream of
            the source or, lossless in Matroska, its pixel aspect.
        InputError: the source cannot be read, or it breaks off or is damaged at a frame, which is named.
        ToolkitError: the file cannot be written, such as on a full disk.
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
        shown = shown_frames(self.source, self._source, self._video, stop=self._stop)
        for decoded, display, frame in shown:
            if self._pictures is None:
                self._begin(decoded, display)
            end = frame.time + (float(decoded.duration * self._clock) or 1 / frame_rate(self._video))
            # The caller may draw into the frame's own picture.
            self._decoded, self._frame = decoded, replace(frame, image=frame.image.copy())
            yield frame
            if self._frame is not None:
                raise ValueError(f"expected frame {frame.index} to be put before the next one is taken")
        if self._stop is not None and frame.index + 1 == self._stop:
            self._stop_time = end
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
        with self._reporting():
            if isinstance(self._pictures, NativePictures):
                picture = self._pictures.frame(decoded, frame.image, image)
            else:
                picture = self._pictures.frame(image)
            self._encode(picture, frame.time, ticks, decoded.duration)
        self._frame = self._decoded = None

    def _begin(self, first: VideoFrame, display: Display) -> None:
        if first.format.is_rgb or has_alpha(first):
            self._pictures = UprightPictures(self._crf, self._lossless)
            self._pictures.configure(self._stream.codec_context, *display.shown_size)
            return
        scaled = (display.width, display.height) != (first.width, first.height)
        if scaled and self._lossless and self.target.suffix.lower() == ".mkv":
            raise UsageError(
                f"the pixels of {self.source.name} are not square, which a lossless .mkv file cannot say; name an "
                "output that ends in .mp4"
            )
        self._pictures = NativePictures(first, display, self._lossless)
        self._pictures.configure(self._stream, self._video, first, self._crf)

    def _ends_early(self) -> bool:
        return self._stop is not None

    def _check_complete(self) -> None:
        super()._check_complete()
        if self._frame is not None or not self._exhausted:
            raise ValueError("expected every frame to be put, but the block ended before the last one")
