"""Maps the 68 iBUG 300-W landmarks to points of MediaPipe's mesh and builds their topology.

``python -m toolkit.faces.ibug`` prints ``data/ibug68.json``. Layout of the 68 points: Sagonas et al., "300 Faces
In-The-Wild Challenge" (2013), figure 1.
"""

from __future__ import annotations

import json

import numpy as np

from toolkit.faces.topology import load_topology

IBUG68_FROM_MEDIAPIPE = np.array(
    [
        # 0-16 jaw, from the person's right ear over the chin to the left ear
        *(127, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 356),
        # 17-21 right brow, 22-26 left brow, both from the picture's left to its right
        *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300),
        # 27-30 ridge of the nose downwards, 31-35 its base
        *(168, 197, 5, 1, 98, 97, 2, 326, 327),
        # 36-41 right eye, 42-47 left eye, clockwise in the picture
        *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),
        # 48-59 outer lips, 60-67 inner lips, clockwise in the picture
        *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 81, 13, 311, 308, 402, 14, 178),
    ],
    np.int32,
)
"""int32 ``[68]``: index of the MediaPipe point (of 478) closest in meaning to each iBUG point.

The jaw differs most: iBUG points follow the visible outline, MediaPipe points stay on the skin."""
IBUG68_FROM_MEDIAPIPE.flags.writeable = False

REGIONS = {
    "jaw": range(0, 17),
    "right_brow": range(17, 22),
    "left_brow": range(22, 27),
    "nose": range(27, 36),
    "right_eye": range(36, 42),
    "left_eye": range(42, 48),
    "lips": range(48, 60),
    "lips_inner": range(60, 68),
}
"""Regions of the 68 points; shared names mean the same as in ``mediapipe478``. Left and right are the person's."""


def ibug68() -> dict[str, object]:
    """The content of ``data/ibug68.json``: no mesh, and the mean of the MediaPipe points, centred."""
    mean = load_topology("mediapipe478").mean[IBUG68_FROM_MEDIAPIPE].astype(np.float64)
    mean = np.round(mean - mean.mean(axis=0), 5)
    return {
        "triangles": [],
        "uv": [None] * len(mean),
        "mean": mean.tolist(),
        "regions": {name: list(points) for name, points in REGIONS.items()},
    }


if __name__ == "__main__":
    print(json.dumps(ibug68()))
