"""Draw simple forms in glossy vinyl."""

from __future__ import annotations

import numpy as np

from attributes.stickers.art.canvas import BLACK, WHITE, Canvas, blur, grow, hsv, mix, ramp
from attributes.stickers.art.forms import Pen, box, disc, heart, line, lines, mirrored, polar, polygon, smooth, star
from attributes.stickers.art.looks import Album

ALBUM = Album("shape", gloss=0.55)


@ALBUM.look
def star_(c: Canvas, rng):
    corners = star(50, 53, 43, 21 + 3 * rng.random(), 5)
    body = line(corners, 7, closed=True) + polygon(corners)
    body = np.minimum(body, 1)
    c.solid(body, hsv(0.105 + 0.04 * rng.random(), 0.8, 0.98), 5, 0.6)
    c.shine(body, 40, 36, 5, 14, 25)
    if rng.random() < 0.7:
        c.die_cut()


@ALBUM.look
def heart_(c: Canvas, rng):
    body = polygon(heart(50, 50, 44))
    c.solid(body, hsv(0.93 + 0.1 * rng.random(), 0.82, 0.93), 7, 0.65)
    c.shine(body, 29, 32, 6, 11, 35, 0.7)
    if rng.random() < 0.5:
        c.die_cut()


@ALBUM.look
def moon(c: Canvas, rng):
    body = disc(50, 50, 42) * (1 - disc(66 + 4 * rng.random(), 40, 34))
    c.solid(body, hsv(0.115 + 0.025 * rng.random(), 0.6, 0.98), 6, 0.6)
    for _ in range(5):
        x, y = polar(200 + 100 * rng.random(), 24 + 10 * rng.random())
        c.tint(disc(x, y, 1.5 + 2.5 * rng.random()) * grow(body, -2), hsv(0.11, 0.7, 0.82), 0.6)
    c.die_cut()


@ALBUM.look
def drop(c: Canvas, rng):
    right = smooth([(50, 7), (58, 24), (72, 45), (78, 64), (70, 84), (50, 92)], closed=False)
    body = polygon(mirrored(right))
    colour = hsv(0.52 + 0.1 * rng.random(), 0.7, 0.95)
    c.fill(body, mix(mix(colour, WHITE, 0.25), mix(colour, BLACK, 0.25), ramp()))
    c.light(body, 6, 0.6)
    c.tint(blur(disc(56, 78, 16, 8, -20), 2) * body, WHITE, 0.4)
    c.shine(body, 38, 58, 4.5, 13, 15, 0.85)
    c.rim()


@ALBUM.look
def cloud(c: Canvas, rng):
    pen = Pen().box(14, 50, 86, 74, 12)
    for x, y, r in ((30, 54, 15), (47, 44, 20), (66, 49, 17), (76, 60, 13)):
        pen.disc(x, y, r + 2 * rng.random())
    body = pen.mask()
    c.fill(body, mix((0.99, 0.99, 1), hsv(0.56 + 0.1 * rng.random(), 0.35, 0.95), ramp() ** 1.5))
    c.light(body, 5, 0.45)
    for x in (35, 65):
        c.tint(disc(x, 62, 2.2, 3), (0.2, 0.2, 0.3))
        c.tint(blur(disc(x, 69, 4.5, 2.6), 1), (1, 0.5, 0.6), 0.6)
    c.tint(line(polar(np.linspace(120, 240, 12), 5, 50, 62), 1.5), (0.2, 0.2, 0.3))
    c.die_cut(3, mix(hsv(rng.random(), 0.25, 1), WHITE, 0.3) if rng.random() < 0.4 else WHITE)


@ALBUM.look
def lightning(c: Canvas, rng):
    corners = [(58, 6), (22, 56), (45, 56), (36, 94), (78, 40), (54, 40), (70, 6)]
    body = np.minimum(polygon(corners) + line(corners, 4, closed=True), 1)
    hue = 0.1 + 0.05 * rng.random()
    c.fill(body, mix(hsv(hue + 0.05, 0.75, 1), hsv(hue - 0.05, 0.95, 0.97), ramp()))
    c.light(body, 3, 0.6)
    dark = grow(c.alpha, 2.2)
    inside = c.alpha.copy()
    c.fill(dark * (1 - inside), (0.12, 0.1, 0.2))
    c.die_cut(2.6)


@ALBUM.look
def crown(c: Canvas, rng):
    gold = hsv(0.11 + 0.02 * rng.random(), 0.75, 0.95)
    jewel = hsv(rng.random(), 0.85, 0.85)
    body = polygon(mirrored([(50, 26), (39, 52), (17, 34), (23, 76)]))
    points = Pen().disc(50, 23, 5).disc(15, 31, 4.5).disc(85, 31, 4.5).mask()
    c.solid(points, gold, 2, 0.7)
    c.solid(body, gold, 3, 0.6)
    band = box(20, 72, 80, 84, 4)
    c.shadow(band)
    c.solid(band, mix(gold, BLACK, 0.1), 2.5, 0.7)
    for x in (32, 50, 68):
        gem = disc(x, 78, 3.6 if x != 50 else 4.6)
        c.solid(gem, jewel, 2, 0.7)
        c.tint(disc(x - 1.2, 76.6, 1.1), WHITE, 0.85)
    c.die_cut()


