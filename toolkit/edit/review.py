"""Compares a finished track with the original, and warns of stretches that look bad."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from toolkit.edit.removal.stores import TrackStores
from toolkit.edit.resolved import ResolvedEdit
from toolkit.edit.results import EditWarning, FaceReport, TrackResult
from toolkit.edit.tint import colour_difference
from toolkit.edit.tracks.track import BLOCK, FaceTrack
from toolkit.faces.types import FaceAnalyser

SECONDS = 0.3
"""Shortest stretch that is reported, and longest gap within one: single frames are noise."""
MAX_SHIFT = 0.08
"""Mean distance of landmarks before and after, relative to the distance of the eyes, from which the face has moved."""
MAX_FLICKER = 2.0
"""Change from frame to frame, relative to the original's, from which the edit flickers."""
MIN_EYE_CONTRAST = 0.1
"""Contrast within the eyes below which they are hidden. In 59 real clips bare eyes were below 0.12 in 0.3 % of frames,
drawn sunglasses that pass 5 % of the light in 27 clips, matt ones in 58."""
EYE_CHANGE = 2.0
"""Factor by which an edit changes the contrast within eyes from which it hides them, or invents hidden ones."""
EYE_SECONDS = 1.0
"""Shortest stretch of eyes that the edit hides: blinks are shorter."""
MAX_EYES_EDITED = 0.5
"""Share of the eyes' pixels that was replaced from which they are not the person's own."""
TINTED = 9.0
"""Difference of colours, as in `colour_difference`, from which lenses are tinted. A tint is left if original and result
exceed it. On 20 real clips: red, deep red and green lenses that pass 75 % of the light exceeded it in 19, 20 and 19,
amber and blue ones in 2 and 1, clear and grey ones in none. Of 6 real clips with glasses, the one with red lenses did,
before and after the edit, and no other."""
QUIET = 1.0
"""Change from frame to frame, in 0..255, that every video has."""


def review_track(track: FaceTrack, stores: TrackStores, resolved: ResolvedEdit, analyser: FaceAnalyser) -> TrackResult:
    """Compare a finished track with the original, frame by frame.

    Args:
        track: the face.
        stores: its pictures.
        resolved: the settings.
        analyser: finds one face in a crop.

    Returns:
        The frames' numbers and the warnings; `seconds` is 0.
    """
    review, faces, landmarks = FrameReview(analyser), [], np.empty(0)
    removers = len(resolved.removers)
    findings = [stores.findings(index) for index in range(removers)]
    kept = next((found.kept for found in findings if found.kept), None)
    for k in range(len(track)):
        if k % BLOCK == 0:
            landmarks = track.landmarks(k, min(k + BLOCK, len(track)))
        original, result = stores.crops.read(k, k + 1)[0], stores.composited(removers, k, k + 1)[0]
        weights = stores.edit(removers - 1, k, k + 1)[1][0]
        mask, exact = None, None
        if resolved.masking.finds_masks:
            masks = [stores.masks(index).read(k, k + 1)[0] > 0 for index in range(removers)]
            mask = round(float(np.any(masks, axis=0).mean()), 4)
            exact_masks = [one for one, remover in zip(masks, resolved.removers) if remover.exact_masks]
            exact = np.any(exact_masks, axis=0) if exact_masks else None
        values = review.compare(original, result, weights, landmarks[k % BLOCK], exact)
        numbers = {name: None if value is None else round(value, 4) for name, value in values.items()}
        faces.append(
            FaceReport.model_validate(
                {
                    "track": track.number,
                    "found": bool(track.found[k]),
                    "confidence": round(float(track.scores[k]), 4),
                    "box": [round(float(side), 1) for side in track.boxes[k]],
                    "turn": round(float(track.turns[k]), 1),
                    "orientation": 90 * track.squares.quarters,
                    "mask": mask,
                    "kept": kept if mask else None,
                    "eyes_hidden": any(found.hidden[k] for found in findings),
                    **numbers,
                }
            )
        )
    painted = any(found.painted for found in findings)
    warnings = warnings_of(track.number, track.start, faces, track.times, resolved, painted)
    return TrackResult(faces=faces, warnings=warnings, seconds=0.0)


