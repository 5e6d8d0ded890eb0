"""Draw smileys."""

from __future__ import annotations

import numpy as np

from attributes.stickers.art.canvas import BLACK, WHITE, Canvas, blur, glow, grow, hsv, mix
from attributes.stickers.art.forms import Pen, box, disc, heart, line, lines, polar, polygon, smooth, star
from attributes.stickers.art.looks import Album

ALBUM = Album("emoji", gloss=0.6)
_DARK = (0.28, 0.14, 0.05)


def _ball(c: Canvas, rng, hue: float | None = None) -> np.ndarray:
    """The face: a ball lit from the upper left, yellow by default."""
    hue = 0.125 + 0.025 * rng.random() if hue is None else hue
    ball = disc(50, 50, 43)
    c.fill(ball, mix(hsv(hue - 0.035, 0.85, 0.93), hsv(hue + 0.015, 0.5, 1), glow(40, 34, 66)))
    c.light(ball, 4, 0.4)
    c.shine(ball, 36, 19, 15, 6, -25, 0.5)
    return ball


def _finish(c: Canvas, rng) -> None:
    if rng.random() < 0.45:
        c.die_cut(2.8)
    else:
        c.rim(0.2)


def _eyes(c: Canvas, y: float = 42.0, apart: float = 15.0, rx: float = 4.6, ry: float = 7.0) -> None:
    for x in (50 - apart, 50 + apart):
        c.tint(disc(x, y, rx, ry), _DARK)
        c.tint(disc(x - rx * 0.3, y - ry * 0.4, rx * 0.32, ry * 0.26), WHITE, 0.9)


def _arc(x: float, y: float, radius: float, start: float, end: float) -> np.ndarray:
    return polar(np.linspace(start, end, 24), radius, x, y)


def _blush(c: Canvas, colour=(1, 0.35, 0.35)) -> None:
    for x in (23, 77):
        c.tint(blur(disc(x, 58, 7, 4.5), 2), colour, 0.65)


def _open_mouth(c: Canvas, mouth: np.ndarray, teeth: bool = True) -> None:
    c.tint(mouth, (0.42, 0.08, 0.1))
    c.tint(mouth * disc(50, 84, 14, 11), (0.95, 0.4, 0.42))
    if teeth:
        c.tint(mouth * box(20, 50, 80, 63.5, 2), WHITE)


@ALBUM.look
def grin(c: Canvas, rng):
    _ball(c, rng)
    _eyes(c, 38)
    grin_ = polygon(np.vstack([[(25, 57)], _arc(50, 55, 26, 262, 98)]))
    _open_mouth(c, grin_)
    _finish(c, rng)


@ALBUM.look
def smile(c: Canvas, rng):
    _ball(c, rng)
    _eyes(c)
    c.tint(line(_arc(50, 48, 25, 235, 125), 3.6), _DARK)
    _blush(c)
    _finish(c, rng)


@ALBUM.look
def wink(c: Canvas, rng):
    _ball(c, rng)
    c.tint(disc(35, 41, 4.6, 7), _DARK)
    c.tint(disc(33.6, 38, 1.5, 1.8), WHITE, 0.9)
    c.tint(line(_arc(66, 47, 9, -60, 60), 3.4), _DARK)
    c.tint(line(_arc(52, 46, 25, 230, 130), 3.6), _DARK)
    tongue = polygon(smooth([(56, 68), (70, 64), (74, 76), (66, 84), (58, 78)]))
    c.tint(tongue, (0.95, 0.38, 0.42))
    c.tint(line([(63, 68), (66, 77)], 0.9), (0.7, 0.2, 0.25))
    _finish(c, rng)


@ALBUM.look
def heart_eyes(c: Canvas, rng):
    _ball(c, rng)
    for x in (31, 69):
        eye = polygon(heart(x, 39, 12.5))
        c.shadow(eye, 0.8, 0.25)
        c.fill(eye, hsv(0.985, 0.85, 0.92))
        c.light(eye, 2.5, 0.6)
    _open_mouth(c, polygon(np.vstack([[(29, 60)], _arc(50, 58, 22, 265, 95)])))
    _finish(c, rng)


@ALBUM.look
def sunglasses(c: Canvas, rng):
    _ball(c, rng)
    lens = Pen().polygon(smooth([(14, 34), (30, 33), (46, 35), (44, 50), (32, 55), (18, 50)]))
    lens.polygon(smooth([(86, 34), (70, 33), (54, 35), (56, 50), (68, 55), (82, 50)])).box(10, 33, 90, 37, 2)
    glass = lens.mask()
    c.shadow(glass)
    c.tint(glass, mix((0.05, 0.05, 0.08), hsv(rng.random(), 0.7, 0.5), glow(50, 60, 40)))
    c.tint(blur(lines([[(22, 48), (32, 36)], [(62, 48), (72, 36)]], 3), 0.4) * grow(glass, -2), WHITE, 0.5)
    c.tint(line(_arc(54, 52, 20, 220, 110), 3.4), _DARK)
    _finish(c, rng)


