"""Measures what an edit that removes glasses keeps of the detail behind lenses, and what it leaves of rims.

    python -m benchmarks.detail ORIGINAL EDITED [EDITED ...] [--every N]

Each argument is a video. ``detail`` is the mean strength of fine detail in the edit over that in the original, where
the segmenter sees glasses in the original, without rims and eyes: 1 if all of it is kept. The strongest detail there is
that of the rims' edges, which an edit must remove; ``clear`` is the same where no rim is near. ``traces`` is the share
of the rims' pattern that remains: 0 if nothing of it can be seen, 1 if the rims are as they were.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from attributes.glasses.eyes import BOTH, eye_holes
from attributes.glasses.segmenter import GlassesSegmenter
from attributes.glasses.segmenter.model import GlassesMaps
from toolkit.faces import create_analyser
from toolkit.faces.topology import load_topology
from toolkit.filling import distances
from toolkit.task import FaceClip
from toolkit.video import read_frames

CHUNK = 32
"""Frames that are looked at together."""

SEEN = 0.5
"""Value of the segmenter's maps from which a pixel shows a rim or a lens."""

EYES_APART = 90
"""Distance of the eyes' centres, in pixels, at which detail has its own scale of one pixel."""

FINEST = 0.8
"""Smallest scale in pixels."""

AWAY = 6
"""Distance from rims, in scales of detail, from which none is near."""

CROP = 1.6
"""Side of the square that is looked at, relative to the side of the landmarks' box: that of an edit's crop."""


class Detail(NamedTuple):
    """What an edit keeps and leaves.

    Attributes:
        kept: fine detail behind lenses over the original's.
        clear: the same where no rim is near.
        traces: share of the rims' pattern that is left.
        frames: number of frames that were measured.
    """

    kept: float
    clear: float
    traces: float
    frames: int


def measure(original: Path, edits: Mapping[str, Path], every: int = 1) -> dict[str, Detail]:
    """Measure edits of one video.

    Args:
        original: a video of a face with glasses.
        edits: videos of the same size and length; an edit may end earlier.
        every: look at every this many frames.

    Returns:
        For each edit its values; NaN if no frame shows glasses.
    """
    sums = {name: _Sums() for name in edits}
    others = {name: islice(read_frames(path), 0, None, every) for name, path in edits.items()}
    pictures = islice(read_frames(original), 0, None, every)
    with_faces = _with_faces(frame.image for frame in pictures)
    segmenter = GlassesSegmenter.load(device="cpu")
    while chunk := list(islice(with_faces, CHUNK)):
        edited = {name: [frame.image for frame in islice(frames, len(chunk))] for name, frames in others.items()}
        clip, corners = _clip([frame for frame, _ in chunk], [face for _, face in chunk])
        inner, rims = lenses_and_rims(clip, segmenter.segment(clip))
        for name, images in edited.items():
            for k in np.flatnonzero(inner[: len(images)].any(axis=(1, 2))):
                face = _square(images[k], corners[k], clip.frames.shape[1])
                sums[name].add(clip.frames[k], face, inner[k], rims[k], scale_of(clip, k))
        if any(len(images) < len(chunk) for images in edited.values()):
            break
    return {name: total.result() for name, total in sums.items()}


def lenses_and_rims(clip: FaceClip, maps: GlassesMaps) -> tuple[np.ndarray, np.ndarray]:
    """Where detail should be kept, and where rims are: bool ``[T, H, W]`` each."""
    import cv2

    rims = maps.frame > SEEN
    wide = np.stack([cv2.dilate(rim.astype(np.uint8), np.ones((3, 3), np.uint8)) for rim in rims]) > 0
    glasses = np.maximum(maps.frame, maps.lens) > SEEN
    return glasses & ~wide & ~eye_holes(clip), rims


def scale_of(clip: FaceClip, index: int) -> float:
    """The scale of detail in a frame, in pixels."""
    left, right = (clip.landmarks[index, clip.topology.regions[eye], :2].mean(axis=0) for eye in BOTH)
    return max(FINEST, float(np.linalg.norm(left - right)) / EYES_APART)


