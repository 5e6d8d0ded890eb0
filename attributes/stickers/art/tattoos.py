"""Draw tattoo-like line art: dark ink with alpha and no backing."""

from __future__ import annotations

import numpy as np

from attributes.stickers.art.canvas import Canvas, blur, grow, hsv, noise
from attributes.stickers.art.forms import SIZE, Pen, disc, line, lines, mirrored, polar, polygon, smooth, turned
from attributes.stickers.art.looks import Album

ALBUM = Album("tattoo", gloss=0.0)


def ink(c: Canvas, mask: np.ndarray, rng, opacity: float = 0.9) -> None:
    """Ink in skin: blue-black, slightly spread, unevenly dense."""
    spread = blur(np.clip(mask, 0, 1), 0.22)
    c.fill(spread * (0.9 + 0.1 * noise(rng, 80)), hsv(0.6 + 0.05 * rng.random(), 0.5, 0.15), opacity)


def dots(region: np.ndarray, density: np.ndarray | float, rng, count: int = 2600) -> np.ndarray:
    """Stippling inside a region, denser where `density` (0..1) is higher."""
    points = rng.random((count, 2)) * 99.5
    keep = rng.random(count)
    pixels = (points * len(region) / 100).astype(int)
    wanted = (region * density)[pixels[:, 1], pixels[:, 0]]
    pen = Pen()
    for x, y in points[keep < wanted]:
        pen.disc(x, y, 0.42)
    return pen.mask()


def outlined(form: np.ndarray, width: float) -> np.ndarray:
    return form * (1 - grow(form, -width))


@ALBUM.look
def anchor(c: Canvas, rng):
    ring = disc(50, 14, 8) * (1 - disc(50, 14, 4.8))
    flukes = line(polar(np.linspace(100, 260, 40), 33, 50, 56), np.r_[np.linspace(2, 7, 20), np.linspace(7, 2, 20)])
    barbs = Pen().polygon([(85, 48), (90, 66), (74, 62)]).polygon([(15, 48), (10, 66), (26, 62)]).mask()
    shank = (
        Pen().line([(50, 22), (50, 90)], [4.5, 7]).line([(31, 32), (69, 32)], 4.6).disc(31, 32, 3.4).disc(69, 32, 3.4)
    )
    mask = np.maximum.reduce([ring, flukes, barbs, shank.mask()])
    rope = smooth([(58, 16), (68, 40), (46, 52), (36, 62), (58, 72), (66, 84), (50, 95)], False)
    mask = mask * (1 - line(rope, 6.5))
    mask = np.maximum(mask, line(rope, 4.4) * (1 - line(rope, 2.6)))
    twists = [rope[i] + np.array([(-1.6, 1), (1.6, -1)]) for i in range(2, len(rope), 3)]
    ink(c, np.maximum(mask, lines(twists, 0.7)), rng)


@ALBUM.look
def rose(c: Canvas, rng):
    mask, shade = np.zeros_like(c.alpha), np.zeros_like(c.alpha)
    for angle in (118, 180, 242):
        blade = turned(smooth(mirrored([(50, 44), (61, 24), (58, 10), (50, -5)])), angle, 50, 44)
        form = polygon(blade)
        vein = turned([(50, 16), (50, -1)], angle, 50, 44)
        ribs = [turned([(50, y), (50 + s * 5, y - 5)], angle, 50, 44) for y in (15, 9, 4) for s in (-1, 1)]
        mask = np.maximum.reduce([mask * (1 - form), outlined(form, 1.0), lines([vein, *ribs], 0.8) * form])
        shade = np.maximum(shade, form * 0.35)
    turn = 360 * rng.random()
    for ring, (radius, count) in enumerate(((33, 5), (25, 5), (17, 4), (10, 3))):
        for i in range(count):
            angle, half = turn + 360 * i / count + 40 * ring, 205 / count
            reach = np.array([0.5, 0.9, 1.06, 1.0, 1.08, 0.92, 0.5]) * radius
            edge = polar(angle + half * np.array([-1, -0.72, -0.35, 0, 0.35, 0.72, 1]), reach, 50, 42)
            petal = polygon(smooth(np.vstack([edge, [polar(angle, radius * 0.1, 50, 42)]])))
            lip = outlined(petal, 1.1)
            mask = np.maximum(mask * (1 - petal), lip)
            foot = petal * np.clip(1.25 - np.hypot(*_offsets(50, 42)) / (radius * 0.85), 0, 1)
            shade = np.maximum(shade * (1 - petal), foot)
    core = smooth(polar(turn + np.arange(0, 620, 40), np.linspace(6.5, 0.5, 16), 50, 42), False)
    mask = np.maximum(mask * (1 - disc(50, 42, 6.5)), line(core, 1.1))
    ink(c, np.maximum(mask, dots(shade, 0.9, rng, 9000)), rng)


