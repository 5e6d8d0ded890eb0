"""Draw things on a face that resemble glasses but are none: hard negatives for training."""

from __future__ import annotations

import numpy as np

from toolkit.task import FaceClip


def add_decoys(clip: FaceClip, rng: np.random.Generator) -> np.ndarray:
    """Draw one to three decoys that follow the landmarks: frames uint8 ``[T, H, W, 3]``.

    Args:
        clip: a clip with the face in every frame and the landmarks of mediapipe.
    """
    chosen = rng.choice(len(_DECOYS), rng.integers(1, 4), replace=False)
    seeds = rng.integers(2**31, size=len(chosen))
    frames = clip.frames.copy()
    for t in range(len(clip)):
        for decoy, seed in zip(chosen, seeds):
            frames[t] = _DECOYS[decoy](frames[t], clip.landmarks[t, :, :2], np.random.default_rng(seed))
    return frames


RIGHT, LEFT = (33, 133), (362, 263)
"""Outer and inner corner of the eye on the picture's left; inner and outer corner of the other eye."""
BROWS = ((70, 63, 105, 66, 107), (336, 296, 334, 293, 300))
# fmt: off
OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)
# fmt: on
FOREHEAD = (127, 21, 54, 103, 67, 109, 10, 338, 297, 332, 284, 251, 356)


def _span(points: np.ndarray) -> float:
    return float(np.linalg.norm(points[263] - points[33]))


def _blend(image: np.ndarray, cover: np.ndarray, colour: np.ndarray, feather: float) -> np.ndarray:
    """Blend the colour over the picture by `cover`, uint8 0..255, with an edge feathered by `feather` px."""
    import cv2

    alpha = cv2.GaussianBlur(cover, (0, 0), max(feather, 0.4)).astype(np.float32)[..., None] / 255
    return np.clip(image * (1 - alpha) + alpha * colour, 0, 255).astype(np.uint8)


def _lines(image: np.ndarray, curves: list[np.ndarray], width: float, colour, feather: float, strength: float = 1.0):
    import cv2

    cover = np.zeros(image.shape[:2], np.uint8)
    curves = [np.rint(np.clip(curve, -2000, 4000) * 16).astype(np.int32) for curve in curves]
    cv2.polylines(cover, curves, False, int(255 * strength), max(1, round(width)), cv2.LINE_AA, 4)
    return _blend(image, cover, colour, feather)


