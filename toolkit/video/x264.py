"""Options of libx264, and what it needs to be told of a source beyond FFmpeg's own fields."""

from __future__ import annotations

import struct

from av.sidedata.sidedata import Type
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

TOP_FIRST, BOTTOM_FIRST = (2, 5), (3, 4)
"""AVFieldOrder, by the field that is shown first."""


def x264_options(crf: float, *parameters: str) -> dict[str, str]:
    """Options for a constant rate factor, with x264's own parameters such as ``tff=1``."""
    # Without macroblock trees: x264's AVX-512 code for them reads memory that nobody wrote, so that the same frames
    # gave other files from time to time.
    return {"crf": str(crf), "preset": "medium", "x264-params": ":".join(["mbtree=0", *parameters])}


def interlacing(first: VideoFrame, stream: VideoStream) -> list[str]:
    """Parameters that code a source's interlaced frames as such, so that players still know of it.

    x264 then needs whole chroma rows in both fields; a frame whose height is no multiple of 4 is coded progressively.
    """
    order = stream.codec_context.field_order
    if not first.interlaced_frame or first.height % 4 or order not in TOP_FIRST + BOTTOM_FIRST:
        return []
    return ["tff=1" if order in TOP_FIRST else "bff=1"]


def mastering(first: VideoFrame) -> list[str]:
    """Parameters that repeat static HDR metadata: SMPTE ST 2086's mastering display and CTA-861.3's light levels."""
    parameters = []
    display = first.side_data.get(Type.MASTERING_DISPLAY_METADATA)
    if display is not None:
        # AVMasteringDisplayMetadata: R, G, B, white point as x and y, minimum and maximum luminance, which are known.
        *terms, has_primaries, has_luminance = struct.unpack("=22i", bytes(display)[:88])
        values = [part / max(whole, 1) for part, whole in zip(terms[::2], terms[1::2], strict=True)]
        if has_primaries and has_luminance:
            red, green, blue, white = (
                f"({round(x * 50000)},{round(y * 50000)})" for x, y in zip(values[:8:2], values[1:8:2], strict=True)
            )
            darkest, brightest = (round(value * 10000) for value in values[8:])
            parameters.append(f"mastering-display=G{green}B{blue}R{red}WP{white}L({brightest},{darkest})")
    light = first.side_data.get(Type.CONTENT_LIGHT_LEVEL)
    if light is not None:
        most, average = struct.unpack("=2I", bytes(light)[:8])
        parameters.append(f"cll={most},{average}")
    return parameters
