"""Validate the arguments of `VideoInpaintPipeline`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from toolkit.diffusion.clip_input import ClipInput
from toolkit.errors import InputError, ToolkitError, UsageError

OUTPUT_TYPES = ("np", "pil", "pt", "uint8", "latent")
SHARED_NOISES = ("inversion", "seed", None)
BLEND_SOURCES = ("frame", "masked")


def check_clip(frames: Any, masks: Any, cell: int, keep: Any = None) -> ClipInput:
    """Check that frames and masks fit each other and the VAE.

    Args:
        frames: uint8 numpy ``[T, H, W, 3]``, or floating torch ``[T, 3, H, W]`` in 0..1, or a list of PIL images of
            one size.
        masks: bool, or floating in 0..1, ``[T, H, W]``, numpy or torch.
        cell: the VAE's scale factor. Both sides of the frames must be multiples of it.
        keep: bool ``[T, H, W]``, numpy or torch, or None.

    Raises:
        UsageError: a shape or dtype is wrong, or does not fit the other argument or the VAE.
        InputError: a value is not finite or out of range, nothing is masked, or a frame is masked entirely.
    """
    frames = _checked_frames(frames)
    height, width = frames.shape[2:] if isinstance(frames, torch.Tensor) else frames.shape[1:3]
    if height % cell or width % cell:
        raise UsageError(
            f"expected frames whose sides are multiples of {cell} pixels, as this VAE requires, found "
            f"{width}x{height}; crop or resize the clip, for example to {_near(width, cell)}x{_near(height, cell)}"
        )
    masks = _checked_masks(masks, (len(frames), height, width))
    if keep is not None:
        keep = _checked_masks(keep, masks.shape, "keep") >= 0.5
    clip = ClipInput(frames, masks, keep)
    if clip.empty.all():
        raise InputError("there is nothing to inpaint: the masks of all frames are empty; skip this clip")
    if whole := [t for t, mask in enumerate(masks) if (mask >= 0.5).all()]:
        raise InputError(
            f"the mask covers the whole of frame {whole[0]}, which leaves no context for inpainting; mask only the "
            "part to replace"
        )
    return clip


def _near(side: int, cell: int) -> int:
    return max(cell, side // cell * cell)


def _checked_frames(frames: Any) -> np.ndarray | torch.Tensor:
    if isinstance(frames, Sequence) and len(frames) and all(hasattr(frame, "convert") for frame in frames):
        if len(sizes := {frame.size for frame in frames}) > 1:
            raise UsageError(f"expected images of one size, found {', '.join(f'{w}x{h}' for w, h in sorted(sizes))}")
        frames = np.stack([np.asarray(frame.convert("RGB")) for frame in frames])
    if isinstance(frames, np.ndarray):
        fits = frames.dtype == np.uint8 and frames.ndim == 4 and frames.shape[-1] == 3
    else:
        fits = isinstance(frames, torch.Tensor) and frames.is_floating_point() and frames.ndim == 4
        fits = fits and frames.shape[1] == 3
    if not fits:
        raise UsageError(
            "expected frames as a numpy array uint8 [T, H, W, 3], a torch tensor of floats [T, 3, H, W] in 0..1 or a "
            f"list of PIL images, found {_describe(frames)}"
        )
    if 0 in frames.shape:
        raise InputError(f"there is nothing to inpaint: the clip has the shape {tuple(frames.shape)}")
    if isinstance(frames, torch.Tensor):
        _check_values("frames", frames)
    return frames


def _checked_masks(masks: Any, shape: tuple[int, ...], name: str = "masks") -> np.ndarray:
    if isinstance(masks, torch.Tensor):
        masks = masks.detach().cpu()
        masks = (masks.float() if masks.dtype == torch.bfloat16 else masks).numpy()
    if not isinstance(masks, np.ndarray) or not (masks.dtype == bool or np.issubdtype(masks.dtype, np.floating)):
        raise UsageError(
            f"expected {name} as an array of bool, or of floats in 0..1, found {_describe(masks)}; "
            "convert masks of 0 and 255 with `mask > 127`"
        )
    if masks.shape != shape:
        raise UsageError(
            f"expected {name} of the frames' count and size, {list(shape)} as [T, H, W], found {list(masks.shape)}"
        )
    if masks.dtype != bool:
        _check_values(name, masks)
    return masks


def _check_values(name: str, values: np.ndarray | torch.Tensor) -> None:
    """Refuse values that are not finite or not in 0..1; frame by frame, to avoid a copy of the clip."""
    for t, frame in enumerate(values):
        low, high = float(frame.min()), float(frame.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            raise InputError(f"expected finite values, found NaN or infinity in frame {t} of the {name}")
        if low < 0 or high > 1:
            raise InputError(f"expected {name} in 0..1, found {low:.3g} to {high:.3g} in frame {t}")


def _describe(value: Any) -> str:
    if isinstance(value, np.ndarray | torch.Tensor):
        return f"{type(value).__name__} {value.dtype} {list(value.shape)}"
    return f"{type(value).__name__} of length {len(value)}" if isinstance(value, Sequence) else type(value).__name__


def check_settings(
    *,
    num_inference_steps: int,
    strength: float,
    blend_ratio: float | None,
    blend_source: str,
    shared_noise: str | None,
    frame_batch_size: int,
    output_type: str,
) -> None:
    """Check the ranges of settings.

    Raises:
        UsageError: a setting is out of range.
    """
    if num_inference_steps < 1:
        raise UsageError(f"expected at least 1 inference step, found {num_inference_steps}")
    if not 0 < strength <= 1:
        raise UsageError(f"expected a strength above 0 and up to 1, found {strength}")
    if int(num_inference_steps * strength) < 1:
        raise UsageError(
            f"a strength of {strength} runs none of {num_inference_steps} steps; raise strength or num_inference_steps"
        )
    if blend_ratio is not None and not 0 <= blend_ratio <= 1:
        raise UsageError(f"expected a blend_ratio in 0..1 or None, found {blend_ratio}")
    if blend_source not in BLEND_SOURCES:
        raise UsageError(f"expected blend_source to be 'frame' or 'masked', found {blend_source!r}")
    if shared_noise not in SHARED_NOISES:
        raise UsageError(f"expected shared_noise to be 'inversion', 'seed' or None, found {shared_noise!r}")
    if frame_batch_size < 1:
        raise UsageError(f"expected a frame_batch_size of at least 1, found {frame_batch_size}")
    if output_type not in OUTPUT_TYPES:
        raise UsageError(f"expected an output_type of {', '.join(OUTPUT_TYPES)}, found {output_type!r}")


def check_models(vae: Any, unet: Any, scheduler: Any) -> None:
    """Check that the UNet denoises the VAE's latents, and that the scheduler fits Stable Diffusion.

    Raises:
        UsageError: the UNet has other channels, such as the 9 input channels of an inpainting UNet, or the scheduler
            is for flow matching.
    """
    if not all(hasattr(scheduler, name) for name in ("add_noise", "scale_model_input", "init_noise_sigma")):
        raise UsageError(
            f"expected a scheduler for Stable Diffusion, such as DDIMScheduler, found {type(scheduler).__name__}, "
            "which cannot add noise to latents"
        )
    if unet.config.in_channels != vae.config.latent_channels:
        raise UsageError(
            f"expected a UNet with {vae.config.latent_channels} input channels, as many as the VAE's latents, "
            f"found {unet.config.in_channels}; use a base model with its own VAE, not an inpainting model"
        )


def check_finite(values: torch.Tensor, model: str) -> None:
    """Check a model's output for NaN and infinity, which half precision can cause.

    Raises:
        ToolkitError: a value is not finite. The message names the model and suggests a remedy.
    """
    if not torch.isfinite(values).all():
        raise ToolkitError(
            f"the {model} returned NaN or infinity; run it in float32 or bfloat16; if it already does, its weights or "
            "its input latents are damaged"
        )


class OutOfMemory(ToolkitError):
    """The memory of the device or of the machine is full.

    Attributes:
        stage: what was running: ``vae`` or ``networks``.
        work: the same in words, such as "encode 2 frames of 512x512 pixels with the VAE".
    """

    def __init__(self, stage: str, work: str):
        super().__init__(f"not enough memory to {work}; use a smaller picture, or a dtype of float16 or bfloat16")
        self.stage, self.work = stage, work


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that an allocation failed: in torch, on any device, in cuBLAS, cuDNN or numpy."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError | OutOfMemory):
        return True
    signs = ("not enough memory", "can't allocate memory", "out of memory", "alloc_failed")
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in signs)


@contextmanager
def explained_memory(stage: str, work: str) -> Iterator[None]:
    """Turn a failed allocation into an `OutOfMemory`; the arguments are its attributes.

    Raises:
        OutOfMemory: the memory is full.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemory(stage, work) from error


@contextmanager
def memory_advice(clip_size: tuple[int, int], frame_batch_size: int) -> Iterator[None]:
    """Turn a failed allocation on any device into a message that says what to lower.

    Raises:
        ToolkitError: the device or the machine is out of memory.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        height, width = clip_size
        raise ToolkitError(
            f"not enough memory to inpaint frames of {width}x{height} pixels, {frame_batch_size} at a time; lower "
            "frame_batch_size or the resolution, use fewer reference frames, or a dtype of float16 or bfloat16"
        ) from error
