"""Inpaints clips with a backbone and composites the result into the untouched frames."""

from __future__ import annotations

import numpy as np

from toolkit.synthesis.config import ResolvedInpaint
from toolkit.task import Inpainted

EDGE = 1 / 170
"""Width of the feathered edge around the mask, divided by the width of the frame: 3 pixels of 512."""


def feathered(mask: np.ndarray, width: int) -> np.ndarray:
    """Compositing weights: 1 on the mask, falling to 0 over `2 * width` pixels around it.

    Args:
        mask: bool ``[H, W]``.

    Returns:
        float32 ``[H, W]`` in 0..1.
    """
    import cv2

    side = 2 * width + 1
    grown = cv2.dilate(mask.astype(np.float32), np.ones((side, side), np.uint8))
    # Dilation and average use the same square, so the average is 1 everywhere on the mask itself.
    return np.clip(cv2.blur(grown, (side, side), borderType=cv2.BORDER_REPLICATE), 0, 1)


def composite_over(
    frame: np.ndarray, output: np.ndarray, mask: np.ndarray, width: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """Composite a model's output over the frame, inside the mask.

    Args:
        frame, output: uint8 ``[H, W, 3]``.
        mask: bool ``[H, W]``.
        width: of the feathered edge in pixels.

    Returns:
        The picture uint8 ``[H, W, 3]``; where it may differ from `frame`, bool ``[H, W]``; and the mean absolute
        difference (0..255) of `output` and `frame` in all other pixels.
    """
    weights = feathered(mask, width)
    touched = weights > 0
    blended = frame + weights[..., None] * (output.astype(np.float32) - frame)
    picture = np.where(touched[..., None], np.rint(blended).astype(np.uint8), frame)
    outside = np.abs(output.astype(np.int16) - frame)[~touched]
    return picture, touched, float(outside.mean()) if outside.size else 0.0


class BackboneInpainter:
    """The `Inpainter` of a build: ControlNet inpainting with blended latents, cross-frame attention and shared noise
    (V-LASIK, section C.1).

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

    def __call__(
        self, frames: np.ndarray, masks: np.ndarray, *, prompt: str, negative_prompt: str = "", seed: int = 0
    ) -> Inpainted:
        import torch

        config = self._config
        outputs = self._pipeline(
            frames,
            masks,
            prompt=prompt,
            negative_prompt=negative_prompt,
            num_inference_steps=config.num_inference_steps,
            guidance_scale=config.guidance_scale,
            controlnet_conditioning_scale=config.controlnet_conditioning_scale,
            strength=config.strength,
            blend_ratio=config.blend_ratio,
            reference_frames=config.reference_frames,
            shared_noise=None if config.shared_noise == "none" else config.shared_noise,
            frame_batch_size=config.frame_batch_size,
            generator=torch.Generator("cpu").manual_seed(seed),
            output_type="uint8",
        ).frames
        width = max(1, round(frames.shape[2] * EDGE))
        composited = [composite_over(*parts, width) for parts in zip(frames, outputs, masks)]
        pictures, touched, outside = zip(*composited)
        return Inpainted(np.stack(pictures), np.stack(touched), np.array(outside, np.float32))
