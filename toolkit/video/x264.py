"""Options of libx264, including properties of the source that FFmpeg has no fields for."""

from __future__ import annotations

import struct

from av.sidedata.sidedata import Type
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from toolkit.video.planes import side_data

TOP_FIRST, BOTTOM_FIRST = (2, 5), (3, 4)
"""Values of AVFieldOrder, by the field displayed first."""


def x264_options(crf: float, *parameters: str) -> dict[str, str]:
    """Options for a constant rate factor, and x264 parameters such as ``tff=1``."""
    # No macroblock trees: x264's AVX-512 code for them reads uninitialised memory, so that equal frames sometimes gave
    # different files.
    return {"crf": str(crf), "preset": "medium", "x264-params": ":".join(["mbtree=0", *parameters])}


def interlacing(first: VideoFrame, stream: VideoStream) -> list[str]:
    """Parameters that keep interlaced frames marked as interlaced.

    x264 then needs whole chroma rows in both fields, so a frame whose height is not a multiple of 4 is coded as
    progressive.
    """
    order = stream.codec_context.field_order
    if not first.interlaced_frame or first.height % 4 or order not in TOP_FIRST + BOTTOM_FIRST:
        return []
    return ["tff=1" if order in TOP_FIRST else "bff=1"]


def mastering(first: VideoFrame) -> list[str]:
    """Parameters that keep static HDR metadata: SMPTE ST 2086 mastering display and CTA-861.3 light levels."""
    parameters = []
    display = side_data(first, Type.MASTERING_DISPLAY_METADATA)
    if display is not None:
        # AVMasteringDisplayMetadata: x and y of R, G, B and white, minimum and maximum luminance, two presence flags.
        *terms, has_primaries, has_luminance = struct.unpack("=22i", display[:88])
        values = [part / max(whole, 1) for part, whole in zip(terms[::2], terms[1::2], strict=True)]
        if has_primaries and has_luminance:
            red, green, blue, white = (
                f"({round(x * 50000)},{round(y * 50000)})" for x, y in zip(values[:8:2], values[1:8:2], strict=True)
            )
            darkest, brightest = (round(value * 10000) for value in values[8:])
            parameters.append(f"mastering-display=G{green}B{blue}R{red}WP{white}L({brightest},{darkest})")
    light = side_data(first, Type.CONTENT_LIGHT_LEVEL)
    if light is not None:
        most, average = struct.unpack("=2I", light[:8])
        parameters.append(f"cll={most},{average}")
    return parameters
