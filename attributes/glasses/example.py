"""Provide clips for the conformance checks: the sample face without and with rendered glasses."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

from toolkit.task import FaceClip


def bare_face() -> FaceClip:
    """Six frames of the sample face, uint8 ``[6, 256, 256, 3]``."""
    from toolkit.testing.sample import sample_clip

    return sample_clip(6)


@cache
def face_with_glasses() -> FaceClip:
    """The same clip with dark plastic glasses with clear lenses."""
    from attributes.glasses.design import GlassesDesign
    from attributes.glasses.drawing import GlassesDrawer

    clip = bare_face()
    frames = GlassesDrawer().draw(clip, GlassesDesign(), np.random.default_rng(0)).frames
    return replace(clip, frames=frames, source="sample with glasses", source_digest="sample with glasses")
