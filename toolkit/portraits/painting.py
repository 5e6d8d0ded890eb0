"""Paints random details on portraits: hair colour, strands, caps, stubble, make-up.

The portrait is painted before it is lit and turned, so the details move and are shaded with the head. Some of them are
where glasses would be, so that small models learn what glasses are not.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from toolkit.faces.topology import load_topology
from toolkit.portraits.portrait import SIDE, Portrait

_SKIN = [50, 280, 151, 205, 425]
"""Landmarks on cheeks and forehead."""
_HAIR = np.array([[22, 18, 16], [52, 38, 28], [92, 58, 36], [104, 60, 42], [168, 132, 88], [140, 136, 132]], np.float32)
"""Hair colours: black, two browns, red, blond and grey."""


def painted(rng: np.random.Generator, person: Portrait) -> Portrait:
    """Paint a random choice of details, often none."""
    picture = person.image.astype(np.float32)
    width = float(np.ptp(person.landmarks[:468, 0]))
    dye, locks = rng.random(2) < 0.3
    if dye or locks:
        hair = _hair(person, picture)
        colour = _colour(picture, hair)
    if dye:
        colour = _HAIR[rng.integers(len(_HAIR))] * np.float32(rng.uniform(0.8, 1.2))
        picture = _dyed(picture, hair, colour)
    for share, paint in ((0.3, _make_up), (0.15, _stubble)):
        if rng.random() < share:
            picture = paint(rng, picture, person.landmarks, width)
    if locks:
        picture = _strands(rng, picture, person.landmarks, width, colour)
    elif rng.random() < 0.12:
        picture = _cap(rng, picture, person.landmarks, width)
    return replace(person, image=np.clip(np.rint(picture), 0, 255).astype(np.uint8))


def _hair(person: Portrait, picture: np.ndarray) -> np.ndarray:
    """Mask of the hair, ``[S, S]`` in 0..1: outside the face, above the chin and darker than skin."""
    import cv2

    face = np.zeros((SIDE, SIDE), np.uint8)
    cv2.fillConvexPoly(face, cv2.convexHull(person.landmarks[:468, :2].astype(np.int32)), 1)
    column, row = person.landmarks[_SKIN, :2].astype(int).T
    skin = float(np.median(picture[row, column].mean(axis=-1)))
    darker = np.clip((0.62 * skin - picture.mean(axis=-1)) / (0.2 * skin), 0, 1)
    # Below the nose, hair is only beside the face: under it are the shadow of the jaw and the neck.
    nose, chin = person.landmarks[[2, 152], 1].astype(int)
    left, right = int(person.landmarks[:468, 0].min()), int(person.landmarks[:468, 0].max())
    darker[nose:, left:right] = 0
    darker[chin:] = 0
    return cv2.GaussianBlur(darker * person.matte * (1 - face), (0, 0), 1.5)


def _colour(picture: np.ndarray, hair: np.ndarray) -> np.ndarray:
    """Colour of the hair ``[3]``; brown if there is hardly any."""
    return np.median(picture[hair > 0.8], axis=0) if (hair > 0.8).sum() > 200 else _HAIR[1]


def _dyed(picture: np.ndarray, hair: np.ndarray, colour: np.ndarray) -> np.ndarray:
    grey = picture.mean(axis=-1, keepdims=True)
    relative = np.clip(grey / max(float(_colour(picture, hair).mean()), 8.0), 0.4, 1.6)
    return picture + hair[..., None] * (colour * relative - picture)


def _make_up(rng: np.random.Generator, picture: np.ndarray, landmarks: np.ndarray, width: float) -> np.ndarray:
    """Darken the brows, the lids or the rings under the eyes."""
    import cv2

    regions = load_topology("mediapipe478").regions
    part, grow = [("brow", 1.0), ("eye", 1.35), ("eye", 1.9)][rng.integers(3)]
    mask = np.zeros(picture.shape[:2], np.float32)
    for side in ("left", "right"):
        points = landmarks[regions[f"{side}_{part}"], :2]
        middle = points.mean(axis=0)
        outline = cv2.convexHull(((points - middle) * (1, grow) + middle + (0, 0.01 * width * grow)).astype(np.float32))
        cv2.fillConvexPoly(mask, np.rint(outline * 16).astype(np.int32), 1.0, cv2.LINE_AA, shift=4)
    if part == "eye":  # leave out the eyes themselves
        for side in ("left", "right"):
            outline = cv2.convexHull(landmarks[regions[f"{side}_eye"], :2])
            cv2.fillConvexPoly(mask, np.rint(outline * 16).astype(np.int32), 0.0, cv2.LINE_AA, shift=4)
    mask = cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.8, 2.2))[..., None]
    dark = rng.uniform(0.15, 0.55) * np.array([0.85, 1.0, 0.95]) * rng.uniform(0.9, 1.1, 3)
    return picture * (1 - mask * dark)


def _stubble(rng: np.random.Generator, picture: np.ndarray, landmarks: np.ndarray, width: float) -> np.ndarray:
    """Shade of a beard on the upper lip, the lower cheeks and the chin."""
    import cv2

    outline = landmarks[[132, 58, 172, 136, 150, 176, 152, 400, 379, 365, 397, 288, 361, 425, 2, 205], :2]
    mask = np.zeros(picture.shape[:2], np.float32)
    cv2.fillPoly(mask, [outline.astype(np.int32)], 1.0)
    mask = cv2.GaussianBlur(mask, (0, 0), 0.06 * width)
    lips = load_topology("mediapipe478").regions["lips"]
    cv2.fillConvexPoly(mask, cv2.convexHull(landmarks[lips, :2]).astype(np.int32), 0.0)
    mask = cv2.GaussianBlur(mask, (0, 0), 1.5)
    grain = cv2.GaussianBlur(rng.normal(0, 1, mask.shape).astype(np.float32), (0, 0), 0.7)
    dark = mask * np.clip(rng.uniform(0.1, 0.42) * (1 + 0.3 * grain), 0, 0.9)
    return picture * (1 - dark[..., None] * np.array([1.0, 0.97, 0.9]))


def _strands(
    rng: np.random.Generator, picture: np.ndarray, landmarks: np.ndarray, width: float, colour: np.ndarray
) -> np.ndarray:
    """Locks of hair that fall from the hairline over the forehead, the brows or beside the eyes."""
    import cv2

    out = picture
    for _ in range(int(rng.integers(1, 5))):
        start = landmarks[10, :2] + np.array([rng.uniform(-0.45, 0.45), -0.24]) * width
        lean, curl, length = rng.normal(0, 0.45), rng.normal(0, 0.3), rng.uniform(0.3, 0.8) * width
        spread = rng.uniform(0.015, 0.12) * width
        t = np.linspace(0, 1, 16)
        lock = np.zeros(picture.shape[:2], np.float32)
        tone = np.ones_like(lock)
        for _ in range(int(rng.integers(3, 45))):
            across, reach = rng.normal(0, 1), length * rng.uniform(0.75, 1.1)
            # The hairs of a lock run side by side and meet towards their ends.
            x = start[0] + across * spread * (1 - 0.7 * t) + (lean * t + (curl + rng.normal(0, 0.05)) * t**2) * reach
            line = [np.rint(np.stack([x, start[1] + t * reach], axis=1) * 16).astype(np.int32)]
            cv2.polylines(lock, line, False, 1.0, 1, cv2.LINE_AA, shift=4)
            cv2.polylines(tone, line, False, float(rng.uniform(0.6, 1.5)), 1, cv2.LINE_AA, shift=4)
        lock = cv2.GaussianBlur(lock, (0, 0), 0.7)[..., None]
        tone = cv2.GaussianBlur(tone, (0, 0), 0.7)[..., None]
        out = out + np.clip(lock * 1.2, 0, 1) * (np.clip(colour * tone, 0, 255) - out)
    return out


def _cap(rng: np.random.Generator, picture: np.ndarray, landmarks: np.ndarray, width: float) -> np.ndarray:
    """A tight cap or headscarf down to the forehead, and its shadow on the skin."""
    import cv2

    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    across = (x - landmarks[10, 0]) / width
    edge = landmarks[10, 1] + width * (rng.uniform(-0.08, 0.12) + rng.uniform(-0.1, 0.35) * across**2)
    covered = np.clip(edge - y + 0.5, 0, 1)[..., None]
    shadow = np.exp(-np.clip(y - edge, 0, None) / (rng.uniform(0.02, 0.1) * width))[..., None] * rng.uniform(0.1, 0.5)
    colour = np.clip(rng.uniform(15, 200) + rng.normal(0, 30, 3), 5, 245)
    folds = cv2.GaussianBlur(rng.normal(0, 1, (SIDE, SIDE)).astype(np.float32), (0, 0), 7) * rng.uniform(0.5, 2.5)
    cloth = colour * (1 + folds + rng.normal(0, 0.03, (SIDE, SIDE)))[..., None].clip(0.4, 1.6)
    shaded = picture * (1 - shadow)
    return shaded + covered * (cloth - shaded)
