"""Results of probing and decoding. Imports only numpy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np


@dataclass(frozen=True)
class VideoInfo:
    """Properties of a video, known from its packets and its first frame.

    Attributes:
        path: the file.
        width, height: size in pixels of the frames of `read_frames`, rotated and with square pixels.
        fps: average frames per second, above 0.
        frame_count: number of video packets. Decoding yields as many frames, or slightly fewer if the codec has packets
            that are never displayed.
        duration: length of the video stream in seconds.
        rotation: clockwise rotation of the stored picture for display, in degrees: 0, 90, 180 or 270.
        codec: name of the codec, such as ``h264``.
        pix_fmt: FFmpeg's name of the stored pixel format, such as ``yuv420p10le``.
        hdr: transfer function of an HDR video, else None.
        has_alpha: whether the video has transparency.
        has_audio: whether the file has an audio stream.
        variable_frame_rate: whether the times between frames differ by more than rounding.
    """

    path: Path
    width: int
    height: int
    fps: float
    frame_count: int
    duration: float
    rotation: int
    codec: str
    pix_fmt: str
    hdr: Literal["pq", "hlg"] | None
    has_alpha: bool
    has_audio: bool
    variable_frame_rate: bool


@dataclass(frozen=True, eq=False)
class Frame:
    """One decoded frame.

    Attributes:
        index: index of the frame in the video, from 0.
        time: presentation time in seconds; strictly increasing.
        image: uint8 ``[H, W, 3]``, RGB, contiguous.
    """

    index: int
    time: float
    image: np.ndarray
