"""Draw animal heads and a robot."""

from __future__ import annotations

import numpy as np

from attributes.stickers.art.canvas import BLACK, WHITE, Canvas, blur, glow, grow, hsv, mix
from attributes.stickers.art.forms import Pen, box, disc, line, lines, mirrored, polar, polygon, smooth
from attributes.stickers.art.looks import Album

ALBUM = Album("emoji", gloss=0.45)
_DARK = (0.13, 0.09, 0.08)


def _pair(
    c: Canvas, x: float, y: float, rx: float, ry: float, colour, turn: float = 0.0, strength: float = 0.5
) -> None:
    """The same form on the left and the right."""
    for s in (-1, 1):
        c.solid(disc(50 + s * x, y, rx, ry, s * turn), colour, 3, strength)


def _eyes(c: Canvas, x: float = 17.0, y: float = 48.0, size: float = 4.8) -> None:
    for s in (-1, 1):
        c.tint(disc(50 + s * x, y, size, size * 1.2), _DARK)
        c.tint(disc(50 + s * x - size * 0.35, y - size * 0.5, size * 0.38), WHITE, 0.95)


def _muzzle(c: Canvas, y: float, colour=_DARK, size: float = 1.0) -> None:
    """A nose with the line of the mouth below it."""
    nose = polygon(smooth([(50 - 5 * size, y), (50 + 5 * size, y), (50, y + 5 * size)]))
    c.tint(nose, colour)
    curves = [polar(np.linspace(100, 230, 12), 5 * size, 50 + s * 5 * size, y + 6 * size) for s in (-1, 1)]
    c.tint(lines([curves[0], curves[1] * [-1, 1] + [110 * size + 100 * (1 - size), 0]], 1.3), _DARK, 0.9)


def _finish(c: Canvas, rng) -> None:
    if rng.random() < 0.6:
        c.die_cut()
    else:
        c.rim(0.2)


@ALBUM.look
def cat(c: Canvas, rng):
    fur = hsv(rng.choice([0.08, 0.06, 0.6, 0.1]), rng.choice([0.55, 0.15, 0.3]), 0.5 + 0.45 * rng.random())
    for s in (-1, 1):
        for shrink, colour in ((1.0, fur), (0.6, (0.97, 0.65, 0.68))):
            tip = np.array([(50 + s * 38, 8), (50 + s * 40, 44), (50 + s * 10, 26)])
            middle = tip.mean(axis=0)
            corners = (tip - middle) * shrink + middle
            c.solid(np.minimum(polygon(corners) + line(corners, 3 * shrink, True), 1), colour, 2, 0.4)
    head = disc(50, 56, 41, 36)
    c.solid(head, fur, 6, 0.5)
    stripes = [[(50 + d, 21), (50 + d * 0.7, 33)] for d in (-9, 0, 9)]
    c.tint(lines(stripes, [3, 0.8]) * head, mix(fur, BLACK, 0.4), 0.8)
    c.tint(blur(disc(50, 70, 18, 13), 1.5), mix(fur, WHITE, 0.65), 0.9)
    _eyes(c, 18, 52, 5.2)
    _muzzle(c, 62, (0.9, 0.45, 0.5))
    whiskers = [[(50 + s * 22, 66 + d), (50 + s * 44, 63 + 3 * d)] for s in (-1, 1) for d in (-2, 1, 4)]
    c.fill(lines(whiskers, [0.9, 0.3]), mix(fur, BLACK, 0.65))
    _finish(c, rng)


