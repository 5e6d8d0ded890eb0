"""Compares a finished track with the original, and warns of stretches that look bad."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TypeVar

import numpy as np

from toolkit.edit.comparing import FrameComparison, box_of
from toolkit.edit.removal.stores import TrackStores
from toolkit.edit.resolved import ResolvedEdit
from toolkit.edit.results import EditWarning, FaceReport, TrackResult
from toolkit.edit.tint import colour_differences
from toolkit.edit.tracks.track import BLOCK, FaceTrack
from toolkit.faces.topology import Topology
from toolkit.faces.turning import turns
from toolkit.faces.types import Face, FaceAnalyser

V = TypeVar("V")

PART = 64
"""Frames of a part of a track: a multiple of `BLOCK`."""
SECONDS = 0.3
"""Shortest stretch that is reported, and longest gap within one: single frames are noise."""
LOOK = SECONDS / 2
"""Time after which the result's face and tint are looked at again: a stretch that is reported has two such frames."""
MAX_SHIFT = 0.08
"""Mean distance of landmarks before and after, relative to the distance of the eyes, from which the face has moved."""
SUSPECT = 0.75
"""Share of it from which all frames nearby are looked at."""
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
"""Difference of colours, as in `colour_differences`, from which lenses are tinted. A tint is left if original and
result exceed it. On 20 real clips: red, deep red and green lenses that pass 75 % of the light exceeded it in 19, 20 and
19, amber and blue ones in 2 and 1, clear and grey ones in none. Of 6 real clips with glasses, the one with red lenses
did, before and after the edit, and no other."""


def review_track(track: FaceTrack, stores: TrackStores, resolved: ResolvedEdit, analyser: FaceAnalyser) -> TrackResult:
    """Compare a finished track with the original.

    Args:
        track: the face.
        stores: its pictures.
        resolved: the settings.
        analyser: finds one face in a crop.

    Returns:
        The frames' numbers and the warnings; `seconds` is 0.
    """
    faces: list[FaceReport] = []
    for start in range(0, len(track), PART):
        faces += review_part(track, start, stores, resolved, analyser)
    return track_result(track, faces, stores, resolved)


def track_result(track: FaceTrack, faces: list[FaceReport], stores: TrackStores, resolved: ResolvedEdit) -> TrackResult:
    """The result of a track from the numbers of all its frames; the rest is as for `review_track`."""
    findings = [stores.findings(index) for index in range(len(resolved.removers))]
    painted = any(found.painted for found in findings)
    warnings = warnings_of(track.number, track.start, faces, track.times, resolved, painted)
    return TrackResult(faces=faces, warnings=warnings, seconds=0.0)


def review_part(
    track: FaceTrack, start: int, stores: TrackStores, resolved: ResolvedEdit, analyser: FaceAnalyser
) -> list[FaceReport]:
    """Compare `PART` frames of a finished track with the original; parts do not depend on each other.

    Args:
        track: the face.
        start: the part's first frame in the track, a multiple of `PART`.
        stores: its pictures.
        resolved: the settings.
        analyser: finds one face in a crop.
    """
    return _Part(track, start, stores, resolved).reports(analyser)


