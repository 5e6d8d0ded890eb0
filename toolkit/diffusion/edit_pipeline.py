"""Editing a clip with a remover: step 3 of V-LASIK (arXiv 2406.14510, section 4.3) as a pipeline of diffusers."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

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
from toolkit.diffusion.cross_frame_attention import CrossFrameAttention
from toolkit.diffusion.edit_progress import EditProgress
from toolkit.diffusion.edit_settings import EditSettings
from toolkit.diffusion.frame_store import FrameStore
from toolkit.diffusion.latent_mask import mask_to_latent
from toolkit.diffusion.mask_schedule import original_weights
from toolkit.diffusion.normalisation import RegionStatistics, renormalise
from toolkit.diffusion.references import shot_references
from toolkit.diffusion.scheduler_states import SchedulerStates
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
        hint: ``masked`` for a ControlNet 1.1 inpaint, whose hint is -1 where the frame is masked.
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
        hint: str = "frame",
    ):
        super().__init__()
        self.register_to_config(hint=hint)
        self.register_modules(
            vae=vae,
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            unet=unet,
            controlnet=controlnet,
            scheduler=scheduler,
        )
        self.vae_scale_factor = 2 ** (len(self.vae.config.block_out_channels) - 1)
        self._embedded: tuple[Any, torch.Tensor] | None = None

    @torch.no_grad()
    def __call__(
        self,
        frames: np.ndarray,
        masks: np.ndarray | None = None,
        *,
        settings: EditSettings | None = None,
        generator: torch.Generator | None = None,
        **changes: Any,
    ) -> VideoEditOutput:
        """Edit a clip in memory; `stream` edits clips that do not fit.

        Args:
            frames: uint8 ``[T, H, W, 3]``, RGB, sides multiples of the VAE's scale factor.
            masks: bool, or float in 0..1, ``[T, H, W]``: where the attribute is. None if unknown.
            settings: `EditSettings`; the defaults if None.
            generator: random numbers, on the CPU.
            **changes: fields of `EditSettings` to change, such as ``prompt="a face"``.

        Raises:
            UsageError: a setting is unknown or out of range, or shapes or types do not fit.
            InputError: the clip has no frames.
            ToolkitError: a model returned NaN.
        """
        settings = (settings or EditSettings()).changed(changes)
        frames = np.ascontiguousarray(frames)  # also lists, and views with reversed channels
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3:
            raise UsageError(f"expected frames uint8 [T, H, W, 3], found {frames.dtype} {list(frames.shape)}")
        if masks is not None:
            masks = np.ascontiguousarray(masks)
            if masks.shape != frames.shape[:3]:
                raise UsageError(f"expected masks {list(frames.shape[:3])}, found {list(masks.shape)}")
            known = masks.dtype == bool or np.issubdtype(masks.dtype, np.floating)
            if not known or masks.min(initial=0) < 0 or masks.max(initial=0) > 1:
                raise UsageError(f"expected masks that are bool, or floats in 0..1, found {masks.dtype}")
        chunks = (
            (frames[k : k + CHUNK], None if masks is None else masks[k : k + CHUNK])
            for k in range(0, len(frames), CHUNK)
        )
        edited = list(self.stream(chunks, settings=settings, generator=generator))
        return VideoEditOutput(frames=torch.cat(edited) if settings.output_type == "latent" else np.concatenate(edited))

    @torch.no_grad()
    def stream(
        self,
        chunks: Iterable[tuple[np.ndarray, np.ndarray | None]],
        *,
        settings: EditSettings | None = None,
        generator: torch.Generator | None = None,
        folder: Path | None = None,
        resume: bool = False,
        on_windows: Callable[[int], None] | None = None,
        **changes: Any,
    ) -> Iterator[np.ndarray | torch.Tensor]:
        """Edit a clip of any length, chunk by chunk.

        Args:
            chunks: frames and masks, `CHUNK` frames in each chunk, fewer in the last one.
            settings, generator, changes: as for the pipeline itself.
            folder: holds frames and latents during the edit, about 1.1 MB a frame at 512 pixels. If None, the system's
                temporary folder.
            resume: keep everything in `folder`, and continue after the last timestep completed there. The caller must
                pass the same arguments again, and delete the folder at the end.
            on_windows: called with the number of windows completed since the last call, over all timesteps. The first
                call counts those of an earlier run.

        Yields:
            The edited frames, in the same chunks.

        Raises:
            UsageError, InputError, ToolkitError: as for the pipeline itself.
        """
        settings = (settings or EditSettings()).changed(changes)
        hint = settings.hint or self.config.hint
        if hint not in ("frame", "masked"):
            raise UsageError(f"hint must be frame or masked, found {hint!r}")
        if resume and folder is None:
            raise UsageError("resuming an edit needs a folder that outlives it; pass `folder`")
        with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as temporary:
            progress = EditProgress(folder if resume else Path(temporary), resume)
            clip = self._clip(chunks, progress, generator, settings.shared_noise, hint == "masked")
            if not clip.count:
                raise InputError("there is nothing to edit: the clip has no frames")
            if settings.normalisation != "none" and clip.mask is None:
                raise UsageError(f"normalisation={settings.normalisation!r} needs masks; pass masks, or use 'none'")
            latents = self._denoised(clip, progress, settings, generator, on_windows or (lambda count: None))
            if settings.normalisation != "none":
                latents = self._normalised(latents, clip, settings.normalisation, progress)
            yield from self._decoded(latents, settings.output_type)
            latents.close()
            clip.close()
            self.maybe_free_model_hooks()

    def _clip(self, chunks, progress: EditProgress, generator, shared_noise: bool, hidden: bool) -> _Clip:
        """The original, encoded; from the folder where it was whole already."""
        if progress.clip is not None:
            return _Clip(progress, **progress.clip)
        clip = self._encode(chunks, progress, generator, hidden)
        if clip.count:
            self._draw_noise(clip, generator, shared_noise)
            clip.flush()
            progress.encoded(clip.description, generator)
        return clip

    def _denoised(
        self,
        clip: _Clip,
        progress: EditProgress,
        settings: EditSettings,
        generator: torch.Generator | None,
        on_windows: Callable[[int], None],
    ) -> FrameStore:
        """All timesteps over all windows."""
        device, guidance_scale = self._execution_device, settings.guidance_scale
        references = shot_references(settings.reference_frames, clip.count, settings.cuts)
        embeds = self._embed(settings.prompt, settings.negative_prompt, guidance_scale, device)
        windows = context_windows(clip.count, settings.context_length, settings.context_overlap, settings.cuts)
        num_inference_steps, strength = settings.num_inference_steps, settings.strength
        conditioning_scale = settings.controlnet_conditioning_scale
        blending = settings.blend_masks and clip.mask is not None
        try:
            self.scheduler.set_timesteps(num_inference_steps, device=device)
        except ValueError as error:  # distilled ones have no more steps than they were distilled for
            name = type(self.scheduler).__name__
            raise UsageError(f"{name} cannot run num_inference_steps of {num_inference_steps}: {error}") from error
        timesteps, _ = self.get_timesteps(num_inference_steps, self.scheduler.timesteps, strength, device)
        if not len(timesteps):
            raise UsageError(f"a strength of {strength} runs none of {num_inference_steps} steps; raise one of the two")
        step_kwargs = self.prepare_extra_step_kwargs(generator, 0.0)
        # Some schedulers say at their first step that nothing was scaled for them; it was, by another one.
        self.scheduler.scale_model_input(torch.zeros(1, device=device), timesteps[0])
        states = SchedulerStates(self.scheduler, progress.folder)
        progress.restore(states, generator)
        latents = progress.store(f"latents-{progress.step % 2}", clip.source.shape, clip.source.dtype)
        if not progress.step:
            self._add_noise(latents, clip, timesteps[:1])
        crossing = CrossFrameAttention(self.controlnet, self.unet) if references else nullcontext()
        with crossing as attention, self.progress_bar(total=len(timesteps) * len(windows)) as progress_bar:
            progress_bar.update(progress.step * len(windows))
            on_windows(progress.step * len(windows))
            for i in range(progress.step, len(timesteps)):
                t = timesteps[i]
                following = timesteps[i + 1] if i + 1 < len(timesteps) else None
                made = progress.store(f"latents-{(i + 1) % 2}", latents.shape, latents.dtype)
                blender = WindowBlender(windows)
                scaling = states.of(states.last)
                control, covered = None, 0
                for start, stop in windows:
                    if start in references:
                        attention.record(len(references[start]), len(embeds))
                        shown = [(k, k + 1) for k in references[start]]
                        sample = torch.cat([latents.read(*one) for one in shown]).to(device)
                        hint = torch.cat([clip.hint(*one, device) for one in shown])
                        sample = scaling.scale_model_input(sample, t)
                        control = self._control(sample, t, hint, embeds, conditioning_scale)
                        self._predict(sample, t, control, embeds, guidance_scale)
                        attention.reuse(len(embeds))
                    sample = scaling.scale_model_input(latents.read(start, stop).to(device), t)
                    # The ControlNet sees frames one by one: those that windows share need it once.
                    known = max(0, covered - start)
                    hint, covered = clip.hint(start + known, stop, device), stop
                    new = self._control(sample[known:], t, hint, embeds, conditioning_scale)
                    control = new if not known else [torch.cat([a[:, -known:], b], 1) for a, b in zip(control, new)]
                    predicted = self._predict(sample, t, control, embeds, guidance_scale)
                    for first, values in blender.add((start, stop), predicted):
                        # A scheduler for each group of frames: multistep ones keep what they saw last.
                        scheduler = states.of(first)
                        end = first + len(values)
                        part = latents.read(first, end).to(device)
                        part = scheduler.step(values, t, part, **step_kwargs, return_dict=False)[0]
                        if blending:
                            part = self._blended(
                                part, clip, first, end, scheduler, following, settings.blend_range, settings.blend_width
                            )
                        made.write(first, part)
                        states.keep(first, scheduler)
                    progress_bar.update()
                    on_windows(1)
                latents.close()
                latents = made
                latents.flush()
                progress.stepped(i + 1, states, generator)
        return latents

    def _embed(self, prompt: str, negative_prompt: str, guidance_scale: float, device) -> torch.Tensor:
        """``[1, N, D]``, or with guidance ``[2, N, D]``, the negative one first."""
        guided = guidance_scale > 1
        if self.tokenizer is None:
            if guided:
                raise UsageError("this backbone has one learned prompt, so there is nothing to guide by: use 1")
            return self.text_encoder()[0][:1].to(device, self.unet.dtype)
        # A video has many clips and one prompt.
        key = (id(self.text_encoder), prompt, negative_prompt if guided else "", guided, str(device), self.unet.dtype)
        if self._embedded is None or self._embedded[0] != key:
            positive, negative = self.encode_prompt(prompt, device, 1, guided, negative_prompt)
            embeds = torch.cat([negative, positive] if guided else [positive]).to(self.unet.dtype)
            self._embedded = key, embeds
        return self._embedded[1]

    def _encode(self, chunks, progress: EditProgress, generator, hidden: bool) -> _Clip:
        clip, device = None, self._execution_device
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
            if hidden and masks is None:
                raise UsageError("a masked hint needs masks; give some, or show the frame")
            if clip is None:
                shapes = pictures.shape[1:], latents.shape[1:]
                clip = _Clip(progress, *shapes, latents.dtype, masks is not None, hidden)
            clip.add(pictures, latents, masks, self.vae_scale_factor)
        return clip or _Clip(progress, (1, 1, 3), (1, 1, 1), torch.float32, False)

    def _draw_noise(self, clip: _Clip, generator, shared: bool) -> None:
        """Chunks draw from the generator one after the other what one draw would give."""
        device, dtype = self._execution_device, clip.source.dtype
        one = randn_tensor((1, *clip.source.shape), generator=generator, device=device, dtype=dtype) if shared else None
        for start in range(0, clip.count, CHUNK):
            shape = (min(CHUNK, clip.count - start), *clip.source.shape)
            if one is not None:
                clip.noise.write(start, one.expand(shape))
            else:
                clip.noise.write(start, randn_tensor(shape, generator=generator, device=device, dtype=dtype))

    def _add_noise(self, latents: FrameStore, clip: _Clip, timestep: torch.Tensor) -> None:
        """The latents to start from."""
        for start in range(0, clip.count, CHUNK):
            part = start, min(start + CHUNK, clip.count)
            source, noise = (store.read(*part).to(self._execution_device) for store in (clip.source, clip.noise))
            latents.write(start, self.scheduler.add_noise(source, noise, timestep))

    def _control(
        self, sample: torch.Tensor, t, hint: torch.Tensor, embeds: torch.Tensor, scale: float
    ) -> list[torch.Tensor]:
        """What the ControlNet adds to the UNet's blocks, the middle one last: ``[G, F, C', h', w']`` for G prompts."""
        groups, count = len(embeds), len(sample)
        down, mid = self.controlnet(
            torch.cat([sample] * groups).to(self.controlnet.dtype),
            t,
            encoder_hidden_states=embeds.repeat_interleave(count, dim=0).to(self.controlnet.dtype),
            controlnet_cond=torch.cat([hint.to(self.controlnet.dtype)] * groups),
            conditioning_scale=scale,
            return_dict=False,
        )
        return [residual.unflatten(0, (groups, count)) for residual in (*down, mid)]

    def _predict(
        self, sample: torch.Tensor, t, control: list[torch.Tensor], embeds: torch.Tensor, guidance_scale: float
    ) -> torch.Tensor:
        """The guided prediction for a window, ``[F, C, h, w]``."""
        groups, count = len(embeds), len(sample)
        *down, mid = [residual.flatten(0, 1).to(sample.dtype) for residual in control]
        predicted = self.unet(
            torch.stack([sample] * groups).transpose(1, 2),
            t,
            encoder_hidden_states=embeds.repeat_interleave(count, dim=0),
            down_block_additional_residuals=tuple(down),
            mid_block_additional_residual=mid,
        ).sample.transpose(1, 2)
        if groups == 1:
            return predicted[0]
        negative, positive = predicted
        return negative + guidance_scale * (positive - negative)

    def _blended(self, latents, clip, start, stop, scheduler, following, blend_range, width) -> torch.Tensor:
        """The latents with the original, noised to the level of the next step, blended in around the mask."""
        device = latents.device
        source, noise, mask = (store.read(start, stop).to(device) for store in (clip.source, clip.noise, clip.mask))
        changed = 1 - original_weights(mask, blend_range, width).to(device)
        return blend(latents, source, noise, changed, scheduler, following, ratio=1.0)

    @staticmethod
    def _normalised(latents: FrameStore, clip: _Clip, kind: str, progress: EditProgress) -> FrameStore:
        """Two passes: statistics of the whole clip, then the change, in a store of its own."""
        chunks = [(start, min(start + CHUNK, clip.count)) for start in range(0, clip.count, CHUNK)]
        edited, original = RegionStatistics(), RegionStatistics()
        for chunk in chunks:
            mask = clip.mask.read(*chunk)
            edited.update(latents.read(*chunk), mask)
            original.update(clip.source.read(*chunk), mask)
        wanted = edited.outside() if kind == "ion" else original.inside()
        normalised = progress.store("normalised", latents.shape, latents.dtype)
        for chunk in chunks:
            moved = renormalise(latents.read(*chunk), clip.mask.read(*chunk), edited.inside(), wanted)
            normalised.write(chunk[0], moved)
        latents.close()
        return normalised

    def _decoded(self, latents: FrameStore, output_type: str) -> Iterator[np.ndarray | torch.Tensor]:
        for start in range(0, len(latents), CHUNK):
            part = latents.read(start, min(start + CHUNK, len(latents)))
            check_finite(part, "denoising UNet")
            if output_type == "latent":
                yield part
                continue
            scaled = (part.to(self._execution_device) / self.vae.config.scaling_factor).to(self.vae.dtype)
            pictures = self.vae.decode(scaled, return_dict=False)[0].float()
            check_finite(pictures, "VAE")
            pictures = (pictures / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).cpu().numpy()
            yield (pictures * 255).round().astype(np.uint8)


class _Clip:
    """The original on disk: frames, latents, noise and mask."""

    def __init__(
        self,
        progress: EditProgress,
        picture,
        latent,
        dtype: torch.dtype,
        masked: bool,
        hidden: bool = False,
        count: int = 0,
    ):
        self.count = count
        self._latent = tuple(latent)
        self.pictures = progress.store("pictures", tuple(picture), torch.uint8)
        self.source, self.noise = (progress.store(name, tuple(latent), dtype) for name in ("source", "noise"))
        self.mask = progress.store("mask", (1, *latent[1:]), torch.float32) if masked else None
        self.hidden = progress.store("hidden", tuple(picture[:2]), torch.uint8) if hidden else None

    @property
    def description(self) -> dict[str, Any]:
        """The arguments that open it again."""
        shapes = {"picture": self.pictures.shape, "latent": self._latent}
        kinds = {"masked": self.mask is not None, "hidden": self.hidden is not None}
        return {**shapes, "dtype": self.source.dtype, **kinds, "count": self.count}

    def add(self, pictures: torch.Tensor, latents: torch.Tensor, masks: np.ndarray | None, scale: int) -> None:
        self.pictures.write(self.count, pictures)
        self.source.write(self.count, latents)
        if self.mask is not None:
            self.mask.write(self.count, mask_to_latent(masks, scale))
        if self.hidden is not None:
            self.hidden.write(self.count, torch.from_numpy((masks >= 0.5).astype(np.uint8)))
        self.count += len(pictures)

    def hint(self, start: int, stop: int, device) -> torch.Tensor:
        """float32 ``[F, 3, H, W]`` in 0..1, and -1 where it is hidden."""
        shown = self.pictures.read(start, stop).to(device).permute(0, 3, 1, 2).float() / 255
        if self.hidden is None:
            return shown
        return shown.masked_fill(self.hidden.read(start, stop).to(device)[:, None] > 0, -1.0)

    def flush(self) -> None:
        for store in self._stores:
            store.flush()

    def close(self) -> None:
        for store in self._stores:
            store.close()

    @property
    def _stores(self) -> list[FrameStore]:
        stores = self.pictures, self.source, self.noise, self.mask, self.hidden
        return [store for store in stores if store is not None]
