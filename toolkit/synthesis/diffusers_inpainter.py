"""Inpaints clips with any of diffusers' inpainting pipelines, frame by frame: SDXL, FLUX Fill, Qwen-Image-Edit, ..."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.backbones.locations import read_json_object
from toolkit.errors import InputError, ToolkitError, UsageError
from toolkit.synthesis.compositing import CompositingInpainter
from toolkit.synthesis.config import ResolvedInpaint
from toolkit.validation import did_you_mean

OWN = ("image", "mask_image", "prompt", "generator", "output_type", "return_dict", "num_images_per_prompt")
"""Arguments of a pipeline's call that the adapter gives."""


class DiffusersInpainter(CompositingInpainter):
    """Calls a diffusers pipeline for each frame.

    The pipeline gets the frame, its mask, the prompts, `strength` and the number of steps, as far as it has such
    arguments. Its own defaults hold for the rest, such as guidance. If it returns pictures of another size, they are
    scaled to the frame's. No frame knows of the others, so the result flickers more than that of a backbone.

    Args:
        pipeline: any pipeline whose call takes `image` and `mask_image`.
        num_inference_steps: denoising steps; the pipeline's own number if None.
        strength: share of the schedule to run.
        shared_noise: start all frames of a clip from the same noise.
        arguments: more arguments of the pipeline's call, such as ``{"guidance_scale": 30}``, or a `height` and `width`
            to work at. With `prompt_embeds`, the prompts are not used.

    Raises:
        UsageError: the pipeline is not for inpainting, or does not take an argument.
    """

    def __init__(
        self,
        pipeline: Any,
        *,
        num_inference_steps: int | None = None,
        strength: float = 1.0,
        shared_noise: bool = True,
        arguments: Mapping[str, Any] | None = None,
    ):
        name = type(pipeline).__name__
        known = inspect.signature(type(pipeline).__call__).parameters.keys() - {"self", "kwargs"}
        if not {"image", "mask_image"} <= known:
            raise UsageError(f"{name} is no inpainting pipeline: its call takes no `image` and `mask_image`")
        arguments = dict(arguments or {})
        for argument in arguments:
            if argument in OWN:
                raise UsageError(f"pipeline_arguments cannot set {argument}, which each frame sets")
            if argument not in known:
                raise UsageError(f"{name} takes no argument {argument!r}{did_you_mean(argument, known)}")
        values = {"strength": strength, "num_inference_steps": num_inference_steps, "output_type": "np"}
        given = {key: value for key, value in values.items() if key in known and value is not None}
        self._arguments = given | arguments
        self._pipeline, self._known, self._shared_noise = pipeline, known, shared_noise

    @classmethod
    def load(cls, config: ResolvedInpaint, device: str | None = None) -> DiffusersInpainter:
        """Load the pipeline of the settings.

        Raises:
            UsageError: its class is unknown to diffusers or no inpainting pipeline, or the device is not available.
            InputError: the folder is damaged.
        """
        from toolkit.device import choose_device

        assert config.pipeline is not None, "the caller chooses by this setting"
        compute = choose_device(device, config.dtype)
        found: Any = pipeline_class(config.pipeline)
        try:
            pipeline = found.from_pretrained(
                config.pipeline, torch_dtype=compute.torch_dtype, local_files_only=True, use_safetensors=True
            )
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise InputError(f"the pipeline in {config.pipeline} cannot be loaded: {error}") from error
        pipeline.set_progress_bar_config(disable=True)
        return cls(
            pipeline.to(compute.device),
            num_inference_steps=config.num_inference_steps,
            strength=config.strength,
            shared_noise=config.shared_noise != "none",
            arguments=config.pipeline_arguments,
        )

    def generate(
        self,
        frames: np.ndarray,
        masks: np.ndarray,
        *,
        prompt: str,
        negative_prompt: str = "",
        seed: int = 0,
        keep: np.ndarray | None = None,
    ) -> np.ndarray:
        import torch
        from PIL import Image

        height, width = frames.shape[1:3]
        values: dict[str, Any] = {"height": height, "width": width}
        if "prompt_embeds" not in self._arguments:
            values |= {"prompt": prompt, "negative_prompt": negative_prompt}
        values = {name: value for name, value in values.items() if name in self._known} | self._arguments
        pictures = []
        for number, (frame, mask) in enumerate(zip(frames, masks)):
            if not mask.any():
                pictures.append(frame)
                continue
            generator = torch.Generator("cpu").manual_seed(seed if self._shared_noise else seed + number)
            output = self._pipeline(
                image=Image.fromarray(frame),
                mask_image=Image.fromarray(mask.astype(np.uint8) * 255),
                generator=generator,
                **values,
            ).images[0]
            if not np.isfinite(output).all():
                name = type(self._pipeline).__name__
                raise ToolkitError(f"{name} returned values that are no numbers; try --dtype bfloat16 or float32")
            picture = Image.fromarray((np.clip(output, 0, 1) * 255).round().astype(np.uint8))
            pictures.append(np.asarray(picture.resize((width, height), Image.Resampling.LANCZOS)))
        return np.stack(pictures)


def pipeline_class(folder: Path) -> type:
    """The class with which a pipeline's folder inpaints: its own, or its family's for inpainting.

    Raises:
        UsageError: diffusers has no such class, or none of its family inpaints.
        InputError: the folder has no readable ``model_index.json``.
    """
    import diffusers

    index = read_json_object(folder / "model_index.json", "the index of a diffusers pipeline")
    name = str(index.get("_class_name"))
    own = getattr(diffusers, name, None)
    if not isinstance(own, type):
        raise UsageError(f"the pipeline in {folder} is a {name}, which diffusers {diffusers.__version__} does not have")
    if "mask_image" in inspect.signature(own.__call__).parameters:
        return own
    prefix = name.removesuffix("Pipeline")
    found = getattr(diffusers, f"{prefix}InpaintPipeline", None)
    if not isinstance(found, type):
        raise UsageError(f"the pipeline in {folder} is a {name}, for which diffusers has no inpainting")
    return found
