"""Split the sample clip's portrait into the head, its background and a height map.

The picture is `skimage.data.astronaut()`: Eileen Collins, photographed by NASA, public domain.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from toolkit.faces.topology import Topology

VIEW = 256
"""Side of the square cut from the portrait, in pixels. Clips resize it to their own size."""
_LEFT, _TOP = 99, 0

# Outline of hair, ears, jaw and neck in pixels of the portrait, clockwise from the crown, found with GrabCut.
_OUTLINE = np.array(
    [
        *((237, 16), (241, 19), (251, 19), (276, 31), (288, 43), (296, 58), (296, 66), (299, 72), (300, 81), (299, 97)),
        *((294, 111), (275, 134), (267, 137), (264, 149), (256, 163), (252, 184), (241, 189), (228, 189), (217, 186)),
        *((194, 184), (187, 178), (186, 152), (180, 137), (180, 132), (172, 125), (170, 116), (167, 115), (157, 104)),
        *((154, 92), (153, 68), (156, 58), (174, 43), (189, 35), (193, 29), (207, 20), (212, 22), (227, 16)),
    ],
    np.float32,
)
# Upper edge of the collar's rim behind the head, left to right, and its colours.
_RIM = np.array([(178, 148.5), (190, 148.7), (202, 150.5), (219, 155), (236, 162), (252, 171), (262, 178)], np.float32)
_COLLAR_TOP = 144
_EDGE_COLOUR, _RIM_COLOUR, _INSIDE_COLOUR = (150, 140, 150), (104, 92, 104), (3, 2, 3)
_HAIR_CENTRE = np.array([227, 80], np.float32)
_HAIR_BELOW = 125  # the outline above this row is hair
_NECK_MOVES, _NECK_RESTS = 164, 192  # rows over which the head's motion fades into the body's
_AXIS_DEPTH = 50  # z of the axis that the head turns on; the middle of the face mesh is at about z = 0
_STEEPEST = 2.1  # steepest slope of the height


@dataclass(frozen=True, eq=False)
class Portrait:
    """The portrait resized to S x S pixels. Lengths are in these pixels.

    Attributes:
        image: uint8 ``[S, S, 3]``, RGB.
        behind: uint8 ``[S, S, 3]``, the background, filled in where the head was.
        alpha: float32 ``[S, S]`` in 0..1, the head's matte.
        height: float32 ``[S, S]``, distance of the surface from the head's turning axis; 0 at the outline.
        follows: float32 ``[S, S]`` in 0..1: 1 moves with the head, 0 with the body.
        landmarks: float32 ``[N, 3]`` of the face.
        topology: names the landmarks.
    """

    image: np.ndarray
    behind: np.ndarray
    alpha: np.ndarray
    height: np.ndarray
    follows: np.ndarray
    landmarks: np.ndarray
    topology: Topology

    @property
    def scale(self) -> float:
        """Pixels of this size per pixel of the original portrait."""
        return len(self.image) / VIEW


@cache
def load_portrait(size: int) -> Portrait:
    """The portrait at `size` x `size`.

    Raises:
        ValueError: the size is odd or below 128.
        MissingExtra: the default face analyser cannot be used; the message says how to get it.
    """
    if size < 128 or size % 2:
        raise ValueError(f"size must be even and at least 128, not {size}")
    import cv2
    from skimage.data import astronaut

    view = np.ascontiguousarray(astronaut()[_TOP : _TOP + VIEW, _LEFT : _LEFT + VIEW])
    scale = size / VIEW
    landmarks, topology = _landmarks(view)
    outline = (_OUTLINE - (_LEFT, _TOP) + 0.5).astype(np.float32)
    inside = np.zeros((VIEW, VIEW), np.uint8)
    cv2.fillPoly(inside, [np.round((outline - 0.5) * 16).astype(np.int32)], 1, shift=4)

    def enlarge(array: np.ndarray) -> np.ndarray:
        return cv2.resize(array, (size, size), interpolation=cv2.INTER_CUBIC if scale >= 1 else cv2.INTER_AREA)

    behind = _behind(view, cv2.dilate(inside, np.ones((7, 7), np.uint8)))
    guide = cv2.GaussianBlur(view, (0, 0), 0.5)
    alpha = cv2.ximgproc.guidedFilter(guide, inside.astype(np.float32), 3, 60.0)
    height = _height(landmarks, outline)
    rows = np.arange(VIEW, dtype=np.float32)[:, None] + _TOP
    ramp = np.clip((_NECK_RESTS - rows) / (_NECK_RESTS - _NECK_MOVES), 0, 1)
    follows = np.broadcast_to(ramp * ramp * (3 - 2 * ramp), (VIEW, VIEW))
    return Portrait(
        image=enlarge(view),
        behind=enlarge(behind),
        alpha=np.clip((enlarge(cv2.GaussianBlur(alpha, (0, 0), 0.6)) - 0.08) / 0.84, 0, 1),
        height=np.maximum(enlarge(height), 0) * scale,
        follows=np.clip(enlarge(np.ascontiguousarray(follows)), 0, 1),
        landmarks=landmarks * np.float32(scale),
        topology=topology,
    )


def _landmarks(view: np.ndarray) -> tuple[np.ndarray, Topology]:
    """Landmarks of the face in pixels of `view`, found on an enlarged copy for accuracy."""
    import cv2

    from toolkit.faces import create_analyser

    analyser = create_analyser("mediapipe", max_faces=1)
    try:
        (face,) = analyser.analyse(cv2.resize(view, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC))
    finally:
        analyser.close()
    return face.landmarks / np.float32(2), analyser.topology


def _behind(view: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Replace the head with the rim and the dark inside of the suit's collar, and with the wall above it."""
    import cv2

    rim = np.round((_RIM - (_LEFT, _TOP)) * 16).astype(np.int32)
    below = np.concatenate([rim, [(rim[-1, 0], VIEW * 16), (rim[0, 0], VIEW * 16)]]).astype(np.int32)
    collar = np.zeros_like(hole)
    cv2.fillPoly(collar, [below], 1, shift=4)
    drawn = view.copy()
    cv2.fillPoly(drawn, [below], _INSIDE_COLOUR, shift=4)
    for thickness, colour in ((4, _RIM_COLOUR), (1, _EDGE_COLOUR)):
        cv2.polylines(
            drawn, [rim + np.array([0, 8 * thickness], np.int32)], False, colour, thickness, cv2.LINE_AA, shift=4
        )
    collar = cv2.GaussianBlur(collar.astype(np.float32), (0, 0), 0.7)[..., None]
    unknown = hole.copy()
    unknown[_COLLAR_TOP - _TOP :] = 1  # otherwise the rim's colour would run up the wall
    wall = cv2.GaussianBlur(cv2.inpaint(view, unknown, 5, cv2.INPAINT_TELEA), (0, 0), 4)
    filled = wall + collar * (drawn.astype(np.float32) - wall)
    weight = np.maximum(hole, cv2.GaussianBlur(hole.astype(np.float32), (0, 0), 1.5))[..., None]
    return np.rint(view + weight * (filled - view)).astype(np.uint8)


