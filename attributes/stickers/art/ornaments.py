"""Draw tattoo-like ornaments with geometry, symmetry and dots."""

from __future__ import annotations

import numpy as np

from attributes.stickers.art.canvas import Canvas, ramp
from attributes.stickers.art.forms import Pen, disc, line, lines, polar, polygon, rotate, smooth
from attributes.stickers.art.looks import Album
from attributes.stickers.art.tattoos import dots, ink, outlined

ALBUM = Album("tattoo", gloss=0.0)


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
        pen.dot(polar(a + 180 / folds, 41), 1.6)
        holes.dot(polar(a + 180 / folds, 41), 0.8)
        pen.dot(polar(a + 180 / folds, 46), 0.8)
        pen.dot(polar(a, 23), 1.0)
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
    mask = np.maximum(outlined(crescent, 0.9), dots(crescent, (1 - ramp(-60)) ** 1.3, rng, 9000))
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
    for corners in dark:
        form = np.array(corners, float)
        mask = np.maximum.reduce([mask, polygon(form), polygon(form * [-1, 1] + [100, 0])])
    for s in (-1, 1):
        mask = np.maximum(mask, polygon([(50 + s * 9, 53), (50 + s * 19, 48), (50 + s * 15, 54)]))
    jowls = np.array([(24, 66), (36, 52), (34, 82)], float)
    region = np.maximum(polygon(jowls), polygon(jowls * [-1, 1] + [100, 0]))
    ink(c, np.maximum(mask, dots(region, ramp(), rng, 5000)), rng)
