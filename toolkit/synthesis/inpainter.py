"""Inpaints clips with a backbone, as the paper does, or with a pipeline of diffusers."""

from __future__ import annotations

import numpy as np

from toolkit.synthesis.compositing import CompositingInpainter
from toolkit.synthesis.config import ResolvedInpaint
from toolkit.synthesis.diffusers_inpainter import DiffusersInpainter


class BackboneInpainter(CompositingInpainter):
    """ControlNet inpainting with blended latents, cross-frame attention and shared noise (V-LASIK, section C.1).

    Raises:
        ToolkitError: the backbone is unknown or not installed, lacks a part, or has parts that do not fit together.
    """

    def __init__(self, config: ResolvedInpaint, device: str | None = None):
        from toolkit.backbones import describe, load
        from toolkit.device import choose_device
        from toolkit.diffusion import VideoInpaintPipeline

        self._config = config
        parts = ("vae", "unet", "text_encoder", "tokenizer", "scheduler", "controlnet_inpaint")
        compute = choose_device(device, config.dtype)
        backbone = load(describe(config.backbone), parts=parts, compute=compute)
        self._pipeline = VideoInpaintPipeline.from_backbone(backbone)
        self._pipeline.set_progress_bar_config(disable=True)

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

        config = self._config
        return self._pipeline(
            frames,
            masks,
            prompt=prompt,
            negative_prompt=negative_prompt,
            num_inference_steps=config.num_inference_steps,
            guidance_scale=config.guidance_scale,
            controlnet_conditioning_scale=config.controlnet_conditioning_scale,
            strength=config.strength,
            blend_ratio=config.blend_ratio,
            blend_source=config.blend_source,
            keep=keep if config.keep_in_latents else None,
            reference_frames=config.reference_frames,
            shared_noise=None if config.shared_noise == "none" else config.shared_noise,
            frame_batch_size=config.frame_batch_size,
            generator=torch.Generator("cpu").manual_seed(seed),
            output_type="uint8",
        ).frames


def create_inpainter(config: ResolvedInpaint, device: str | None = None) -> CompositingInpainter:
    """The inpainter that the settings choose: a pipeline of diffusers, or the backbone's.

    Raises:
        ToolkitError: its models are unknown, damaged, not installed or unfit.
    """
    if config.pipeline is None:
        return BackboneInpainter(config, device)
    return DiffusersInpainter.load(config, device)
