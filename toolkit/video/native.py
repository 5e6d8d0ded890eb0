"""Writes changed pixels into a decoded frame; all other samples stay as decoded."""

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
from toolkit.video.planes import planes_of, side_data
from toolkit.video.siting import chroma_siting
from toolkit.video.x264 import interlacing, mastering, x264_options

MARGIN = 16
"""Pixels around the changed box that are converted with it: a multiple of every chroma cell, wider than filters."""
FADE = 32.0
"""A change of this many RGB levels replaces a sample entirely. A smaller change keeps part of the information that the
conversion to RGB lost: finer steps, chroma detail, highlights and colours beyond standard range. Feathered edges
therefore stay smooth."""
Box = tuple[slice, slice]
"""Rows and columns."""
UNSPECIFIED = 2
USUAL_COLOURS = {
    Colorspace.ITU709: (1, 1, 1),
    Colorspace.FCC: (4, 4, 4),
    Colorspace.ITU601: (6, 6, 6),
    Colorspace.SMPTE240M: (7, 7, 7),
    Colorspace.BT2020: (9, 9, 14),
}
"""Usual matrix, primaries and transfer (ITU-T H.273) for each of swscale's matrices."""


def planar_format(name: str, encoder: str) -> str:
    """The encoder's planar YUV or grey pixel format that equals `name` or loses least."""
    formats = [format.name for format in av.codec.Codec(encoder, "w").video_formats]
    planar = [
        format
        for format in formats
        if format.startswith(("yuv", "gray")) and not format.startswith(("yuva", "yuvj", "grayf"))
    ]
    # `yuvj420p` is `yuv420p` with full range, which is tagged separately.
    best, _ = find_best_pix_fmt_of_list(planar, name.replace("yuvj", "yuv"))
    assert best is not None  # the list is not empty
    return best.name