def _offsets(x: float, y: float) -> tuple[np.ndarray, np.ndarray]:
    """Distance of every pixel from a point, to the right and down, in units."""
    rows, columns = np.mgrid[:SIZE, :SIZE].astype(np.float32) * (100 / SIZE)
    return columns - x, rows - y


@ALBUM.look
def tribal(c: Canvas, rng):
    mask = np.zeros_like(c.alpha)
    lift = 6 * rng.random()
    blades = (
        [(50, 44), (66, 30), (84, 34), (96, 52 - lift), (84, 44), (70, 44), (58, 54)],
        [(52, 50), (68, 52), (80, 62 + lift), (82, 78), (74, 66), (62, 60)],
        [(50, 40), (56, 22), (70, 10), (84, 12), (70, 18), (62, 32), (56, 44)],
        [(50, 56), (58, 66), (60, 82), (50, 98), (53, 80), (50, 66)],
    )
    for blade in blades:
        curve = smooth(blade)
        mask = np.maximum(mask, polygon(curve))
        mask = np.maximum(mask, polygon(curve * [-1, 1] + [100, 0]))
    mask = mask * (1 - Pen().disc(50, 49, 6, 8).mask()) + Pen().disc(50, 49, 2.2, 4).mask()
    ink(c, mask, rng, 0.95)


@ALBUM.look
def feather(c: Canvas, rng):
    spine = smooth([(18, 94), (34, 70), (52, 46), (70, 24), (82, 6)], False, 16)
    strokes = []
    along = np.gradient(spine, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    for i in range(14, len(spine) - 1):
        reach = 17 * np.sin(np.pi * ((i - 12) / (len(spine) - 12)) ** 0.75) ** 0.7
        for side in (-1, 1):
            if rng.random() < 0.12:
                continue
            normal = np.array([-along[i][1], along[i][0]]) * side
            end = spine[i] + normal * reach * (0.9 + 0.15 * rng.random()) + along[i] * reach * 0.8
            strokes.append(smooth([spine[i], (spine[i] + end) / 2 + normal * reach * 0.16, end], False, 5))
    mask = np.maximum(lines(strokes, 0.75), line(spine, np.linspace(2.4, 0.6, len(spine))))
    ink(c, mask, rng)


@ALBUM.look
def swallow(c: Canvas, rng):
    body = polygon(smooth([(14, 26), (22, 20), (32, 24), (48, 40), (62, 58), (70, 70), (54, 62), (36, 48), (20, 34)]))
    tail = Pen().polygon([(64, 60), (94, 76), (72, 71)]).polygon([(62, 64), (82, 95), (66, 73)]).mask()
    near = polygon(smooth([(34, 36), (52, 22), (76, 10), (96, 10), (82, 22), (68, 32), (52, 46)]))
    far = polygon(smooth([(30, 40), (26, 58), (14, 78), (10, 94), (28, 78), (40, 62), (44, 50)]))
    beak = polygon([(16, 24), (6, 27), (17, 30)])
    mask = np.maximum.reduce([body, tail, near, far, beak])
    gaps = [
        smooth([(46 + 7 * i, 37 - 2.5 * i), (58 + 8 * i, 25 - 3 * i), (68 + 8 * i, 19 - 3 * i)], False)
        for i in range(3)
    ]
    gaps += [
        smooth([(37 - 4 * i, 52 + 3 * i), (30 - 4 * i, 66 + 3 * i), (24 - 4 * i, 78 + 2 * i)], False) for i in range(3)
    ]
    mask = mask * (1 - lines(gaps, [*[0.5, 1.3] * 10, 1.0]))
    belly = polygon(smooth([(20, 30), (36, 42), (54, 58), (40, 49), (26, 38)]))
    mask = mask * (1 - belly) + dots(belly, 0.6, rng, 4000)
    ink(c, mask * (1 - disc(22, 26, 1.3)), rng)