def _dark_colour(rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(5, 70) * np.array([1, rng.uniform(0.6, 1), rng.uniform(0.45, 1)])


def _rings(image, points, rng):
    """Dark circles around or below the eyes, as from tiredness or make-up."""
    import cv2

    span = _span(points)
    cover = np.zeros(image.shape[:2], np.uint8)
    below = rng.uniform(-0.02, 0.14) * span
    axes = (int(span * rng.uniform(0.17, 0.27)), int(span * rng.uniform(0.08, 0.18)))
    angle = np.degrees(np.arctan2(*(points[263] - points[33])[::-1]))
    thickness = -1 if rng.random() < 0.5 else max(1, int(span * rng.uniform(0.03, 0.09)))
    for corners in (RIGHT, LEFT):
        x, y = points[list(corners)].mean(axis=0)
        arc = (0, 180) if rng.random() < 0.5 else (0, 360)
        centre = (round(float(x)), round(float(y + below)))
        cv2.ellipse(cover, centre, axes, angle, *arc, int(255 * rng.uniform(0.2, 0.55)), thickness)
    return _blend(image, cover, _dark_colour(rng), span * rng.uniform(0.03, 0.08))


def _brows(image, points, rng):
    """Thick dark brows, sometimes joined."""
    span = _span(points)
    lift = np.array([0, rng.uniform(-0.06, 0.04) * span])
    curves = [points[list(side)] + lift for side in BROWS]
    if rng.random() < 0.25:
        curves = [np.concatenate(curves)]
    return _lines(image, curves, span * rng.uniform(0.04, 0.12), _dark_colour(rng), span * 0.02, rng.uniform(0.5, 1))


def _liner(image, points, rng):
    """Eye liner and creases below the eyes."""
    span = _span(points)
    wing = rng.uniform(0, 0.12) * span
    curves = []
    for top, side in (((33, 160, 159, 158, 133), -1), ((263, 387, 386, 385, 362), 1)):
        curve = points[list(top)]
        curves.append(np.concatenate([curve[:1] + np.array([side * wing, -wing * 0.5]), curve]))
    if rng.random() < 0.5:
        drop = np.array([0, span * rng.uniform(0.05, 0.12)])
        curves += [points[[33, 144, 145, 153, 133]] + drop, points[[263, 373, 374, 380, 362]] + drop]
    return _lines(image, curves, span * rng.uniform(0.01, 0.03), _dark_colour(rng), 0.6, rng.uniform(0.3, 0.8))


def _strands(image, points, rng):
    """Hair over forehead, brows and eyes: thin curves that start above the face."""
    span = _span(points)
    left, top = points[127, 0], points[10, 1]
    width = points[356, 0] - left
    side = rng.uniform(-0.2, 1.2)
    curves = []
    for _ in range(int(rng.integers(3, 60))):
        x = left + width * (rng.uniform(0, 1) if rng.random() < 0.5 else side + rng.normal(0, 0.12))
        end = np.array([x + rng.normal(0, 0.3) * span, points[168, 1] + rng.normal(-0.15, 0.35) * span])
        start = np.array([x, top - rng.uniform(0, 0.3) * span])
        middle = (start + end) / 2 + rng.normal(0, 0.15, 2) * span
        t = np.linspace(0, 1, 12)[:, None]
        curves.append((1 - t) ** 2 * start + 2 * t * (1 - t) * middle + t**2 * end)
    colour = rng.uniform(10, 190) * np.array([1, rng.uniform(0.7, 0.95), rng.uniform(0.45, 0.9)])
    return _lines(image, curves, max(1.0, span * rng.uniform(0.006, 0.025)), colour, 0.6, rng.uniform(0.4, 1))


def _hat(image, points, rng):
    """A hat, cap or hair band: the area above a curve over the forehead."""
    import cv2

    span = _span(points)
    edge = points[list(FOREHEAD)].copy()
    up = rng.uniform(-0.05, 0.45)
    edge[:, 1] += (points[168, 1] - edge[:, 1]) * (0.75 - up) - rng.uniform(0, 0.1) * span
    edge[0, 0] -= 0.4 * span
    edge[-1, 0] += 0.4 * span
    tall = rng.uniform(0.15, 2.5) * span
    outline = np.concatenate([edge, edge[::-1] - (0, tall)])
    cover = np.zeros(image.shape[:2], np.uint8)
    cv2.fillPoly(cover, [np.rint(np.clip(outline, -2000, 4000) * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    return _blend(image, cover, rng.uniform(5, 220, 3), 1.0)


def _patch(image, points, rng):
    """A sticker, mask or blob near the eyes."""
    import cv2

    span = _span(points)
    cover = np.zeros(image.shape[:2], np.uint8)
    for _ in range(int(rng.integers(1, 4))):
        x, y = points[168] + rng.normal(0, 0.45, 2) * span
        radius = span * rng.uniform(0.04, 0.3)
        angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 10))))
        reach = radius * rng.uniform(0.6, 1.3, len(angles))
        shape = np.stack([x + reach * np.cos(angles), y + reach * np.sin(angles)], axis=-1)
        cv2.fillPoly(cover, [np.rint(shape * 16).astype(np.int32)], int(255 * rng.uniform(0.5, 1)), cv2.LINE_AA, 4)
    return _blend(image, cover, rng.uniform(0, 255, 3), rng.uniform(0.4, 3))


def _scratches(image, points, rng):
    """Straight lines across the face: cables, straps, edges of light, scars."""
    span = _span(points)
    curves = []
    for _ in range(int(rng.integers(1, 5))):
        middle = points[168] + rng.normal(0, 0.5, 2) * span
        angle, reach = rng.uniform(0, np.pi), rng.uniform(0.2, 2.5) * span
        step = np.array([np.cos(angle), np.sin(angle)]) * reach / 2
        curves.append(np.stack([middle - step, middle + step]))
    colour = rng.uniform(0, 255, 3)
    return _lines(image, curves, span * rng.uniform(0.008, 0.06), colour, rng.uniform(0.4, 2), rng.uniform(0.3, 1))


def _sheen(image, points, rng):
    """Bright spots on nose bridge, brows and cheeks: oily skin under a lamp."""
    import cv2

    span = _span(points)
    cover = np.zeros(image.shape[:2], np.uint8)
    for index in rng.choice([168, 6, 197, 50, 280, 105, 334, 117, 346], int(rng.integers(1, 5)), replace=False):
        x, y = points[index] + rng.normal(0, 0.04, 2) * span
        axes = tuple(int(a) for a in np.maximum(1, span * rng.uniform(0.02, 0.1, 2)))
        cv2.ellipse(cover, (round(float(x)), round(float(y))), axes, rng.uniform(0, 180), 0, 360, 255, -1)
    cover = (cover * rng.uniform(0.3, 0.9)).astype(np.uint8)
    return _blend(image, cover, np.array([255, 250, 240]), span * rng.uniform(0.02, 0.06))


