"""Watching an edit: numbers for each frame, and warnings where a stretch of frames looks bad."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from toolkit.edit.report import FaceReport, Warned
from toolkit.faces.types import FaceAnalyser

SECONDS = 0.3
"""A stretch is at least so long, and gaps within it at most: single frames are noise."""
MAX_SHIFT = 0.08
"""Mean distance of landmarks before and after, over that of the middles of the eyes, from which the face has moved."""
MAX_FLICKER = 2.0
"""Change from frame to frame over the original's from which the edit flickers."""
MIN_EYE_CONTRAST = 0.1
"""Contrast within the eyes below which they are hidden. Of 59 real clips bare eyes were below 0.12 in 0.3 % of frames;
drawn sunglasses that pass 5 % of the light in 27 clips, matt ones in 58."""
EYE_SECONDS = 1.0
MAX_EYES_EDITED = 0.5
"""Share of the eyes' pixels that were made anew from which they are not the person's own."""
QUIET = 1.0
"""Change from frame to frame, in 0..255, that every video has."""


class Watch:
    """Compares a run's frames before and after, in order.

    Args:
        analyser: finds the face again in the result; of the topology of the landmarks.
    """

    def __init__(self, analyser: FaceAnalyser):
        self.analyser = analyser
        self._before: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
        analyser.reset()

    def look(
        self, original: np.ndarray, result: np.ndarray, alpha: np.ndarray, landmarks: np.ndarray
    ) -> dict[str, float | None]:
        """The numbers of a frame, by their names in `FaceReport`.

        Args:
            original, result: uint8 ``[R, R, 3]``.
            alpha: float32 ``[R, R]`` in 0..1.
            landmarks: float32 ``[N, 3]`` of the original, in pixels of the crop.
        """
        weight = float(alpha.sum())
        difference = np.abs(original.astype(np.int16) - result).mean(axis=2)
        eyes = self._eyes(landmarks, alpha.shape)
        both = np.logical_or(*eyes)
        values: dict[str, float | None] = {
            "edited": max(float(alpha.mean()), 1e-4) if weight else 0.0,
            "change": float((difference * alpha).sum() / weight) if weight else 0.0,
            "flicker": self._flicker(original, result, alpha),
            "landmark_shift": 0.0,
            "eyes_edited": float(alpha[both].mean()) if both.any() else None,
            "eye_contrast": eye_contrast(result, eyes),
        }
        if weight:
            values["landmark_shift"] = self._shift(result, landmarks)
        self._before = original, result, alpha
        return values

    def _flicker(self, original: np.ndarray, result: np.ndarray, alpha: np.ndarray) -> float:
        if self._before is None:
            return 1.0
        before, result_before, alpha_before = self._before
        where = (alpha > 0.5) & (alpha_before > 0.5)
        if not where.any():
            return 1.0
        moved = np.abs(result[where].astype(np.int16) - result_before[where]).mean()
        own = np.abs(original[where].astype(np.int16) - before[where]).mean()
        return float(max(moved, QUIET) / max(own, QUIET))

    def _shift(self, result: np.ndarray, landmarks: np.ndarray) -> float | None:
        faces = self.analyser.analyse(result)
        if not faces:
            return None
        points = landmarks[:, :2]
        distances = [np.linalg.norm(face.landmarks[:, :2] - points, axis=1).mean() for face in faces]
        return float(min(distances) / max(eye_distance(points, self.analyser), 1e-6))

    def _eyes(self, landmarks: np.ndarray, shape: tuple[int, ...]) -> list[np.ndarray]:
        """bool ``[R, R]`` for each eye."""
        import cv2

        eyes = []
        for name in ("left_eye", "right_eye"):
            inside = np.zeros(shape, np.uint8)
            points = landmarks[self.analyser.topology.regions[name], :2] - 0.5
            points = np.clip(np.rint(points), -(2**15), 2**15).astype(np.int32)
            cv2.fillConvexPoly(inside, cv2.convexHull(points), 1)
            eyes.append(inside > 0)
        return eyes


