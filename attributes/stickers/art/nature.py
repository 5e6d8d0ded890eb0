"""Draw plants, fruit and small creatures in glossy vinyl."""

from __future__ import annotations

import numpy as np

from attributes.stickers.art.canvas import BLACK, WHITE, Canvas, blur, glow, grow, hsv, mix, ramp
from attributes.stickers.art.forms import Pen, box, disc, line, lines, mirrored, polar, polygon, smooth, turned
from attributes.stickers.art.looks import Album

ALBUM = Album("shape", gloss=0.5)


@ALBUM.look
def flower(c: Canvas, rng):
    petals, hue = int(rng.integers(5, 9)), rng.choice([0.0, 0.9, 0.83, 0.6, 0.13, 0.95])
    colour = hsv(hue, 0.35 + 0.4 * rng.random(), 0.97)
    angles = np.arange(petals) * 360 / petals
    for i in range(petals):
        x, y = polar(angles[i], 26)
        petal = disc(x, y, 62 / petals + 4, 17, angles[i])
        c.shadow(petal, 0.8, 0.25)
        c.fill(petal, mix(mix(colour, BLACK, 0.25), colour, 1 - glow(50, 50, 36)))
        c.light(petal, 4, 0.45)
        c.tint(line([polar(angles[i], 12), polar(angles[i], 30)], [1.2, 0.2]), BLACK, 0.15)
    core = disc(50, 50, 11)
    c.shadow(core, 0.8)
    c.solid(core, hsv(0.12, 0.85, 0.95), 4, 0.6)
    pollen = Pen()
    for x, y in 50 + 8 * (2 * rng.random((30, 2)) - 1):
        pollen.disc(x, y, 0.9)
    c.tint(pollen.mask() * core, hsv(0.07, 0.9, 0.7), 0.6)
    c.die_cut()