class _Part:
    """Some frames of a track before and after the edit."""

    def __init__(self, track: FaceTrack, start: int, stores: TrackStores, resolved: ResolvedEdit):
        self._track, self._stores, self._resolved = track, stores, resolved
        self._start, self._stop = start, min(start + PART, len(track))
        self._last = len(resolved.removers) - 1
        blocks = range(start, self._stop, BLOCK)
        self._landmarks = np.concatenate([track.landmarks(k, min(k + BLOCK, self._stop)) for k in blocks])
        self._findings = [stores.findings(index) for index in range(self._last + 1)]
        self._kept = next((found.kept for found in self._findings if found.kept), None)
        weights = (stores.paste_weights(self._last).read(k, k + 1)[0] for k in range(start, self._stop))
        self._edited = [k for k, weight in zip(range(start, self._stop), weights) if weight.any()]

    def reports(self, analyser: FaceAnalyser) -> list[FaceReport]:
        """The frames' numbers."""
        analyser.reset()
        shifts = self._watched(
            lambda k: self._shift(k, analyser), lambda shift: shift is None or shift > SUSPECT * MAX_SHIFT
        )
        tints = self._watched(self._tints, lambda tints: (tints[0] or 0.0) > SUSPECT * TINTED)
        comparison = FrameComparison(self._track.topology)
        if self._start in shifts and self._start:  # flicker looks at the frame before
            comparison.compare(*self._pictures(self._start - 1), self._landmarks[0])
        turned = turns(self._landmarks, self._track.topology.mean)
        found = []
        for k, turn in zip(range(self._start, self._stop), turned):
            values: dict[str, float | None] = {"landmark_shift": 0.0, "tint_before": None, "tint": None}
            if k in shifts:
                numbers = comparison.compare(*self._pictures(k), self._landmarks[k - self._start])
                values = {"landmark_shift": shifts[k], **dict(zip(("tint_before", "tint"), tints[k]))}
            else:
                numbers = comparison.unchanged()
            found.append(self._report(k, float(turn), {**numbers._asdict(), **values}))
        return found

    def _watched(self, look: Callable[[int], V], suspicious: Callable[[V], bool]) -> dict[int, V]:
        """What is seen in edited frames: looked at every `LOOK` seconds, and in each frame next to a suspicious one.

        In frames between, the last value holds.
        """
        times, seen = self._track.times, {}
        watched: list[int] = []
        for k in self._edited:
            if not watched or k - 1 not in self._edited or times[k] - times[watched[-1]] >= LOOK - 1e-6:
                watched.append(k)
                seen[k] = look(k)
        for one, following in zip(watched, [*watched[1:], self._stop]):
            near = suspicious(seen[one]) or (following in seen and suspicious(seen[following]))
            between = [k for k in self._edited if one < k < following]
            seen.update((k, look(k) if near else seen[one]) for k in between)
        return seen

    def _shift(self, k: int, analyser: FaceAnalyser) -> float | None:
        faces = analyser.analyse(self._pictures(k)[1])
        points = self._landmarks[k - self._start, :, :2]
        return landmark_shift(faces, points, analyser.topology)

    def _tints(self, k: int) -> Sequence[float | None]:
        """How far colours where the attribute is are from those of the skin, before and after."""
        exact = self._masks(k)[1]
        if exact is None or not exact.any():
            return None, None
        return colour_differences(self._pictures(k)[:2], exact, self._landmarks[k - self._start])

    def _pictures(self, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Original and result of an edited frame, uint8 ``[R, R, 3]``, and the paste weights, uint8 ``[R, R]``."""
        original = self._stores.crops.read(k, k + 1)[0]
        weights = self._stores.paste_weights(self._last).read(k, k + 1)[0]
        box = box_of(weights)
        result = original.copy()
        if box is not None:
            colours = self._stores.colours(self._last).read(k, k + 1)[0][box].astype(np.float32)
            share = weights[box].astype(np.float32)[..., None] / 255
            result[box] = np.rint(original[box] + share * (colours - original[box])).astype(np.uint8)
        return original, result, weights

    def _masks(self, k: int) -> tuple[float | None, np.ndarray | None]:
        """Share of the crop that the masks cover, and bool ``[R, R]``: those that show the attribute itself."""
        if not self._resolved.masking.finds_masks:
            return None, None
        masks = [self._stores.masks(index).read(k, k + 1)[0] > 0 for index in range(self._last + 1)]
        exact = [one for one, remover in zip(masks, self._resolved.removers) if remover.exact_masks]
        share = float(np.logical_or.reduce(masks).mean())
        return round(share, 4), np.logical_or.reduce(exact) if exact else None

    def _report(self, k: int, turn: float, numbers: Mapping[str, float | None]) -> FaceReport:
        track, mask = self._track, self._masks(k)[0]
        return FaceReport.model_validate(
            {
                "track": track.number,
                "found": bool(track.found[k]),
                "confidence": round(float(track.scores[k]), 4),
                "box": [round(float(side), 1) for side in track.boxes[k]],
                "turn": round(turn, 1),
                "orientation": 90 * track.squares.quarters,
                "mask": mask,
                "kept": self._kept if mask else None,
                "eyes_hidden": any(found.hidden[k] for found in self._findings),
                **{name: None if value is None else round(value, 4) for name, value in numbers.items()},
            }
        )


def landmark_shift(faces: Sequence[Face], points: np.ndarray, topology: Topology) -> float | None:
    """Mean distance of the landmarks of the nearest of some faces, in distances between the eyes; None without a face.

    Args:
        faces: found in the result.
        points: float32 ``[N, 2]``, landmarks of the original.
        topology: of the landmarks.
    """
    if not faces:
        return None
    distances = [np.linalg.norm(face.landmarks[:, :2] - points, axis=1).mean() for face in faces]
    left, right = (points[topology.regions[name]].mean(axis=0) for name in ("left_eye", "right_eye"))
    return float(min(distances) / max(float(np.linalg.norm(left - right)), 1e-6))


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
