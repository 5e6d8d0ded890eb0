"""Draw words, letters and numbers in Pillow's embedded font."""

from __future__ import annotations

import numpy as np

from attributes.stickers.art.canvas import BLACK, INK, WHITE, Canvas, blur, grow, hsv, mix, noise, ramp
from attributes.stickers.art.forms import Pen, box, disc, line, polar, polygon, rotate, smooth, star, text, text_width
from attributes.stickers.art.looks import Album

ALBUM = Album("text", gloss=0.4)


def _word(rng, words: tuple[str, ...], bold: float, widest: float = 86.0, tallest: float = 60.0) -> np.ndarray:
    """One of the words, as large as possible, in the middle of the canvas."""
    chosen = str(rng.choice(words))
    # All sizes scale with the height, so one measurement yields the height that fills the width.
    height = min(30 * widest / text_width(chosen, 30, bold), tallest)
    return text(50, 50, chosen, height, bold * height / 30)


@ALBUM.look
def bubble_word(c: Canvas, rng):
    letters = _word(rng, ("LOVE", "COOL", "YES!", "WOW", "FUN", "HEY", "YAY"), 3.4)
    hue = rng.random()
    c.fill(letters, mix(hsv(hue, 0.55, 1), hsv(hue + 0.1, 0.85, 0.9), ramp() * 2 - 0.5))
    c.light(letters, 2, 0.6)
    c.fill(grow(c.alpha, 1.8) * (1 - c.alpha), hsv(hue + 0.05, 0.9, 0.25))
    c.die_cut(2.6)


@ALBUM.look
def comic_burst(c: Canvas, rng):
    tips = int(rng.integers(11, 15))
    corners = star(50, 50, 46, 32, tips)
    corners += 3.5 * (rng.random(corners.shape) - 0.5)
    body = polygon(corners)
    c.fill(body, hsv(rng.choice([0.0, 0.58, 0.85]), 0.85, 0.9))
    inner = polygon((corners - 50) * 0.86 + 50)
    c.tint(inner, hsv(0.14, 0.75 + 0.2 * rng.random(), 1))
    pen = Pen()
    for x in np.arange(8, 94, 3.4):
        for y in np.arange(8, 94, 3.4):
            pen.disc(x, y, 0.3 + 1.1 * y / 100)
    c.tint(pen.mask() * inner, hsv(0.08, 0.9, 1), 0.55)
    word = rotate(_word(rng, ("POW!", "BAM!", "ZAP!", "BOOM", "OOPS"), 3, 56, 30), 8)
    c.tint(grow(word, 1.6), INK)
    c.tint(word, WHITE)
    c.fill(grow(c.alpha, 1.2) * (1 - c.alpha), INK)


@ALBUM.look
def tape_label(c: Canvas, rng):
    """Embossed plastic tape: white letters pressed from behind."""
    word = str(rng.choice(["DO NOT OPEN", "TOP SECRET", "MINE", "HANDS OFF", "NO. 1 FAN", "PRIVATE"]))
    height = min(15, 88 / (len(word) * 0.82))
    body = box(3, 50 - height * 0.85, 97, 50 + height * 0.85, 1.5)
    c.solid(body, hsv(rng.random(), 0.85, 0.5) if rng.random() < 0.7 else (0.1, 0.1, 0.1), 1, 0.5)
    spaced = np.linspace(10, 90, len(word)) if len(word) > 5 else 50 + 14 * (np.arange(len(word)) - len(word) / 2 + 0.5)
    pen = Pen()
    for x, letter in zip(spaced, word):
        pen.text(x, 50, letter, height, 0.35)
    letters = pen.mask()
    c.tint(blur(letters, 0.9), WHITE, 0.35)
    c.tint(letters * (0.8 + 0.2 * noise(rng, 60)), WHITE, 0.95)


@ALBUM.look
def sport_number(c: Canvas, rng):
    number = text(50, 50, str(rng.integers(0, 100)), 64, 3)
    fill = hsv(rng.random(), 0.85, 0.75)
    edge = grow(number, 3.4)
    c.fill(grow(number, 5.2), fill)
    c.fill(edge, WHITE)
    c.fill(number, mix(fill, BLACK, 0.3 * ramp()))
    c.tint(number * (np.sin(ramp() * 260) > 0.6), WHITE, 0.12)
    c.light(grow(number, 5.2), 1, 0.35)


