"""Draw translucent stickers, through which the skin is visible."""

from __future__ import annotations

import numpy as np

from attributes.stickers.art.canvas import BLACK, WHITE, Canvas, blur, glow, grow, hsv, mix, noise, ramp
from attributes.stickers.art.forms import Pen, box, disc, heart, line, lines, polar, polygon, smooth, star
from attributes.stickers.art.looks import Album

ALBUM = Album("translucent", gloss=0.85)


@ALBUM.look
def cellophane_heart(c: Canvas, rng):
    body = polygon(heart(50, 50, 45))
    c.fill(body, hsv(rng.choice([0.95, 0.0, 0.55, 0.8]), 0.75, 0.92), 0.42 + 0.12 * rng.random())
    for _ in range(6):
        start, angle = 20 + 60 * rng.random(2), 360 * rng.random()
        bend = start + polar(angle + np.array([0.0, 25.0]), np.array([12.0, 26.0]), 0, 0)
        crease = smooth([start, *bend], False)
        fold = blur(line(crease, 1.6 * np.sin(np.linspace(0, np.pi, len(crease))) + 0.1), 0.35) * body
        c.fill(fold, WHITE, 0.4)
        c.fill(np.roll(fold, 5, 0) * body, BLACK, 0.16)
    c.fill(body * (1 - blur(grow(body, -1.6), 0.8)), hsv(0.95, 0.5, 0.6), 0.35)
    c.fill(blur(disc(31, 33, 5, 11, 35), 0.6), WHITE, 0.65)


@ALBUM.look
def jelly_bear(c: Canvas, rng):
    pen = Pen().disc(33, 14, 7).disc(67, 14, 7).disc(50, 26, 19).disc(50, 62, 24, 27)
    pen.disc(25, 52, 8, 11).disc(75, 52, 8, 11).disc(33, 86, 11, 9).disc(67, 86, 11, 9)
    body = blur(pen.mask(), 0.4)
    colour = hsv(rng.choice([0.0, 0.08, 0.14, 0.35, 0.55, 0.88]), 0.85, 0.92)
    c.fill(body, mix(colour, WHITE, 0.25 * glow(50, 75, 40)), 0.68)
    c.light(body, 4, 0.6)
    c.fill(body * (1 - blur(grow(body, -2.5), 1.5)), mix(colour, BLACK, 0.45), 0.45)
    dark = mix(colour, BLACK, 0.5)
    c.tint(Pen().disc(43, 23, 1.8).disc(57, 23, 1.8).disc(50, 29, 3, 2.2).mask(), dark, 0.8)
    for x, y, rx, ry in ((42, 14, 6, 2), (38, 50, 3, 8), (29, 83, 3, 2), (63, 83, 3, 2)):
        c.fill(blur(disc(x, y, rx, ry, -10), 0.6), WHITE, 0.75)


@ALBUM.look
def bubble(c: Canvas, rng):
    body = disc(50, 50, 44)
    edge = np.clip(1 - glow(50, 50, 46), 0, 1) ** 4 * body
    swirl = 0.5 * noise(rng, 4) + 0.6 * ramp(30) - 0.6 * glow(44, 44, 60)
    film = np.stack([0.75 + 0.25 * np.cos(6.28 * (swirl * 1.4 + k / 3)) for k in range(3)], axis=-1)
    c.fill(body, film, 0.09)
    c.fill(edge, film, 0.7)
    c.fill(blur(line(polar(np.linspace(285, 345, 20), 36), 5), 0.9), WHITE, 0.8)
    c.fill(blur(line(polar(np.linspace(120, 150, 10), 37), 3), 0.8), WHITE, 0.6)
    c.fill(blur(disc(66, 26, 2.5), 0.4), WHITE, 0.8)