@ALBUM.look
def butterfly(c: Canvas, rng):
    hue = rng.random()
    upper = smooth([(50, 46), (58, 26), (76, 12), (92, 14), (94, 32), (82, 48), (62, 54)])
    lower = smooth([(51, 54), (66, 54), (82, 60), (84, 76), (72, 90), (60, 82), (53, 68)])
    for flip in ([1, 1], [-1, 1]):
        shift = [0, 0] if flip[0] == 1 else [100, 0]
        for wing, tone in ((lower, hue + 0.06), (upper, hue)):
            body = polygon(wing * flip + shift)
            c.fill(body, hsv(tone, 0.9, 0.2))
            inner = grow(body, -3)
            c.tint(inner, mix(hsv(tone + 0.09, 0.55, 1), hsv(tone, 0.85, 0.9), 1 - glow(50, 50, 48)))
            c.light(inner, 2, 0.3)
            ends = wing[:: len(wing) // 7] * flip + shift
            root = np.array([50, 50])
            c.tint(lines([[root, e] for e in ends], 0.7) * body, hsv(tone, 0.9, 0.2), 0.8)
            spots = Pen()
            for e in ends[1:-1]:
                spots.dot(e + (root - e) * 0.05, 1.2)
            c.tint(spots.mask() * body, WHITE, 0.9)
    c.solid(Pen().disc(50, 56, 2.6, 18).disc(50, 37, 3.4).mask(), (0.2, 0.15, 0.18), 1.5, 0.8)
    feelers = [smooth([(50, 36), (46, 26), (40, 20)], False), smooth([(50, 36), (54, 26), (60, 20)], False)]
    c.fill(lines(feelers, 0.9), (0.15, 0.1, 0.12))
    if rng.random() < 0.5:
        c.die_cut(2.4)


@ALBUM.look
def paw(c: Canvas, rng):
    colour = hsv(rng.choice([0.06, 0.95, 0.6, 0.0]), 0.5, 0.35 + 0.5 * rng.random())
    pad = polygon(smooth(mirrored([(50, 50), (62, 56), (76, 70), (74, 84), (62, 86), (52, 82)])))
    toes = [disc(26, 50, 9, 12, -25), disc(41, 32, 9, 13, -8), disc(59, 32, 9, 13, 8), disc(74, 50, 9, 12, 25)]
    for form in (pad, *toes):
        c.solid(form, colour, 4, 0.65)
    c.shine(pad, 42, 60, 7, 3, -25, 0.5)
    if rng.random() < 0.5:
        c.die_cut()


@ALBUM.look
def leaf(c: Canvas, rng):
    hue = rng.choice([0.3, 0.27, 0.07, 0.02, 0.13]) + 0.03 * rng.random()
    body = polygon(smooth(mirrored([(50, 6), (64, 18), (76, 38), (76, 58), (66, 76), (50, 86)])))
    colour = hsv(hue, 0.75, 0.65)
    c.fill(body, mix(mix(colour, WHITE, 0.2), mix(colour, BLACK, 0.25), ramp(70)))
    c.light(body, 4, 0.5)
    veins = [[(50, 84 - 14 * i), (50 + s * (8 + 6 * min(i + 1, 3)), 66 - 14 * i)] for i in range(5) for s in (-1, 1)]
    c.tint(blur(lines(veins, [1.4, 0.4]), 0.15) * grow(body, -2), mix(colour, WHITE, 0.55), 0.8)
    c.fill(line([(50, 12), (50, 70), (51, 95)], [0.5, 2, 2.6]), mix(colour, WHITE, 0.35))
    c.rim(0.2)


@ALBUM.look
def strawberry(c: Canvas, rng):
    body = polygon(smooth(mirrored([(50, 26), (70, 22), (84, 38), (78, 62), (64, 82), (50, 94)])))
    c.solid(body, hsv(0.98 + 0.03 * rng.random(), 0.85, 0.9), 7, 0.6)
    seeds, pits = Pen(), Pen()
    for row in range(6):
        for column in range(-4, 5):
            x, y = 50 + 11 * column + 5.5 * (row % 2), 38 + 9.5 * row
            seeds.disc(x, y, 1.1, 1.9)
            pits.disc(x + 0.4, y + 0.6, 1.5, 2.4)
    inner = grow(body, -3)
    c.tint(pits.mask() * inner, BLACK, 0.25)
    c.tint(seeds.mask() * inner, (1, 0.88, 0.5))
    c.shine(body, 30, 42, 4, 10, 15, 0.5)
    for angle in (-75, -40, 0, 40, 75):
        sepal = polygon(turned(smooth(mirrored([(50, 22), (55, 27), (54, 34), (50, 42)])), angle, 50, 24))
        c.shadow(sepal, 0.8)
        c.solid(sepal, hsv(0.3, 0.75, 0.62), 1.5, 0.5)
    c.fill(line([(50, 25), (53, 10)], [2, 3]), hsv(0.28, 0.6, 0.5))
    c.die_cut()


@ALBUM.look
def cherries(c: Canvas, rng):
    stems = [smooth([(31, 64), (40, 36), (62, 12)], False), smooth([(70, 66), (68, 40), (62, 12)], False)]
    c.fill(lines(stems, 2.2), hsv(0.27, 0.65, 0.45))
    blade = polygon(turned(smooth(mirrored([(50, 0), (58, 10), (58, 22), (50, 30)])), -70, 60, 14))
    c.solid(blade, hsv(0.3, 0.75, 0.62), 2, 0.5)
    for x, y in ((30, 70), (70, 73)):
        fruit = disc(x, y, 18)
        c.shadow(fruit)
        c.fill(fruit, mix(hsv(0.99, 0.9, 0.5), hsv(0.98 + 0.03 * rng.random(), 0.85, 0.95), glow(x - 5, y - 6, 28)))
        c.shine(fruit, x - 6, y - 8, 3, 5.5, 35, 0.9)
    c.die_cut()


@ALBUM.look
def mushroom(c: Canvas, rng):
    stem = polygon(smooth(mirrored([(50, 46), (60, 50), (61, 70), (66, 88), (56, 93)])))
    c.solid(stem, (0.97, 0.92, 0.83), 4, 0.45)
    cap = polygon(smooth(mirrored([(50, 8), (72, 14), (90, 36), (92, 52), (70, 56), (56, 57)])))
    c.shadow(cap, 2)
    c.solid(cap, hsv(rng.choice([0.0, 0.98, 0.07, 0.6]), 0.82, 0.86), 6, 0.6)
    for x, y, r in ((50, 27, 8), (28, 38, 6), (73, 40, 6.5), (48, 48, 4), (64, 20, 3.5), (16, 50, 3.5), (86, 52, 2.5)):
        c.tint(disc(x, y, r, 0.85 * r) * cap, (1, 0.98, 0.94))
    c.shine(cap, 30, 22, 4, 9, 55, 0.5)
    c.die_cut()


@ALBUM.look
def sun(c: Canvas, rng):
    tips = int(rng.integers(9, 14))
    angles = np.arange(tips) * 360 / tips
    rays = Pen()
    for a in angles:
        rays.polygon([polar(a - 9, 28), polar(a, 46), polar(a + 9, 28)])
    c.solid(rays.mask(), hsv(0.09, 0.9, 0.98), 2, 0.5)
    body = disc(50, 50, 28)
    c.shadow(body, 0.8, 0.2)
    c.fill(body, mix(hsv(0.1, 0.9, 0.98), hsv(0.15, 0.6, 1), glow(42, 40, 40)))
    c.light(body, 4, 0.5)
    for x in (41, 59):
        c.tint(disc(x, 46, 2.4, 3.4), (0.35, 0.18, 0.05))
        c.tint(blur(disc(x + (-5 if x < 50 else 5), 54, 4, 2.8), 1), (1, 0.45, 0.3), 0.6)
    c.tint(line(polar(np.linspace(110, 250, 14), 9, 50, 50), 1.8), (0.35, 0.18, 0.05))
    if rng.random() < 0.6:
        c.die_cut()


@ALBUM.look
def cactus(c: Canvas, rng):
    green = hsv(0.36 + 0.06 * rng.random(), 0.55, 0.62)
    arms = Pen().line([(34, 58), (22, 56), (22, 40)], 11).line([(62, 50), (77, 48), (77, 32)], 10).mask()
    c.solid(arms, green, 3, 0.5)
    body = box(35, 12, 65, 80, 15)
    c.solid(body, green, 5, 0.55)
    c.tint(lines([[(x, 20), (x, 72)] for x in (43, 50, 57)], 0.8), mix(green, BLACK, 0.35), 0.8)
    thorns = [[(x, y), (x + 1.8, y - 1.5)] for x in (39, 46, 53, 60) for y in range(22, 72, 8)]
    c.tint(lines(thorns, 0.6), WHITE, 0.8)
    c.solid(Pen().disc(46, 11, 4).disc(54, 11, 4).disc(50, 7, 4).mask(), hsv(0.93, 0.6, 0.98), 2, 0.5)
    pot = polygon([(30, 72), (70, 72), (65, 95), (35, 95)])
    c.shadow(pot)
    c.solid(pot, hsv(rng.choice([0.04, 0.08, 0.55]), 0.6, 0.8), 3, 0.5)
    c.solid(box(27, 69, 73, 77, 2), hsv(0.05, 0.55, 0.85), 2, 0.5)
    c.die_cut()