def _height(landmarks: np.ndarray, outline: np.ndarray) -> np.ndarray:
    """Height of the head above its axis, float32 ``[VIEW, VIEW]``.

    A thin-plate spline runs through the points of the face mesh, a dome for the hair, and the outline. Its slope is
    limited so that a turn of 20 degrees does not fold the surface.
    """
    import cv2
    from scipy.interpolate import RBFInterpolator
    from scipy.ndimage import grey_erosion

    face = landmarks[:468]
    hull = cv2.convexHull(np.ascontiguousarray(face[:, :2]))
    hair = outline[outline[:, 1] < _HAIR_BELOW - _TOP]
    centre = _HAIR_CENTRE - (_LEFT, _TOP)
    points, heights = [face[:, :2]], [_AXIS_DEPTH - face[:, 2]]
    for part in (1.0, 0.9, 0.75, 0.6):
        ring = centre + part * (hair - centre)
        ring = ring[[cv2.pointPolygonTest(hull, (float(x), float(y)), True) < -4 for x, y in ring]]
        points.append(ring)
        heights.append(np.full(len(ring), 62 * np.sqrt(1 - part**2)))
    neck = outline[outline[:, 1] > _NECK_MOVES - _TOP]
    points.append(neck)
    heights.append(np.full(len(neck), 12.0))
    spline = RBFInterpolator(np.concatenate(points), np.concatenate(heights), smoothing=4.0)
    grid = np.arange(0, VIEW, 4, dtype=np.float32) + 2
    x, y = np.meshgrid(grid, grid)
    coarse = spline(np.stack([x.ravel(), y.ravel()], axis=1)).reshape(x.shape).astype(np.float32)
    height = cv2.resize(np.clip(coarse, 0, None), (VIEW, VIEW), interpolation=cv2.INTER_CUBIC)
    # The spline extrapolates beyond the outline, where the head has no height.
    inside = np.zeros((VIEW, VIEW), np.uint8)
    cv2.fillPoly(inside, [outline.astype(np.int32)], 1)
    fall = np.clip(cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5) / 24, 0, 1)
    half = cv2.resize(height * (1 - fall), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    reach = np.arange(-40, 41, 2)
    cone = _STEEPEST * np.hypot(*np.meshgrid(reach, reach)).astype(np.float32)
    gentle = cv2.resize(grey_erosion(half, structure=-cone), (VIEW, VIEW), interpolation=cv2.INTER_LINEAR)
    return cv2.GaussianBlur(gentle, (0, 0), 2.0)