@ALBUM.look
def laugh_tears(c: Canvas, rng):
    _ball(c, rng)
    for x in (32, 68):
        c.tint(line(_arc(x, 46, 9, -65, 65), 3.4), _DARK)
    _open_mouth(c, polygon(np.vstack([[(26, 57)], _arc(50, 55, 25, 262, 98)])))
    for x, turn in ((13, 25), (87, -25)):
        tear = disc(x, 52, 6, 10, turn)
        c.fill(tear, mix((0.45, 0.75, 1), WHITE, glow(x - 2, 48, 10)))
        c.light(tear, 2, 0.6)
    _finish(c, rng)


@ALBUM.look
def angry(c: Canvas, rng):
    _ball(c, rng, 0.035 + 0.02 * rng.random())
    _eyes(c, 50, 15, 4, 5.5)
    c.tint(lines([[(22, 36), (43, 45)], [(78, 36), (57, 45)]], 4), _DARK)
    c.tint(line(_arc(50, 84, 17, 310, 410), 3.6), _DARK)
    _finish(c, rng)


@ALBUM.look
def sleepy(c: Canvas, rng):
    _ball(c, rng, rng.choice([0.13, 0.6, 0.75]))
    for x in (33, 67):
        c.tint(line(_arc(x, 40, 9, 245, 115), 3), _DARK)
    mouth = disc(50, 68, 7, 8.5)
    c.tint(mouth, (0.4, 0.1, 0.12))
    c.tint(mouth * disc(50, 76, 7, 6), (0.9, 0.4, 0.4))
    for x, y, s in ((78, 26, 12), (89, 12, 8)):
        z = [(x - s / 2, y - s / 2), (x + s / 2, y - s / 2), (x - s / 2, y + s / 2), (x + s / 2, y + s / 2)]
        c.fill(line(z, 2.6), (0.2, 0.3, 0.65))
    _blush(c)
    _finish(c, rng)


@ALBUM.look
def star_struck(c: Canvas, rng):
    _ball(c, rng, rng.choice([0.13, 0.93, 0.45]))
    for x in (31, 69):
        eye = polygon(star(x, 40, 15, 7, 5, 8))
        c.shadow(eye, 0.7, 0.25)
        c.solid(eye, rng.choice([(1, 0.95, 0.5), (1, 1, 1), (1, 0.75, 0.2)]), 2, 0.4)
    _open_mouth(c, disc(50, 69, 13, 12), teeth=False)
    _finish(c, rng)


@ALBUM.look
def alien(c: Canvas, rng):
    head = smooth([(50, 6), (78, 14), (90, 40), (76, 70), (50, 95), (24, 70), (10, 40), (22, 14)])
    body = polygon(head)
    c.solid(body, hsv(rng.choice([0.3, 0.25, 0.45, 0.75]), 0.5, 0.85), 7, 0.55)
    for s in (-1, 1):
        eye = disc(50 + s * 20, 48, 9, 16, s * 32)
        c.tint(eye, mix((0.02, 0.02, 0.05), (0.25, 0.2, 0.4), glow(50 + s * 20, 60, 16)))
        c.tint(disc(50 + s * 18 - 4, 40, 2.6, 4, 20), WHITE, 0.85)
    c.tint(line(_arc(50, 72, 8, 240, 120), 2.2), BLACK, 0.7)
    c.shine(body, 34, 18, 10, 4, -35, 0.5)
    _finish(c, rng)


@ALBUM.look
def ghost(c: Canvas, rng):
    sheet = smooth([(16, 86), (17, 45), (30, 16), (50, 8), (70, 16), (83, 45), (84, 86)], False)
    hem = smooth([(84, 86), (77, 90), (67, 80), (58, 90), (50, 91), (42, 80), (33, 80), (24, 91), (16, 86)], False)
    body = polygon(np.vstack([sheet, hem]))
    tone = hsv(rng.choice([0.6, 0.75, 0.9]), 0.12, 0.98)
    c.fill(body, mix(WHITE, tone, 1 - glow(42, 36, 70)))
    c.light(body, 5, 0.4)
    for x in (37, 63):
        c.tint(disc(x, 42, 5.5, 8), (0.12, 0.1, 0.2))
        c.tint(disc(x - 1.8, 38.5, 1.8), WHITE)
    c.tint(disc(50, 58, 5, 6.5), (0.12, 0.1, 0.2))
    _blush(c, (1, 0.55, 0.7))
    c.fill(grow(c.alpha, 2) * (1 - c.alpha), (0.18, 0.15, 0.28))
    c.die_cut(2.4)
