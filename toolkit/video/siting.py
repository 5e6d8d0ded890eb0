"""Finds the position of chroma samples relative to luma, which PyAV does not expose."""

from __future__ import annotations

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream

from toolkit.video.planes import planes_of

# FFmpeg's names by the distance from the cell's first luma sample, down and to the right.
SITINGS = {
    (0.5, 0.0): "left",
    (0.5, 0.5): "center",
    (0.0, 0.0): "topleft",
    (0.0, 0.5): "top",
    (1.0, 0.0): "bottomleft",
    (1.0, 0.5): "bottom",
}
STATING = {"h264", "hevc", "mjpeg", "mpeg1video"}
"""Codecs whose decoders always report the siting."""


def chroma_siting(frame: VideoFrame, stream: VideoStream) -> str | None:
    """FFmpeg's name of the chroma siting of a planar 4:2:0 frame; None if it is unknown or the frame is not 4:2:0.

    swscale moves chroma as the frame states, so the siting is measured: one chroma sample is set to a bright value, the
    frame converted to 4:4:4, and the position of the bright spot determined. The frame's samples are then restored.

    Args:
        frame: a decoded frame of 8 to 16 bits.
        stream: the stream that it comes from.
    """
    luma, *chroma = frame.format.components
    halves = -(-frame.width // 2), -(-frame.height // 2)
    if len(frame.planes) != 3 or frame.format.is_big_endian or (chroma[0].width, chroma[0].height) != halves:
        return None
    if min(frame.width, frame.height) < 16:
        return None
    frame.make_writable()
    planes = planes_of(frame)
    saved = [plane.copy() for plane in planes]
    for plane in planes:
        plane[:] = 1 << (luma.bits - 1)
    planes[1][3, 3] += 1 << (luma.bits - 2)
    spread = VideoReformatter().reformat(
        frame,
        format="yuv444p16le",
        interpolation=Interpolation.BILINEAR | Interpolation.ACCURATE_RND,
        threads=1,
    )
    for plane, samples in zip(planes, saved, strict=True):
        plane[:] = samples
    light = planes_of(spread)[1][:16, :16].astype(float)
    light -= light[-1, -1]
    rows, columns = np.mgrid[0:16, 0:16] - 6
    centre = (light * rows).sum() / light.sum(), (light * columns).sum() / light.sum()
    down, right = (round(2 * float(part)) / 2 for part in centre)
    siting = SITINGS.get((down, right))
    # swscale also assumes "center" if nothing is stated.
    return None if siting == "center" and stream.codec_context.codec.canonical_name not in STATING else siting
