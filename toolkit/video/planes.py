"""Gives access to a frame's samples and side data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import SupportsBytes, cast

import numpy as np
from av.sidedata.sidedata import Type
from av.video.frame import VideoFrame


def planes_of(frame: VideoFrame) -> list[np.ndarray]:
    """The planes of a planar frame of 8 to 16 bits as arrays ``[rows, columns]``, uint8 or uint16.

    The arrays share the frame's memory; call ``make_writable`` on the frame before writing to them.
    """
    arrays = []
    for plane in frame.planes:
        kind = np.dtype("u1" if frame.format.components[0].bits <= 8 else "<u2")
        array = np.frombuffer(memoryview(plane), kind).reshape(plane.height, -1)[:, : plane.width]
        # A negative line size means rows stored bottom up.
        arrays.append(array[::-1] if plane.line_size < 0 else array)
    return arrays


def side_data(frame: VideoFrame, kind: Type) -> bytes | None:
    """The frame's side data of a kind, such as the display matrix; None if it has none."""
    data = cast(Mapping[Type, SupportsBytes], frame.side_data).get(kind)
    return None if data is None else bytes(data)
