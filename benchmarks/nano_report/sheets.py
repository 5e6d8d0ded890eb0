"""Draws sheets that show videos before and after an edit side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from toolkit.faces import create_analyser
from toolkit.faces.topology import load_topology
from toolkit.video import probe, read_frames

TILE, BAND = 240, 18
"""Pixels: side of a tile, and height of the line of text above a row."""

EYES = ("left_eye", "right_eye")
ZOOM = 2


def frame_of(video: Path, index: int) -> np.ndarray:
    """One frame of a video, uint8 ``[H, W, 3]``."""
    return next(islice(read_frames(video), index, None)).image


def middle(video: Path) -> int:
    """Index of the frame in the middle."""
    return (probe(video).frame_count or 1) // 2


def faces_sheet(rows: Sequence[tuple[str, Mapping[str, Path]]], target: Path, tile: int = TILE) -> None:
    """Write a sheet with a row for each video: its middle frame in each version, under a line of text.

    Args:
        rows: text, and version -> video.
        target: JPEG or PNG file.
    """
    drawn = []
    for text, versions in rows:
        index = middle(next(iter(versions.values())))
        tiles = [resized(frame_of(video, index), tile, tile) for video in versions.values()]
        names = [f"{text}: {name}" if number == 0 else name for number, name in enumerate(versions)]
        drawn.append(labelled(names, np.hstack(tiles), tile))
    save(drawn, target)


def eyes_sheet(original: Path, versions: Mapping[str, Path], target: Path, count: int) -> bool:
    """Write a sheet of the eyes in a few frames, at twice their size.

    Args:
        original: a video whose face gives the place of the eyes.
        versions: version -> video.
        count: number of frames, evenly chosen.

    Returns:
        Whether a face was found.
    """
    total = probe(original).frame_count or 1
    wanted = np.unique(np.linspace(0, total - 1, count + 2)[1:-1].round().astype(int)) if total > 2 else np.array([0])
    analyser, drawn = create_analyser("mediapipe", max_faces=1), []
    size = None
    for index in wanted:
        analyser.reset()
        picture = frame_of(original, int(index))
        faces = analyser.analyse(picture)
        if not faces:
            continue
        x0, y0, x1, y1 = around_eyes(faces[0].landmarks, picture.shape[:2])
        size = size or ((x1 - x0) * ZOOM, (y1 - y0) * ZOOM)
        tiles = [resized(frame_of(video, int(index))[y0:y1, x0:x1], *size) for video in versions.values()]
        drawn.append(labelled(list(versions), np.hstack(tiles), size[0]))
    analyser.close()
    if drawn:
        save(drawn, target)
    return bool(drawn)


def around_eyes(landmarks: np.ndarray, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """The rectangle around the eyes in which glasses are: left, top, right and bottom, in pixels within the frame."""
    regions = load_topology("mediapipe478").regions
    left, right = (landmarks[regions[eye], :2].mean(axis=0) for eye in EYES)
    (x, y), apart = (left + right) / 2, float(np.linalg.norm(right - left))
    x0, x1 = max(0, round(x - 1.3 * apart)), min(shape[1], round(x + 1.3 * apart))
    return x0, max(0, round(y - 0.7 * apart)), x1, min(shape[0], round(y + 0.8 * apart))


def resized(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """A picture of another size, uint8 ``[height, width, 3]``."""
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS))


def labelled(names: Sequence[str], tiles: np.ndarray, width: int) -> np.ndarray:
    """Add a line above a row of tiles that names each of them."""
    band = Image.new("RGB", (tiles.shape[1], BAND), "white")
    draw = ImageDraw.Draw(band)
    for number, name in enumerate(names):
        draw.text((number * width + 3, 3), name, fill="black")
    return np.vstack([np.asarray(band), tiles])


def save(rows: Sequence[np.ndarray], target: Path) -> None:
    """Write rows of any width below each other."""
    width = max(row.shape[1] for row in rows)
    padded = [np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=255) for row in rows]
    target.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.vstack(padded)).save(target, quality=89)