class FrameReview:
    """Compares the frames of a track before and after the edit, in their order.

    Args:
        analyser: finds the face in the result; its topology is that of the landmarks.
    """

    def __init__(self, analyser: FaceAnalyser):
        self._analyser = analyser
        self._before: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
        analyser.reset()

    def compare(
        self,
        original: np.ndarray,
        result: np.ndarray,
        weights: np.ndarray,
        landmarks: np.ndarray,
        mask: np.ndarray | None = None,
    ) -> dict[str, float | None]:
        """The numbers of a frame, by their names in `FaceReport`.

        Args:
            original, result: uint8 ``[R, R, 3]``.
            weights: float32 ``[R, R]`` in 0..1, how much of the edit is pasted.
            landmarks: float32 ``[N, 3]`` of the original, in pixels of the crop.
            mask: bool ``[R, R]``, the attribute itself; None if that is unknown.
        """
        total = float(weights.sum())
        difference = np.abs(original.astype(np.int16) - result).mean(axis=2)
        eyes = self._eyes(landmarks, weights.shape)
        both = np.logical_or(*eyes)
        values: dict[str, float | None] = {
            "edited": max(float(weights.mean()), 1e-4) if total else 0.0,
            "change": float((difference * weights).sum() / total) if total else 0.0,
            "tint_before": None,
            "tint": None,
            "flicker": self._flicker(original, result, weights),
            "landmark_shift": 0.0,
            "eyes_edited": float(weights[both].mean()) if both.any() else None,
            "eye_contrast_before": eye_contrast(original, eyes),
            "eye_contrast": eye_contrast(result, eyes),
        }
        if total and mask is not None and mask.any():
            values["tint_before"] = colour_difference(original, mask, landmarks)
            values["tint"] = colour_difference(result, mask, landmarks)
        if total:
            values["landmark_shift"] = self._shift(result, landmarks)
        self._before = original, result, weights
        return values

    def _flicker(self, original: np.ndarray, result: np.ndarray, weights: np.ndarray) -> float:
        if self._before is None:
            return 1.0
        before, result_before, weights_before = self._before
        pasted = (weights > 0.5) & (weights_before > 0.5)
        if not pasted.any():
            return 1.0
        change = np.abs(result[pasted].astype(np.int16) - result_before[pasted]).mean()
        original_change = np.abs(original[pasted].astype(np.int16) - before[pasted]).mean()
        return float(max(change, QUIET) / max(original_change, QUIET))

    def _shift(self, result: np.ndarray, landmarks: np.ndarray) -> float | None:
        faces = self._analyser.analyse(result)
        if not faces:
            return None
        points = landmarks[:, :2]
        distances = [np.linalg.norm(face.landmarks[:, :2] - points, axis=1).mean() for face in faces]
        return float(min(distances) / max(eye_distance(points, self._analyser), 1e-6))

    def _eyes(self, landmarks: np.ndarray, shape: tuple[int, ...]) -> list[np.ndarray]:
        """bool ``[R, R]`` for each eye."""
        import cv2

        eyes = []
        for name in ("left_eye", "right_eye"):
            inside = np.zeros(shape, np.uint8)
            points = landmarks[self._analyser.topology.regions[name], :2] - 0.5
            points = np.clip(np.rint(points), -(2**15), 2**15).astype(np.int32)
            cv2.fillConvexPoly(inside, cv2.convexHull(points), 1)
            eyes.append(inside > 0)
        return eyes


