"""Converts decoded frames to 8-bit RGB: colour matrix, range and transparency."""

from __future__ import annotations

from typing import Literal

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, ColorTrc, Interpolation, VideoReformatter

Transfer = Literal["pq", "hlg"]
# swscale's table for each AVColorSpace (ITU-T H.273, MatrixCoefficients).
MATRICES = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
    10: Colorspace.BT2020,
}
TRANSFERS: dict[int, Transfer] = {int(ColorTrc.SMPTE2084): "pq", int(ColorTrc.ARIB_STD_B67): "hlg"}


def hdr_transfer(frame: VideoFrame) -> Transfer | None:
    """``pq`` or ``hlg`` for an HDR frame (ITU-R BT.2100), else None."""
    return TRANSFERS.get(int(frame.color_trc))


def has_alpha(frame: VideoFrame) -> bool:
    """Whether the frame's pixel format has an alpha channel."""
    return any(component.is_alpha for component in frame.format.components) or frame.format.name == "pal8"


class RGBConverter:
    """Converts the frames of one video to RGB; keeps swscale's tables between frames."""

    def __init__(self):
        self._reformatter = VideoReformatter()

    def convert(self, frame: VideoFrame, width: int, height: int) -> np.ndarray:
        """The frame scaled to ``width`` x ``height``, as uint8 ``[height, width, 3]`` in RGB.

        HDR is tone mapped to standard range; transparent pixels are composited on black.
        """
        transfer = hdr_transfer(frame)
        if transfer:
            from toolkit.video.hdr import to_sdr

            return to_sdr(self._pixels(frame, "rgb48le", width, height), transfer)
        if has_alpha(frame):
            rgba = self._pixels(frame, "rgba", width, height)
            alpha = rgba[..., 3:].astype(np.uint16)
            return ((rgba[..., :3] * alpha + 127) // 255).astype(np.uint8)
        return self._pixels(frame, "rgb24", width, height)

    def _pixels(self, frame: VideoFrame, pix_fmt: str, width: int, height: int) -> np.ndarray:
        source = {}
        if not frame.format.is_rgb and frame.format.name != "pal8":
            source = {
                "src_colorspace": matrix_of(frame),
                "src_color_range": range_of(frame),
                "dst_colorspace": Colorspace.ITU709,
                "dst_color_range": ColorRange.JPEG,
            }
        shrinks = width * height < frame.width * frame.height
        scaled = self._reformatter.reformat(
            frame,
            width=width,
            height=height,
            format=pix_fmt,
            interpolation=Interpolation.AREA if shrinks else Interpolation.BICUBIC,
            threads=1,
            **source,
        )
        return scaled.to_ndarray()


def matrix_of(frame: VideoFrame) -> Colorspace:
    """The frame's matrix. If it is not stated, players assume BT.709 for high definition, else BT.601."""
    if hdr_transfer(frame):
        return Colorspace.BT2020
    known = MATRICES.get(int(frame.colorspace))
    if known is not None:
        return known
    return Colorspace.ITU709 if frame.width >= 1280 or frame.height > 576 else Colorspace.ITU601


def range_of(frame: VideoFrame) -> ColorRange:
    """The frame's range of values; limited if it is not stated."""
    full = frame.format.name.startswith("yuvj") or frame.color_range == ColorRange.JPEG
    return ColorRange.JPEG if full else ColorRange.MPEG
