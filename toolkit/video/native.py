"""Changed pixels put back into a decoder's frame; every other sample stays as it was decoded."""

from __future__ import annotations

import av
import cv2
import numpy as np
from av.codec.codec import find_best_pix_fmt_of_list
from av.sidedata.sidedata import Type
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from av.video.stream import VideoStream

from toolkit.video.color import hdr_transfer, matrix_of, range_of
from toolkit.video.geometry import Display
from toolkit.video.planes import planes_of
from toolkit.video.siting import chroma_siting
from toolkit.video.x264 import interlacing, mastering, x264_options

MARGIN = 16
"""Pixels around the touched box that are converted with it: a multiple of any chroma cell, more than a filter sees."""
FADE = 32.0
"""A change of this many levels of RGB replaces a sample wholly; a smaller one keeps a part of what conversion to RGB
lost: finer steps, chroma detail, highlights and colours beyond standard range. So a soft edge stays soft."""
UNSPECIFIED = 2
USUAL_COLOURS = {
    Colorspace.ITU709: (1, 1, 1),
    Colorspace.FCC: (4, 4, 4),
    Colorspace.ITU601: (6, 6, 6),
    Colorspace.SMPTE240M: (7, 7, 7),
    Colorspace.BT2020: (9, 9, 14),
}
"""Matrix, primaries and transfer (ITU-T H.273) that go with one of swscale's matrices."""


def planar_format(name: str, encoder: str) -> str:
    """The encoder's planar YUV or grey pixel format that is `name` or loses least of it."""
    formats = [format.name for format in av.codec.Codec(encoder, "w").video_formats]
    planar = [
        format
        for format in formats
        if format.startswith(("yuv", "gray")) and not format.startswith(("yuva", "yuvj", "grayf"))
    ]
    # `yuvj420p` is `yuv420p` with full range, which is a tag of its own.
    return find_best_pix_fmt_of_list(planar, name.replace("yuvj", "yuv"))[0].name


