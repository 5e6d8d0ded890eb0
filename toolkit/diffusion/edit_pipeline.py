"""Editing a clip with a remover: step 3 of V-LASIK (arXiv 2406.14510, section 4.3) as a pipeline of diffusers."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from diffusers import (
    AnimateDiffVideoToVideoControlNetPipeline,
    ControlNetModel,
    DiffusionPipeline,
    StableDiffusionMixin,
    UNetMotionModel,
)
from diffusers.models.modeling_utils import ModelMixin
from diffusers.schedulers import KarrasDiffusionSchedulers
from diffusers.utils import BaseOutput
from diffusers.utils.torch_utils import randn_tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from toolkit.diffusion.blended_latents import blend
from toolkit.diffusion.checks import check_finite
from toolkit.diffusion.context_windows import WindowBlender, context_windows
from toolkit.diffusion.frame_store import FrameStore
from toolkit.diffusion.latent_mask import mask_to_latent
from toolkit.diffusion.normalisation import RegionStatistics, renormalise
from toolkit.errors import InputError, UsageError

CHUNK = 16
"""Frames that go through the VAE at a time: diffusers' `decode_chunk_size`, on which random draws depend."""


@dataclass
class VideoEditOutput(BaseOutput):
    """What the pipeline gives.

    Attributes:
        frames: uint8 numpy ``[T, H, W, 3]``, or with ``output_type="latent"`` a tensor ``[T, C, h, w]``.
    """

    frames: np.ndarray | torch.Tensor


