"""dG of the paper: how many pixels of glasses an edit took away."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from toolkit.task import FaceClip


class RemovedGlasses:
    """Glasses pixels of the original less those of the edit, over the pixels of a frame (V-LASIK, section 5).

    Args:
        parser: ``embedded``, the project's segmenter, or ``facer``, the paper's FaRL parser.
    """

    def __init__(self, parser: str = "embedded"):
        self._parser = parser
        self._segmenter = self._analyser = None
        self._before: tuple[FaceClip, np.ndarray] | None = None

    def __call__(self, original: FaceClip, edited: FaceClip) -> np.ndarray:
        """float64 ``[T]``; NaN where the original shows no face."""
        if self._before is None or self._before[0] is not original:  # one original, and several methods' edits of it
            self._before = original, self.area(original)
        # Glasses move landmarks: the original's are the place to look in both.
        after = self.area(replace(edited, landmarks=original.landmarks))
        return np.where(original.present, self._before[1] - after, np.nan)

    def area(self, clip: FaceClip) -> np.ndarray:
        """Share of each frame's pixels that are glasses, lenses too, float64 ``[T]``."""
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
            # In the region, where it is made: frames may be large, and a share needs no pixels of theirs.
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
