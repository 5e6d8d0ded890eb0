"""The `glasses` task: pairs made by inpainting real glasses (V-LASIK, C.1) or by rendering 3D glasses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from toolkit.task import AttributeTask, FaceClip, Masker, Measure, PairGenerator, TaskOptions


class GlassesOptions(TaskOptions):
    """Options of the `glasses` task."""

    pairs: Literal["inpaint", "render"] = Field(
        "inpaint",
        description="How pairs are made. inpaint: remove real glasses (imperfect pairs, as in the paper); "
        "render: draw 3D glasses on bare faces (perfect pairs).",
    )
    masker: Literal["embedded", "facer"] = Field(
        "embedded",
        description="Model that finds glasses: the embedded segmenter, or the paper's FaRL parser (extra facer).",
    )
    sunglasses: float = Field(0.1, ge=0, le=1, description="render: share of clips with lenses that hide the eyes.")
    min_eye_visibility: float = Field(
        0.5,
        ge=0,
        le=1,
        description="inpaint: drop pairs whose eyes are less visible than this. Dark or reflecting lenses teach "
        "dark eyes.",
    )
    max_mask_fraction: float = Field(
        0.25, gt=0, le=0.5, description="Drop pairs whose mask covers a larger share of the crop."
    )
    max_change_outside: float = Field(
        16.0,
        ge=0,
        le=255,
        description="inpaint: drop pairs whose mean change by the model outside the mask exceeds this, in 0..255.",
    )
    min_sharpness: float = Field(
        0.25,
        ge=0,
        description="inpaint: drop pairs with less fine detail inside the mask, as a ratio to the detail around it.",
    )


class GlassesTask(AttributeTask[GlassesOptions]):
    """Removes eyeglasses. Learns from inpainted or from rendered pairs."""

    name = "glasses"
    description = "Eyeglasses: found by a segmenter and inpainted, or rendered in 3D on bare faces."
    api_version = 1
    prompt = "a close-up photo of a person's face without glasses, bare eyes, natural skin"
    see_through = True
    negative_prompt = "glasses, eyeglasses, sunglasses, frame, reflection, blurry, deformed eyes"
    removers: ClassVar[Mapping[str, Path]] = {"nano": Path(__file__).parent / "removers" / "nano"}
    recipes: ClassVar[Mapping[str, Path]] = {"glasses": Path(__file__).parent / "recipes" / "glasses.json"}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"pairs": "inpaint", "masker": "facer", "min_eye_visibility": 0.0}
    }

    def masker(self) -> Masker:
        """A masker of the glasses without the eye holes."""
        from attributes.glasses.masker import create_masker

        return create_masker(self.options.masker)

    def pair_generator(self) -> PairGenerator:
        """Pairs with real or with rendered glasses, as the option `pairs` says."""
        if self.options.pairs == "render":
            from attributes.glasses.generator import RenderedPairs

            return RenderedPairs(self.options.sunglasses)
        from attributes.glasses.generator import InpaintedPairs

        return InpaintedPairs(self.options.masker, self.prompt, self.negative_prompt, self.options.min_eye_visibility)

    def uses_inpainter(self) -> bool:
        """True for inpainted pairs."""
        return self.options.pairs == "inpaint"

    def limits(self) -> Mapping[str, tuple[float | None, float | None]]:
        """The limits set by the options. Rendered pairs are exact even with hidden eyes, so only their size counts."""
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
        """dG, the paper's fidelity: pixels of glasses before minus those after, divided by the pixels of the frame."""
        from attributes.glasses.fidelity import RemovedGlasses

        removed = Measure(
            RemovedGlasses(self.options.masker),
            label="dG",
            description="pixels of glasses in the original minus those in the edit, divided by the pixels of the frame",
            tool={"embedded": "the embedded segmenter", "facer": "FaRL's parser in facer"}[self.options.masker],
            unit=0.01,
            over_faces="sum",
            fidelity=True,
        )
        return {"glasses_removed": removed}

    def example(self) -> FaceClip | None:
        """The sample face, with rendered glasses if pairs are made by inpainting."""
        from attributes.glasses.example import bare_face, face_with_glasses

        return bare_face() if self.options.pairs == "render" else face_with_glasses()