@ALBUM.look
def round_letter(c: Canvas, rng):
    hue = rng.random()
    body = disc(50, 50, 43)
    c.solid(body, hsv(hue, 0.7, 0.9), 4, 0.5)
    c.tint(disc(50, 50, 38.5) * (1 - disc(50, 50, 37.3)), WHITE, 0.85)
    letter = text(50, 50, chr(int(rng.integers(65, 91))), 50, 2.2)
    c.shadow(letter, 1.4, 0.35)
    c.tint(letter, WHITE)
    c.shine(body, 36, 17, 15, 4.5, -25, 0.45)


@ALBUM.look
def speech_bubble(c: Canvas, rng):
    bubble_ = Pen().disc(50, 44, 44, 31).polygon([(24, 62), (48, 70), (20, 94)]).mask()
    c.fill(bubble_, mix(WHITE, hsv(rng.random(), 0.12, 0.96), ramp()))
    c.tint(bubble_ * (1 - grow(bubble_, -2)), INK)
    words = str(rng.choice(["hello!", "what?", "oh no", "hi :)", "haha", "meow"]))
    width = text_width(words, 20, 0.8)
    c.tint(text(50, 44, words, min(24, 20 * 68 / width), 0.55), INK)


@ALBUM.look
def neon_word(c: Canvas, rng):
    letters = _word(rng, ("OPEN", "LIVE", "BAR", "DANCE", "24/7", "LOUD"), 0.9, 74, 40)
    hue = rng.random()
    frame = box(7, 24, 93, 76, 10)
    tube = np.maximum(letters, grow(frame, -3.2) * (1 - grow(frame, -4.4)))
    c.solid(frame, (0.09, 0.08, 0.13), 2, 0.35)
    for sigma, opacity in ((4.5, 0.8), (1.6, 0.7)):
        c.tint(np.minimum(blur(tube, sigma) * 1.6, 1), hsv(hue, 0.85, 1), opacity)
    c.tint(tube, hsv(hue, 0.5, 1))
    c.tint(blur(grow(tube, -0.4), 0.2), mix(hsv(hue, 0.2, 1), WHITE, 0.5), 0.8)


@ALBUM.look
def stamp_letters(c: Canvas, rng):
    """Transfer lettering: slightly worn ink without backing."""
    words = _word(rng, ("wild", "free", "1987", "XOXO", "no rules", "rebel", "BOSS"), 1.0, 92, 46)
    colour = INK if rng.random() < 0.5 else hsv(rng.random(), 0.8, 0.6)
    c.fill(words, colour, 0.95)
    under = line(
        smooth([(10, 76), (34, 73), (62, 76), (90, 72)], False),
        [*np.linspace(0.8, 2.6, 15), *np.linspace(2.6, 0.5, 16)],
    )
    c.fill(under, colour, 0.95)
    c.fade(np.clip(2.1 - 1.6 * noise(rng, 120) * (0.4 + noise(rng, 8)), 0, 1))


@ALBUM.look
def ribbon_banner(c: Canvas, rng):
    colour = hsv(rng.choice([0.0, 0.6, 0.38, 0.8, 0.95]), 0.8, 0.78)
    for s in (0, 1):
        tail = np.array([(2, 46), (22, 46), (22, 72), (2, 72), (10, 59)], float)
        c.solid(polygon(tail if not s else tail * [-1, 1] + [100, 0]), mix(colour, BLACK, 0.25), 1.5, 0.4)
        fold = np.array([(13, 65), (22, 72), (22, 64)], float)
        c.fill(polygon(fold if not s else fold * [-1, 1] + [100, 0]), mix(colour, BLACK, 0.6))
    body = polygon([(13, 36), (87, 36), (87, 65), (13, 65)])
    c.shadow(body)
    c.solid(body, colour, 2, 0.45)
    c.tint(box(13, 39, 87, 40, 0) + box(13, 61, 87, 62, 0), mix(colour, WHITE, 0.75))
    words = str(rng.choice(["WINNER", "BEST DAD", "NUMBER 1", "HOORAY", "CHAMPION"]))
    width = text_width(words, 20, 1.0)
    c.tint(text(50, 50.8, words, 20 * 64 / width if width > 64 else 18, 0.9), WHITE)
    stars = Pen()
    for angle in (-28, 0, 28):
        x, y = polar(angle, 40, 50, 66)
        stars.polygon(star(x, y, 4.6 if angle else 6.4, 2.2 if angle else 3, 5))
    c.solid(stars.mask(), hsv(0.125, 0.8, 0.98), 1.5, 0.5)
    c.die_cut(2.6)
