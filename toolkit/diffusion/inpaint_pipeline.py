"""Masked synthesis of a clip: step 1 of V-LASIK (arXiv 2406.14510, section 4.1) as a pipeline of diffusers."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import PIL.Image
import torch
import torch.nn.functional as F
from diffusers import (
    ControlNetModel,
    DiffusionPipeline,
    StableDiffusionControlNetInpaintPipeline,
    StableDiffusionMixin,
    UNet2DConditionModel,
)
from diffusers.callbacks import MultiPipelineCallbacks, PipelineCallback
from diffusers.image_processor import VaeImageProcessor
from diffusers.models.modeling_utils import ModelMixin
from diffusers.schedulers import KarrasDiffusionSchedulers
from diffusers.utils import BaseOutput
from diffusers.utils.torch_utils import randn_tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from toolkit.diffusion.blended_latents import blend
from toolkit.diffusion.checks import check_clip, check_finite, check_models, check_settings, memory_advice
from toolkit.diffusion.clip_input import ClipInput
from toolkit.diffusion.cross_frame_attention import CrossFrameAttention
from toolkit.diffusion.latent_mask import mask_to_latent
from toolkit.diffusion.references import reference_indices
from toolkit.diffusion.shared_noise import invert
from toolkit.errors import UsageError


@dataclass
class VideoInpaintOutput(BaseOutput):
    """What the pipeline gives.

    Attributes:
        frames: by `output_type`: ``np`` float32 ``[T, H, W, 3]`` in 0..1, ``uint8`` numpy ``[T, H, W, 3]``, ``pt``
            float32 tensor ``[T, 3, H, W]`` in 0..1, ``pil`` a list of pictures, ``latent`` a tensor ``[T, C, h, w]``.
    """

    frames: np.ndarray | torch.Tensor | list[PIL.Image.Image]


class VideoInpaintPipeline(DiffusionPipeline, StableDiffusionMixin):
    """Fills the masked parts of a clip with ControlNet inpaint, consistently over its frames.

    With `reference_frames`, `blend_ratio` and `shared_noise` all None the result is that of diffusers'
    `StableDiffusionControlNetInpaintPipeline` on a batch of the frames; each of them switches on one part of the paper.

    Args:
        vae: an `AutoencoderKL`, or another autoencoder of diffusers with 2D latents, such as `AutoencoderTiny`.
        text_encoder: a `CLIPTextModel`; without a tokenizer, a model whose output without input is one learned
            embedding ``[1, N, D]``, and prompts have no effect.
        tokenizer: of the text encoder, or None.
        unet: denoises the VAE's latents; takes no mask.
        controlnet: ControlNet 1.1 inpaint: its hint is RGB in 0..1, and -1 where masked.
        scheduler: any of diffusers' for Stable Diffusion, such as DDIM, DPM++, Euler, UniPC or LCM.
    """

    model_cpu_offload_seq = "text_encoder->unet->vae"
    _optional_components: ClassVar[list[str]] = ["tokenizer"]
    _callback_tensor_inputs: ClassVar[list[str]] = ["latents", "prompt_embeds", "negative_prompt_embeds"]

    encode_prompt = StableDiffusionControlNetInpaintPipeline.encode_prompt
    get_timesteps = StableDiffusionControlNetInpaintPipeline.get_timesteps
    prepare_extra_step_kwargs = StableDiffusionControlNetInpaintPipeline.prepare_extra_step_kwargs

    def __init__(
        self,
        vae: ModelMixin,
        text_encoder: PreTrainedModel | ModelMixin,
        tokenizer: PreTrainedTokenizerBase | None,
        unet: UNet2DConditionModel,
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
        self.image_processor = VaeImageProcessor(vae_scale_factor=self.vae_scale_factor)

    @classmethod
    def from_backbone(cls, backbone) -> "VideoInpaintPipeline":
        """The pipeline of a loaded `toolkit.backbones.Backbone` with its `controlnet_inpaint`.

        Raises:
            UsageError: the backbone was loaded without a part that is needed.
        """
        parts = {
            "vae": backbone.vae,
            "text_encoder": backbone.text_encoder,
            "unet": backbone.unet,
            "controlnet_inpaint": backbone.controlnet_inpaint,
            "scheduler": backbone.scheduler,
        }
        if missing := [name for name, part in parts.items() if part is None]:
            raise UsageError(f"inpainting needs the backbone's {', '.join(missing)}; load it with these parts")
        return cls(controlnet=parts.pop("controlnet_inpaint"), tokenizer=backbone.tokenizer, **parts)

    @property
    def guidance_scale(self) -> float:
        return self._guidance_scale

    @property
    def do_classifier_free_guidance(self) -> bool:
        """Guidance needs two prompts; a backbone without tokenizer has one unless embeddings are given."""
        return self._guidance_scale > 1 and self._two_prompts

    @property
    def num_timesteps(self) -> int:
        return self._num_timesteps

    @property
    def interrupt(self) -> bool:
        return self._interrupt

    @torch.no_grad()
    def __call__(
        self,
        frames: np.ndarray | torch.Tensor | list[PIL.Image.Image],
        masks: np.ndarray | torch.Tensor,
        prompt: str = "",
        negative_prompt: str = "",
        num_inference_steps: int = 50,
        guidance_scale: float = 7.5,
        controlnet_conditioning_scale: float = 1.0,
        strength: float = 1.0,
        blend_ratio: float | None = 0.9,
        reference_frames: str | None = "first+middle",
        shared_noise: str | None = "inversion",
        inversion_steps: int | None = None,
        frame_batch_size: int = 8,
        generator: torch.Generator | list[torch.Generator] | None = None,
        latents: torch.Tensor | None = None,
        prompt_embeds: torch.Tensor | None = None,
        negative_prompt_embeds: torch.Tensor | None = None,
        callback_on_step_end: Callable[..., dict[str, Any]] | PipelineCallback | MultiPipelineCallbacks | None = None,
        callback_on_step_end_tensor_inputs: list[str] | tuple[str, ...] = ("latents",),
        output_type: str = "np",
        return_dict: bool = True,
    ) -> VideoInpaintOutput | tuple:
        """Inpaint a clip.

        Args:
            frames: uint8 numpy ``[T, H, W, 3]``, or floating torch ``[T, 3, H, W]`` in 0..1, or a list of PIL pictures;
                RGB, sides multiples of the VAE's scale factor. Not changed.
            masks: bool, or floating in 0..1, ``[T, H, W]``; 1 where the picture is made anew. A frame in which nothing
                reaches 0.5 comes back as it is.
            prompt: what the filled clip shows.
            negative_prompt: what it does not show.
            num_inference_steps: denoising steps.
            guidance_scale: of classifier-free guidance; 1 turns it off.
            controlnet_conditioning_scale: weight of the ControlNet.
            strength: share of the schedule that is run; below 1 the masked original shows through.
            blend_ratio: weight of the noised original outside the mask at each step (0.9 in the paper), by a mask that
                keeps thin rims; 0 does not blend; None does as diffusers: all of the original, by the nearest mask.
            reference_frames: the frames that all others attend to (see `toolkit.diffusion.reference_indices`); None
                lets each frame attend to itself.
            shared_noise: ``inversion`` starts all frames from the inverted latents of the first reference frame,
                ``seed`` from one random noise, None each from its own.
            inversion_steps: steps of the inversion; by default as many as `num_inference_steps`, up to half the
                timesteps.
            frame_batch_size: frames that go through the models at a time, at least the references together. It
                bounds the memory and does not change the result.
            generator: of the random numbers, or one for each frame.
            latents: standard normal noise ``[T, C, h, w]``, or ``[1, C, h, w]`` for all frames, instead of drawing or
                inverting.
            prompt_embeds: embedded prompt ``[1, N, D]`` instead of `prompt`.
            negative_prompt_embeds: the same for `negative_prompt`.
            callback_on_step_end: called as ``(pipeline, step, timestep, tensors)`` after each step; what it returns
                takes the tensors' place. ``pipeline._interrupt = True`` ends the denoising.
            callback_on_step_end_tensor_inputs: which of ``latents``, ``prompt_embeds`` and ``negative_prompt_embeds``
                it gets.
            output_type: ``np``, ``uint8``, ``pt``, ``pil`` or ``latent``, see `VideoInpaintOutput`.
            return_dict: False gives a tuple of the frames alone.

        Raises:
            UsageError: a setting is out of range, or shapes or dtypes do not fit.
            InputError: the frames or masks hold bad values, or leave nothing to inpaint or to go by.
            ToolkitError: the memory does not suffice, and the message says what to lower; or a model gave NaN.
        """
        check_models(self.vae, self.unet, self.scheduler)
        check_settings(
            num_inference_steps=num_inference_steps,
            strength=strength,
            blend_ratio=blend_ratio,
            shared_noise=shared_noise,
            frame_batch_size=frame_batch_size,
            output_type=output_type,
        )
        if isinstance(callback_on_step_end, PipelineCallback | MultiPipelineCallbacks):
            callback_on_step_end_tensor_inputs = callback_on_step_end.tensor_inputs
        if unknown := set(callback_on_step_end_tensor_inputs) - set(self._callback_tensor_inputs):
            raise UsageError(
                f"a callback can get {', '.join(self._callback_tensor_inputs)}, not {', '.join(sorted(unknown))}"
            )
        clip = check_clip(frames, masks, self.vae_scale_factor)
        references = [] if reference_frames is None else reference_indices(reference_frames, len(clip))

        self._guidance_scale = guidance_scale
        self._two_prompts = self.tokenizer is not None or negative_prompt_embeds is not None
        self._interrupt = False
        with memory_advice(clip.size, frame_batch_size):
            device = self._execution_device
            prompt_embeds, negative_prompt_embeds = self._embed(
                prompt, negative_prompt, prompt_embeds, negative_prompt_embeds, device
            )
            timesteps = self._timesteps(num_inference_steps, strength, device)
            background, spread = self._encode(clip, frame_batch_size, device)
            background = self._sample(background, spread, generator) * self.vae.config.scaling_factor
            background = background.to(self.unet.dtype)
            if latents is not None:
                noise = self._given_noise(latents, background)
            elif shared_noise == "inversion":
                source = references[0] if references else 0
                noise = self._inverted_noise(background, source, prompt_embeds, inversion_steps)
            else:
                noise = self._random_noise(background, shared_noise == "seed", generator)
            # diffusers draws for the masked picture as well, though only UNets with 9 channels are shown it.
            self._sample(background, spread, generator)
            del spread

            if strength == 1:
                latents = noise * self.scheduler.init_noise_sigma
            else:
                latents = self.scheduler.add_noise(background, noise, timesteps[:1])
            if blend_ratio is None:
                mask = torch.cat([self._nearest_mask(clip, [t], background) for t in range(len(clip))])
            else:
                mask = mask_to_latent(clip.masks, self.vae_scale_factor).to(background)

            step_kwargs = self.prepare_extra_step_kwargs(generator, 0.0)
            attention = CrossFrameAttention(self.unet, self.controlnet) if references else nullcontext()
            with attention, self.progress_bar(total=len(timesteps)) as progress_bar:
                for i, t in enumerate(timesteps):
                    if self.interrupt:
                        continue
                    embeds = [negative_prompt_embeds] * self.do_classifier_free_guidance + [prompt_embeds]
                    predicted = self._predict(
                        self.scheduler.scale_model_input(latents, t),
                        t,
                        clip,
                        torch.cat(embeds),
                        controlnet_conditioning_scale,
                        references,
                        frame_batch_size,
                        attention,
                    )
                    # All frames in one call, for multistep schedulers keep the last outputs.
                    latents = self.scheduler.step(predicted, t, latents, **step_kwargs, return_dict=False)[0]
                    following = timesteps[i + 1] if i + 1 < len(timesteps) else None
                    ratio = 1.0 if blend_ratio is None else blend_ratio
                    latents = blend(latents, background, noise, mask, self.scheduler, following, ratio)

                    if callback_on_step_end is not None:
                        tensors = {
                            "latents": latents,
                            "prompt_embeds": prompt_embeds,
                            "negative_prompt_embeds": negative_prompt_embeds,
                        }
                        given = {name: tensors[name] for name in callback_on_step_end_tensor_inputs}
                        returned = callback_on_step_end(self, i, t, given)
                        latents = returned.get("latents", latents)
                        prompt_embeds = returned.get("prompt_embeds", prompt_embeds)
                        negative_prompt_embeds = returned.get("negative_prompt_embeds", negative_prompt_embeds)
                    progress_bar.update()

            check_finite(latents, "denoising UNet")
            if output_type == "latent":
                made = torch.where(torch.from_numpy(clip.empty).to(device)[:, None, None, None], background, latents)
            else:
                made = self._decode(latents, clip, frame_batch_size, output_type)
        self.maybe_free_model_hooks()
        return VideoInpaintOutput(frames=made) if return_dict else (made,)

    def _embed(self, prompt, negative_prompt, prompt_embeds, negative_prompt_embeds, device):
        """The embedded prompt ``[1, N, D]`` and, with guidance, the negative one."""
        for text in (prompt, negative_prompt):
            if not isinstance(text, str):
                raise UsageError(f"expected one prompt for the clip as a text, found {text!r}")
        for embeds in (prompt_embeds, negative_prompt_embeds):
            if embeds is not None and (embeds.ndim != 3 or len(embeds) != 1):
                raise UsageError(f"expected one embedded prompt for the clip, [1, N, D], found {list(embeds.shape)}")
        if self.tokenizer is None:
            constant = self.text_encoder()[0][:1] if prompt_embeds is None else prompt_embeds
            embeds = (constant, negative_prompt_embeds)
        else:
            embeds = self.encode_prompt(
                prompt if prompt_embeds is None else None,
                device,
                1,
                self.do_classifier_free_guidance,
                negative_prompt if negative_prompt_embeds is None else None,
                prompt_embeds=prompt_embeds,
                negative_prompt_embeds=negative_prompt_embeds,
            )
        return tuple(None if embed is None else embed.to(device, self.unet.dtype) for embed in embeds)

    def _timesteps(self, num_inference_steps: int, strength: float, device) -> torch.Tensor:
        try:
            self.scheduler.set_timesteps(num_inference_steps, device=device)
        except ValueError as error:
            name = type(self.scheduler).__name__
            raise UsageError(f"{name} cannot be run in {num_inference_steps} steps: {error}") from error
        trained = self.scheduler.config.num_train_timesteps
        if self.scheduler.timesteps.max() >= trained:
            raise UsageError(
                f"{num_inference_steps} steps lead beyond the {trained} timesteps of the model; take at most "
                f"{trained // 2}"
            )
        timesteps, _ = self.get_timesteps(num_inference_steps, strength, device)
        self._num_timesteps = len(timesteps)
        return timesteps

    def _encode(self, clip: ClipInput, batch_size: int, device) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Mean ``[T, C, h, w]`` of the VAE's latents, unscaled, and their standard deviation if it gives one."""
        means, spreads = [], []
        for indices in _batches(range(len(clip)), batch_size):
            encoded = self.vae.encode((2 * clip.pixels(indices, device) - 1).to(self.vae.dtype))
            if hasattr(encoded, "latent_dist"):
                means.append(encoded.latent_dist.mean)
                spreads.append(encoded.latent_dist.std)
            else:
                means.append(encoded.latents)
        return torch.cat(means), torch.cat(spreads) if spreads else None

    @staticmethod
    def _sample(mean: torch.Tensor, spread: torch.Tensor | None, generator) -> torch.Tensor:
        """One draw for all frames at a time, so that the batch size does not change the random numbers."""
        if spread is None:
            return mean
        return mean + spread * randn_tensor(spread.shape, generator, spread.device, spread.dtype)

    @staticmethod
    def _given_noise(latents: torch.Tensor, background: torch.Tensor) -> torch.Tensor:
        expected = background.shape
        if latents.shape[1:] != expected[1:] or len(latents) not in (1, len(background)):
            raise UsageError(f"expected latents {list(expected)} or {[1, *expected[1:]]}, found {list(latents.shape)}")
        return latents.to(background).expand_as(background)

    @staticmethod
    def _random_noise(background: torch.Tensor, shared: bool, generator) -> torch.Tensor:
        if not shared:
            return randn_tensor(background.shape, generator, background.device, background.dtype)
        one = generator[0] if isinstance(generator, list) else generator
        return randn_tensor(background[:1].shape, one, background.device, background.dtype).expand_as(background)

    def _inverted_noise(
        self, background: torch.Tensor, source: int, prompt_embeds: torch.Tensor, steps: int | None
    ) -> torch.Tensor:
        """The inverted latents of frame `source` for all frames; by the UNet alone, without guidance."""

        def predict(sample: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            return self.unet(sample, t, encoder_hidden_states=prompt_embeds, return_dict=False)[0]

        if steps is None:
            steps = min(self.scheduler.num_inference_steps, self.scheduler.config.num_train_timesteps // 2)
        return invert(background[source : source + 1], predict, self.scheduler, steps).expand_as(background)

    def _nearest_mask(self, clip: ClipInput, indices: list[int], background: torch.Tensor) -> torch.Tensor:
        """The mask of diffusers: hard, and of each latent cell the first pixel, ``[B, 1, h, w]``."""
        hard = clip.hard_masks(indices, background.device)
        return F.interpolate(hard.float(), size=background.shape[-2:]).to(background.dtype)

    def _predict(
        self,
        model_input: torch.Tensor,
        t: torch.Tensor,
        clip: ClipInput,
        embeds: torch.Tensor,
        controlnet_scale: float,
        references: list[int],
        batch_size: int,
        attention: CrossFrameAttention | None,
    ) -> torch.Tensor:
        """The guided prediction for all frames, ``[T, C, h, w]``.

        Args:
            model_input: ``[T, C, h, w]``, as the scheduler scales it.
            embeds: ``[1, N, D]``, or ``[2, N, D]`` with guidance, the negative one first.
            attention: entered, if there are references.
        """
        predicted = torch.empty_like(model_input)
        groups = len(embeds)
        rest = [k for k in range(len(clip)) if k not in references]
        # The references come first, filled up to a whole batch: they are then computed once, as any other frame.
        first = max(batch_size - len(references), 0) if references else 0
        head = [references + rest[:first]] if references else []
        for number, indices in enumerate(head + _batches(rest[first:], batch_size)):
            if references and number == 0:
                attention.record(len(references), groups)
            elif references:
                attention.reuse(groups)
            sample = torch.cat([model_input[indices]] * groups)
            text = embeds.repeat_interleave(len(indices), dim=0)
            hint = clip.hint(indices, model_input.device).to(self.controlnet.dtype)
            down, mid = self.controlnet(
                sample.to(self.controlnet.dtype),
                t,
                encoder_hidden_states=text.to(self.controlnet.dtype),
                controlnet_cond=torch.cat([hint] * groups),
                conditioning_scale=controlnet_scale,
                return_dict=False,
            )
            output = self.unet(
                sample,
                t,
                encoder_hidden_states=text,
                down_block_additional_residuals=[residual.to(sample.dtype) for residual in down],
                mid_block_additional_residual=mid.to(sample.dtype),
                return_dict=False,
            )[0]
            if groups == 2:
                negative, positive = output.chunk(2)
                output = negative + self.guidance_scale * (positive - negative)
            predicted[indices] = output
        return predicted

    def _decode(self, latents: torch.Tensor, clip: ClipInput, batch_size: int, output_type: str):
        """The pictures in the type asked for; a frame without mask is the one that came in."""
        made, unmasked = [], torch.from_numpy(clip.empty)
        for indices in _batches(range(len(clip)), batch_size):
            scaled = (latents[indices] / self.vae.config.scaling_factor).to(self.vae.dtype)
            pictures = self.vae.decode(scaled, return_dict=False)[0].float()
            check_finite(pictures, "VAE")
            pictures = self.image_processor.postprocess(pictures, output_type="pt")
            empty = unmasked[indices].to(pictures.device)[:, None, None, None]
            pictures = torch.where(empty, clip.pixels(indices, pictures.device), pictures)
            if output_type == "pt":
                made.append(pictures)
                continue
            pictures = pictures.permute(0, 2, 3, 1).cpu().numpy()
            made.append(pictures if output_type == "np" else (pictures * 255).round().astype(np.uint8))
        if output_type == "pt":
            return torch.cat(made)
        frames = np.concatenate(made)
        return [PIL.Image.fromarray(frame) for frame in frames] if output_type == "pil" else frames


def _batches(indices, size: int) -> list[list[int]]:
    return [list(indices[i : i + size]) for i in range(0, len(indices), size)]
