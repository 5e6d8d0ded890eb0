"""Settings of `VideoEditPipeline`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from math import inf
from typing import Any, Literal, get_args, get_type_hints

from toolkit.diffusion.mask_schedule import PAPER_RANGE, WIDTH
from toolkit.errors import UsageError
from toolkit.validation import did_you_mean


@dataclass(frozen=True)
class EditSettings:
    """How `VideoEditPipeline` edits a clip; the pipeline also accepts each field as a keyword.

    Attributes:
        prompt: describes the edited clip.
        negative_prompt: describes what the edited clip must not show. Needs guidance.
        num_inference_steps: length of the whole schedule, at least 1. `strength` decides how much of it runs.
        strength: how much noise the original gets, above 0 and up to 1.
        guidance_scale: scale of classifier-free guidance, at least 1. 1 turns guidance off and halves the cost.
        controlnet_conditioning_scale: weight of the remover.
        context_length: frames in one window, which see each other in the motion module.
        context_overlap: frames that a window shares with the one before.
        cuts: first frames of new shots. No window crosses a cut.
        shared_noise: start all frames from the same noise. This keeps them similar if the UNet has no motion layers;
            motion modules are trained with independent noise for each frame.
        reference_frames: cross-frame attention (eq. 1): the frames of a shot that all its frames attend to instead of
            themselves, in the syntax of `reference_indices`. If None, each frame attends to itself.
        hint: the ControlNet's input: ``frame``, or ``masked`` for ControlNet 1.1 inpaint, which expects -1 in masked
            pixels. If None, the pipeline's own.
        blend_masks: after each step, blend the original, at the same noise level, into the surroundings of the masks.
        blend_range: weights of the original in this blend, inside the masks and far from them; in order, in 0..1.
        blend_width: distance over which the weight rises, as a share of the frame's side; at least 0. Above 1 it
            rises beyond the frame.
        blend_source: what is blended in: the encoded ``frame``, or the encoded frame with grey in the ``masked``
            pixels, as in the paper.
        normalisation: match the statistics of the masked latents to everything outside (``ion``, eq. 2), to a ring
            around the mask (``ion-ring``), to the original inside the mask (``adain``), or leave them (``none``).
        output_type: ``uint8`` frames or ``latent``.

    Raises:
        UsageError: a value is out of range.
    """

    prompt: str = ""
    negative_prompt: str = ""
    num_inference_steps: int = 25
    strength: float = 0.8
    guidance_scale: float = 1.0
    controlnet_conditioning_scale: float = 1.0
    context_length: int = 16
    context_overlap: int = 4
    cuts: Sequence[int] = ()
    shared_noise: bool = False
    reference_frames: str | None = None
    hint: Literal["frame", "masked"] | None = None
    blend_masks: bool = True
    blend_range: tuple[float, float] = PAPER_RANGE
    blend_width: float = WIDTH
    blend_source: Literal["frame", "masked"] = "frame"
    normalisation: Literal["ion", "ion-ring", "adain", "none"] = "none"
    output_type: Literal["uint8", "latent"] = "uint8"

    def __post_init__(self) -> None:
        if not 0 < self.strength <= 1:
            raise UsageError(f"strength must be over 0 and at most 1, found {self.strength}")
        if self.num_inference_steps < 1 or self.guidance_scale < 1:
            raise UsageError(
                "num_inference_steps and guidance_scale must be at least 1, found "
                f"{self.num_inference_steps} and {self.guidance_scale}"
            )
        low, high = self.blend_range
        if not 0 <= low <= high <= 1 or not 0 <= self.blend_width < inf:
            raise UsageError(
                "blend_range must be two numbers in ascending order in 0..1, and blend_width at least 0, found "
                f"{tuple(self.blend_range)} and {self.blend_width}"
            )
        for name in ("blend_source", "normalisation", "output_type"):
            known, value = get_args(get_type_hints(type(self))[name]), getattr(self, name)
            if value not in known:
                raise UsageError(f"{name} must be {', '.join(known[:-1])} or {known[-1]}, found {value!r}")
        if self.hint not in (None, "frame", "masked"):
            raise UsageError(f"hint must be frame or masked, found {self.hint!r}")

    def changed(self, changes: dict[str, Any]) -> EditSettings:
        """These settings with other values for some fields.

        Raises:
            UsageError: a name is not a field, or a value is out of range.
        """
        known = [field.name for field in fields(self)]
        if unknown := [name for name in changes if name not in known]:
            hint = did_you_mean(unknown[0], known) or f"; known are {', '.join(known)}"
            raise UsageError(f"unknown setting {unknown[0]!r}{hint}")
        return replace(self, **changes)
