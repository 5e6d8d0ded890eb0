"""`tools.inpainter`: a backbone's inpainting pipeline on a clip, put back into the untouched frames."""

from __future__ import annotations

import numpy as np

from toolkit.synthesis.config import InpaintConfig
from toolkit.task import Inpainted

EDGE = 1 / 170
"""Width of the soft edge around the mask over the side of the frame: 3 pixels of 512."""


def soft_edge(mask: np.ndarray, width: int) -> np.ndarray:
    """Weights of what was made anew: 1 on the mask, falling to 0 over `2 * width` pixels around it.

    Args:
        mask: bool ``[H, W]``.

    Returns:
        float32 ``[H, W]`` in 0..1.
    """
    import cv2

    side = 2 * width + 1
    grown = cv2.dilate(mask.astype(np.float32), np.ones((side, side), np.uint8))
    # The same square as the dilation's, so that the average over it is 1 everywhere on the mask itself.
    return np.clip(cv2.blur(grown, (side, side), borderType=cv2.BORDER_REPLICATE), 0, 1)


def put_back(frame: np.ndarray, made: np.ndarray, mask: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Lay what was made over the frame where the mask is.

    Args:
        frame, made: uint8 ``[H, W, 3]``.
        mask: bool ``[H, W]``.
        width: of the soft edge in pixels.

    Returns:
        The picture uint8 ``[H, W, 3]``, where it may differ from `frame` bool ``[H, W]``, and the mean absolute
        difference (0..255) of `made` and `frame` elsewhere.
    """
    alpha = soft_edge(mask, width)
    touched = alpha > 0
    blended = frame + alpha[..., None] * (made.astype(np.float32) - frame)
    picture = np.where(touched[..., None], np.rint(blended).astype(np.uint8), frame)
    outside = np.abs(made.astype(np.int16) - frame)[~touched]
    return picture, touched, float(outside.mean()) if outside.size else 0.0


class BackboneInpainter:
    """`Inpainter` of a run (V-LASIK, section 4.1): ControlNet inpaint, blended latents, cross-frame attention and one
    noise for the clip, as `config` says.

    Raises:
        ToolkitError: the backbone is unknown, is not there, lacks a part or has parts that do not belong together.
    """

    def __init__(self, config: InpaintConfig, device: str | None = None):
        from toolkit.backbones import describe, load
        from toolkit.device import choose_device
        from toolkit.diffusion import VideoInpaintPipeline

        spec = describe(config.backbone)
        self._config = config.resolved(spec)
        dtype = None if config.dtype == "auto" else config.dtype
        parts = ("vae", "unet", "text_encoder", "tokenizer", "scheduler", "controlnet_inpaint")
        backbone = load(spec, parts=parts, compute=choose_device(device, dtype))
        self._pipeline = VideoInpaintPipeline.from_backbone(backbone)
        self._pipeline.set_progress_bar_config(disable=True)

    def __call__(
        self, frames: np.ndarray, masks: np.ndarray, *, prompt: str, negative_prompt: str = "", seed: int = 0
    ) -> Inpainted:
        import torch

        config = self._config
        made = self._pipeline(
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
        parts = [put_back(frame, new, mask, width) for frame, new, mask in zip(frames, made, masks)]
        pictures, touched, outside = zip(*parts)
        return Inpainted(np.stack(pictures), np.stack(touched), np.array(outside, np.float32))