@ALBUM.look
def diamond(c: Canvas, rng):
    hue = rng.choice([0.53, 0.58, 0.9, 0.75])
    top, mid, tip = 24, 42, 88
    xs = np.linspace(26, 74, 4)
    girdle = np.linspace(9, 91, 5)
    facets = [[(xs[0], top), (girdle[0], mid), (girdle[1], mid)], [(xs[3], top), (girdle[3], mid), (girdle[4], mid)]]
    facets += [[(xs[i], top), (xs[i + 1], top), (girdle[i + 1], mid)] for i in range(3)]
    facets += [[(xs[i], top), (girdle[i], mid), (girdle[i + 1], mid)] for i in (1, 2)]
    facets += [[(girdle[i], mid), (girdle[i + 1], mid), (50, tip)] for i in range(4)]
    for shade, facet in zip((0.75, 0.5, 0.95, 0.7, 0.85, 1.0, 0.6, 0.9, 0.72, 1.0, 0.62), facets):
        jitter = 0.12 * (rng.random() - 0.5)
        c.fill(polygon(facet), hsv(hue, 0.62 - 0.55 * (shade + jitter - 0.4), 0.68 + 0.32 * shade))
    c.tint(lines([[*f, f[0]] for f in facets], 0.5), WHITE, 0.6)
    c.tint(polygon(star(35, 34, 8, 1.6, 4)), WHITE, 0.95)
    c.die_cut()


@ALBUM.look
def bow(c: Canvas, rng):
    colour = hsv(rng.choice([0.95, 0.0, 0.62, 0.8]), 0.55 + 0.3 * rng.random(), 0.9)
    for side in (1, -1):
        tail = np.array([(48, 54), (30, 84), (38, 84), (42, 90), (57, 58)])
        loop = smooth([(50, 48), (38, 34), (16, 24), (8, 36), (10, 60), (20, 68), (38, 60)])
        flip = (lambda p: p) if side == 1 else (lambda p: p * [-1, 1] + [100, 0])
        c.solid(polygon(flip(tail)), mix(colour, BLACK, 0.15), 3, 0.5)
        body = polygon(flip(loop))
        c.solid(body, colour, 5, 0.6)
        folds = [flip(np.array(f)) for f in ([(46, 48), (30, 40)], [(46, 52), (28, 54)])]
        c.tint(blur(lines(folds, [2.5, 0.3]), 0.5) * body, BLACK, 0.3)
    if rng.random() < 0.6:
        dots = Pen()
        for x in np.arange(8, 95, 8):
            for row, y in enumerate(np.arange(24, 95, 7)):
                dots.disc(x + 4 * (row % 2), y, 1.7)
        c.tint(dots.mask(), WHITE, 0.85)
    knot = box(42, 41, 58, 60, 6)
    c.shadow(knot)
    c.solid(knot, mix(colour, WHITE, 0.08), 4, 0.6)
    c.die_cut()


@ALBUM.look
def plaster(c: Canvas, rng):
    skin = hsv(0.07, 0.42 + 0.1 * rng.random(), 0.9) if rng.random() < 0.6 else hsv(rng.random(), 0.45, 0.95)
    body = box(4, 34, 96, 66, 16)
    c.solid(body, skin, 2, 0.3)
    holes = Pen()
    for x in (10.5, 17, 23.5, 76.5, 83, 89.5):
        for y in (43, 50, 57):
            holes.disc(x, y, 1.1)
    c.tint(holes.mask(), BLACK, 0.28)
    pad = box(31, 36.5, 69, 63.5, 3)
    c.shadow(pad, 0.8, 0.3)
    c.solid(pad, mix(skin, WHITE, 0.35), 1.5, 0.35)
    weave = lines([[(x, 36), (x, 64)] for x in range(33, 69, 3)], 0.5)
    weave += lines([[(31, y), (69, y)] for y in range(39, 64, 3)], 0.5)
    c.tint(np.minimum(weave, 1) * pad, BLACK, 0.08)
    if rng.random() < 0.4:
        c.tint(polygon(heart(50, 50, 7)), (0.88, 0.2, 0.3))
    c.rim(0.2)


@ALBUM.look
def rainbow(c: Canvas, rng):
    saturation = 0.55 + 0.35 * rng.random()
    for i, hue in enumerate((0.0, 0.07, 0.14, 0.35, 0.57, 0.75)):
        radius = 42 - 5 * i
        band = disc(50, 66, radius) * (1 - disc(50, 66, radius - 5)) * (ramp() < 0.66)
        c.fill(band, hsv(hue, saturation, 0.96))
    arc = c.alpha.copy()
    c.light(arc, 3, 0.45)
    for x in (18, 82):
        puff = Pen().disc(x - 8, 70, 8).disc(x, 65, 9.5).disc(x + 8, 70, 8).box(x - 15, 68, x + 15, 78, 5).mask()
        c.shadow(puff)
        c.fill(puff, mix(WHITE, (0.78, 0.86, 0.97), ramp() ** 2))
        c.light(puff, 3, 0.35)
    c.die_cut()
