"""Draw labels of shops, offices and warnings."""

from __future__ import annotations

import numpy as np

from attributes.stickers.art.canvas import BLACK, INK, WHITE, Canvas, grow, hsv, mix, noise
from attributes.stickers.art.forms import (
    Pen,
    box,
    disc,
    line,
    lines,
    polar,
    polygon,
    rotate,
    smooth,
    star,
    text,
    text_width,
)
from attributes.stickers.art.looks import Album

ALBUM = Album("label", gloss=0.3)


def _paper(c: Canvas, mask: np.ndarray, colour, rng) -> None:
    """Printed paper: a flat colour, a faint grain and a cut edge."""
    c.fill(mask, mix(colour, BLACK, 0.035 * noise(rng, 150)))
    c.light(mask, 0.8, 0.15)
    c.rim(0.12)


def _ring_text(words: str, radius: float, height: float, start: float, step: float) -> np.ndarray:
    """Words on a circle around the centre, clockwise from `start` degrees, with a letter every `step` degrees."""
    glyphs = []
    for i, letter in enumerate(words):
        if letter == " ":
            continue
        turn = start + i * step
        x, y = polar(turn, radius)
        glyphs.append(text(x, y, letter, height, 0.35, turn))
    return np.maximum.reduce(glyphs)


def _digits(rng, count: int) -> str:
    return "".join(str(d) for d in rng.integers(0, 10, count))


@ALBUM.look
def price_tag(c: Canvas, rng):
    colour = hsv(rng.choice([0.14, 0.05, 0.0, 0.35]), 0.75, 0.98)
    _paper(c, box(6, 28, 94, 72, 5), colour, rng)
    c.tint(box(9, 31, 91, 42, 3), mix(colour, BLACK, 0.78))
    c.tint(text(50, 36.8, str(rng.choice(["SALE", "OFFER", "TODAY", "FRESH"])), 8.5, 0.5), mix(colour, WHITE, 0.6))
    whole, cents = f"{rng.integers(1, 20)}.", f"{rng.integers(0, 10)}9"
    widths = text_width(whole, 27, 1), text_width(cents, 17, 0.7)
    left = 50 - sum(widths) / 2
    c.tint(text(left + widths[0] / 2, 57, whole, 27, 1), INK)
    c.tint(text(left + widths[0] + widths[1] / 2, 54, cents, 17, 0.7), INK)


@ALBUM.look
def name_badge(c: Canvas, rng):
    colour = hsv(rng.random(), 0.8, 0.75)
    card = box(4, 20, 96, 80, 6)
    _paper(c, card, WHITE, rng)
    c.tint(card * (1 - box(4, 42, 96, 73, 0)), mix(colour, BLACK, 0.05))
    c.tint(text(50, 29, "HELLO", 11, 0.7), WHITE)
    c.tint(text(50, 37.5, "my name is", 5.5, 0.15), WHITE)
    name = str(rng.choice(["Alex", "Mika", "Robin", "Noor", "Sam", "Kim"]))
    c.tint(text(50, 57, name, 23, 0.6, -3), (0.1, 0.12, 0.35))


@ALBUM.look
def fruit_sticker(c: Canvas, rng):
    hue = rng.choice([0.33, 0.0, 0.6, 0.12])
    body = disc(50, 50, 44, 38)
    c.solid(body, hsv(hue, 0.85, 0.62), 2, 0.3)
    c.tint(disc(50, 50, 41.5, 35.5) * (1 - disc(50, 50, 40.5, 34.5)), WHITE, 0.9)
    c.tint(disc(50, 50, 23, 20), (1, 0.96, 0.82))
    words = str(rng.choice(["FRESH ORGANIC", "SWEET & JUICY", "PREMIUM FRUIT"]))
    c.tint(_ring_text(words, 30, 9, -8 * (len(words) - 1), 16), WHITE)
    c.tint(text(50, 80, f"#{_digits(rng, 4)}", 6.5, 0.4), WHITE)
    fruit = Pen().disc(45, 53, 8.5, 9).disc(55, 53, 8.5, 9).mask()
    c.solid(fruit, hsv(hue + 0.02, 0.75, 0.85), 3, 0.6)
    c.fill(line([(50, 46), (52, 38)], 1.8), (0.35, 0.22, 0.1))
    c.fill(polygon(smooth([(52, 42), (58, 36), (65, 38), (59, 43)])), hsv(0.3, 0.7, 0.55))


@ALBUM.look
def warning_triangle(c: Canvas, rng):
    corners = [(50, 13), (92, 84), (8, 84)]
    body = np.minimum(polygon(corners) + line(corners, 9, True), 1)
    c.solid(body, (0.1, 0.1, 0.1), 1.5, 0.3)
    inner = [(50, 20), (84.5, 80.5), (15.5, 80.5)]
    c.fill(np.minimum(polygon(inner) + line(inner, 4, True), 1), hsv(rng.choice([0.135, 0.14, 0.09]), 0.92, 1))
    if rng.random() < 0.6:
        c.tint(Pen().line([(50, 40), (50, 60)], [7.5, 4.5]).disc(50, 71, 3.8).mask(), INK)
    else:
        c.tint(polygon([(54, 34), (40, 58), (49, 58), (44, 77), (62, 51), (52, 51), (60, 34)]), INK)
    c.light(body, 1, 0.25)


