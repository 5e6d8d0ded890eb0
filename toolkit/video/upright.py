"""Prepares upright RGB pictures for an encoder: H.264 that all players show correctly, or lossless FFV1."""

from __future__ import annotations

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, VideoReformatter

from toolkit.video.x264 import x264_options


class UprightPictures:
    """H.264: ``yuv420p``, limited range, tagged BT.709, odd sides grown by one pixel. FFV1: RGB.

    Args:
        crf: x264's constant rate factor.
        lossless: prepare for FFV1 instead of libx264.
    """

    def __init__(self, crf: float, lossless: bool):
        self._crf, self._lossless = crf, lossless
        self._reformatter = VideoReformatter()

    def configure(self, context: VideoCodecContext, width: int, height: int) -> None:
        """Set up the encoder for pictures of this size in pixels."""
        if self._lossless:
            context.width, context.height, context.pix_fmt = width, height, "bgr0"
            return
        context.width, context.height, context.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
        context.options = x264_options(self._crf)
        context.colorspace, context.color_range = int(Colorspace.ITU709), int(ColorRange.MPEG)
        context.color_primaries, context.color_trc = int(ColorPrimaries.BT709), int(ColorTrc.BT709)

    def frame(self, image: np.ndarray) -> VideoFrame:
        """The frame to encode for an RGB picture, uint8 ``[H, W, 3]``."""
        if self._lossless:
            return self._reformatter.reformat(av.VideoFrame.from_ndarray(image, "rgb24"), format="bgr0", threads=1)
        height, width, _ = image.shape
        if width % 2 or height % 2:
            image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        return self._reformatter.reformat(
            av.VideoFrame.from_ndarray(image, "rgb24"),
            format="yuv420p",
            src_color_range=ColorRange.JPEG,
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
            threads=1,
        )