def eye_contrast(picture: np.ndarray, eyes: Sequence[np.ndarray]) -> float | None:
    """Range of brightness within the clearer eye, 0..1, without a gradient over it, as a reflection or a shadow is.

    None where both eyes are too small to say.
    """
    found = []
    for eye in eyes:
        y, x = np.nonzero(eye)
        if len(x) < 12:
            continue
        values = picture[y, x].mean(axis=1)
        plane = np.column_stack([x - x.mean(), y - y.mean(), np.ones(len(x))])
        rest = values - plane @ np.linalg.lstsq(plane, values, rcond=None)[0]
        low, high = np.percentile(rest, [5, 95])
        found.append(float(high - low) / 255)
    return max(found, default=None)


def eye_distance(points: np.ndarray, analyser: FaceAnalyser) -> float:
    """Between the middles of the eyes of landmarks ``[N, 2]``, in their pixels."""
    left, right = (points[analyser.topology.regions[name]].mean(axis=0) for name in ("left_eye", "right_eye"))
    return float(np.linalg.norm(left - right))


def warnings_of(run: int, first: int, faces: Sequence[FaceReport], times: np.ndarray, max_turn: float) -> list[Warned]:
    """Bad stretches of a run.

    Args:
        run: its number.
        first: its first frame in the video.
        faces: of its frames, in order.
        times: ``[T]`` seconds of its frames.
        max_turn: degrees over which nothing is edited.
    """
    edited = np.array([face.edited > 0 for face in faces])
    shift = np.array([np.nan if face.landmark_shift is None else face.landmark_shift for face in faces])
    lost = edited & np.isnan(shift)
    moved = edited & (np.nan_to_num(shift) > MAX_SHIFT)
    flickers = edited & (np.array([face.flicker for face in faces]) > MAX_FLICKER)
    contrast = np.array([1.0 if face.eye_contrast is None else face.eye_contrast for face in faces])
    made = np.array([face.eyes_edited or 0.0 for face in faces]) > MAX_EYES_EDITED
    away = np.array([face.turn > max_turn for face in faces])
    kinds: list[tuple[str, np.ndarray, float, str]] = [
        ("turned away", away, SECONDS, "the head is turned too far away, and was left as it is"),
        ("face lost", lost, SECONDS, "no face is found in the result"),
        ("identity moved", moved, SECONDS, "the face's features are not where they were"),
        ("flicker", flickers, SECONDS, "the edited part changes more from frame to frame than the original did"),
        (
            "eyes hidden",
            edited & (contrast < MIN_EYE_CONTRAST),
            EYE_SECONDS,
            "the eyes are hidden",
        ),
        ("eyes hidden", made, SECONDS, "the eyes were covered and are made up"),
    ]
    found = []
    for kind, bad, least, words in kinds:
        for start, stop in stretches(bad, times, least):
            sentence = f"{times[start]:.1f} s to {times[stop - 1]:.1f} s: {words}"
            warned = {"kind": kind, "run": run, "start": first + start, "stop": first + stop, "sentence": sentence}
            found.append(Warned.model_validate(warned))
    return sorted(found, key=lambda warned: warned.start)


def stretches(bad: np.ndarray, times: np.ndarray, least: float) -> Iterator[tuple[int, int]]:
    """First frames and the ones after the last of stretches of at least `least` seconds in which most frames are bad.

    Bad frames less than `SECONDS` apart belong together.
    """
    if not bad.any():
        return
    frames = np.flatnonzero(bad)
    breaks = [k + 1 for k, (one, other) in enumerate(pairwise(frames)) if times[other] - times[one] > SECONDS]
    for part in np.split(frames, breaks):
        start, stop = int(part[0]), int(part[-1]) + 1
        long_enough = times[stop - 1] - times[start] >= least
        if long_enough and 2 * len(part) > stop - start:
            yield start, stop
