"""Mask glasses, leaving eye holes, with the embedded segmenter or the paper's parser."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from attributes.glasses.eyes import BOTH, eye_holes
from attributes.glasses.occlusion import covered
from attributes.glasses.visibility import eye_visibility
from toolkit.errors import UsageError
from toolkit.faces.types import Face, FaceAnalyser
from toolkit.task import FaceClip, Masker

if TYPE_CHECKING:
    from attributes.glasses.segmenter.model import GlassesMaps, GlassesSegmenter, RegionMaps

MARGIN = 5 / 512
"""Side of the dilation of masks, divided by the crop's width. It covers edges of rims and their soft shadow."""

OPAQUE = 0.25, 0.4
"""Hysteresis of the frame map for opaque parts: pixels above the first are kept if they connect to one above the
second. 0.12 finds more of nose pads and of the faintest rims (98 % instead of 93 % of thin ones), but what is taken for
opaque is invented: edits of rendered glasses are then 0.5 to 0.8 dB worse inside the masks."""

OPAQUE_MARGIN = 6 / 512
"""Like `MARGIN`, for opaque parts."""

MIN_VISIBILITY = 0.4
"""Visibility of an eye below which it cannot be seen. That of both eyes together, with glasses drawn on 20 real clips,
was lower in 39 of 40 cases with lenses that pass at most 10 % of the light, 38 of 40 with mirrors, 15 of 20 with lenses
that pass 20 %, 4 of 20 with 35 %, 2 of 20 with 50 % (reflections), and 0 of 40 with 70 % or more. In 6 real clips with
glasses, one of them with red lenses, that of each eye was at least 0.85."""


@dataclass(frozen=True, eq=False)
class GlassesObservation:
    """Masks and measurements of a clip.

    Attributes:
        mask: bool ``[T, H, W]``, glasses without the eye holes; False in frames without the face.
        holes: bool ``[T, H, W]``, the eye holes.
        opaque: bool ``[T, H, W]``, rims, bridge and temples, also in front of the eyes.
        presence: whether the clip shows glasses; if not, all masks are empty.
        eye_visibility: float32 ``[T]`` in 0..1, from `attributes.glasses.visibility`.
        least_visibility: the same, of the eye that is less visible; what is in front of a lens does not hide an eye.
        maps: the segmenter's stabilised maps.
    """

    mask: np.ndarray
    holes: np.ndarray
    opaque: np.ndarray
    presence: bool
    eye_visibility: np.ndarray
    least_visibility: np.ndarray
    maps: GlassesMaps


