"""The `glasses` task: pairs by inpainting masked real glasses (V-LASIK, section 4.1), or by rendering 3D ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from toolkit.task import AttributeTask, FaceClip, Masker, Measure, PairGenerator, TaskOptions


class GlassesOptions(TaskOptions):
    """How pairs are made, what finds the glasses, and what a good pair is."""

    pairs: Literal["inpaint", "render"] = Field(
        "inpaint",
        description="inpaint: take real glasses off (imperfect pairs, the paper's); "
        "render: put 3D glasses on (perfect pairs)",
    )
    masker: Literal["embedded", "facer"] = Field(
        "embedded", description="what finds glasses: the embedded segmenter, or the paper's FaRL parser (extra facer)"
    )
    sunglasses: float = Field(0.1, ge=0, le=1, description="render: share of clips with lenses that hide the eyes")
    min_eye_visibility: float = Field(
        0.5,
        ge=0,
        le=1,
        description="inpaint: eyes less visible than this, behind dark or reflecting lenses, teach dark eyes: left out",
    )
    max_mask_fraction: float = Field(
        0.25, gt=0, le=0.5, description="a mask over a larger share of the crop is left out"
    )
    max_change_outside: float = Field(
        16.0,
        ge=0,
        le=255,
        description="inpaint: mean change by the model outside the mask, 0..255, over which it is left out",
    )
    min_sharpness: float = Field(
        0.25, ge=0, description="inpaint: fine detail inside the mask over that around it, under which it is left out"
    )


class GlassesTask(AttributeTask[GlassesOptions]):
    """Takes eyeglasses off faces; learns from masked synthesis or from rendered glasses."""

    name = "glasses"
    description = "Eyeglasses: found by a segmenter and inpainted, or rendered in 3D on faces without."
    api_version = 1
    prompt = "a close-up photo of a person's face without glasses, bare eyes, natural skin"
    negative_prompt = "glasses, eyeglasses, sunglasses, frame, reflection, blurry, deformed eyes"
    removers: ClassVar[Mapping[str, Path]] = {"nano": Path(__file__).parent / "removers" / "nano"}
    recipes: ClassVar[Mapping[str, Path]] = {"glasses": Path(__file__).parent / "recipes" / "glasses.json"}

    def masker(self) -> Masker:
        """Where the glasses are, without the eye holes."""
        from attributes.glasses.masker import create_masker

        return create_masker(self.options.masker)

    def pair_generator(self) -> PairGenerator:
        if self.options.pairs == "render":
            from attributes.glasses.generator import RenderedPairs

            return RenderedPairs(self.options.sunglasses)
        from attributes.glasses.generator import InpaintedPairs

        return InpaintedPairs(self.options.masker, self.prompt, self.negative_prompt, self.options.min_eye_visibility)

    def uses_inpainter(self) -> bool:
        return self.options.pairs == "inpaint"

    def limits(self) -> Mapping[str, tuple[float | None, float | None]]:
        """Rendered pairs are exact, whatever hides the eyes in them: only their size is limited."""
        options = self.options
        limits: dict[str, tuple[float | None, float | None]] = {"mask_fraction": (None, options.max_mask_fraction)}
        if options.pairs == "inpaint":
            limits |= {
                "eye_visibility": (options.min_eye_visibility, None),
                "change_outside": (None, options.max_change_outside),
                "sharpness": (options.min_sharpness, None),
            }
        return limits

    def metrics(self) -> Mapping[str, Measure]:
        """dG, the paper's fidelity: glasses pixels before less those after, over the pixels of the frame."""
        from attributes.glasses.fidelity import RemovedGlasses

        removed = Measure(
            RemovedGlasses(self.options.masker),
            label="dG",
            description="pixels of glasses in the original less those in the edit, over the pixels of the frame",
            tool={"embedded": "the embedded segmenter", "facer": "FaRL's parser in facer"}[self.options.masker],
            unit=0.01,
            over_faces="sum",
            fidelity=True,
        )
        return {"glasses_removed": removed}

    def example(self) -> FaceClip | None:
        """The sample face; with rendered glasses on it where the task is to take them off."""
        from attributes.glasses.example import bare_face, face_with_glasses

        return bare_face() if self.options.pairs == "render" else face_with_glasses()
