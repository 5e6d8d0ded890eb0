"""Tattoo-like line art: dark ink with alpha, no backing."""

from __future__ import annotations

import numpy as np

from attributes.stickers.art.canvas import Canvas, blur, grow, hsv, noise, ramp
from attributes.stickers.art.forms import Pen, disc, line, lines, mirrored, polar, polygon, rotate, smooth, turned
from attributes.stickers.art.looks import Album

ALBUM = Album("tattoo", gloss=0.0)


def ink(c: Canvas, mask: np.ndarray, rng, opacity: float = 0.9) -> None:
    """Ink in skin: blue-black, slightly spread, unevenly dense."""
    spread = blur(np.clip(mask, 0, 1), 0.22)
    c.fill(spread * (0.8 + 0.2 * noise(rng, 40)), hsv(0.6 + 0.05 * rng.random(), 0.5, 0.15), opacity)


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


def _outlined(form: np.ndarray, width: float) -> np.ndarray:
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
    mask = np.zeros_like(c.alpha)
    turn = 360 * rng.random()
    shade = np.zeros_like(mask)
    for ring, (radius, count) in enumerate(((37, 6), (28, 5), (20, 5), (13, 3))):
        for i in range(count):
            angle = turn + 360 * i / count + 34 * ring
            half = 230 / count
            edge = polar(
                angle + np.array([-half, -half * 0.6, -6, 6, half * 0.6, half]),
                radius * np.array([0.55, 0.98, 1.1, 1.0, 1.02, 0.55]),
                50,
                44,
            )
            petal = polygon(smooth(np.vstack([edge, [polar(angle, radius * 0.2, 50, 44)]])))
            mask = np.maximum(mask * (1 - petal), _outlined(petal, 1.1))
            shade = np.maximum(shade * (1 - petal), petal * np.clip(1 - blur(petal, 4), 0, 1) * 0.5)
    core = smooth(polar(turn + np.arange(0, 620, 40), np.linspace(8, 1, 16), 50, 44), False)
    mask = np.maximum(mask * (1 - disc(50, 44, 8)), line(core, 1.2))
    for s in (-1, 1):
        blade = polygon(turned(smooth(mirrored([(50, 66), (60, 76), (58, 88), (50, 99)])), s * -62, 50, 70))
        blade = blade * (1 - disc(50, 44, 37))
        vein = turned([(50, 70), (50, 95)], s * -62, 50, 70)
        mask = np.maximum.reduce([mask, _outlined(blade, 1.1), line(vein, 0.9) * blade])
        shade = np.maximum(shade, blade * 0.45)
    ink(c, np.maximum(mask, dots(shade, 1.0, rng, 5000)), rng)


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
def compass(c: Canvas, rng):
    rings = sum(disc(50, 50, r) * (1 - disc(50, 50, r - w)) for r, w in ((40, 1.4), (36, 0.8), (20, 0.7)))
    ticks = [[polar(a, 36), polar(a, 40)] for a in range(0, 360, 10)]
    mask = np.maximum(rings, lines(ticks, 0.7))
    for angle, reach in ((45, 30), (135, 30), (225, 30), (315, 30), (0, 47), (90, 47), (180, 47), (270, 47)):
        tip, right, left = polar(angle, reach), polar(angle + 45, 8.5), polar(angle - 45, 8.5)
        whole = polygon([tip, right, (50, 50), left])
        mask = np.maximum(mask * (1 - whole), line([tip, right, (50, 50), left], 0.9, True))
        mask = np.maximum(mask, polygon([tip, right, (50, 50)]))
    mask = np.maximum(mask * (1 - disc(50, 50, 3)), disc(50, 50, 1.6))
    ink(c, rotate(mask, 30 * rng.random() - 15), rng)


@ALBUM.look
def barbed_wire(c: Canvas, rng):
    x = np.linspace(3, 97, 90)
    phase, waves = 6.28 * rng.random(), 5
    first = 50 + 1.8 * np.sin(x / 94 * waves * 6.28 + phase)
    second = 50 - 1.8 * np.sin(x / 94 * waves * 6.28 + phase)
    bow = 8 * np.sin((x - 3) / 94 * 3.14)
    mask = lines([np.stack([x, first - bow], 1), np.stack([x, second - bow], 1)], 1.5)
    for centre in np.linspace(13, 87, 5):
        y = 50 - 8 * np.sin((centre - 3) / 94 * 3.14)
        mask = np.maximum(
            mask, lines([[(centre + d, y - 3.4), (centre + d + 1.4, y + 3.4)] for d in (-2.2, 0, 2.2)], 1.4)
        )
        for dx, dy in ((-7, -9), (7, -8), (-6, 9), (8, 8)):
            end = (centre + dx * (0.8 + 0.3 * rng.random()), y + dy)
            mask = np.maximum(mask, line([(centre + dx * 0.2, y), end], [2, 0.3]))
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