@ALBUM.look
def sticky_tape(c: Canvas, rng):
    teeth = np.linspace(36, 64, 15)
    left = np.stack([np.where(np.arange(15) % 2, 3.0, 5.5), teeth], axis=1)
    right = left[::-1] * [-1, 1] + [100, 0]
    body = polygon(np.vstack([left, right]))
    c.fill(body, hsv(0.13, 0.3 + 0.2 * rng.random(), 0.93), 0.4)
    c.fill(body * np.clip(noise(rng, 12) - 0.55, 0, 1), WHITE, 0.7)
    c.fill(body * (np.abs(ramp() - 0.5) > 0.132), (0.75, 0.65, 0.4), 0.3)
    creases = [[(x, 36), (x + 3 * rng.random(), 64)] for x in 10 + 80 * rng.random(4)]
    c.fill(blur(lines(creases, 0.7), 0.2) * body, WHITE, 0.5)
    c.fill(blur(box(8, 39, 92, 43, 2), 0.8) * body, WHITE, 0.35)


@ALBUM.look
def washi_tape(c: Canvas, rng):
    ends = 2 * rng.random((2, 12))
    ys = np.linspace(38, 62, 12)
    body = polygon(np.vstack([np.stack([4 + ends[0], ys], 1), np.stack([96 - ends[1], ys], 1)[::-1]]))
    hue = rng.random()
    c.fill(body, mix(hsv(hue, 0.4, 0.95), WHITE, 0.15 * noise(rng, 50)), 0.72)
    if rng.random() < 0.5:
        pattern = lines([[(x, 36), (x + 16, 64)] for x in range(-12, 100, 9)], 3.2)
    else:
        pen = Pen()
        for i, x in enumerate(np.arange(6, 98, 5.5)):
            pen.disc(x, 44 if i % 2 else 56, 2.2)
        pattern = pen.mask()
    c.tint(pattern, mix(hsv(hue + 0.08, 0.7, 0.85), WHITE, 0.1), 0.85)
    c.light(body, 0.8, 0.2)


@ALBUM.look
def stained_glass(c: Canvas, rng):
    hue, panes = rng.random(), 8
    angles = np.arange(panes) * 360 / panes
    for i, a in enumerate(angles):
        for inner, outer, shift in ((10, 27, 0.0), (27, 44, 0.12)):
            arc = np.linspace(a, a + 360 / panes, 8)
            pane = polygon(np.vstack([polar(arc, outer), polar(arc[::-1], inner)]))
            tone = hsv(hue + shift + 0.25 * (i % 2) + 0.05 * rng.random(), 0.85, 0.9)
            c.fill(pane, mix(tone, WHITE, 0.35 * noise(rng, 14)), 0.62)
    c.fill(disc(50, 50, 10), mix(hsv(hue + 0.5, 0.8, 0.95), WHITE, glow(48, 48, 12)), 0.65)
    spokes = lines([[polar(a, 10), polar(a, 44)] for a in angles], 1.8)
    rings = sum(disc(50, 50, r + 1) * (1 - disc(50, 50, r - 1)) for r in (10, 27, 44))
    lead = np.clip(spokes + rings, 0, 1)
    c.fill(lead, (0.16, 0.16, 0.19))
    c.light(lead, 0.7, 0.8)


@ALBUM.look
def gel_star(c: Canvas, rng):
    corners = star(50, 53, 40, 20, 5)
    body = blur(np.minimum(polygon(corners) + line(corners, 10, True), 1), 0.3)
    hue = rng.random()
    c.fill(body, mix(hsv(hue, 0.75, 0.95), hsv(hue + 0.12, 0.6, 1), ramp(40)), 0.55)
    c.light(body, 5, 0.7)
    for _ in range(14):
        x, y = 25 + 50 * rng.random(2)
        r = 0.6 + 1.2 * rng.random()
        c.fill(disc(x, y, r) * (1 - disc(x, y, r * 0.6)) * body, WHITE, 0.5)
    c.fill(body * (1 - blur(grow(body, -2), 1.2)), hsv(hue, 0.9, 0.5), 0.4)
    c.fill(blur(line(smooth([(46, 22), (42, 36), (30, 41)], False), [1, *[2.6] * 19, 1]), 0.6), WHITE, 0.75)