@ALBUM.look
def barcode(c: Canvas, rng):
    card = box(6, 24, 94, 76, 3)
    _paper(c, card, (0.985, 0.985, 0.97), rng)
    pen, x, number = Pen(), 13.0, _digits(rng, 13)
    while x < 86:
        width = 0.85 * rng.integers(1, 4)
        pen.box(x, 30, min(x + width, 87), 65)
        x += width + 0.85 * rng.integers(1, 4)
    c.tint(pen.mask(), INK)
    c.tint(text(50, 70.5, f"{number[0]} {number[1:7]} {number[7:]}", 6.6, 0.15), INK)


@ALBUM.look
def approved_stamp(c: Canvas, rng):
    ink = hsv(rng.choice([0.0, 0.37, 0.62]), 0.85, 0.62)
    words = str(rng.choice(["APPROVED", "CERTIFIED", "VERIFIED", "ORIGINAL"]))
    rings = disc(50, 50, 45) * (1 - disc(50, 50, 42)) + disc(50, 50, 40) * (1 - disc(50, 50, 39))
    pen = Pen()
    for i in range(3):
        for y in (26, 74):
            pen.polygon(star(36 + 14 * i, y, 4.6, 2, 5))
    clear = 1 - box(0, 37, 100, 63)
    mask = np.maximum(rings * clear, pen.mask())
    frame = box(3, 38, 97, 62, 2) * (1 - box(5.4, 40.4, 94.6, 59.6, 1))
    mask = np.maximum.reduce([mask, frame, text(50, 50.5, words, 20 * 80 / text_width(words, 20, 1), 0.8)])
    c.fill(rotate(mask, float(rng.uniform(-18, 18))), ink, 0.93)
    # A rubber stamp leaves gaps where the ink was thin.
    c.fade(np.clip(1.9 - 1.7 * noise(rng, 90) * (0.4 + noise(rng, 6)), 0, 1))


@ALBUM.look
def arrow(c: Canvas, rng):
    corners = [(8, 38), (52, 38), (52, 18), (94, 50), (52, 82), (52, 62), (8, 62)]
    body = np.minimum(polygon(corners) + line(corners, 4, True), 1)
    c.solid(body, hsv(rng.choice([0.0, 0.14, 0.38, 0.58]), 0.9, 0.9), 1.5, 0.35)
    inner = grow(body, -2.6)
    c.tint(grow(body, -1.6) * (1 - inner), WHITE, 0.9)
    c.tint(text(46, 50.5, str(rng.choice(["HERE", "LOOK", "EXIT", "THIS"])), 13.5, 0.8), WHITE)


@ALBUM.look
def code_square(c: Canvas, rng):
    """A pattern that looks like a QR code but encodes nothing."""
    card = box(8, 8, 92, 92, 3)
    _paper(c, card, WHITE, rng)
    cells = rng.random((25, 25)) < 0.48
    for row, column in ((0, 0), (0, 18), (18, 0)):
        cells[max(row - 1, 0) : row + 8, max(column - 1, 0) : column + 8] = False
        cells[row : row + 7, column : column + 7] = True
        cells[row + 1 : row + 6, column + 1 : column + 6] = False
        cells[row + 2 : row + 5, column + 2 : column + 5] = True
    pen, step = Pen(), 76 / 25
    for row, column in np.argwhere(cells):
        x, y = 12 + column * step, 12 + row * step
        pen.polygon([(x, y), (x + step, y), (x + step, y + step), (x, y + step)])
    c.tint(pen.mask(), INK)


@ALBUM.look
def fragile(c: Canvas, rng):
    red = hsv(0.0 + 0.02 * rng.random(), 0.88, 0.82)
    card = box(3, 26, 97, 74, 4)
    _paper(c, card, red, rng)
    c.tint(grow(card, -2.5) * (1 - grow(card, -3.4)), WHITE, 0.95)
    glass = Pen().polygon([(14, 36), (30, 36), (27, 52), (17, 52)]).box(21, 50, 23, 63).box(15, 62, 29, 65, 1).mask()
    c.tint(glass, WHITE)
    c.tint(lines([[(22, 36), (20, 41), (24, 45), (21, 50)]], 1.1), red)
    c.tint(text(63, 44.5, "FRAGILE", 20 * 56 / text_width("FRAGILE", 20, 1), 0.7), WHITE)
    c.tint(text(63, 59, "HANDLE WITH CARE", 5.6, 0.2), WHITE)