class EmbeddedMasker(Masker):
    """Masks by the embedded segmenter, which needs no download.

    Args:
        segmenter: if None, the embedded one.
    """

    _opaque_margin = OPAQUE_MARGIN

    def __init__(self, segmenter: GlassesSegmenter | None = None):
        from attributes.glasses.segmenter import GlassesSegmenter

        # On the CPU, because it is small and every worker of a build has one.
        self._segmenter = segmenter or GlassesSegmenter.load(device="cpu")
        self._last: tuple[FaceClip, tuple[np.ndarray, np.ndarray, np.ndarray]] | None = None

    def __call__(self, clip: FaceClip) -> np.ndarray:
        """Glasses without the eye holes: bool ``[T, H, W]``."""
        return self._seen(clip)[0]

    def opaque(self, clip: FaceClip) -> np.ndarray:
        """Rims, bridge and temples: bool ``[T, H, W]``."""
        return self._seen(clip)[1]

    def hides_eyes(self, clip: FaceClip) -> np.ndarray:
        """Frames behind whose dark or mirroring lenses an eye cannot be seen: bool ``[T]``."""
        return self._seen(clip)[2]

    def observe(self, clip: FaceClip) -> GlassesObservation:
        """Masks and visibility of a clip, stabilised over its frames."""
        return self._observe(clip, self._segmenter.segment_regions(clip), clip)

    def _seen(self, clip: FaceClip) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Masks, opaque parts, and frames in which an eye is hidden."""
        if self._last is None or self._last[0] is not clip:  # callers ask for one after the other
            seen = self.observe(clip)
            self._last = clip, (seen.mask, seen.opaque, seen.least_visibility < MIN_VISIBILITY)
        return self._last[1]

    def _observe(self, clip: FaceClip, found: RegionMaps, eyes: FaceClip) -> GlassesObservation:
        """
        Args:
            eyes: the clip with the landmarks for the eye holes.
        """
        from attributes.glasses.stabilise import hard, steady, wears_glasses
        from attributes.segmenting.stabilise import connected

        presence = wears_glasses(found)
        maps = steady(found).in_frames(clip.frames.shape[1:3])
        masks, holes, opaque = np.zeros((3, *clip.frames.shape[:3]), bool)
        visibility = least = np.ones(len(clip), np.float32)
        if presence:
            soft = np.maximum(maps.frame, maps.lens)
            for t in np.flatnonzero(found.regions.usable & clip.present):
                masks[t] = hard(soft[t], found.regions.scale[t])
                opaque[t] = connected(maps.frame[t], *OPAQUE) & masks[t].any()
            opaque = _widened(opaque, self._opaque_margin)
            holes = eye_holes(eyes)
            masks = (_widened(masks, MARGIN) | opaque) & ~holes
            front = covered(eyes, maps)
            masks, opaque = masks & ~front, opaque & ~front
            visibility = eye_visibility(eyes, maps.dark, maps.reflection)
            lenses = np.where(front, 0, maps.dark), np.where(front, 0, maps.reflection)
            least = np.minimum(*(eye_visibility(eyes, *lenses, [eye]) for eye in BOTH))
        return GlassesObservation(masks, holes, opaque, presence, visibility, least, maps)


class FacerMasker(EmbeddedMasker):
    """The paper's masks: glasses from facer's FaRL parser, eye holes from its aligner (V-LASIK, C.1).

    The parser measures no tint and does not tell rims from lenses, so the embedded segmenter supplies the visibility of
    the eyes, and the opaque parts of what the parser takes for glasses.

    Args:
        analyser: an analyser whose faces have `Face.parsing`; if None, a facer analyser.
        segmenter: measures the visibility and finds opaque parts; if None, the embedded one.
    """

    _opaque_margin = MARGIN  # the masks stay those of the parser

    def __init__(self, analyser: FaceAnalyser | None = None, segmenter: GlassesSegmenter | None = None):
        from toolkit.faces import create_analyser
        from toolkit.faces.facer import CELEBM_CLASSES

        self._analyser = analyser or create_analyser("facer")
        self._glasses = CELEBM_CLASSES.index("glasses")
        super().__init__(segmenter)

    def observe(self, clip: FaceClip) -> GlassesObservation:
        """Masks and visibility of a clip, stabilised over its frames."""
        from attributes.glasses.segmenter.region import cut_out
        from toolkit.faces.smoothing import smooth_landmarks

        found = self._segmenter.segment_regions(clip)
        maps, presence = found.maps.copy(), np.zeros_like(found.presence)
        rims = maps[..., 0].copy()
        maps[..., :2] = 0
        landmarks = np.full((len(clip), self._analyser.topology.count, 3), np.nan, np.float32)
        self._analyser.reset()
        for t in np.flatnonzero(found.regions.usable):
            face = _nearest(self._analyser.analyse(clip.frames[t]), clip, t)
            if face is None or face.parsing is None:
                continue
            landmarks[t] = face.landmarks
            glasses = (face.parsing == self._glasses).astype(np.float32)[..., None]
            maps[t, ..., 1] = cut_out(glasses, found.regions.to_region[t])
            maps[t, ..., 0] = rims[t] * (maps[t, ..., 1] >= 0.5)
            presence[t] = maps[t, ..., 1].mean() > 0.01
        eyes = replace(clip, landmarks=smooth_landmarks(landmarks, clip.times), topology=self._analyser.topology)
        return self._observe(clip, replace(found, maps=maps, presence=presence), eyes)


def _nearest(faces: list[Face], clip: FaceClip, t: int) -> Face | None:
    """The face closest to the clip's landmarks, or None if it is not within their extent."""
    low, high = clip.landmarks[t, :, :2].min(axis=0), clip.landmarks[t, :, :2].max(axis=0)
    middle = (low + high) / 2

    def distance(face: Face) -> float:
        return float(np.linalg.norm((face.box[:2] + face.box[2:]) / 2 - middle))

    best = min(faces, key=distance, default=None)
    return best if best is not None and distance(best) < np.linalg.norm(high - low) / 2 else None


def _widened(masks: np.ndarray, margin: float) -> np.ndarray:
    import cv2

    side = max(1, round(masks.shape[2] * margin))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return np.stack([cv2.dilate(mask.astype(np.uint8), kernel) for mask in masks]) > 0


def create_masker(name: str) -> EmbeddedMasker:
    """The masker called ``embedded`` or ``facer``.

    Raises:
        UsageError: another name.
        MissingExtra: facer or its weights are not installed.
    """
    if name == "embedded":
        return EmbeddedMasker()
    if name == "facer":
        return FacerMasker()
    raise UsageError(f"the masker must be embedded or facer, found {name!r}")
