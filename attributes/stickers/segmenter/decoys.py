"""Draw what is on faces and is no sticker: hard negatives for training."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

OVAL_BELOW = (234, 93, 132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361, 323, 454)
"""Landmarks of mediapipe along the jaw, from ear to ear."""
FOREHEAD = (127, 21, 54, 103, 67, 109, 10, 338, 297, 332, 284, 251, 356)
LIPS = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146)
LIDS = ((33, 246, 161, 160, 159, 158, 157, 173, 133), (263, 466, 388, 387, 386, 385, 384, 398, 362))
BROWS = ((70, 63, 105, 66, 107), (300, 293, 334, 296, 336))
CHEEKS = (50, 280, 117, 346, 101, 330, 36, 266, 205, 425)
SKIN = (*CHEEKS, 10, 151, 9, 67, 297, 109, 338, 168, 6, 4, 152, 175, 199, 187, 411, 147, 376)


def add_decoys(image: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw one to four decoys on a picture.

    Args:
        image: uint8 ``[H, W, 3]``; not changed.
        points: float32 ``[478, 2]``, the landmarks of mediapipe.
        rng: draws everything.

    Returns:
        uint8 ``[H, W, 3]``.
    """
    result = image.astype(np.float32)
    for decoy in rng.choice(len(_DECOYS), rng.integers(1, 5), replace=False):
        result = _DECOYS[decoy](result, points, rng)
    return np.clip(np.rint(result), 0, 255).astype(np.uint8)


