"""Measure dG of the paper: the pixels of glasses that an edit removed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from toolkit.faces.types import FaceAnalyser
from toolkit.task import FaceClip

if TYPE_CHECKING:
    from attributes.glasses.segmenter import GlassesSegmenter


class RemovedGlasses:
    """Pixels of glasses in the original minus those in the edit, divided by the pixels of a frame (V-LASIK, table 1).

    Args:
        parser: ``embedded`` for the project's segmenter, ``facer`` for the paper's FaRL parser.
    """

    def __init__(self, parser: str = "embedded"):
        self._parser = parser
        self._segmenter: GlassesSegmenter | None = None
        self._analyser: FaceAnalyser | None = None
        self._before: tuple[FaceClip, np.ndarray] | None = None

    def __call__(self, original: FaceClip, edited: FaceClip) -> np.ndarray:
        """Values float64 ``[T]``; NaN if the original shows no face."""
        if self._before is None or self._before[0] is not original:  # several edits are compared with one original
            self._before = original, self.area(original)
        # Glasses shift landmarks, so the original's define the area for both.
        after = self.area(replace(edited, landmarks=original.landmarks))
        return np.where(original.present, self._before[1] - after, np.nan)

    def area(self, clip: FaceClip) -> np.ndarray:
        """Share of each frame's pixels that show glasses, including lenses: float64 ``[T]``."""
        if self._parser == "facer":
            return self._of_facer(clip)
        return self._of_segmenter(clip)

    def _of_segmenter(self, clip: FaceClip) -> np.ndarray:
        from attributes.glasses.segmenter import GlassesSegmenter
        from attributes.glasses.stabilise import hard

        if self._segmenter is None:
            self._segmenter = GlassesSegmenter.load(device="cpu")
        found = self._segmenter.segment_regions(clip)
        height, width = clip.frames.shape[1:3]
        shares = np.zeros(len(clip))
        for t in np.flatnonzero(found.regions.usable & clip.present):
            # Counted in the region, because frames may be large and a share does not need their pixels.
            mask = hard(found.maps[t, ..., :2].max(axis=2), 1.0)
            shares[t] = mask.sum() / found.regions.scale[t] ** 2 / (height * width)
        return shares

    def _of_facer(self, clip: FaceClip) -> np.ndarray:
        from toolkit.faces import create_analyser
        from toolkit.faces.facer import CELEBM_CLASSES

        if self._analyser is None:
            self._analyser = create_analyser("facer", max_faces=32)
        glasses = CELEBM_CLASSES.index("glasses")
        shares = np.zeros(len(clip))
        for t in np.flatnonzero(clip.present):
            self._analyser.reset()
            middle = clip.landmarks[t, :, :2].mean(axis=0)
            for face in self._analyser.analyse(clip.frames[t]):
                inside = (face.box[:2] <= middle).all() and (middle <= face.box[2:]).all()
                if inside and face.parsing is not None:
                    shares[t] = (face.parsing == glasses).mean()
                    break
        return shares