class VideoEditPipeline(DiffusionPipeline, StableDiffusionMixin):
    """Takes an attribute off a clip of any length with a finetuned ControlNet and a motion module.

    On at most `context_length` frames and without masks the result is that of diffusers'
    `AnimateDiffVideoToVideoControlNetPipeline`. A longer clip is denoised in windows that overlap and are blended at
    every step. Frames and latents lie on disk, so that memory is bounded by the window.

    Args:
        vae: an autoencoder of diffusers with 2D latents.
        text_encoder: a `CLIPTextModel`; without a tokenizer, a model whose output without input is one embedding.
        tokenizer: of the text encoder, or None.
        unet: a UNet with motion modules; some of its layers may have been removed, see `toolkit.diffusion`.
        controlnet: the remover's; its hint is the frame, RGB in 0..1.
        scheduler: of the motion module, which for AnimateDiff has the linear beta schedule.
    """

    model_cpu_offload_seq = "text_encoder->unet->vae"
    _optional_components: ClassVar[list[str]] = ["tokenizer"]

    encode_prompt = AnimateDiffVideoToVideoControlNetPipeline.encode_prompt
    get_timesteps = AnimateDiffVideoToVideoControlNetPipeline.get_timesteps
    prepare_extra_step_kwargs = AnimateDiffVideoToVideoControlNetPipeline.prepare_extra_step_kwargs

    def __init__(
        self,
        vae: ModelMixin,
        text_encoder: PreTrainedModel | ModelMixin,
        tokenizer: PreTrainedTokenizerBase | None,
        unet: UNetMotionModel,
        controlnet: ControlNetModel,
        scheduler: KarrasDiffusionSchedulers,
    ):
        super().__init__()
        self.register_modules(
            vae=vae,
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            unet=unet,
            controlnet=controlnet,
            scheduler=scheduler,
        )
        self.vae_scale_factor = 2 ** (len(self.vae.config.block_out_channels) - 1)

    @torch.no_grad()
    def __call__(
        self,
        frames: np.ndarray,
        masks: np.ndarray | None = None,
        prompt: str = "",
        negative_prompt: str = "",
        num_inference_steps: int = 25,
        strength: float = 0.8,
        guidance_scale: float = 1.0,
        controlnet_conditioning_scale: float = 1.0,
        context_length: int = 16,
        context_overlap: int = 4,
        cuts: Sequence[int] = (),
        blend_masks: bool = True,
        normalisation: Literal["ion", "adain", "none"] = "none",
        generator: torch.Generator | None = None,
        output_type: str = "uint8",
    ) -> VideoEditOutput:
        """Edit a clip that lies in memory; `stream` takes one that does not.

        Args:
            frames: uint8 ``[T, H, W, 3]``, RGB, sides multiples of the VAE's scale factor.
            masks: bool, or float in 0..1, ``[T, H, W]``, where the attribute is; None: not known.
            prompt: what the edited clip shows.
            negative_prompt: what it does not show; used with guidance.
            num_inference_steps: of the whole schedule, of which `strength` is run.
            strength: in 0..1; how much of the original is noised away.
            guidance_scale: of classifier-free guidance; 1 turns it off and halves the cost.
            controlnet_conditioning_scale: weight of the remover.
            context_length: frames that see each other in the motion module.
            context_overlap: frames that a window shares with the one before.
            cuts: first frames of new shots; no window crosses one.
            blend_masks: whether the latents outside the masks stay those of the original, noised to the level of
                each step.
            normalisation: of the latents inside the masks before they are decoded: ``ion`` gives them the statistics
                of those outside (eq. 2), ``adain`` those of the original's inside; ``none`` leaves them.
            generator: of the random numbers, on the CPU.
            output_type: ``uint8`` or ``latent``.

        Raises:
            UsageError: a setting is out of range, or shapes or types do not fit.
            InputError: there are no frames.
            ToolkitError: a model gave NaN.
        """
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3:
            raise UsageError(f"expected frames uint8 [T, H, W, 3], found {frames.dtype} {list(frames.shape)}")
        if masks is not None and masks.shape != frames.shape[:3]:
            raise UsageError(f"expected masks {list(frames.shape[:3])}, found {list(masks.shape)}")
        if output_type not in ("uint8", "latent"):
            raise UsageError(f"output_type must be uint8 or latent, found {output_type!r}")
        chunks = (
            (frames[k : k + CHUNK], None if masks is None else masks[k : k + CHUNK])
            for k in range(0, len(frames), CHUNK)
        )
        made = list(
            self.stream(
                chunks,
                prompt=prompt,
                negative_prompt=negative_prompt,
                num_inference_steps=num_inference_steps,
                strength=strength,
                guidance_scale=guidance_scale,
                controlnet_conditioning_scale=controlnet_conditioning_scale,
                context_length=context_length,
                context_overlap=context_overlap,
                cuts=cuts,
                blend_masks=blend_masks,
                normalisation=normalisation,
                generator=generator,
                output_type=output_type,
            )
        )
        return VideoEditOutput(frames=torch.cat(made) if output_type == "latent" else np.concatenate(made))

    @torch.no_grad()
    def stream(
        self,
        chunks: Iterable[tuple[np.ndarray, np.ndarray | None]],
        *,
        prompt: str = "",
        negative_prompt: str = "",
        num_inference_steps: int = 25,
        strength: float = 0.8,
        guidance_scale: float = 1.0,
        controlnet_conditioning_scale: float = 1.0,
        context_length: int = 16,
        context_overlap: int = 4,
        cuts: Sequence[int] = (),
        blend_masks: bool = True,
        normalisation: Literal["ion", "adain", "none"] = "none",
        generator: torch.Generator | None = None,
        output_type: str = "uint8",
        folder: Path | None = None,
    ) -> Iterator[np.ndarray | torch.Tensor]:
        """Edit a clip of any length chunk by chunk.

        Args:
            chunks: frames and masks of `CHUNK` frames each, the last one of fewer; the other arguments are those of
                the pipeline.
            folder: where frames and latents lie meanwhile, about 64 KB a frame and picture of 512 pixels besides the
                picture itself; the system's temporary folder if None.

        Yields:
            The edited frames in the same chunks.
        """
        if not 0 < strength <= 1:
            raise UsageError(f"strength must be over 0 and at most 1, found {strength}")
        device = self._execution_device
        embeds = self._embed(prompt, negative_prompt, guidance_scale, device)
        clip = self._encode(chunks, generator, folder, device)
        if not clip.count:
            raise InputError("there is nothing to edit: the clip has no frames")
        if normalisation not in ("ion", "adain", "none"):
            raise UsageError(f"normalisation must be ion, adain or none, found {normalisation!r}")
        if normalisation != "none" and clip.mask is None:
            raise UsageError(f"normalisation by {normalisation} needs masks; give some, or use none")
        self.scheduler.set_timesteps(num_inference_steps, device=device)
        timesteps, _ = self.get_timesteps(num_inference_steps, self.scheduler.timesteps, strength, device)
        if not len(timesteps):
            raise UsageError(f"a strength of {strength} runs none of {num_inference_steps} steps; raise one of the two")
        windows = context_windows(clip.count, context_length, context_overlap, cuts)
        latents = self._noised(clip, timesteps[:1], generator, folder, device)
        groups: dict[int, Any] = {}
        step_kwargs = self.prepare_extra_step_kwargs(generator, 0.0)
        with self.progress_bar(total=len(timesteps) * len(windows)) as progress_bar:
            for i, t in enumerate(timesteps):
                following = timesteps[i + 1] if i + 1 < len(timesteps) else None
                made = FrameStore(latents.shape, latents.dtype, folder)
                blender = WindowBlender(windows)
                # The scheduler that steps last is at this timestep until all windows are done.
                scaling = groups[max(groups)] if groups else self.scheduler
                for window in windows:
                    start, stop = window
                    sample = latents.read(start, stop).to(device)
                    hint = clip.hint(start, stop, device)
                    sample = scaling.scale_model_input(sample, t)
                    predicted = self._predict(sample, t, hint, embeds, guidance_scale, controlnet_conditioning_scale)
                    for first, values in blender.add(window, predicted):
                        # A scheduler for each group of frames: multistep ones keep what they saw last.
                        if first not in groups:
                            groups[first] = copy.deepcopy(self.scheduler)
                        scheduler = groups[first]
                        end = first + len(values)
                        part = latents.read(first, end).to(device)
                        part = scheduler.step(values, t, part, **step_kwargs, return_dict=False)[0]
                        if blend_masks and clip.mask is not None:
                            part = self._kept(part, clip, first, end, scheduler, following, device)
                        made.write(first, part)
                    progress_bar.update()
                latents.close()
                latents = made
        if normalisation != "none":
            self._normalise(latents, clip, normalisation)
        yield from self._decoded(latents, output_type, device)
        latents.close()
        clip.close()
        self.maybe_free_model_hooks()

    def _embed(self, prompt: str, negative_prompt: str, guidance_scale: float, device) -> torch.Tensor:
        """``[1, N, D]``, or with guidance ``[2, N, D]``, the negative one first."""
        if self.tokenizer is None:
            if guidance_scale > 1:
                raise UsageError("this backbone has one learned prompt, so there is nothing to guide by: use 1")
            return self.text_encoder()[0][:1].to(device, self.unet.dtype)
        positive, negative = self.encode_prompt(prompt, device, 1, guidance_scale > 1, negative_prompt)
        return torch.cat([negative, positive] if guidance_scale > 1 else [positive]).to(self.unet.dtype)

    def _encode(self, chunks, generator, folder: Path | None, device) -> _Clip:
        clip = None
        for frames, masks in chunks:
            if frames.shape[1] % self.vae_scale_factor or frames.shape[2] % self.vae_scale_factor:
                raise UsageError(
                    f"expected frames whose sides are multiples of {self.vae_scale_factor} pixels, found "
                    f"{frames.shape[2]}x{frames.shape[1]}"
                )
            pictures = torch.from_numpy(frames)
            values = pictures.to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
            encoded = self.vae.encode(values.to(self.vae.dtype))
            latents = encoded.latent_dist.sample(generator) if hasattr(encoded, "latent_dist") else encoded.latents
            latents = (latents * self.vae.config.scaling_factor).to(self.unet.dtype)
            if clip is None:
                clip = _Clip(pictures.shape[1:], latents.shape[1:], latents.dtype, masks is not None, folder)
            clip.add(pictures, latents, None if masks is None else mask_to_latent(masks, self.vae_scale_factor))
        return clip or _Clip((0, 0, 3), (1, 0, 0), torch.float32, False, folder)

    def _noised(self, clip: _Clip, timestep: torch.Tensor, generator, folder, device) -> FrameStore:
        """The latents to start from. Chunks draw from the generator one after the other what one draw would give."""
        latents = FrameStore(clip.source.shape, clip.source.dtype, folder)
        for start in range(0, clip.count, CHUNK):
            source = clip.source.read(start, min(start + CHUNK, clip.count)).to(device)
            noise = randn_tensor(source.shape, generator=generator, device=device, dtype=source.dtype)
            clip.noise.write(start, noise)
            latents.write(start, self.scheduler.add_noise(source, noise, timestep))
        return latents

    def _predict(
        self, sample: torch.Tensor, t, hint: torch.Tensor, embeds: torch.Tensor, guidance_scale: float, scale: float
    ) -> torch.Tensor:
        """The guided prediction for a window, ``[F, C, h, w]``."""
        groups, count = len(embeds), len(sample)
        text = embeds.repeat_interleave(count, dim=0)
        sample = torch.cat([sample] * groups)
        down, mid = self.controlnet(
            sample.to(self.controlnet.dtype),
            t,
            encoder_hidden_states=text.to(self.controlnet.dtype),
            controlnet_cond=torch.cat([hint.to(self.controlnet.dtype)] * groups),
            conditioning_scale=scale,
            return_dict=False,
        )
        video = sample.unflatten(0, (groups, count)).transpose(1, 2)
        predicted = self.unet(
            video,
            t,
            encoder_hidden_states=text,
            down_block_additional_residuals=tuple(residual.to(sample.dtype) for residual in down),
            mid_block_additional_residual=mid.to(sample.dtype),
        ).sample.transpose(1, 2)
        if groups == 1:
            return predicted[0]
        negative, positive = predicted
        return negative + guidance_scale * (positive - negative)

    def _kept(self, latents, clip: _Clip, start: int, stop: int, scheduler, following, device) -> torch.Tensor:
        """The latents with the original's outside the mask, noised to the level of the next step."""
        source, noise, mask = (store.read(start, stop).to(device) for store in (clip.source, clip.noise, clip.mask))
        return blend(latents, source, noise, mask, scheduler, following, ratio=1.0)

    @staticmethod
    def _normalise(latents: FrameStore, clip: _Clip, kind: str) -> None:
        """Two passes over the store: statistics of the whole clip, then the change."""
        chunks = [(start, min(start + CHUNK, clip.count)) for start in range(0, clip.count, CHUNK)]
        edited, original = RegionStatistics(), RegionStatistics()
        for chunk in chunks:
            mask = clip.mask.read(*chunk)
            edited.update(latents.read(*chunk), mask)
            original.update(clip.source.read(*chunk), mask)
        wanted = edited.outside() if kind == "ion" else original.inside()
        for chunk in chunks:
            moved = renormalise(latents.read(*chunk), clip.mask.read(*chunk), edited.inside(), wanted)
            latents.write(chunk[0], moved)

    def _decoded(self, latents: FrameStore, output_type: str, device) -> Iterator[np.ndarray | torch.Tensor]:
        for start in range(0, len(latents), CHUNK):
            part = latents.read(start, min(start + CHUNK, len(latents)))
            check_finite(part, "denoising UNet")
            if output_type == "latent":
                yield part
                continue
            scaled = (part.to(device) / self.vae.config.scaling_factor).to(self.vae.dtype)
            pictures = self.vae.decode(scaled, return_dict=False)[0].float()
            check_finite(pictures, "VAE")
            pictures = (pictures / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).cpu().numpy()
            yield (pictures * 255).round().astype(np.uint8)


class _Clip:
    """The original on disk: frames, latents, noise and mask."""

    def __init__(self, picture, latent, dtype: torch.dtype, masked: bool, folder: Path | None):
        self.count = 0
        self.pictures = FrameStore(tuple(picture), torch.uint8, folder)
        self.source, self.noise = (FrameStore(tuple(latent), dtype, folder) for _ in range(2))
        self.mask = FrameStore((1, *latent[1:]), torch.float32, folder) if masked else None

    def add(self, pictures: torch.Tensor, latents: torch.Tensor, mask: torch.Tensor | None) -> None:
        self.pictures.write(self.count, pictures)
        self.source.write(self.count, latents)
        if self.mask is not None:
            self.mask.write(self.count, mask)
        self.count += len(pictures)

    def hint(self, start: int, stop: int, device) -> torch.Tensor:
        """float32 ``[F, 3, H, W]`` in 0..1."""
        return self.pictures.read(start, stop).to(device).permute(0, 3, 1, 2).float() / 255

    def close(self) -> None:
        for store in (self.pictures, self.source, self.noise, self.mask):
            if store is not None:
                store.close()
