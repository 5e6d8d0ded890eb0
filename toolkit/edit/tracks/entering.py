"""Faces that come into view at the frame's border, which a detector finds only once most of them is visible."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from toolkit.faces.plausible import iou
from toolkit.faces.types import Face, FaceAnalyser

FRAMES = 8
"""Frames before its first one in which such a face is looked for."""

CLOSE = 0.15
"""Distance from the border, in sizes of the face, up to which a new face has come in there."""

SAME_IOU = 0.3
"""Overlap of boxes in consecutive frames from which they are one face's."""


def at_border(box: np.ndarray, shape: tuple[int, ...]) -> bool:
    """Whether a face's box is close to the border of a frame of this shape, or beyond it."""
    near = CLOSE * float((box[2:] - box[:2]).max())
    return bool(min(box[0], box[1], shape[1] - box[2], shape[0] - box[3]) < near)


def earlier_faces(
    face: Face, frame: np.ndarray, before: Iterable[np.ndarray], analyser: FaceAnalyser
) -> Iterator[Face]:
    """Follow a face backwards from its first frame: it stays in sight of an analyser that knows where it goes.

    Args:
        face: in `frame`.
        frame: RGB, uint8 ``[H, W, 3]``.
        before: the frames before it, the latest first.
        analyser: finds one face.

    Yields:
        The face in the frames before, the latest first, as far as it is found.
    """
    analyser.reset()
    box, size = face.box, face.box[2:] - face.box[:2]
    low = np.clip(np.floor(box[:2] - size), 0, None).astype(int)
    high = np.ceil(box[2:] + size).astype(int)
    for index, image in enumerate((frame, *before)):
        part = np.ascontiguousarray(image[low[1] : high[1], low[0] : high[0]])
        for found in analyser.analyse(part):
            moved = found.box + np.tile(low, 2).astype(np.float32)
            if iou(moved, box) > SAME_IOU:
                break
        else:
            return
        box = moved
        if index:
            shift = np.array([*low, 0], np.float32)
            yield replace(found, box=moved, landmarks=found.landmarks + shift)
