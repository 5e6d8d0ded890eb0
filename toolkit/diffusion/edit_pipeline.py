"""A diffusers pipeline that edits a clip with a remover: step 3 of V-LASIK (arXiv 2406.14510, section C.2)."""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import numpy as np
import torch

from toolkit.diffusion.blended_latents import blend
from toolkit.diffusion.checks import check_finite, explained_memory
from toolkit.diffusion.chunks import CHUNK, Chunk, Chunks
from toolkit.diffusion.context_windows import Window, WindowBlender, context_windows
from toolkit.diffusion.cross_frame_attention import CrossFrameAttention
from toolkit.diffusion.edit_progress import EditProgress
from toolkit.diffusion.edit_settings import EditSettings
from toolkit.diffusion.frame_store import Frames
from toolkit.diffusion.latent_coding import decoded, encoded, is_lossless
from toolkit.diffusion.mask_schedule import original_weights
from toolkit.diffusion.motion_layers import has_motion
from toolkit.diffusion.normalisation import RING, RegionStatistics, renormalise
from toolkit.diffusion.predicting import Predicting
from toolkit.diffusion.references import shot_references
from toolkit.diffusion.scheduler_states import SchedulerStates
from toolkit.diffusion.shared_sample import can_share, is_shared
from toolkit.diffusion.stored_clip import StoredClip
from toolkit.errors import InputError, UsageError
from toolkit.libraries import (
    AutoencoderKL,
    BaseOutput,
    ControlNetModel,
    DDIMScheduler,
    DiffusionPipeline,
    KarrasDiffusionSchedulers,
    ModelMixin,
    StableDiffusionLoraLoaderMixin,
    UNet2DConditionModel,
    UNetMotionModel,
    randn_tensor,
)

BATCH = 2
"""Frames that go through UNet and ControlNet together on the CPU if they do not see each other. One frame alone takes
14 % more CPU time with nano. Four take 3 % less and 60 MB more in each thread, sixteen 4 % more and 500 MB more."""

StepEnd: TypeAlias = Callable[[Any, int, Any, dict[str, Any]], dict[str, Any] | None]
"""diffusers' `callback_on_step_end`: pipeline, number of the step, timestep, and ``{"latents": [T, C, h, w]}``."""

NO_FRAMES = "there is nothing to edit: the clip has no frames"


@dataclass
class VideoEditOutput(BaseOutput):
    """Result of `VideoEditPipeline`.

    Attributes:
        frames: uint8 numpy ``[T, H, W, 3]``, or with ``output_type="latent"`` a tensor ``[T, C, h, w]``.
    """

    frames: np.ndarray | torch.Tensor


@dataclass(frozen=True)
class _Plan:
    """Everything that stays the same over all timesteps of a clip.

    Attributes:
        embeds: ``[1, N, D]``, or with guidance ``[2, N, D]``, the negative prompt first.
        windows: in order, over the whole clip.
        references: reference frames of each shot, by the shot's first frame.
    """

    clip: StoredClip
    settings: EditSettings
    embeds: torch.Tensor
    windows: list[Window]
    references: dict[int, list[int]]


