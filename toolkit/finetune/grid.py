"""Draws a sheet of held-out pairs: input, output, target and change."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

COLUMNS = ("input", "output", "target", "change x4")
_GAP, _HEAD, _LABEL = 6, 40, 14


def render_grid(
    rows: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], labels: Sequence[str], heading: str, tile: int = 192
) -> np.ndarray:
    """Draw the sheet.

    Args:
        rows: input, output and target, uint8 ``[H, W, 3]``, all of one size.
        labels: the line above each row.
        heading: the line at the top.
        tile: width of a picture in pixels.

    Returns:
        uint8 ``[H, W, 3]``. The fourth column is the largest difference of input and output over the channels, times 4.
    """
    import cv2
    from PIL import Image, ImageDraw, ImageFont

    tall = round(tile * rows[0][0].shape[0] / rows[0][0].shape[1]) if rows else tile
    height = _HEAD + len(rows) * (tall + _LABEL + _GAP)
    sheet = np.full((height, len(COLUMNS) * (tile + _GAP) + _GAP, 3), 255, np.uint8)
    for row, (source, output, target) in enumerate(rows):
        change = np.abs(output.astype(np.int16) - source).max(axis=2, keepdims=True) * 4
        change = np.broadcast_to(change.clip(0, 255).astype(np.uint8), source.shape)
        y = _HEAD + row * (tall + _LABEL + _GAP) + _LABEL
        for column, picture in enumerate((source, output, target, change)):
            interpolation = cv2.INTER_AREA if picture.shape[1] > tile else cv2.INTER_CUBIC
            x = _GAP + column * (tile + _GAP)
            sheet[y : y + tall, x : x + tile] = cv2.resize(picture, (tile, tall), interpolation=interpolation)
    image = Image.fromarray(sheet)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size=11)
    draw.text((_GAP, 4), heading, fill=(0, 0, 0), font=font)
    for column, name in enumerate(COLUMNS):
        draw.text((_GAP + column * (tile + _GAP), 22), name, fill=(60, 60, 60), font=font)
    for row, label in enumerate(labels):
        draw.text((_GAP, _HEAD + row * (tall + _LABEL + _GAP)), label, fill=(60, 60, 60), font=font)
    return np.asarray(image)
