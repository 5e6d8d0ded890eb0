"""A frame's samples as arrays."""

from __future__ import annotations

import numpy as np
from av.video.frame import VideoFrame


def planes_of(frame: VideoFrame) -> list[np.ndarray]:
    """The planes of a planar frame of 8 to 16 bits as arrays ``[rows, columns]``, uint8 or uint16.

    They share the frame's memory: make it writable before they are written to.
    """
    arrays = []
    for plane in frame.planes:
        kind = np.uint8 if frame.format.components[0].bits <= 8 else np.dtype("<u2")
        array = np.frombuffer(plane, kind).reshape(plane.height, -1)[:, : plane.width]
        # A negative line size: stored from the bottom up.
        arrays.append(array[::-1] if plane.line_size < 0 else array)
    return arrays
