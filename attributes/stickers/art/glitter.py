"""Draw glitter, holographic film and foil."""

from __future__ import annotations

import numpy as np

from attributes.stickers.art.canvas import BLACK, WHITE, Canvas, blur, grow, hsv, mix, noise, ramp
from attributes.stickers.art.forms import SIZE, Pen, box, disc, heart, line, polar, polygon, smooth, star, text
from attributes.stickers.art.looks import Album

ALBUM = Album("glitter", gloss=1.0)


def _rounded(corners, width: float) -> np.ndarray:
    return np.minimum(polygon(corners) + line(corners, width, True), 1)


def _flakes(rng, hue: float, spread: float, size: int = 3) -> np.ndarray:
    """Glitter, float32 ``[SIZE, SIZE, 3]``: small flakes, each a mirror with a random tilt."""
    cells = -(-SIZE // size)
    tilt = rng.random((cells, cells), dtype=np.float32)
    tone = hue + spread * (rng.random((cells, cells), dtype=np.float32) - 0.5)
    # Three shifted cosines form a smooth hue at low cost.
    colour = np.stack([0.5 + 0.5 * np.cos(2 * np.pi * (tone - k / 3)) for k in range(3)], axis=-1)
    flakes = (0.25 + 0.65 * tilt[..., None]) * (0.25 + 0.75 * colour) + 0.75 * (tilt[..., None] > 0.9)
    return np.kron(flakes, np.ones((size, size, 1), np.float32))[:SIZE, :SIZE].clip(0, 1)


def _sparkles(c: Canvas, body: np.ndarray, rng, count: int) -> None:
    """Bright four-pointed glints inside a form."""
    rows, columns = np.nonzero(grow(body, -4) > 0.9)
    pen = Pen()
    for i in rng.integers(0, len(rows), count):
        x, y = columns[i] * 100 / SIZE, rows[i] * 100 / SIZE
        pen.polygon(star(x, y, 2.5 + 3.5 * rng.random(), 0.5, 4))
    c.tint(np.minimum(pen.mask() + 0.5 * blur(pen.mask(), 1), 1), WHITE, 0.95)


def _rainbow(phase: np.ndarray, saturation: float = 0.55) -> np.ndarray:
    """Pastel interference colours for a phase in turns."""
    waves = np.stack([np.cos(2 * np.pi * (phase - k / 3)) for k in range(3)], axis=-1)
    return (1 - saturation / 2 + saturation / 2 * waves).astype(np.float32)


def _foil(rng, colour, bands: float = 3.0) -> np.ndarray:
    """Crumpled metal: bright and dark bands that follow slow noise."""
    phase = ramp(35) * bands + 0.9 * noise(rng, 4) + 0.12 * noise(rng, 30)
    shine = 0.5 + 0.5 * np.sin(2 * np.pi * phase)
    return mix(mix(colour, BLACK, 0.5), mix(colour, WHITE, 0.75), shine.astype(np.float32) ** 1.5)


@ALBUM.look
def glitter_star(c: Canvas, rng):
    body = _rounded(star(50, 53, 42, 20, 5), 6)
    c.fill(body, _flakes(rng, rng.random(), 0.12))
    c.light(body, 4, 0.3)
    _sparkles(c, body, rng, 9)
    if rng.random() < 0.5:
        c.die_cut()


@ALBUM.look
def glitter_heart(c: Canvas, rng):
    body = polygon(heart(50, 50, 45))
    c.fill(body, _flakes(rng, rng.choice([0.95, 0.0, 0.75, 0.12]), 0.1, 2))
    c.light(body, 6, 0.35)
    _sparkles(c, body, rng, 7)


@ALBUM.look
def holographic_moon(c: Canvas, rng):
    body = disc(50, 50, 44) * (1 - disc(68, 42, 35))
    phase = ramp(30) * 2.2 + 0.6 * noise(rng, 5) + rng.random()
    c.fill(body, _rainbow(phase))
    c.tint(body * np.clip(noise(rng, 70) - 0.72, 0, 1) * 4, WHITE, 0.8)
    c.light(body, 3, 0.4)
    c.die_cut(2.6, (0.96, 0.96, 0.98))


@ALBUM.look
def holographic_seal(c: Canvas, rng):
    body = polygon(star(50, 50, 46, 42, 28))
    rows, columns = np.mgrid[:SIZE, :SIZE].astype(np.float32) * (100 / SIZE) - 50
    angle, distance = np.arctan2(rows, columns) / (2 * np.pi), np.hypot(rows, columns)
    c.fill(body, _rainbow(angle * 3 + distance / 60 + rng.random(), 0.6))
    rays = (0.5 + 0.5 * np.cos(2 * np.pi * angle * 48)) * (distance > 31) + 0.3 * (distance < 30)
    c.tint(body * rays.astype(np.float32), WHITE, 0.45)
    c.tint(disc(50, 50, 31) * (1 - disc(50, 50, 29.6)), (0.3, 0.3, 0.38), 0.7)
    c.tint(text(50, 45, str(rng.choice(["GENUINE", "OFFICIAL", "AUTHENTIC"])), 8.5, 0.6), (0.25, 0.25, 0.34), 0.9)
    c.tint(polygon(star(50, 58, 7, 3, 5)), (0.25, 0.25, 0.34), 0.9)
    c.light(body, 1, 0.4)


@ALBUM.look
def gold_foil_sun(c: Canvas, rng):
    colour = ((0.95, 0.75, 0.3), (0.9, 0.62, 0.5), (0.8, 0.82, 0.86))[int(rng.integers(3))]
    pen = Pen().disc(50, 50, 20)
    for a in range(0, 360, 30):
        pen.polygon([polar(a - 5, 24), polar(a, 46), polar(a + 5, 24)])
        pen.line([polar(a + 15, 24), polar(a + 15, 33)], [3, 0.8])
    body = pen.mask()
    c.fill(body, _foil(rng, colour))
    c.light(body, 1, 0.6)
    face = [smooth([(41, 46), (44, 43.5), (47, 46)], False), smooth([(53, 46), (56, 43.5), (59, 46)], False)]
    mouth = smooth([(43, 55), (50, 60), (57, 55)], False)
    c.tint(np.maximum.reduce([line(f, 1.2) for f in (*face, mouth)]), mix(colour, BLACK, 0.75))


@ALBUM.look
def foil_balloon_letter(c: Canvas, rng):
    letter = str(rng.choice(list("ABEGKLMRSXZ")))
    body = np.clip(blur(text(50, 50, letter, 90, 5), 0.9) * 3 - 1, 0, 1)
    colour = ((0.93, 0.72, 0.3), (0.92, 0.6, 0.62), (0.75, 0.78, 0.84), (0.4, 0.6, 0.9))[int(rng.integers(4))]
    # Inflated foil reflects the room as bright and dark bands that follow the slope.
    dy, dx = np.gradient(blur(body, 3.2))
    slope = (dy + 0.5 * dx) * 14
    shine = 0.5 + 0.5 * np.sin(9 * slope + 1.2 * ramp() + 0.9 * noise(rng, 5) - 0.4)
    c.fill(body, mix(mix(colour, BLACK, 0.45), mix(colour, WHITE, 0.7), shine.astype(np.float32)))
    c.light(body, 4, 0.45)
    c.rim(0.3)


@ALBUM.look
def glitter_lips(c: Canvas, rng):
    upper = smooth([(6, 50), (26, 38), (42, 30), (50, 35), (58, 30), (74, 38), (94, 50), (70, 50), (50, 53), (30, 50)])
    lower = smooth([(6, 50), (30, 52), (50, 55), (70, 52), (94, 50), (76, 66), (50, 74), (24, 66)])
    hue = rng.choice([0.97, 0.92, 0.0, 0.8])
    flakes = _flakes(rng, hue, 0.08, 2)
    for lip in (upper, lower):
        body = polygon(lip)
        c.fill(body, mix(flakes, hsv(hue, 0.85, 0.8), 0.35))
        c.light(body, 4, 0.6)
    c.tint(blur(line([(12, 50.5), (50, 54), (88, 50.5)], [0.5, 1.6, 0.5]), 0.3), BLACK, 0.6)
    c.shine(c.alpha, 38, 63, 10, 2.4, 8, 0.7)
    _sparkles(c, c.alpha, rng, 6)


@ALBUM.look
def sequins(c: Canvas, rng):
    body = box(10, 10, 90, 90, 14) if rng.random() < 0.5 else disc(50, 50, 42)
    hue = rng.random()
    c.fill(body, hsv(hue, 0.8, 0.3))
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32) * (100 / SIZE)
    row = np.floor(y / 5.4).astype(int)
    along = x / 6 + 0.5 * (row % 2)
    column = np.floor(along).astype(int)
    distance = np.hypot((along - column - 0.5) * 6, y - (row + 0.5) * 5.4)
    tilt = rng.random((20, 20), dtype=np.float32)[row, column]
    disc_ = np.clip((2.9 - distance) * 3, 0, 1) * body
    bright = mix(hsv(hue, 0.9, 0.5), hsv(hue + 0.06, 0.3, 1), tilt**2)
    c.tint(disc_, bright * (1.15 - 0.4 * ((y / 5.4) % 1))[..., None])
    c.tint(np.clip((0.6 - distance) * 3, 0, 1) * body, BLACK, 0.45)
    c.light(body, 2, 0.5)
    _sparkles(c, body, rng, 8)