def fine(picture: np.ndarray, scale: float) -> np.ndarray:
    """float32 ``[H, W]``: strength of fine detail, the largest of the channels.

    Args:
        picture: uint8 ``[H, W, 3]``.
        scale: in pixels.
    """
    import cv2

    return np.abs(cv2.Laplacian(_blurred(picture, 0.7 * scale), cv2.CV_32F)).max(axis=2)


def pattern(picture: np.ndarray, scale: float) -> np.ndarray:
    """float32 ``[H, W, 3]``: what is as wide as a rim."""
    return _blurred(picture, scale) - _blurred(picture, 2.5 * scale)


def _blurred(picture: np.ndarray, sigma: float) -> np.ndarray:
    import cv2

    return cv2.GaussianBlur(picture.astype(np.float32), (0, 0), sigma)


class _Sums:
    def __init__(self) -> None:
        self._detail, self._clear = np.zeros(2), np.zeros(2)
        self._traces: list[float] = []
        self._frames = 0

    def add(self, before: np.ndarray, after: np.ndarray, inner: np.ndarray, rims: np.ndarray, scale: float) -> None:
        clear = inner & (distances(rims) > AWAY * scale) if rims.any() else inner
        for detail, index in ((fine(after, scale), 0), (fine(before, scale), 1)):
            self._detail[index] += detail[inner].sum()
            self._clear[index] += detail[clear].sum()
        one, other = pattern(before, scale)[rims], pattern(after, scale)[rims]
        if one.any():
            self._traces.append(abs(float((one * other).sum() / (one * one).sum())))
        self._frames += 1

    def result(self) -> Detail:
        if not self._frames:
            return Detail(np.nan, np.nan, np.nan, 0)
        kept, clear = (float(one[0] / one[1]) if one[1] else np.nan for one in (self._detail, self._clear))
        return Detail(kept, clear, float(np.mean(self._traces)) if self._traces else np.nan, self._frames)


def _with_faces(images: Iterator[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Frames and the landmarks of their largest face."""
    analyser = create_analyser("mediapipe", max_faces=1)
    for image in images:
        faces = analyser.analyse(image)
        yield image, faces[0].landmarks if faces else None
    analyser.close()


def _clip(images: Sequence[np.ndarray], faces: Sequence[np.ndarray | None]) -> tuple[FaceClip, np.ndarray]:
    """Squares around the faces as a clip, at the frames' own resolution, and their upper left corners."""
    topology = load_topology("mediapipe478")
    landmarks = np.full((len(images), topology.count, 3), np.nan, np.float32)
    for k, face in enumerate(faces):
        if face is not None:
            landmarks[k] = face
    present = np.isfinite(landmarks).all(axis=(1, 2))
    low, high = landmarks[..., :2].min(axis=1), landmarks[..., :2].max(axis=1)
    side = int(CROP * (high - low)[present].max()) if present.any() else 8
    corners = np.zeros((len(images), 2), int)
    corners[present] = np.rint((low + high)[present] / 2 - side / 2)
    landmarks[..., :2] -= corners[:, None]
    squares = np.stack([_square(image, corner, side) for image, corner in zip(images, corners)])
    return FaceClip(squares, landmarks, topology, np.arange(len(images)) / 25), corners


def _square(image: np.ndarray, corner: np.ndarray, side: int) -> np.ndarray:
    """uint8 ``[side, side, 3]``; beyond the frame its edge is repeated."""
    rows, columns = (
        np.clip(np.arange(start, start + side), 0, limit - 1) for start, limit in zip(corner[::-1], image.shape)
    )
    return image[np.ix_(rows, columns)]


def main() -> None:
    """Print a row for each edit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("original", type=Path)
    parser.add_argument("edited", type=Path, nargs="+")
    parser.add_argument("--every", type=int, default=1, help="look at every this many frames")
    args = parser.parse_args()
    for name, found in measure(args.original, {str(path): path for path in args.edited}, args.every).items():
        values = f"detail {found.kept:.2f}, clear {found.clear:.2f}, traces {found.traces:.2f}"
        print(f"{name}: {values} ({found.frames} frames)")


if __name__ == "__main__":
    main()