def strands(size: tuple[int, ...], points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """How much hair that falls into the face covers, float32 ``[H, W]`` in 0..1."""
    span = _span(points)
    left, top = points[127, 0], points[10, 1]
    width = points[356, 0] - left
    side, curves = rng.uniform(-0.2, 1.2), []
    for _ in range(int(rng.integers(3, 60))):
        x = left + width * (rng.uniform(0, 1) if rng.random() < 0.5 else side + rng.normal(0, 0.12))
        end = np.array([x + rng.normal(0, 0.3) * span, points[168, 1] + rng.normal(0, 0.4) * span])
        start = np.array([x, top - rng.uniform(0, 0.3) * span])
        middle = (start + end) / 2 + rng.normal(0, 0.15, 2) * span
        t = np.linspace(0, 1, 12)[:, None]
        curves.append((1 - t) ** 2 * start + 2 * t * (1 - t) * middle + t**2 * end)
    cover = _lines(size, curves, max(1.0, span * rng.uniform(0.006, 0.025)))
    return _soft(cover, 0.6) * rng.uniform(0.5, 1)


def hair_colour(rng: np.random.Generator) -> np.ndarray:
    """float64 ``[3]``."""
    return rng.uniform(8, 190) * np.array([1, rng.uniform(0.7, 0.95), rng.uniform(0.45, 0.9)])


def _span(points: np.ndarray) -> float:
    return max(float(np.linalg.norm(points[263] - points[33])), 4.0)


def _fixed(points: np.ndarray) -> np.ndarray:
    """Coordinates for OpenCV with 4 bits after the point."""
    return np.rint(np.clip(points, -2000, 4000) * 16).astype(np.int32)


def _lines(size: tuple[int, ...], curves: Sequence[np.ndarray], width: float) -> np.ndarray:
    cover = np.zeros(size, np.uint8)
    cv2.polylines(cover, [_fixed(curve) for curve in curves], False, 255, max(1, round(width)), cv2.LINE_AA, 4)
    return cover


def _polygon(size: tuple[int, ...], outline: np.ndarray) -> np.ndarray:
    cover = np.zeros(size, np.uint8)
    cv2.fillPoly(cover, [_fixed(outline)], 255, cv2.LINE_AA, 4)
    return cover


def _soft(cover: np.ndarray, feather: float) -> np.ndarray:
    """uint8 0..255 -> float32 0..1, blurred by `feather` px."""
    return cv2.GaussianBlur(cover.astype(np.float32) / 255, (0, 0), max(feather, 0.3))


def _blend(image: np.ndarray, cover: np.ndarray, colour) -> np.ndarray:
    return image + cover[..., None] * (np.asarray(colour, np.float32) - image)


def _times(image: np.ndarray, cover: np.ndarray, factor) -> np.ndarray:
    return image * (1 + cover[..., None] * (np.asarray(factor, np.float32) - 1))


def _blob(rng: np.random.Generator, centre: np.ndarray, radius: float, corners: int = 12) -> np.ndarray:
    """The outline of an irregular blob."""
    angles = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    reach = radius * np.exp(rng.normal(0, 0.2, corners)) * (1 + 0.4 * rng.random() * np.cos(angles - rng.uniform(0, 6)))
    return centre + reach[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=-1)


def _on_skin(points: np.ndarray, rng: np.random.Generator, spread: float = 0.15) -> np.ndarray:
    return points[rng.choice(SKIN)] + rng.normal(0, spread, 2) * _span(points)


def _brown(rng: np.random.Generator) -> np.ndarray:
    """Colour of pigment, as a factor on skin."""
    return rng.uniform(0.35, 0.85) * np.array([1, rng.uniform(0.75, 0.95), rng.uniform(0.6, 0.9)])


def _freckles(image, points, rng):
    span, cover = _span(points), np.zeros(image.shape[:2], np.uint8)
    for _ in range(int(rng.integers(20, 260))):
        x, y = points[rng.choice((*CHEEKS, 4, 6, 195, 9))] + rng.normal(0, 0.16, 2) * span
        radius = span * rng.uniform(0.003, 0.014)
        cv2.circle(
            cover, tuple(_fixed(np.array([x, y]))), int(radius * 16), int(rng.integers(80, 255)), -1, cv2.LINE_AA, 4
        )
    return _times(image, _soft(cover, span * 0.004), rng.uniform(0.55, 0.9) * np.array([1, 0.88, 0.78]))


def _moles(image, points, rng):
    span = _span(points)
    for _ in range(int(rng.integers(1, 7))):
        cover = _polygon(image.shape[:2], _blob(rng, _on_skin(points, rng), span * rng.uniform(0.006, 0.03)))
        image = _times(image, _soft(cover, span * rng.uniform(0.002, 0.01)), _brown(rng))
    return image


def _birthmark(image, points, rng):
    span = _span(points)
    cover = _soft(
        _polygon(image.shape[:2], _blob(rng, _on_skin(points, rng), span * rng.uniform(0.04, 0.25), 18)), span * 0.03
    )
    return _times(
        image, cover * rng.uniform(0.3, 0.8), [rng.uniform(0.8, 1), rng.uniform(0.55, 0.85), rng.uniform(0.55, 0.85)]
    )


def _scar(image, points, rng):
    span, middle = _span(points), _on_skin(points, rng)
    angle, reach = rng.uniform(0, np.pi), rng.uniform(0.08, 0.5) * span
    t = np.linspace(-1, 1, 9)[:, None]
    step, side = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    curve = middle + t * step * reach / 2 + (t**2 - 0.5) * side * rng.normal(0, 0.15) * reach
    cover = _soft(_lines(image.shape[:2], [curve], span * rng.uniform(0.008, 0.03)), span * rng.uniform(0.004, 0.012))
    factor = [1.15, 1.02, 1.0] if rng.random() < 0.5 else [rng.uniform(0.75, 1), 0.7, 0.7]
    return _times(image, cover * rng.uniform(0.4, 1), factor)


def _wrinkles(image, points, rng):
    span, curves = _span(points), []
    if rng.random() < 0.7:
        for lift in np.sort(rng.uniform(0.1, 0.5, int(rng.integers(1, 6)))):
            row = points[[70, 105, 9, 334, 300]] - (0, lift * span)
            curves.append(row + rng.normal(0, 0.012, row.shape) * span)
    if rng.random() < 0.6:
        curves += [points[[48, 203, 206, 216]], points[[278, 423, 426, 436]]]
    if rng.random() < 0.6:
        for corner, side in ((33, -1), (263, 1)):
            for _ in range(int(rng.integers(2, 5))):
                end = points[corner] + np.array([side * rng.uniform(0.12, 0.3), rng.uniform(-0.12, 0.15)]) * span
                curves.append(np.stack([points[corner] + (side * 0.06 * span, 0), end]))
    if rng.random() < 0.4:
        drop = np.array([0, rng.uniform(0.06, 0.14) * span])
        curves += [points[[33, 144, 145, 153, 133]] + drop, points[[263, 373, 374, 380, 362]] + drop]
    if not curves:
        return image
    cover = _soft(_lines(image.shape[:2], curves, span * rng.uniform(0.008, 0.02)), span * 0.008)
    return _times(image, cover, rng.uniform(0.55, 0.85) * np.array([1, 0.95, 0.92]))


def _bindi(image, points, rng):
    span = _span(points)
    middle = points[9] + (points[151] - points[9]) * rng.uniform(-0.3, 0.5)
    radius = span * rng.uniform(0.012, 0.04)
    angle = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    tall = rng.uniform(1, 2.5) if rng.random() < 0.4 else 1.0
    outline = middle + radius * np.stack([np.cos(angle), tall * np.sin(angle)], axis=-1)
    colour = [(150, 20, 30), (90, 10, 25), (20, 15, 20), (200, 60, 20), (190, 150, 60)][rng.integers(5)]
    return _blend(image, _soft(_polygon(image.shape[:2], outline), 0.4) * rng.uniform(0.7, 1), colour)


def _lipstick(image, points, rng):
    cover = _soft(_polygon(image.shape[:2], points[list(LIPS)]), _span(points) * 0.008)
    tone = rng.uniform(40, 230, 3) * (1, 0.4, 0.5)
    shade = image.mean(axis=-1, keepdims=True) / 110
    return image + cover[..., None] * rng.uniform(0.3, 0.8) * (tone * shade - image)


def _eye_make_up(image, points, rng):
    """Eye shadow, liner and mascara."""
    span = _span(points)
    if rng.random() < 0.7:
        colour = rng.uniform(10, 230, 3)
        for lid, brow in zip(LIDS, BROWS):
            edge = points[list(lid)]
            top = edge + (points[list(brow)].mean(axis=0) - edge.mean(axis=0)) * rng.uniform(0.2, 0.9)
            cover = _soft(_polygon(image.shape[:2], np.concatenate([edge, top[::-1]])), span * rng.uniform(0.01, 0.035))
            image = _blend(image, cover * rng.uniform(0.2, 0.7), colour)
    if rng.random() < 0.7:
        wing, curves = rng.uniform(0, 0.14) * span, []
        for lid, side in zip(LIDS, (-1, 1)):
            edge = points[list(lid)]
            curves.append(np.concatenate([edge[:1] + np.array([side * wing, -wing * 0.5]), edge]))
        cover = _soft(_lines(image.shape[:2], curves, span * rng.uniform(0.01, 0.035)), 0.5)
        image = _blend(image, cover * rng.uniform(0.5, 1), rng.uniform(5, 50, 3))
    return image


def _blush(image, points, rng):
    span, cover = _span(points), np.zeros(image.shape[:2], np.uint8)
    for cheek in (50, 280):
        axes = tuple(int(a) for a in np.maximum(1, span * rng.uniform(0.08, 0.22, 2)))
        cv2.ellipse(cover, tuple(int(v) for v in points[cheek]), axes, rng.uniform(0, 180), 0, 360, 255, -1)
    tone = [rng.uniform(1.0, 1.25), rng.uniform(0.65, 0.95), rng.uniform(0.65, 0.95)]
    return _times(image, _soft(cover, span * rng.uniform(0.05, 0.1)), tone)


def _beard(image, points, rng):
    """Stubble or a beard: jaw, chin and moustache, without the lips."""
    span, size = _span(points), image.shape[:2]
    jaw = points[list(OVAL_BELOW)]
    middle = points[164]
    upper = middle + (jaw - middle) * rng.uniform(0.35, 0.75) + (0, rng.uniform(0, 0.1) * span)
    cover = _soft(_polygon(size, np.concatenate([jaw, upper[::-1]])), span * rng.uniform(0.02, 0.06))
    chin = _soft(_polygon(size, _blob(rng, (points[152] + points[17]) / 2, span * 0.3)), span * 0.05)
    moustache = _soft(_lines(size, [points[[216, 92, 164, 322, 436]]], span * rng.uniform(0.05, 0.14)), span * 0.02)
    cover = np.maximum(np.maximum(cover, chin), moustache)
    cover *= 1 - _soft(_polygon(size, points[list(LIPS)]), span * 0.01)
    grain = cv2.GaussianBlur(rng.standard_normal(size).astype(np.float32), (0, 0), rng.uniform(0.5, 1.2))
    grain = np.clip(0.5 + grain / (2 * grain.std()), 0, 1) * rng.uniform(0.3, 1) + rng.uniform(0.1, 0.6)
    return _blend(image, np.clip(cover * grain, 0, 1) * rng.uniform(0.3, 0.95), hair_colour(rng))


def _area(size: tuple[int, ...], points, rng) -> np.ndarray:
    """A large polygon over a part of the face: a half plane, a band, a corner or leaves."""
    span, kind = _span(points), rng.random()
    if kind < 0.3:
        cover = np.zeros(size, np.uint8)
        for _ in range(int(rng.integers(4, 20))):
            place = points[1] + rng.normal(0, 0.7, 2) * span
            cover = np.maximum(cover, _polygon(size, _blob(rng, place, span * rng.uniform(0.04, 0.3), 8)))
        return cover
    middle, angle = points[1] + rng.normal(0, 0.5, 2) * span, rng.uniform(0, 2 * np.pi)
    along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    far = 4 * span
    if kind < 0.5:
        deep, far = rng.uniform(0.05, 0.5) * span, far
        outline = [
            middle - far * along,
            middle + far * along,
            middle + far * along + deep * across,
            middle - far * along + deep * across,
        ]
    else:
        bend = rng.normal(0, 0.3) * span * across
        outline = [
            middle - far * along,
            middle + bend,
            middle + far * along,
            middle + far * (along + across),
            middle + far * (across - along),
        ]
    return _polygon(size, np.array(outline))


def _shadow(image, points, rng):
    """A cast shadow, of a hat, leaves, a blind."""
    cover = _soft(_area(image.shape[:2], points, rng), _span(points) * np.exp(rng.uniform(np.log(0.008), np.log(0.12))))
    return _times(image, cover, rng.uniform(0.3, 0.85) * np.exp(rng.normal(0, 0.06, 3)))


def _sunlight(image, points, rng):
    """A patch of bright light."""
    cover = _soft(_area(image.shape[:2], points, rng), _span(points) * np.exp(rng.uniform(np.log(0.008), np.log(0.1))))
    return _times(image, cover, rng.uniform(1.15, 1.9) * np.exp(rng.normal(0, 0.05, 3)))


def _neon(image, points, rng):
    """Coloured light from one or two sides."""
    for _ in range(int(rng.integers(1, 3))):
        cover = _soft(_area(image.shape[:2], points, rng), _span(points) * rng.uniform(0.08, 0.4))
        colour = rng.dirichlet((0.6, 0.6, 0.6)) * 3
        image = _times(image, cover * rng.uniform(0.2, 0.85), colour)
    return image


def _sheen(image, points, rng):
    """Highlights of oily or wet skin."""
    span, cover = _span(points), np.zeros(image.shape[:2], np.uint8)
    for index in rng.choice([168, 6, 197, 4, 50, 280, 105, 334, 10, 151, 152], int(rng.integers(1, 6)), replace=False):
        x, y = points[index] + rng.normal(0, 0.04, 2) * span
        axes = tuple(int(a) for a in np.maximum(1, span * rng.uniform(0.015, 0.12, 2)))
        cv2.ellipse(cover, (round(float(x)), round(float(y))), axes, rng.uniform(0, 180), 0, 360, 255, -1)
    return _blend(image, _soft(cover, span * rng.uniform(0.01, 0.06)) * rng.uniform(0.2, 0.9), (255, 250, 240))


def _fringe(image, points, rng):
    return _blend(image, strands(image.shape[:2], points, rng), hair_colour(rng))


def _spots(image, points, rng):
    """Red spots: acne, bites, rosacea."""
    span = _span(points)
    for _ in range(int(rng.integers(2, 20))):
        cover = _polygon(image.shape[:2], _blob(rng, _on_skin(points, rng), span * rng.uniform(0.006, 0.022)))
        cover = _soft(cover, span * rng.uniform(0.005, 0.012)) * rng.uniform(0.3, 0.9)
        image = _times(image, cover, [1.0, rng.uniform(0.5, 0.85), rng.uniform(0.5, 0.85)])
    return image


def _hat(image, points, rng):
    """A hat, cap, scarf or hair band: what is above a curve over the forehead."""
    span = _span(points)
    edge = points[list(FOREHEAD)].copy()
    edge[:, 1] += (points[168, 1] - edge[:, 1]) * rng.uniform(0.1, 0.6) - rng.uniform(0, 0.1) * span
    edge[0, 0] -= 0.4 * span
    edge[-1, 0] += 0.4 * span
    outline = np.concatenate([edge, edge[::-1] - (0, rng.uniform(0.15, 2.5) * span)])
    cover = _soft(_polygon(image.shape[:2], outline), 0.8)
    return _blend(image, cover, rng.uniform(5, 230, 3))


def _hand(image, points, rng):
    """One to three fingers, in the colour of the face, with a shadow below them."""
    span, size = _span(points), image.shape[:2]
    skin = np.median(
        image[tuple(np.clip(np.rint(points[list(CHEEKS)]).astype(int)[:, ::-1], 0, np.array(size) - 1).T)], axis=0
    )
    tip, angle = (
        points[rng.choice((*CHEEKS, 152, 10, 172, 397))] + rng.normal(0, 0.1, 2) * span,
        rng.uniform(0, 2 * np.pi),
    )
    width = span * rng.uniform(0.12, 0.22)
    for _ in range(int(rng.integers(1, 4))):
        turn = angle + rng.normal(0, 0.08)
        along, across = np.array([np.cos(turn), np.sin(turn)]), np.array([-np.sin(angle), np.cos(angle)])
        finger = np.stack([tip, tip + 3 * span * along])
        cover = _lines(size, [finger], width)
        image = _times(image, _soft(cover, width * 0.25) * 0.7, 0.6)
        tone = skin * rng.uniform(0.85, 1.15)
        image = _blend(image, _soft(cover, 0.8), tone)
        inner = _soft(_lines(size, [finger + across * width * 0.1], width * 0.4), width * 0.15)
        image = _times(image, inner, rng.uniform(1.0, 1.2))
        image = _blend(
            image,
            _soft(_lines(size, [finger[:1], finger[:1] + along * 0.3 * width], width * 0.7), 1.0) * 0.4,
            tone * (1.1, 0.95, 0.95),
        )
        tip = tip + across * width * 1.05 + along * rng.normal(0, 0.1) * span
    return image


_DECOYS = (
    *(_freckles, _moles, _birthmark, _scar, _wrinkles, _bindi, _lipstick, _eye_make_up, _blush, _beard),
    *(_shadow, _shadow, _sunlight, _neon, _sheen, _fringe, _spots, _hat, _hand),
)