def eye_contrast(picture: np.ndarray, eyes: Sequence[np.ndarray]) -> float | None:
    """Range of brightness within the clearer eye, 0..1, after removing a gradient such as a reflection or a shadow.

    None if both eyes are too small to tell.
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
    """Distance between the centres of the eyes of landmarks ``[N, 2]``, in their pixels."""
    left, right = (points[analyser.topology.regions[name]].mean(axis=0) for name in ("left_eye", "right_eye"))
    return float(np.linalg.norm(left - right))


def warnings_of(
    track: int,
    first: int,
    faces: Sequence[FaceReport],
    times: np.ndarray,
    resolved: ResolvedEdit,
    painted: bool = False,
) -> list[EditWarning]:
    """Stretches of a track that look bad.

    Args:
        track: its number.
        first: its first frame in the video.
        faces: of its frames, in order.
        times: ``[T]`` seconds of its frames.
        resolved: the settings.
        painted: whether a remover takes face paint for its attribute.
    """
    edited = np.array([face.edited > 0 for face in faces])
    shift = np.array([np.nan if face.landmark_shift is None else face.landmark_shift for face in faces])
    lost = edited & np.isnan(shift)
    moved = edited & (np.nan_to_num(shift) > MAX_SHIFT)
    flickers = edited & (np.array([face.flicker for face in faces]) > MAX_FLICKER)
    dark, paint = (np.array([face.kept == reason for face in faces]) for reason in ("eyes hidden", "face paint"))
    before = np.array([1.0 if face.eye_contrast_before is None else face.eye_contrast_before for face in faces])
    after = np.array([1.0 if face.eye_contrast is None else face.eye_contrast for face in faces])
    lost_eyes = edited & (after < MIN_EYE_CONTRAST) & (after < before / EYE_CHANGE)
    unseen = np.array([face.eyes_hidden for face in faces])
    unseen |= (before < MIN_EYE_CONTRAST) & (after > before * EYE_CHANGE)
    invented = ~dark & unseen & (np.array([face.eyes_edited or 0.0 for face in faces]) > MAX_EYES_EDITED)
    tint_before = np.array([face.tint_before or 0.0 for face in faces])
    tint = np.array([face.tint or 0.0 for face in faces])
    tinted = edited & (tint_before > TINTED) & (tint > TINTED)
    away = np.array([face.turn > resolved.crop.max_turn for face in faces])
    what = " or ".join(resolved.tasks)
    kinds: list[tuple[str, np.ndarray, float, str]] = [
        (
            "eyes hidden",
            dark,
            0.0,
            f"the {what} hide the eyes and were kept; --hidden-eyes remove removes them and invents the eyes",
        ),
        (
            "face paint",
            paint,
            0.0,
            f"the remover of {what} takes make-up, face paint or glasses for them, so the face was left as it is; "
            "--face-paint remove removes what it can",
        ),
        ("face paint", edited & painted, 0.0, f"make-up or face paint was taken for {what} and comes off unevenly"),
        ("eyes invented", invented, SECONDS, f"the eyes cannot be seen behind the {what} and are invented"),
        ("tint left", tinted, SECONDS, f"a tint remains where the {what} were removed"),
        ("eyes lost", lost_eyes & ~invented, EYE_SECONDS, "the eyes are less clear than in the original"),
        ("turned away", away, SECONDS, "the head is turned too far from the camera and was not edited"),
        ("face lost", lost, SECONDS, "no face is found in the result"),
        ("identity moved", moved, SECONDS, "the face's features have moved"),
        ("flicker", flickers, SECONDS, "the edited part changes more from frame to frame than the original"),
    ]
    found = []
    for kind, bad, shortest, words in kinds:
        for start, stop in stretches(bad, times, shortest):
            sentence = f"{times[start]:.1f} s to {times[stop - 1]:.1f} s: {words}"
            warning = {"kind": kind, "track": track, "start": first + start, "stop": first + stop, "sentence": sentence}
            found.append(EditWarning.model_validate(warning))
    return sorted(found, key=lambda warning: warning.start)


def stretches(bad: np.ndarray, times: np.ndarray, shortest: float) -> Iterator[tuple[int, int]]:
    """First frames, and the ones after the last, of stretches of at least `shortest` seconds with mostly bad frames.

    Bad frames less than `SECONDS` apart belong together. A stretch that is the whole track is always long enough.
    """
    if not bad.any():
        return
    frames = np.flatnonzero(bad)
    breaks = [k + 1 for k, (one, other) in enumerate(pairwise(frames)) if times[other] - times[one] > SECONDS]
    for part in np.split(frames, breaks):
        start, stop = int(part[0]), int(part[-1]) + 1
        long_enough = times[stop - 1] - times[start] >= shortest or (start == 0 and stop == len(bad))
        if long_enough and 2 * len(part) > stop - start:
            yield start, stop