class NativePictures:
    """Converts decoded frames for a new encoder and applies the changes made to their RGB pictures.

    Args:
        first: the first decoded frame, which determines the format. Later frames of another size, pixel format, matrix
            or range are converted.
        display: how `first` is displayed.
        lossless: prepare for FFV1 instead of libx264.
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
        # One per conversion, because each keeps swscale's tables of its last one only.
        self._adapting, self._patching = VideoReformatter(), VideoReformatter()

    def configure(self, stream: VideoStream, source: VideoStream, first: VideoFrame, crf: float) -> None:
        """Set up the encoder with the source's format, colour tags, pixel aspect, rotation and field order."""
        context = stream.codec_context
        context.width, context.height = self._width + self._padding[1], self._height + self._padding[0]
        context.pix_fmt = self._pix_fmt
        stated = first.color_range or first.format.name.startswith("yuvj")
        context.color_range = int(self._range) if stated else int(ColorRange.UNSPECIFIED)
        names = "colorspace", "color_primaries", "color_trc"
        colours = [int(getattr(first, name)) for name in names]
        if self._lossless and "mp4" in stream.container.format.name and (stated or set(colours) != {UNSPECIFIED}):
            # FFV1's tags are stored in the container, and FFmpeg writes MP4's tag box completely or not at all.
            usual = USUAL_COLOURS[self._matrix]
            colours = [own if own != UNSPECIFIED else other for own, other in zip(colours, usual, strict=True)]
        for name, value in zip(names, colours, strict=True):
            setattr(context, name, value)
        if source.sample_aspect_ratio:
            context.sample_aspect_ratio = source.sample_aspect_ratio
        matrix = side_data(first, Type.DISPLAYMATRIX)
        if matrix is not None:
            stream.set_display_matrix(np.frombuffer(matrix, np.int32).tolist())
        options = {} if self._lossless else x264_options(crf, *interlacing(first, source), *mastering(first))
        siting = chroma_siting(first, source)
        context.options = {**options, "chroma_sample_location": siting} if siting else options

    def frame(self, decoded: VideoFrame, before: np.ndarray, after: np.ndarray, area: Box | None = None) -> VideoFrame:
        """The frame to encode.

        Args:
            decoded: the decoded frame; it may be modified.
            before: its upright RGB picture, uint8 ``[H, W, 3]``.
            after: the picture with changes; `before` itself if there are none.
            area: rows and columns outside which there are none; None for the whole picture.
        """
        native = self._adapt(decoded)
        box = None if after is before else _changed_box(before, after, area or np.s_[:, :])
        if box is not None:
            native.make_writable()
            self._patch(native, *self._stored(before, after, box))
        return self._pad(native) if any(self._padding) else native

    def _adapt(self, decoded: VideoFrame) -> VideoFrame:
        matrix, levels = matrix_of(decoded), range_of(decoded)
        found = decoded.width, decoded.height, decoded.format.name, matrix, levels
        if found != (self._width, self._height, self._pix_fmt, self._matrix, self._range):
            decoded = self._adapting.reformat(
                decoded,
                width=self._width,
                height=self._height,
                format=self._pix_fmt,
                src_colorspace=matrix,
                src_color_range=levels,
                dst_colorspace=self._matrix,
                dst_color_range=self._range,
                interpolation=Interpolation.BICUBIC | Interpolation.ACCURATE_RND,
                threads=1,
            )
        return decoded

    def _pad(self, frame: VideoFrame) -> VideoFrame:
        padded = VideoFrame(self._width + self._padding[1], self._height + self._padding[0], self._pix_fmt)
        for plane, larger in zip(planes_of(frame), planes_of(padded), strict=True):
            rows, columns = larger.shape[0] - plane.shape[0], larger.shape[1] - plane.shape[1]
            larger[:] = np.pad(plane, ((0, rows), (0, columns)), mode="edge")
        return padded

    def _stored(self, before: np.ndarray, after: np.ndarray, box: Box) -> tuple[np.ndarray, np.ndarray, slice, slice]:
        """Two pictures and a box in the stored orientation and size; the box as rows and columns."""
        inside = np.zeros(before.shape[:2], np.uint8)
        inside[box] = 1
        before, after, inside = (self._display.unturn(array) for array in (before, after, inside))
        if before.shape[:2] != (self._height, self._width):
            size = (self._width, self._height)
            before, after = (cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in (before, after))
            # Any share of the box, however small, marks a stored pixel.
            inside = cv2.resize(inside.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0
        return before, after, _extent(inside.any(axis=1)), _extent(inside.any(axis=0))

    def _patch(self, native: VideoFrame, before: np.ndarray, after: np.ndarray, rows: slice, columns: slice) -> None:
        """Replace samples of `native` whose cell contains a changed pixel; all of these lie in `rows` and `columns`."""
        top, left = (max(0, extent.start // MARGIN * MARGIN - MARGIN) for extent in (rows, columns))
        crop = np.s_[top : rows.stop + MARGIN, left : columns.stop + MARGIN]
        before, after = (np.ascontiguousarray(image[crop]) for image in (before, after))
        # Many times faster than numpy's maximum over an axis of length three.
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


def _changed_box(before: np.ndarray, after: np.ndarray, area: Box) -> Box | None:
    """Rows and columns outside which two pictures ``[H, W, 3]`` are equal; None if they are equal everywhere.

    Args:
        before, after: the pictures.
        area: rows and columns outside which they are known to be equal.
    """
    top, left = (extent.start or 0 for extent in area)
    before, after = before[area], after[area]
    differs = (before != after).reshape(len(before), -1)
    changed = differs.any(axis=1)
    if not changed.any():
        return None
    rows = _extent(changed)
    columns = _extent(differs[rows].any(axis=0))
    return (
        slice(top + rows.start, top + rows.stop),
        slice(left + columns.start // 3, left - (-columns.stop // 3)),
    )


def _extent(flags: np.ndarray) -> slice:
    """From the first to the last set flag."""
    where = np.flatnonzero(flags)
    return slice(int(where[0]), int(where[-1]) + 1)


def _largest_in_cell(values: np.ndarray, high: int, wide: int) -> np.ndarray:
    """The largest value of each cell of ``high`` x ``wide`` values; cells at the end may be partial."""
    if (high, wide) == (1, 1):
        return values
    height, width = values.shape
    whole = np.pad(values, ((0, -height % high), (0, -width % wide)))
    return whole.reshape(whole.shape[0] // high, high, -1, wide).max(axis=(1, 3))