@ALBUM.look
def dog(c: Canvas, rng):
    fur = hsv(0.075 + 0.02 * rng.random(), 0.35 + 0.3 * rng.random(), 0.85)
    head = polygon(smooth(mirrored([(50, 14), (74, 20), (84, 46), (78, 74), (62, 90)])))
    c.solid(head, fur, 6, 0.5)
    c.tint(blur(disc(66, 46, 13, 16), 0.4) * head, mix(fur, (0.35, 0.2, 0.12), 0.75))
    for flip in (0, 1):
        ear = smooth([(26, 18), (12, 26), (5, 50), (10, 68), (20, 62), (30, 38)])
        form = polygon(ear if not flip else ear * [-1, 1] + [100, 0])
        c.shadow(form)
        c.solid(form, mix(fur, (0.3, 0.17, 0.1), 0.75), 4, 0.5)
    c.fill(blur(disc(50, 70, 20, 16), 0.4), mix(fur, WHITE, 0.75))
    _eyes(c, 15, 46, 4.8)
    tongue = box(45, 78, 55, 93, 5)
    c.solid(tongue, (0.95, 0.42, 0.48), 2, 0.4)
    c.tint(line([(50, 79), (50, 88)], 0.8), (0.7, 0.2, 0.28))
    _muzzle(c, 61, _DARK, 1.25)
    _finish(c, rng)


@ALBUM.look
def panda(c: Canvas, rng):
    _pair(c, 31, 22, 14, 14, (0.12, 0.12, 0.14), strength=0.7)
    head = disc(50, 54, 41, 37)
    c.solid(head, (0.97, 0.97, 0.96), 6, 0.45)
    for s in (-1, 1):
        c.tint(disc(50 + s * 18, 51, 9.5, 12.5, s * 35), (0.12, 0.12, 0.14))
    _eyes(c, 17, 50, 3.6)
    for s in (-1, 1):
        c.tint(disc(50 + s * 17 - 1, 48.5, 1.5), WHITE)
        c.tint(blur(disc(50 + s * 27, 67, 6, 4), 1.5), (1, 0.55, 0.6), 0.4 + 0.3 * rng.random())
    _muzzle(c, 64)
    _finish(c, rng)


@ALBUM.look
def fox(c: Canvas, rng):
    fur = hsv(0.045 + 0.03 * rng.random(), 0.82, 0.93)
    for s in (-1, 1):
        c.solid(polygon([(50 + s * 42, 6), (50 + s * 44, 46), (50 + s * 8, 30)]), fur, 2, 0.4)
        c.tint(polygon([(50 + s * 39, 13), (50 + s * 39, 36), (50 + s * 18, 29)]), (0.25, 0.13, 0.1))
    head = polygon(smooth(mirrored([(50, 25), (74, 28), (92, 52), (78, 68), (62, 84), (52, 93)])))
    c.solid(head, fur, 5, 0.5)
    for s in (0, 1):
        cheek = smooth([(6, 54), (24, 54), (40, 66), (50, 92), (32, 84), (18, 68)])
        c.tint(polygon(cheek if not s else cheek * [-1, 1] + [100, 0]) * head, (1, 0.97, 0.92))
    _eyes(c, 18, 52, 4.2)
    c.tint(disc(50, 86, 6, 4.6), _DARK)
    c.tint(disc(48.4, 84.6, 1.6, 1), WHITE, 0.8)
    _finish(c, rng)


@ALBUM.look
def bunny(c: Canvas, rng):
    fur = hsv(rng.choice([0.08, 0.95, 0.6]), 0.06 + 0.15 * rng.random(), 0.96)
    for s in (-1, 1):
        c.solid(disc(50 + s * 15, 31, 9.5, 24, s * 10), fur, 4, 0.5)
        c.tint(disc(50 + s * 15, 32, 4.6, 17, s * 10), (0.98, 0.68, 0.74), 0.9)
    head = disc(50, 67, 32, 28)
    c.solid(head, fur, 6, 0.45)
    _eyes(c, 14, 62, 4.4)
    _muzzle(c, 71, (0.95, 0.5, 0.58), 0.8)
    c.tint(box(47, 79, 53, 86, 1), WHITE)
    c.tint(line([(50, 79.5), (50, 86)], 0.5), BLACK, 0.5)
    for s in (-1, 1):
        c.tint(blur(disc(50 + s * 22, 74, 6, 4), 1.5), (1, 0.5, 0.6), 0.5)
    _finish(c, rng)