def _scarf(image, points, rng):
    """A head scarf or hood: cloth with folds all around the face."""
    import cv2

    span = _span(points)
    face = points[list(OVAL)]
    middle = face.mean(axis=0)
    opening = middle + (face - middle) * rng.uniform([0.9, 0.78], [1.12, 1.1])
    reach = middle + (face - middle) * rng.uniform(1.5, 2.2)
    cover = np.zeros(image.shape[:2], np.uint8)
    shapes = [np.rint(np.clip(shape, -2000, 4000) * 16).astype(np.int32) for shape in (reach, opening)]
    cv2.fillPoly(cover, shapes, 255, cv2.LINE_AA, 4)
    colour = rng.uniform(5, 235, 3) if rng.random() < 0.6 else np.full(3, rng.uniform(5, 240))
    out = _blend(image, cover, colour, 0.8)
    folds = []
    for _ in range(int(rng.integers(0, 9))):
        t = rng.uniform(0.1, 0.9)
        start, length = int(rng.integers(len(face))), int(rng.integers(5, 18))
        which = np.arange(start, start + length) % len(face)
        folds.append(opening[which] * (1 - t) + reach[which] * t)
    if folds:
        folded = _lines(out, folds, span * rng.uniform(0.01, 0.05), colour * rng.uniform(0.5, 1.3), span * 0.01)
        out = np.where((cover > 127)[..., None], folded, out)
    return out


def _bags(image, points, rng):
    """Bags under the eyes: a dark fold with a lighter bulge above it."""
    span = _span(points)
    out = image
    for lower in ((33, 144, 145, 153, 133), (263, 373, 374, 380, 362)):
        curve = points[list(lower)]
        sag = np.sin(np.linspace(0, np.pi, 5))[:, None] * np.array([0, span * rng.uniform(0.06, 0.13)])
        drop = np.array([0, span * rng.uniform(0.03, 0.1)])
        fold = span * rng.uniform(0.008, 0.03)
        light = np.array([255, 225, 205]) * rng.uniform(0.7, 1)
        out = _lines(out, [curve + drop + sag * 0.6], fold * 3, light, span * 0.03, rng.uniform(0.1, 0.35))
        out = _lines(out, [curve + drop + sag], fold, _dark_colour(rng), span * 0.008, rng.uniform(0.2, 0.6))
    return out


def _lashes(image, points, rng):
    """Long lashes that leave the lids in fans."""
    span = _span(points)
    long, curves = span * rng.uniform(0.03, 0.09), []
    for upper, lower in (((33, 160, 159, 158, 133), (144, 145, 153)), ((263, 387, 386, 385, 362), (373, 374, 380))):
        middle = points[list(upper + lower)].mean(axis=0)
        along = np.linspace(0, 4, int(rng.integers(10, 26)))
        lid = points[list(upper)]
        roots = np.stack([np.interp(along, np.arange(5), lid[:, k]) for k in range(2)], axis=1)
        for root in [*roots, *(points[list(lower)] if rng.random() < 0.4 else ())]:
            way = root - middle + np.array([0, -0.03 * span])
            curves.append(np.stack([root, root + way / max(np.linalg.norm(way), 1e-3) * long]))
    return _lines(image, curves, max(1.0, span * 0.008), _dark_colour(rng) * 0.5, 0.5, rng.uniform(0.5, 1))


def _wrinkles(image, points, rng):
    """Lines of age: across the forehead, between the brows, over the bridge, beside the eyes, on the lids."""
    span = _span(points)
    up = points[10] - points[168]
    curves = []
    for _ in range(int(rng.integers(0, 5))):
        across = (points[list(FOREHEAD[2:-2])] - points[10]) * np.array([0.7, 0.15])
        curves.append(points[168] + up * rng.uniform(0.35, 0.8) + across)
    for _ in range(int(rng.integers(0, 4))):
        x = points[168] + np.array([rng.normal(0, 0.05), rng.uniform(-0.15, 0.1)]) * span
        tall = np.array([rng.normal(0, 0.02), rng.uniform(0.05, 0.14)]) * span
        curves.append(np.stack([x - tall, x + tall]))
    for _ in range(int(rng.integers(0, 3))):
        x = points[6] + np.array([0, rng.uniform(-0.06, 0.06)]) * span
        wide = np.array([rng.uniform(0.06, 0.13), 0]) * span
        curves.append(np.stack([x - wide, x - np.array([0, 0.012 * span]), x + wide]))
    for corner, side in ((33, -1), (263, 1)):
        for _ in range(int(rng.integers(0, 5))):
            angle = rng.uniform(-0.6, 0.8)
            start = points[corner] + np.array([side * 0.05, 0.02]) * span
            way = np.array([side * np.cos(angle), np.sin(angle)]) * span * rng.uniform(0.08, 0.22)
            curves.append(np.stack([start, start + way]))
    if not curves:
        return image
    return _lines(image, curves, span * rng.uniform(0.006, 0.02), _dark_colour(rng), 0.8, rng.uniform(0.2, 0.6))


_DECOYS = (
    _rings,
    _brows,
    _liner,
    _strands,
    _hat,
    _patch,
    _scratches,
    _sheen,
    _scarf,
    _bags,
    _lashes,
    _wrinkles,
)
