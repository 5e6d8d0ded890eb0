"""A diffusers pipeline that inpaints a clip: data synthesis, step 1 of V-LASIK (arXiv 2406.14510, section C.1)."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

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

from toolkit.backbones.loading import Backbone
from toolkit.diffusion.blended_latents import blend
from toolkit.diffusion.checks import check_clip, check_finite, check_models, check_settings, memory_advice
from toolkit.diffusion.clip_input import ClipInput
from toolkit.diffusion.cross_frame_attention import CrossFrameAttention
from toolkit.diffusion.latent_mask import mask_to_latent
from toolkit.diffusion.references import reference_indices
from toolkit.diffusion.shared_noise import invert
from toolkit.errors import UsageError

Frames: TypeAlias = np.ndarray | torch.Tensor | list[PIL.Image.Image]
Generators: TypeAlias = torch.Generator | list[torch.Generator] | None


@dataclass
class VideoInpaintOutput(BaseOutput):
    """Result of `VideoInpaintPipeline`.

    Attributes:
        frames: by `output_type`: ``np`` float32 ``[T, H, W, 3]`` in 0..1, ``uint8`` numpy ``[T, H, W, 3]``, ``pt``
            float32 tensor ``[T, 3, H, W]`` in 0..1, ``pil`` a list of images, ``latent`` a tensor ``[T, C, h, w]``.
    """

    frames: Frames


class VideoInpaintPipeline(DiffusionPipeline, StableDiffusionMixin):
    """Inpaints the masked region of a clip with a ControlNet, consistently over its frames.

    If `reference_frames`, `blend_ratio` and `shared_noise` are all None, it matches diffusers'
    `StableDiffusionControlNetInpaintPipeline` on a batch of the frames. Each of them enables one method of the paper.

    Args:
        vae: an `AutoencoderKL`, or another autoencoder of diffusers with 2D latents, such as `AutoencoderTiny`.
        text_encoder: a `CLIPTextModel`, or, if `tokenizer` is None, a model that returns one embedding ``[1, N, D]``
            without input. Prompts then have no effect.
        tokenizer: the text encoder's, or None.
        unet: denoises the VAE's latents without a mask input.
        controlnet: ControlNet 1.1 inpaint. Its input is RGB in 0..1, and -1 in masked pixels.
        scheduler: any of diffusers' schedulers for Stable Diffusion, such as DDIM, DPM++, Euler, UniPC or LCM.
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
    def from_backbone(cls, backbone: Backbone) -> "VideoInpaintPipeline":
        """Create the pipeline from a loaded backbone and its `controlnet_inpaint`.

        Raises:
            UsageError: the backbone was loaded without a required part.
        """
        parts: dict[str, Any] = {
            "vae": backbone.vae,
            "text_encoder": backbone.text_encoder,
            "unet": backbone.unet,
            "controlnet_inpaint": backbone.controlnet_inpaint,
            "scheduler": backbone.scheduler,
        }
        if missing := [name for name, part in parts.items() if part is None]:
            raise UsageError(f"inpainting needs the backbone's {', '.join(missing)}; load these parts too")
        return cls(controlnet=parts.pop("controlnet_inpaint"), tokenizer=backbone.tokenizer, **parts)

    @property
    def guidance_scale(self) -> float:
        """Scale of classifier-free guidance of the current call."""
        return self._guidance_scale

    @property
    def do_classifier_free_guidance(self) -> bool:
        """Whether guidance is on. It needs two prompts, but a backbone without a tokenizer has only one."""
        return self._guidance_scale > 1 and self._two_prompts

    @property
    def num_timesteps(self) -> int:
        """Timesteps of the current call."""
        return self._num_timesteps

    @property
    def interrupt(self) -> bool:
        """Whether a callback has stopped denoising."""
        return self._interrupt

    @torch.no_grad()
    def __call__(
        self,
        frames: Frames,
        masks: np.ndarray | torch.Tensor,
        prompt: str = "",
        negative_prompt: str = "",
        num_inference_steps: int = 50,
        guidance_scale: float = 7.5,
        controlnet_conditioning_scale: float = 1.0,
        strength: float = 1.0,
        blend_ratio: float | None = 0.9,
        blend_source: str = "frame",
        keep: np.ndarray | torch.Tensor | None = None,
        reference_frames: str | None = "first+middle",
        shared_noise: str | None = "inversion",
        inversion_steps: int | None = None,
        frame_batch_size: int = 8,
        generator: Generators = None,
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
            frames: uint8 numpy ``[T, H, W, 3]``, or floating torch ``[T, 3, H, W]`` in 0..1, or a list of PIL images;
                RGB, sides multiples of the VAE's scale factor. Not changed.
            masks: bool, or floating in 0..1, ``[T, H, W]``; 1 in the region to generate. A frame in which no pixel
                reaches 0.5 is returned unchanged.
            prompt: describes the inpainted clip.
            negative_prompt: describes what the inpainted clip must not show.
            num_inference_steps: denoising steps.
            guidance_scale: scale of classifier-free guidance. 1 turns it off.
            controlnet_conditioning_scale: weight of the ControlNet.
            strength: share of the schedule to run. Below 1, traces of the masked original remain.
            blend_ratio: weight of the noised original outside the mask at each step (0.9 in the paper), with a mask
                that keeps thin rims. 0 turns blending off. None blends as diffusers does: only the original, with the
                mask downscaled by nearest neighbour.
            blend_source: what is blended in outside the mask: the encoded ``frame``, or the encoded frame with grey in
                the ``masked`` pixels, as in the paper.
            keep: bool ``[T, H, W]``: pixels whose latents stay close to the original even where the widened mask of
                latents reaches them, such as eyes. No effect if `blend_ratio` is None.
            reference_frames: frames that all others attend to, in the syntax of `reference_indices`. If None, each
                frame attends to itself.
            shared_noise: ``inversion`` starts all frames from the inverted latents of the first reference frame,
                ``seed`` from the same random noise, and None from independent noise.
            inversion_steps: steps of the inversion. If None, `num_inference_steps`, up to half the timesteps.
            frame_batch_size: frames that go through the models together; raised to the number of references if lower.
                Limits memory use and does not change the result.
            generator: random generator, or one for each frame.
            latents: standard normal noise ``[T, C, h, w]``, or ``[1, C, h, w]`` for all frames, to start from instead
                of drawn or inverted noise.
            prompt_embeds: embedded prompt ``[1, N, D]`` instead of `prompt`.
            negative_prompt_embeds: the same for `negative_prompt`.
            callback_on_step_end: called as ``(pipeline, step, timestep, tensors)`` after each step. Tensors that it
                returns replace the current ones. Setting ``pipeline._interrupt = True`` stops denoising.
            callback_on_step_end_tensor_inputs: which of ``latents``, ``prompt_embeds`` and ``negative_prompt_embeds``
                the callback gets.
            output_type: ``np``, ``uint8``, ``pt``, ``pil`` or ``latent``, see `VideoInpaintOutput`.
            return_dict: return a `VideoInpaintOutput`, or if False, a tuple with the frames.

        Raises:
            UsageError: a setting is out of range, or shapes or dtypes do not fit.
            InputError: the frames or masks contain bad values, or nothing or everything is masked.
            ToolkitError: the memory is too small, and the message says what to lower; or a model returned NaN.
        """
        check_models(self.vae, self.unet, self.scheduler)
        check_settings(
            num_inference_steps=num_inference_steps,
            strength=strength,
            blend_ratio=blend_ratio,
            blend_source=blend_source,
            shared_noise=shared_noise,
            frame_batch_size=frame_batch_size,
            output_type=output_type,
        )
        if isinstance(callback_on_step_end, PipelineCallback | MultiPipelineCallbacks):
            callback_on_step_end_tensor_inputs = callback_on_step_end.tensor_inputs
        if unknown := set(callback_on_step_end_tensor_inputs) - set(self._callback_tensor_inputs):
            raise UsageError(
                f"a callback can get {', '.join(self._callback_tensor_inputs)}, but not {', '.join(sorted(unknown))}"
            )
        clip = check_clip(frames, masks, self.vae_scale_factor, keep)
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
            encoded = self._encode(clip.pixels, len(clip), frame_batch_size, device)
            original = self._latents(encoded, generator)
            if latents is not None:
                noise = self._expanded_noise(latents, original)
            elif shared_noise == "inversion":
                source = references[0] if references else 0
                noise = self._inverted_noise(original, source, prompt_embeds, inversion_steps)
            else:
                noise = self._random_noise(original, shared_noise == "seed", generator)
            # diffusers draws for the masked picture too, although only UNets with 9 channels see it.
            if blend_source == "masked":
                encoded = self._encode(clip.masked_pixels, len(clip), frame_batch_size, device)
                background = self._latents(encoded, generator)
            else:
                self._latents(encoded, generator)
                background = original
            del encoded

            if strength == 1:
                latents = noise * self.scheduler.init_noise_sigma
            else:
                latents = self.scheduler.add_noise(original, noise, timesteps[:1])
            if blend_ratio is None:
                mask = torch.cat([self._nearest_mask(clip, [t], background) for t in range(len(clip))])
            else:
                mask = mask_to_latent(clip.masks, self.vae_scale_factor, clip.keep).to(background)

            step_kwargs = self.prepare_extra_step_kwargs(generator, 0.0)
            crossing = CrossFrameAttention(self.unet, self.controlnet) if references else nullcontext()
            with crossing as attention, self.progress_bar(total=len(timesteps)) as progress_bar:
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
                    # All frames in one call, because multistep schedulers remember earlier outputs.
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
                        inputs = {name: tensors[name] for name in callback_on_step_end_tensor_inputs}
                        returned = callback_on_step_end(self, i, t, inputs)
                        latents = returned.get("latents", latents)
                        prompt_embeds = returned.get("prompt_embeds", prompt_embeds)
                        negative_prompt_embeds = returned.get("negative_prompt_embeds", negative_prompt_embeds)
                    progress_bar.update()

            check_finite(latents, "denoising UNet")
            if output_type == "latent":
                empty = torch.from_numpy(clip.empty).to(device)[:, None, None, None]
                inpainted = torch.where(empty, original, latents)
            else:
                inpainted = self._decode(latents, clip, frame_batch_size, output_type)
        self.maybe_free_model_hooks()
        return VideoInpaintOutput(frames=inpainted) if return_dict else (inpainted,)

    def _embed(
        self,
        prompt: str,
        negative_prompt: str,
        prompt_embeds: torch.Tensor | None,
        negative_prompt_embeds: torch.Tensor | None,
        device: torch.device,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The embedded prompt ``[1, N, D]`` and, with guidance, the negative prompt."""
        for text in (prompt, negative_prompt):
            if not isinstance(text, str):
                raise UsageError(f"expected one prompt for the clip, as a string, found {text!r}")
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
        positive, negative = (None if embed is None else embed.to(device, self.unet.dtype) for embed in embeds)
        return positive, negative

    def _timesteps(self, num_inference_steps: int, strength: float, device: torch.device) -> torch.Tensor:
        try:
            self.scheduler.set_timesteps(num_inference_steps, device=device)
        except ValueError as error:
            name = type(self.scheduler).__name__
            raise UsageError(f"{name} cannot be run in {num_inference_steps} steps: {error}") from error
        trained = self.scheduler.config.num_train_timesteps
        if self.scheduler.timesteps.max() >= trained:
            raise UsageError(
                f"{num_inference_steps} steps lead beyond the {trained} timesteps of the model; use at most "
                f"{trained // 2}"
            )
        timesteps, _ = self.get_timesteps(num_inference_steps, strength, device)
        self._num_timesteps = len(timesteps)
        return timesteps

    def _encode(
        self,
        pixels: Callable[[list[int], torch.device], torch.Tensor],
        count: int,
        batch_size: int,
        device: torch.device,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Mean ``[T, C, h, w]`` of the unscaled latents, and their standard deviation if the VAE returns one."""
        means, spreads = [], []
        for indices in _batches(range(count), batch_size):
            encoded = self.vae.encode((2 * pixels(indices, device) - 1).to(self.vae.dtype))
            if hasattr(encoded, "latent_dist"):
                means.append(encoded.latent_dist.mean)
                spreads.append(encoded.latent_dist.std)
            else:
                means.append(encoded.latents)
        return torch.cat(means), torch.cat(spreads) if spreads else None

    def _latents(self, encoded: tuple[torch.Tensor, torch.Tensor | None], generator: Generators) -> torch.Tensor:
        """Scaled latents, drawn for all frames at once, so that the batch size does not change the random numbers."""
        mean, spread = encoded
        if spread is not None:
            mean = mean + spread * randn_tensor(spread.shape, generator, spread.device, spread.dtype)
        return (mean * self.vae.config.scaling_factor).to(self.unet.dtype)

    @staticmethod
    def _expanded_noise(latents: torch.Tensor, background: torch.Tensor) -> torch.Tensor:
        expected = background.shape
        if latents.shape[1:] != expected[1:] or len(latents) not in (1, len(background)):
            raise UsageError(f"expected latents {list(expected)} or {[1, *expected[1:]]}, found {list(latents.shape)}")
        return latents.to(background).expand_as(background)

    @staticmethod
    def _random_noise(background: torch.Tensor, shared: bool, generator: Generators) -> torch.Tensor:
        if not shared:
            return randn_tensor(background.shape, generator, background.device, background.dtype)
        one = generator[0] if isinstance(generator, list) else generator
        return randn_tensor(background[:1].shape, one, background.device, background.dtype).expand_as(background)

    def _inverted_noise(
        self, background: torch.Tensor, source: int, prompt_embeds: torch.Tensor, steps: int | None
    ) -> torch.Tensor:
        """Inverted latents of frame `source`, repeated for all frames. Uses the UNet only, without guidance."""

        def predict(sample: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            return self.unet(sample, t, encoder_hidden_states=prompt_embeds, return_dict=False)[0]

        if steps is None:
            steps = min(self.scheduler.num_inference_steps, self.scheduler.config.num_train_timesteps // 2)
        return invert(background[source : source + 1], predict, self.scheduler, steps).expand_as(background)

    def _nearest_mask(self, clip: ClipInput, indices: list[int], background: torch.Tensor) -> torch.Tensor:
        """The mask as in diffusers: binary, first pixel of each latent cell, ``[B, 1, h, w]``."""
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
            model_input: ``[T, C, h, w]``, scaled by the scheduler.
            embeds: ``[1, N, D]``, or ``[2, N, D]`` with guidance, the negative prompt first.
            attention: entered, if there are references.
        """
        predicted = torch.empty_like(model_input)
        groups = len(embeds)
        rest = [k for k in range(len(clip)) if k not in references]
        # The first batch starts with the references, so they are computed once like any other frame.
        first = max(batch_size - len(references), 0) if references else 0
        head = [references + rest[:first]] if references else []
        for number, indices in enumerate(head + _batches(rest[first:], batch_size)):
            if attention is not None and number == 0:
                attention.record(len(references), groups)
            elif attention is not None:
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

    def _decode(self, latents: torch.Tensor, clip: ClipInput, batch_size: int, output_type: str) -> Frames:
        """Decode to the output type. Frames without a mask are copied from the input."""
        decoded, unmasked = [], torch.from_numpy(clip.empty)
        for indices in _batches(range(len(clip)), batch_size):
            scaled = (latents[indices] / self.vae.config.scaling_factor).to(self.vae.dtype)
            pictures = self.vae.decode(scaled, return_dict=False)[0].float()
            check_finite(pictures, "VAE")
            pictures = self.image_processor.postprocess(pictures, output_type="pt")
            empty = unmasked[indices].to(pictures.device)[:, None, None, None]
            pictures = torch.where(empty, clip.pixels(indices, pictures.device), pictures)
            if output_type == "pt":
                decoded.append(pictures)
                continue
            pictures = pictures.permute(0, 2, 3, 1).cpu().numpy()
            decoded.append(pictures if output_type == "np" else (pictures * 255).round().astype(np.uint8))
        if output_type == "pt":
            return torch.cat(decoded)
        frames = np.concatenate(decoded)
        return [PIL.Image.fromarray(frame) for frame in frames] if output_type == "pil" else frames


def _batches(indices: Sequence[int], size: int) -> list[list[int]]:
    return [list(indices[i : i + size]) for i in range(0, len(indices), size)]