class VideoEditPipeline(Predicting, DiffusionPipeline, StableDiffusionLoraLoaderMixin):
    """Removes an attribute from a clip of any length with a finetuned ControlNet and a motion module.

    Without masks, and on at most `context_length` frames, it matches diffusers'
    `AnimateDiffVideoToVideoControlNetPipeline`. Longer clips are denoised in overlapping windows, which are blended at
    every step. Frames and latents are kept on disk, so memory use depends on the window and not on the clip. Clips
    whose frames are `independent` need no disk. LoRAs are loaded into the UNet and the text encoder as in diffusers
    (`load_lora_weights`, which needs peft).

    Args:
        vae: an autoencoder of diffusers with 2D latents.
        text_encoder: a `CLIPTextModel`, or, if `tokenizer` is None, a model that returns one embedding without input.
        tokenizer: the text encoder's, or None.
        unet: a UNet with motion modules, some of which may be removed (`remove_motion_layers`), or one without.
        controlnet: the remover's. Its input is the frame, RGB in 0..1.
        scheduler: the motion module's. For AnimateDiff, one with a linear beta schedule.
        hint: ``masked`` for ControlNet 1.1 inpaint, which expects -1 in masked pixels.
    """

    model_cpu_offload_seq = "text_encoder->unet->vae"
    _optional_components: ClassVar[list[str]] = ["tokenizer"]
    _callback_tensor_inputs: ClassVar[list[str]] = ["latents"]

    def __init__(
        self,
        vae: ModelMixin,
        text_encoder: torch.nn.Module,
        tokenizer: object,
        unet: UNetMotionModel | UNet2DConditionModel,
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
        self._weights: list[tuple[int, int]] = []

    @torch.no_grad()
    def __call__(
        self,
        frames: np.ndarray,
        masks: np.ndarray | None = None,
        *,
        hints: np.ndarray | None = None,
        settings: EditSettings | None = None,
        generator: torch.Generator | None = None,
        callback_on_step_end: StepEnd | None = None,
        **changes: Any,
    ) -> VideoEditOutput:
        """Edit a clip in memory; `stream` edits clips that do not fit.

        Args:
            frames: uint8 ``[T, H, W, 3]``, RGB, sides multiples of the VAE's scale factor.
            masks: bool, or float in 0..1, ``[T, H, W]``: where the attribute is. None if unknown.
            hints: uint8 ``[T, H, W, 3]``: what the ControlNet sees, such as frames with opaque parts filled; the frames
                if None.
            settings: `EditSettings`; the defaults if None.
            generator: random numbers, on the CPU.
            callback_on_step_end: as for `stream`.
            **changes: fields of `EditSettings` to change, such as ``prompt="a face"``.

        Raises:
            UsageError: a setting is unknown or out of range, or shapes or types do not fit.
            InputError: the clip has no frames.
            ToolkitError: a model returned NaN.
        """
        settings = (settings or EditSettings()).changed(changes)
        frames = np.ascontiguousarray(frames)  # accepts lists, and views with reversed channels
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3:
            raise UsageError(f"expected frames uint8 [T, H, W, 3], found {frames.dtype} {list(frames.shape)}")
        if hints is not None:
            hints = np.ascontiguousarray(hints)
            if hints.dtype != np.uint8 or hints.shape != frames.shape:
                raise UsageError(f"expected hints uint8 {list(frames.shape)}, found {hints.dtype} {list(hints.shape)}")
        if masks is not None:
            masks = np.ascontiguousarray(masks)
            if masks.shape != frames.shape[:3]:
                raise UsageError(f"expected masks {list(frames.shape[:3])}, found {list(masks.shape)}")
            known = masks.dtype == bool or np.issubdtype(masks.dtype, np.floating)
            if not known or masks.min(initial=0) < 0 or masks.max(initial=0) > 1:
                raise UsageError(f"expected masks that are bool, or floats in 0..1, found {masks.dtype}")
        clip = Chunk(frames, masks, hints)
        chunks = (clip.part(k, k + CHUNK) for k in range(0, len(frames), CHUNK))
        edited = list(
            self.stream(chunks, settings=settings, generator=generator, callback_on_step_end=callback_on_step_end)
        )
        return VideoEditOutput(frames=torch.cat(edited) if settings.output_type == "latent" else np.concatenate(edited))

    def independent(self, settings: EditSettings) -> bool:
        """Whether each frame's result depends on that frame alone.

        Nothing looks across frames then (motion layers, reference frames, normalisation), and nothing is drawn but one
        noise for all of them. Such a clip can be edited in parts that start at multiples of `CHUNK`: with generators
        of the same seed, the parts have the same bytes as the whole.
        """
        scheduler = self.scheduler
        draws = "generator" in inspect.signature(scheduler.step).parameters and not isinstance(scheduler, DDIMScheduler)
        return (
            settings.shared_noise
            and settings.reference_frames is None
            and settings.normalisation == "none"
            and not has_motion(self.unet)
            and not isinstance(self.vae, AutoencoderKL)
            and not draws
        )

    @torch.no_grad()
    def stream(
        self,
        chunks: Chunks,
        *,
        settings: EditSettings | None = None,
        generator: torch.Generator | None = None,
        folder: Path | None = None,
        resume: bool = False,
        on_windows: Callable[[int], None] | None = None,
        callback_on_step_end: StepEnd | None = None,
        **changes: Any,
    ) -> Iterator[np.ndarray | torch.Tensor]:
        """Edit a clip of any length, chunk by chunk.

        If its frames are `independent`, each chunk is yielded before the next one is read, and nothing is kept on disk.

        Args:
            chunks: `Chunk` objects, or pairs of frames and masks: `CHUNK` frames in each chunk, fewer in the last one.
            settings, generator, changes: as for the pipeline itself.
            folder: holds frames and latents during the edit: 0.93 MB a frame at 512 pixels in float16, 1.06 MB in
                float32. If None, the system's temporary folder.
            resume: keep everything in `folder`, and continue after the last timestep completed there. The caller must
                pass the same arguments again, and delete the folder at the end. Without effect on `independent` frames.
            on_windows: called with the number of windows completed since the last call, over all timesteps. The first
                call counts those of an earlier run.
            callback_on_step_end: called after each step as in diffusers, with the latents of the whole clip, which it
                may replace. They are then in memory, and frames are not edited one by one.

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
        advance = on_windows or (lambda count: None)
        self._forget_other_weights()
        clip = (Chunk(*chunk) for chunk in chunks)
        if self.independent(settings) and callback_on_step_end is None:
            yield from self._edited_by_chunk(clip, settings, generator, advance)
        else:
            with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as temporary:
                progress = EditProgress(folder if folder and resume else Path(temporary), resume)
                yield from self._edited(clip, progress, settings, generator, advance, callback_on_step_end)
        self.maybe_free_model_hooks()

    @property
    def lossless(self) -> bool:
        """Whether encoding and decoding a picture gives the picture."""
        return is_lossless(self.vae)

    def coded(self, frames: np.ndarray) -> np.ndarray:
        """What the VAE alone makes of frames: uint8 ``[T, H, W, 3]`` in and out.

        Raises:
            ToolkitError: the memory is full, or the VAE returned NaN.
        """
        device = self._execution_device
        latents = encoded(self.vae, torch.from_numpy(np.ascontiguousarray(frames)), device, sample=False)
        return decoded(self.vae, latents, device)

    def _forget_other_weights(self) -> None:
        """Drop what was kept from an earlier call if weights have changed since, as a LoRA does."""
        parts = [part for part in (self.unet, self.text_encoder) if part is not None]
        weights = [(id(weight), weight._version) for part in parts for weight in part.parameters()]
        # The scale of a loaded LoRA is no weight.
        if weights != self._weights or any(getattr(part, "_hf_peft_config_loaded", False) for part in parts):
            self._embedded, self._shared, self._weights = None, (), weights

    def _edited_by_chunk(
        self,
        chunks: Iterable[Chunk],
        settings: EditSettings,
        generator: torch.Generator | None,
        on_windows: Callable[[int], None],
    ) -> Iterator[np.ndarray | torch.Tensor]:
        """Edit each batch of frames as a clip of its own, with the same noise."""
        if generator is None:
            generator = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
        settings, state, empty = replace(settings, cuts=(), context_overlap=0), generator.get_state(), True
        for chunk in chunks:
            edited: list[Any] = []
            for start, stop in context_windows(len(chunk.frames), settings.context_length, 0):
                for first, last in self._batches(start, stop):
                    # A window counts when the last of its frames is done.
                    advance = on_windows if last == stop else lambda count: None
                    generator.set_state(state)
                    edited += self._edited([chunk.part(first, last)], EditProgress(), settings, generator, advance)
            empty = False
            yield torch.cat(edited) if settings.output_type == "latent" else np.concatenate(edited)
        if empty:
            raise InputError(NO_FRAMES)

    def _batches(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Frames that go through the networks together if they do not see each other."""
        size = BATCH if self._execution_device.type == "cpu" else stop - start
        return [(first, min(first + size, stop)) for first in range(start, stop, size)]

    def _edited(
        self,
        chunks: Iterable[Chunk],
        progress: EditProgress,
        settings: EditSettings,
        generator: torch.Generator | None,
        on_windows: Callable[[int], None],
        on_step: StepEnd | None = None,
    ) -> Iterator[np.ndarray | torch.Tensor]:
        """Edit a clip as a whole."""
        clip = self._clip(chunks, progress, settings, generator)
        if not clip.count:
            raise InputError(NO_FRAMES)
        if settings.normalisation != "none" and clip.mask is None:
            raise UsageError(f"normalisation={settings.normalisation!r} needs masks; pass masks, or use 'none'")
        with explained_memory("networks", f"denoise {self._window(clip, settings)}"):
            latents = self._denoised(clip, progress, settings, generator, on_windows, on_step)
        if settings.normalisation != "none":
            latents = self._normalised(latents, clip, settings.normalisation, progress)
        yield from self._decoded(latents, settings.output_type)
        latents.close()
        clip.close()

    @staticmethod
    def _window(clip: StoredClip, settings: EditSettings) -> str:
        height, width = clip.pictures.shape[:2]
        return f"a window of {min(settings.context_length, clip.count)} frames of {width}x{height} pixels"

    def _clip(
        self,
        chunks: Iterable[Chunk],
        progress: EditProgress,
        settings: EditSettings,
        generator: torch.Generator | None,
    ) -> StoredClip:
        """The encoded original; from the folder if an earlier run encoded all of it."""
        if progress.clip is not None:
            return StoredClip(progress, **progress.clip)
        clip = self._encode(chunks, progress, settings, generator)
        if clip.count:
            self._draw_noise(clip, generator, settings.shared_noise)
            clip.flush()
            progress.encoded(clip.description, generator)
        return clip

    def _denoised(
        self,
        clip: StoredClip,
        progress: EditProgress,
        settings: EditSettings,
        generator: torch.Generator | None,
        on_windows: Callable[[int], None],
        on_step: StepEnd | None = None,
    ) -> Frames:
        """Run all timesteps over all windows."""
        device = self._execution_device
        plan = _Plan(
            clip=clip,
            settings=settings,
            references=shot_references(settings.reference_frames, clip.count, settings.cuts),
            embeds=self._embed(settings.prompt, settings.negative_prompt, settings.guidance_scale, device),
            windows=context_windows(clip.count, settings.context_length, settings.context_overlap, settings.cuts),
        )
        timesteps = self._timesteps(settings, device)
        step_kwargs = self._step_kwargs(generator)
        # Some schedulers warn at their first step unless they have scaled an input. Their copies do the scaling.
        self.scheduler.scale_model_input(torch.zeros(1, device=device), timesteps[0])
        states = SchedulerStates(self.scheduler, progress.folder)
        progress.restore(states, generator)
        latents = progress.store(f"latents-{progress.step % 2}", clip.source.shape, clip.source.dtype)
        if not progress.step:
            self._add_noise(latents, clip, timesteps[:1])
        crossing = CrossFrameAttention(self.controlnet, self.unet) if plan.references else nullcontext()
        with crossing as attention, self.progress_bar(total=len(timesteps) * len(plan.windows)) as progress_bar:

            def advance(count: int) -> None:
                progress_bar.update(count)
                on_windows(count)

            advance(progress.step * len(plan.windows))
            for i in range(progress.step, len(timesteps)):
                following = timesteps[i + 1] if i + 1 < len(timesteps) else None
                stepped = progress.store(f"latents-{(i + 1) % 2}", latents.shape, latents.dtype)
                scaling = states.of(states.last)
                for first, predicted in self._predictions(plan, latents, timesteps[i], scaling, attention, advance):
                    # Multistep schedulers remember earlier outputs, so each group of frames has its own.
                    scheduler = states.of(first)
                    part = latents.read(first, first + len(predicted)).to(device)
                    part = scheduler.step(predicted, timesteps[i], part, **step_kwargs, return_dict=False)[0]
                    if settings.blend_masks:
                        part = self._blended(part, plan, first, scheduler, following)
                    stepped.write(first, part)
                    states.keep(first, scheduler)
                latents.close()
                latents = stepped
                if on_step is not None:
                    every = latents.read(0, len(latents)).to(device)
                    changed = (on_step(self, i, timesteps[i], {"latents": every}) or {}).get("latents")
                    if changed is not None:
                        latents.write(0, changed)
                latents.flush()
                progress.stepped(i + 1, states, generator)
        return latents

    def _timesteps(self, settings: EditSettings, device: torch.device) -> torch.Tensor:
        """The timesteps that `strength` leaves of the schedule."""
        count = settings.num_inference_steps
        try:
            self.scheduler.set_timesteps(count, device=device)
        except ValueError as error:  # a distilled schedule has a maximum
            name = type(self.scheduler).__name__
            raise UsageError(f"{name} cannot run num_inference_steps of {count}: {error}") from error
        first = count - min(int(count * settings.strength), count)  # as in all pipelines of diffusers
        timesteps = self.scheduler.timesteps[first * self.scheduler.order :]
        if not len(timesteps):
            raise UsageError(
                f"a strength of {settings.strength} runs none of {count} steps; raise strength or num_inference_steps"
            )
        return timesteps

    def _step_kwargs(self, generator: torch.Generator | None) -> dict[str, Any]:
        """Arguments that only some schedulers take."""
        known = inspect.signature(self.scheduler.step).parameters
        return {name: value for name, value in {"eta": 0.0, "generator": generator}.items() if name in known}

    def _predictions(
        self,
        plan: _Plan,
        latents: Frames,
        t: torch.Tensor,
        scaling: Any,
        attention: CrossFrameAttention | None,
        advance: Callable[[int], None],
    ) -> Iterator[tuple[int, torch.Tensor]]:
        """Predictions of one timestep, blended over windows.

        Args:
            latents: of all frames at this timestep.
            scaling: a scheduler, for its `scale_model_input`.
            attention: entered, if there are references.
            advance: called with 1 after each window.

        Yields:
            A first frame and ``[K, C, h, w]``.
        """
        clip, embeds, device = plan.clip, plan.embeds, self._execution_device
        conditioning_scale = plan.settings.controlnet_conditioning_scale
        guidance_scale = plan.settings.guidance_scale
        moves = isinstance(self.unet, UNetMotionModel)
        blender = WindowBlender(plan.windows)
        control: list[torch.Tensor] = []
        covered = 0
        for start, stop in plan.windows:
            if attention is not None and start in plan.references:
                frames = [(k, k + 1) for k in plan.references[start]]
                attention.record(len(frames), len(embeds))
                sample = torch.cat([latents.read(*frame) for frame in frames]).to(device)
                hint = torch.cat([clip.hint(*frame, device) for frame in frames])
                sample = scaling.scale_model_input(sample, t)
                control = self._control(sample, t, hint, embeds, conditioning_scale)
                self._predict(sample, t, control, embeds, guidance_scale)
                attention.reuse(len(embeds))
            if not moves:
                predicted = []
                for batch in self._batches(start, stop):
                    sample = scaling.scale_model_input(latents.read(*batch).to(device), t)
                    same = attention is None and can_share(self.unet) and is_shared(sample)
                    control = self._control(sample, t, clip.hint(*batch, device), embeds, conditioning_scale, same)
                    predicted.append(self._predict(sample, t, control, embeds, guidance_scale, same))
                yield from blender.add((start, stop), torch.cat(predicted))
                advance(1)
                continue
            sample = scaling.scale_model_input(latents.read(start, stop).to(device), t)
            # The ControlNet has no motion layers, so frames shared with the window before are not run again.
            shared = max(0, covered - start)
            hint, covered = clip.hint(start + shared, stop, device), stop
            new = self._control(sample[shared:], t, hint, embeds, conditioning_scale)
            control = [torch.cat([a[:, -shared:], b], 1) for a, b in zip(control, new)] if shared else new
            yield from blender.add((start, stop), self._predict(sample, t, control, embeds, guidance_scale))
            advance(1)

    def _embed(self, prompt: str, negative_prompt: str, guidance_scale: float, device: torch.device) -> torch.Tensor:
        """Embed the prompts: ``[1, N, D]``, or with guidance ``[2, N, D]``, the negative prompt first."""
        guided = guidance_scale > 1
        if self.tokenizer is None:
            if guided:
                raise UsageError("this backbone has one learned prompt and cannot be guided; use a guidance_scale of 1")
            return self.text_encoder()[0][:1].to(device, self.unet.dtype)
        # Clips of one video share a prompt, so the last embedding is kept.
        key = (id(self.text_encoder), prompt, negative_prompt if guided else "", guided, str(device), self.unet.dtype)
        if self._embedded is None or self._embedded[0] != key:
            from diffusers import AnimateDiffVideoToVideoControlNetPipeline as Paper  # with transformers' models

            positive, negative = Paper.encode_prompt(self, prompt, device, 1, guided, negative_prompt)
            embeds = torch.cat([negative, positive] if guided else [positive]).to(self.unet.dtype)
            self._embedded = key, embeds
        return self._embedded[1]

    def _encode(
        self,
        chunks: Iterable[Chunk],
        progress: EditProgress,
        settings: EditSettings,
        generator: torch.Generator | None,
    ) -> StoredClip:
        """Encode the clip chunk by chunk."""
        clip: StoredClip | None = None
        device, dtype = self._execution_device, self.unet.dtype
        hidden = (settings.hint or self.config.hint) == "masked"
        for chunk in chunks:
            frames, masks = chunk.frames, chunk.masks
            if frames.shape[1] % self.vae_scale_factor or frames.shape[2] % self.vae_scale_factor:
                raise UsageError(
                    f"expected frames whose sides are multiples of {self.vae_scale_factor} pixels, found "
                    f"{frames.shape[2]}x{frames.shape[1]}"
                )
            if hidden and masks is None:
                raise UsageError("a masked hint needs masks; pass masks, or use hint='frame'")
            pictures = torch.from_numpy(frames)
            latents = encoded(self.vae, pictures, device, generator).to(dtype)
            separate = settings.blend_source == "masked" and settings.blend_masks and masks is not None
            blended = encoded(self.vae, pictures, device, masks=masks, sample=False).to(dtype) if separate else None
            if clip is None:
                shapes = pictures.shape[1:], latents.shape[1:]
                kinds = masks is not None, hidden, separate, settings.shared_noise
                clip = StoredClip(progress, *shapes, latents.dtype, *kinds)
            clip.add(torch.from_numpy(chunk.shown), latents, masks, self.vae_scale_factor, blended)
        return clip or StoredClip(progress, (1, 1, 3), (1, 1, 1), torch.float32, False)

    def _draw_noise(self, clip: StoredClip, generator: torch.Generator | None, shared: bool) -> None:
        """Draw the noise chunk by chunk, which gives the same numbers as one draw for all frames."""
        for start in range(0, 1 if shared else clip.count, CHUNK):
            shape = (1 if shared else min(CHUNK, clip.count - start), *clip.source.shape)
            noise = randn_tensor(shape, generator=generator, device=self._execution_device, dtype=clip.source.dtype)
            clip.write_noise(start, noise)

    def _add_noise(self, latents: Frames, clip: StoredClip, timestep: torch.Tensor) -> None:
        """Fill `latents` with the original, noised to the first timestep."""
        for start in range(0, clip.count, CHUNK):
            part = start, min(start + CHUNK, clip.count)
            source, noise = (
                values.to(self._execution_device) for values in (clip.source.read(*part), clip.noise(*part))
            )
            latents.write(start, self.scheduler.add_noise(source, noise, timestep))

    def _blended(
        self, latents: torch.Tensor, plan: _Plan, first: int, scheduler: Any, following: torch.Tensor | None
    ) -> torch.Tensor:
        """Blend in the original around the masks, noised to the level of the next step; unchanged without masks."""
        clip, device, stop = plan.clip, latents.device, first + len(latents)
        if clip.mask is None:
            return latents
        source, mask = (store.read(first, stop).to(device) for store in (clip.blended, clip.mask))
        noise = clip.noise(first, stop).to(device)
        kept = original_weights(mask, plan.settings.blend_range, plan.settings.blend_width).to(device)
        return blend(latents, source, noise, 1 - kept, scheduler, following, ratio=1.0)

    @staticmethod
    def _normalised(latents: Frames, clip: StoredClip, kind: str, progress: EditProgress) -> Frames:
        """Gather statistics over the whole clip, then normalise it into another store."""
        if clip.mask is None:
            return latents
        chunks = [(start, min(start + CHUNK, clip.count)) for start in range(0, clip.count, CHUNK)]
        edited, original = RegionStatistics(RING if kind == "ion-ring" else None), RegionStatistics()
        for chunk in chunks:
            mask = clip.mask.read(*chunk)
            edited.update(latents.read(*chunk), mask)
            original.update(clip.source.read(*chunk), mask)
        wanted = original.inside() if kind == "adain" else edited.outside()
        normalised = progress.store("normalised", latents.shape, latents.dtype)
        for chunk in chunks:
            moved = renormalise(latents.read(*chunk), clip.mask.read(*chunk), edited.inside(), wanted)
            normalised.write(chunk[0], moved)
        latents.close()
        return normalised

    def _decoded(self, latents: Frames, output_type: str) -> Iterator[np.ndarray | torch.Tensor]:
        """Decode chunk by chunk."""
        for start in range(0, len(latents), CHUNK):
            part = latents.read(start, min(start + CHUNK, len(latents)))
            check_finite(part, "denoising UNet")
            if output_type == "latent":
                yield part
                continue
            yield decoded(self.vae, part, self._execution_device)
