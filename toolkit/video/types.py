"""What probing and decoding give. numpy only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np


@dataclass(frozen=True)
class VideoInfo:
    """What is known of a video without decoding more than its first frame.

    Attributes:
        path: the file.
        width, height: of a frame as `read_frames` gives it, in pixels: after rotation, with square pixels.
        fps: average frames per second, over 0.
        frame_count: number of video packets. Decoding gives as many frames, or a few less where the codec has
            packets that are never shown.
        duration: of the video stream in seconds.
        rotation: degrees by which the stored picture is turned clockwise for display: 0, 90, 180 or 270.
        codec: the codec's name, such as ``h264``.
        pix_fmt: FFmpeg's name of the stored pixel format, such as ``yuv420p10le``.
        hdr: the transfer function of a high dynamic range video, or None.
        has_alpha: whether the picture has transparency.
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
        index: number of the frame in the video, from 0.
        time: presentation time in seconds; strictly increasing.
        image: uint8 ``[H, W, 3]``, RGB, contiguous.
    """

    index: int
    time: float
    image: np.ndarray