@ALBUM.look
def frog(c: Canvas, rng):
    skin = hsv(0.27 + 0.1 * rng.random(), 0.65, 0.75)
    _pair(c, 24, 27, 15, 15, skin)
    head = disc(50, 58, 44, 33)
    c.solid(head, skin, 6, 0.5)
    for s in (-1, 1):
        c.tint(disc(50 + s * 24, 27, 10), (1, 1, 0.95))
        c.tint(disc(50 + s * 23, 28, 6, 7), _DARK)
        c.tint(disc(50 + s * 23 - 2, 25, 2), WHITE)
        c.tint(blur(disc(50 + s * 33, 64, 6, 4), 1.5), (1, 0.45, 0.45), 0.5)
    c.tint(line(polar(np.linspace(235, 125, 24), 32, 50, 46), 2.6), mix(skin, BLACK, 0.75))
    c.tint(Pen().disc(46, 52, 1.2).disc(54, 52, 1.2).mask(), mix(skin, BLACK, 0.7))
    _finish(c, rng)


@ALBUM.look
def chick(c: Canvas, rng):
    c.fill(lines([[(50, 18), (46, 7)], [(50, 18), (51, 4)], [(50, 18), (56, 8)]], [4, 1]), hsv(0.13, 0.8, 0.98))
    body = disc(50, 54, 40, 38)
    c.fill(body, mix(hsv(0.115, 0.8, 0.95), hsv(0.15, 0.5, 1), glow(40, 40, 58)))
    c.light(body, 6, 0.4)
    _eyes(c, 16, 46, 4.6)
    beak = polygon([(41, 56), (59, 56), (50, 67)])
    c.shadow(beak, 0.7)
    c.solid(beak, hsv(0.07, 0.9, 0.95), 2, 0.6)
    c.tint(line([(42, 58.5), (50, 60.5), (58, 58.5)], 0.8), (0.6, 0.25, 0), 0.7)
    for s in (-1, 1):
        c.tint(blur(disc(50 + s * 26, 58, 6, 4), 1.5), (1, 0.4, 0.3), 0.45)
    if rng.random() < 0.5:
        shell = np.array([(8, 62), (20, 72), (30, 63), (42, 74), (54, 64), (66, 74), (78, 63), (92, 66)])
        form = polygon(np.vstack([shell, polar(np.linspace(100, 260, 30), 41, 50, 54)])) * disc(50, 54, 42, 40)
        c.shadow(form, 0.8)
        c.solid(form, (0.97, 0.95, 0.9), 4, 0.5)
    _finish(c, rng)


@ALBUM.look
def robot(c: Canvas, rng):
    hue = rng.random()
    metal = hsv(hue, 0.25 + 0.3 * rng.random(), 0.75)
    c.fill(line([(50, 24), (50, 11)], 2.4), (0.45, 0.47, 0.5))
    c.solid(disc(50, 10, 5), hsv(hue + 0.5, 0.8, 0.95), 2.5, 0.7)
    c.solid(Pen().box(6, 46, 20, 68, 4).box(80, 46, 94, 68, 4).mask(), mix(metal, BLACK, 0.3), 3, 0.6)
    c.solid(box(13, 22, 87, 90, 14), metal, 4, 0.6)
    visor = box(21, 33, 79, 60, 10)
    c.tint(visor, (0.07, 0.09, 0.14))
    for x in (36, 64):
        eye = disc(x, 46.5, 7)
        c.tint(blur(eye, 1.6) * visor, hsv(hue + 0.5, 0.7, 1), 0.8)
        c.tint(disc(x, 46.5, 4.2), mix(hsv(hue + 0.5, 0.3, 1), WHITE, 0.4))
    grill = box(32, 68, 68, 80, 4)
    c.tint(grill, (0.85, 0.87, 0.9))
    c.tint(lines([[(x, 68), (x, 80)] for x in range(38, 68, 6)], 1.2) * grill, (0.2, 0.22, 0.26))
    for x, y in ((19, 28), (81, 28), (19, 84), (81, 84)):
        c.tint(disc(x, y, 1.6), mix(metal, BLACK, 0.5))
    c.shine(grow(visor, -1), 36, 37, 13, 2, 0, 0.35)
    _finish(c, rng)