@ALBUM.look
def mandala(c: Canvas, rng):
    folds = int(rng.choice([8, 10, 12]))
    pen, holes = Pen(), Pen()
    angles = np.arange(folds) * 360 / folds
    for radius, reach, wide in ((6, 18, 15), (16, 32, 26 * 8 / folds), (28, 46, 20 * 8 / folds)):
        offset = 180 / folds if radius == 16 else 0
        for a in angles + offset:
            petal = smooth(
                [
                    polar(a, radius),
                    polar(a - wide * 0.6, (radius + reach) / 2),
                    polar(a, reach),
                    polar(a + wide * 0.6, (radius + reach) / 2),
                ]
            )
            pen.line(petal, 0.9, True)
            pen.line([polar(a, radius + 3), polar(a, reach - 5)], [0.6, 1.6])
    for a in angles:
        pen.disc(*polar(a + 180 / folds, 41), 1.6)
        holes.disc(*polar(a + 180 / folds, 41), 0.8)
        pen.disc(*polar(a + 180 / folds, 46), 0.8)
        pen.disc(*polar(a, 23), 1.0)
    rings = sum(disc(50, 50, r) * (1 - disc(50, 50, r - 0.8)) for r in (6, 15, 27))
    ink(c, np.maximum(pen.mask() * (1 - holes.mask()), rings) + disc(50, 50, 2.5), rng)


@ALBUM.look
def constellation(c: Canvas, rng):
    count = int(rng.integers(6, 9))
    points = np.stack([np.linspace(12, 88, count), 18 + 64 * rng.random(count)], axis=1)
    points[:, 0] += 6 * (rng.random(count) - 0.5)
    mask = line(points, 0.7)
    branch = points[count // 2] + np.array([4, 24 if points[count // 2][1] < 55 else -24])
    mask = np.maximum(mask, line([points[count // 2], branch], 0.7))
    pen, clear = Pen(), Pen()
    for x, y in [*points, branch]:
        reach = 3 + 3.5 * rng.random()
        clear.disc(x, y, reach * 0.75)
        for tip in range(4):
            pen.polygon(
                [
                    polar(90 * tip, reach, x, y),
                    polar(90 * tip + 45, reach * 0.28, x, y),
                    (x, y),
                    polar(90 * tip - 45, reach * 0.28, x, y),
                ]
            )
    for x, y in 6 + 88 * rng.random((14, 2)):
        pen.disc(x, y, 0.5 + 0.4 * rng.random())
    ink(c, np.maximum(mask * (1 - clear.mask()), pen.mask()), rng)


@ALBUM.look
def dotwork_moon(c: Canvas, rng):
    crescent = disc(50, 50, 42) * (1 - disc(64, 44, 34))
    mask = np.maximum(_outlined(crescent, 0.9), dots(crescent, (1 - ramp(-60)) ** 1.3, rng, 9000))
    hanging = Pen()
    for x, y, length in ((58, 42, 20), (70, 30, 30), (80, 44, 14)):
        hanging.line([(x, 18), (x, y + length - 6)], 0.5)
        for tip in range(5):
            hanging.polygon(
                [
                    polar(72 * tip, 4.4, x, y + length),
                    polar(72 * tip + 36, 1.8, x, y + length),
                    (x, y + length),
                    polar(72 * tip - 36, 1.8, x, y + length),
                ]
            )
    ink(c, np.maximum(mask, hanging.mask() * (1 - crescent)), rng)


@ALBUM.look
def geometric_wolf(c: Canvas, rng):
    half = [
        [(50, 36), (38, 26), (22, 6), (16, 40), (8, 54), (24, 66), (34, 82), (50, 96)],
        [(22, 6), (28, 34), (50, 36)],
        [(16, 40), (28, 34), (36, 52), (50, 60)],
        [(8, 54), (36, 52), (34, 82)],
        [(24, 66), (36, 52)],
        [(50, 60), (42, 78), (34, 82)],
        [(42, 78), (50, 84)],
        [(28, 34), (38, 26)],
    ]
    segments = [np.array(s, float) for s in half]
    mask = lines([*segments, *[s * [-1, 1] + [100, 0] for s in segments], [(50, 36), (50, 60)]], 1.1)
    dark = [[(22, 6), (28, 34), (16, 40)], [(42, 78), (50, 84), (58, 78), (50, 72)]]
    for form in dark:
        form = np.array(form, float)
        mask = np.maximum.reduce([mask, polygon(form), polygon(form * [-1, 1] + [100, 0])])
    for s in (-1, 1):
        mask = np.maximum(mask, polygon([(50 + s * 9, 53), (50 + s * 19, 48), (50 + s * 15, 54)]))
    jowls = np.array([(24, 66), (36, 52), (34, 82)], float)
    region = np.maximum(polygon(jowls), polygon(jowls * [-1, 1] + [100, 0]))
    ink(c, np.maximum(mask, dots(region, ramp(), rng, 5000)), rng)
