"""Generate training pairs for the `glasses` task."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from attributes.glasses.quality import sharpness
from toolkit.task import FaceClip, Pair, Tools

ABSENT, HIDDEN, WORN = "clip without glasses", "clip whose eyes are hidden", "clip that already shows glasses"
NOT_HERE = "frame in which no glasses are seen"


class InpaintedPairs:
    """Imperfect pairs: real glasses are masked and the skin below is inpainted (V-LASIK, C.1).

    Args:
        masker: ``embedded`` or ``facer``.
        prompt, negative_prompt: prompts of the inpainting model.
        min_eye_visibility: clips with a lower median visibility of the eyes are skipped before inpainting.
    """

    def __init__(self, masker: str, prompt: str, negative_prompt: str, min_eye_visibility: float):
        from attributes.glasses.masker import EmbeddedMasker

        # The run owns facer's models; its tools provide them.
        self._masker = EmbeddedMasker() if masker == "embedded" else None
        self._prompt, self._negative_prompt = prompt, negative_prompt
        self._min_eye_visibility = min_eye_visibility

    def __call__(self, clip: FaceClip, rng: np.random.Generator, tools: Tools) -> Iterator[Pair]:
        present = np.flatnonzero(clip.present)
        if not len(present):
            return
        seen = clip.select(present)
        if self._masker is None:
            from attributes.glasses.masker import FacerMasker

            self._masker = FacerMasker(tools.analyser("facer"))
        found = self._masker.observe(seen)
        shown = found.mask.any(axis=(1, 2))
        if not shown.any():
            tools.leave_out(ABSENT)
            return
        if np.median(found.eye_visibility[shown]) < self._min_eye_visibility:
            tools.leave_out(HIDDEN)
            return
        inpainted = tools.inpainter()(
            seen.frames,
            found.mask,
            prompt=self._prompt,
            negative_prompt=self._negative_prompt,
            seed=int(rng.integers(2**31)),
            keep=found.holes,
        )
        if not shown.all():
            tools.leave_out(NOT_HERE, int((~shown).sum()))
        for t in np.flatnonzero(shown):
            info = {
                "eye_visibility": round(float(found.eye_visibility[t]), 4),
                "mask_fraction": round(float(inpainted.mask[t].mean()), 5),
                "change_outside": round(float(inpainted.change_outside[t]), 3),
                "sharpness": round(sharpness(inpainted.frames[t], inpainted.mask[t]), 4),
            }
            yield Pair(inpainted.frames[t], seen.frames[t], inpainted.mask[t], int(present[t]), info)


class RenderedPairs:
    """Perfect pairs: one random pair of 3D glasses per clip, drawn on faces without glasses.

    Args:
        sunglasses: share of clips whose lenses hide the eyes.
    """

    def __init__(self, sunglasses: float):
        from attributes.glasses.drawing import GlassesDrawer
        from attributes.glasses.masker import EmbeddedMasker
        from attributes.glasses.segmenter import GlassesSegmenter

        self._drawer = GlassesDrawer()
        self._segmenter = GlassesSegmenter.load(device="cpu")
        self._masker = EmbeddedMasker(self._segmenter)
        self._sunglasses = sunglasses

    def __call__(self, clip: FaceClip, rng: np.random.Generator, tools: Tools) -> Iterator[Pair]:
        from attributes.glasses.design import random_design
        from attributes.glasses.stabilise import clearly_bare
        from attributes.glasses.visibility import eye_visibility

        present = np.flatnonzero(clip.present)
        if not len(present):
            return
        seen = clip.select(present)
        # Most videos are chosen for bare faces, and this costs a tenth of the masks.
        if not clearly_bare(self._segmenter, seen) and self._masker.observe(seen).mask.any():
            tools.leave_out(WORN)
            return
        design = random_design(rng, self._sunglasses)
        drawn = self._drawer.draw(seen, design, rng)
        visibility = eye_visibility(seen, drawn.opacity, drawn.reflection)
        for t, k in enumerate(present):
            mask = drawn.mask[t]
            info: dict[str, float | int | str] = {
                "style": design.style,
                "rim": design.rim,
                "material": design.material,
                "eye_visibility": round(float(visibility[t]), 4),
                "mask_fraction": round(float(mask.mean()), 5),
                "change_outside": 0.0,
                "sharpness": round(sharpness(clip.frames[k], mask), 4),
            }
            yield Pair(clip.frames[k], drawn.frames[t], mask, int(k), info)