class NativePictures:
    """A video's decoded frames in the form that its new encoder takes, with changes of their RGB pictures put in.

    Args:
        first: the first decoded frame; it says the format of all. A later frame of another size, pixel format, matrix
            or range is converted to it.
        display: how `first` is shown.
        lossless: for FFV1 instead of libx264.
    """

    def __init__(self, first: VideoFrame, display: Display, lossless: bool):
        self._display, self._lossless = display, lossless
        self._pix_fmt = planar_format(first.format.name, "ffv1" if lossless else "libx264")
        self._matrix, self._range, self._transfer = matrix_of(first), range_of(first), hdr_transfer(first)
        self._width, self._height = first.width, first.height
        components = VideoFormat(self._pix_fmt, 64, 64).components
        self._peak = (1 << components[0].bits) - 1
        self._cells = [(64 // part.height, 64 // part.width) for part in components]
        # libx264 takes whole chroma cells only.
        rows, columns = (1, 1) if lossless else self._cells[-1]
        self._padding = -self._height % rows, -self._width % columns
        # One for each kind of conversion, since it keeps swscale's tables for the last one.
        self._adapting, self._patching = VideoReformatter(), VideoReformatter()

    def configure(self, stream: VideoStream, source: VideoStream, first: VideoFrame, crf: float) -> None:
        """Prepare the encoder: format, colour tags, pixel aspect, rotation and field order of the source."""
        context = stream.codec_context
        context.width, context.height = self._width + self._padding[1], self._height + self._padding[0]
        context.pix_fmt = self._pix_fmt
        stated = first.color_range or first.format.name.startswith("yuvj")
        context.color_range = int(self._range) if stated else int(ColorRange.UNSPECIFIED)
        names = "colorspace", "color_primaries", "color_trc"
        colours = [int(getattr(first, name)) for name in names]
        if self._lossless and "mp4" in stream.container.format.name and (stated or set(colours) != {UNSPECIFIED}):
            # FFV1's tags lie in the container; FFmpeg writes MP4's box of them whole or not at all.
            usual = USUAL_COLOURS[self._matrix]
            colours = [own if own != UNSPECIFIED else other for own, other in zip(colours, usual, strict=True)]
        for name, value in zip(names, colours, strict=True):
            setattr(context, name, value)
        if source.sample_aspect_ratio:
            context.sample_aspect_ratio = source.sample_aspect_ratio
        matrix = first.side_data.get(Type.DISPLAYMATRIX)
        if matrix is not None:
            stream.set_display_matrix(np.frombuffer(bytes(matrix), np.int32).tolist())
        options = {} if self._lossless else x264_options(crf, *interlacing(first, source), *mastering(first))
        siting = chroma_siting(first, source)
        context.options = {**options, "chroma_sample_location": siting} if siting else options

    def frame(self, decoded: VideoFrame, before: np.ndarray, after: np.ndarray) -> VideoFrame:
        """The frame to encode.

        Args:
            decoded: as the decoder gave it; it may be written to.
            before: its upright RGB picture, uint8 ``[H, W, 3]``.
            after: the same with changes.
        """
        native = self._adapt(decoded)
        box = _touched_box(before, after)
        if box is not None:
            native.make_writable()
            self._patch(native, *self._stored(before, after, box))
        return self._pad(native) if any(self._padding) else native

    def _adapt(self, decoded: VideoFrame) -> VideoFrame:
        here = (decoded.width, decoded.height, decoded.format.name, matrix_of(decoded), range_of(decoded))
        if here != (self._width, self._height, self._pix_fmt, self._matrix, self._range):
            decoded = self._adapting.reformat(
                decoded,
                width=self._width,
                height=self._height,
                format=self._pix_fmt,
                src_colorspace=here[3],
                src_color_range=here[4],
                dst_colorspace=self._matrix,
                dst_color_range=self._range,
                interpolation=Interpolation.BICUBIC | Interpolation.ACCURATE_RND,
                threads=1,
            )
        return decoded

    def _pad(self, frame: VideoFrame) -> VideoFrame:
        padded = VideoFrame(self._width + self._padding[1], self._height + self._padding[0], self._pix_fmt)
        for here, there in zip(planes_of(frame), planes_of(padded), strict=True):
            rows, columns = there.shape[0] - here.shape[0], there.shape[1] - here.shape[1]
            there[:] = np.pad(here, ((0, rows), (0, columns)), mode="edge")
        return padded

    def _stored(
        self, before: np.ndarray, after: np.ndarray, box: tuple[slice, slice]
    ) -> tuple[np.ndarray, np.ndarray, slice, slice]:
        """Two pictures and a box as the pixels are stored: unturned and unscaled; the box as rows and columns."""
        inside = np.zeros(before.shape[:2], np.uint8)
        inside[box] = 1
        before, after, inside = (self._display.unturn(array) for array in (before, after, inside))
        if before.shape[:2] != (self._height, self._width):
            size = (self._width, self._height)
            before, after = (cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in (before, after))
            # The area's share, so that the smallest one counts.
            inside = cv2.resize(inside.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0
        return before, after, _extent(inside.any(axis=1)), _extent(inside.any(axis=0))

    def _patch(self, native: VideoFrame, before: np.ndarray, after: np.ndarray, rows: slice, columns: slice) -> None:
        """Replace the samples of `native` in whose cell a pixel differs; outside rows and columns none does."""
        top, left = (max(0, extent.start // MARGIN * MARGIN - MARGIN) for extent in (rows, columns))
        crop = np.s_[top : rows.stop + MARGIN, left : columns.stop + MARGIN]
        before, after = (np.ascontiguousarray(image[crop]) for image in (before, after))
        # Many times as fast as numpy's maximum over an axis of three.
        red, green, blue = cv2.split(cv2.absdiff(before, after))
        change = cv2.max(cv2.max(red, green), blue)
        samples = zip(planes_of(native), self._samples(before), self._samples(after), self._cells, strict=True)
        for plane, old, new, (high, wide) in samples:
            part = plane[top // high :, left // wide :][: len(new), : new.shape[1]]
            amount = _largest_in_cell(change, high, wide)
            kept = np.maximum(1 - amount.astype(np.float32) / FADE, 0)
            value = np.rint(new + kept * (part.astype(np.float32) - old))
            np.copyto(part, np.clip(value, 0, self._peak).astype(part.dtype), where=amount > 0)

    def _samples(self, image: np.ndarray) -> list[np.ndarray]:
        """The planes of an RGB picture in the format, matrix, range and transfer of the video."""
        pix_fmt = "rgb24"
        if self._transfer:
            from toolkit.video.hdr import from_sdr

            image, pix_fmt = from_sdr(image, self._transfer), "rgb48le"
        frame = self._patching.reformat(
            VideoFrame.from_ndarray(image, pix_fmt),
            format=self._pix_fmt,
            src_color_range=ColorRange.JPEG,
            dst_colorspace=self._matrix,
            dst_color_range=self._range,
            interpolation=Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP,
            threads=1,
        )
        return planes_of(frame)


def _touched_box(before: np.ndarray, after: np.ndarray) -> tuple[slice, slice] | None:
    """Rows and columns outside of which two pictures ``[H, W, 3]`` are equal; None where they are equal everywhere."""
    differs = (before != after).reshape(len(before), -1)
    rows = differs.any(axis=1)
    if not rows.any():
        return None
    rows = _extent(rows)
    columns = _extent(differs[rows].any(axis=0))
    return rows, slice(columns.start // 3, -(-columns.stop // 3))


def _extent(flags: np.ndarray) -> slice:
    """From the first to the last set flag."""
    where = np.flatnonzero(flags)
    return slice(int(where[0]), int(where[-1]) + 1)


def _largest_in_cell(values: np.ndarray, high: int, wide: int) -> np.ndarray:
    """The largest of each cell of ``high`` x ``wide`` values; cells at the end may be partial."""
    if (high, wide) == (1, 1):
        return values
    height, width = values.shape
    whole = np.pad(values, ((0, -height % high), (0, -width % wide)))
    return whole.reshape(whole.shape[0] // high, high, -1, wide).max(axis=(1, 3))
