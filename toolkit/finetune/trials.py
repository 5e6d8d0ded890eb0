"""Tries the remover on held-out pairs, for pictures and measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from toolkit.backbones import Backbone
from toolkit.backbones.compatible import cell_size
from toolkit.dataset.reader import Sample
from toolkit.finetune.augment import fill_attribute
from toolkit.finetune.config import FinetuneConfig
from toolkit.finetune.datasets import TrainingSet, picture_of
from toolkit.finetune.encode import code, contrast, cover, encode_pictures, hints, pixels
from toolkit.finetune.grid import render_grid
from toolkit.finetune.lora import merged_copy
from toolkit.finetune.loss import Batch, losses, predict, target
from toolkit.finetune.measures import Measures, average, measure
from toolkit.finetune.window import cut, draw_window
from toolkit.seeds import generator

_TIMES = 4
"""Number of timesteps at which the loss of a held-out pair is measured."""


@dataclass(frozen=True)
class Trial:
    """One validation.

    Attributes:
        measures: mean over the held-out pairs.
        loss: denoising loss on the held-out pairs, with the same noise in every trial.
        outputs: the edited pictures, uint8 ``[K, R, R, 3]``.
        each: the measures of each held-out pair.
    """

    measures: Measures
    loss: float
    outputs: np.ndarray
    each: tuple[Measures, ...] = ()


@dataclass(frozen=True)
class _HeldOut:
    source: np.ndarray
    shown: np.ndarray
    target: np.ndarray
    mask: np.ndarray
    source_coded: np.ndarray
    target_coded: np.ndarray
    text: str
    perfect: bool
    label: str


class Trials:
    """Edits a fixed set of held-out pairs with the current ControlNet.

    If training fills the attribute in a share of the pairs, trials fill it in all of them, as edits do.
    """

    def __init__(
        self,
        config: FinetuneConfig,
        chosen: Sequence[tuple[TrainingSet, Sample]],
        backbone: Backbone,
        scheduler: Any,
        states: dict[str, torch.Tensor],
    ):
        """
        Raises:
            InputError: a picture of a held-out pair cannot be read.
        """
        self._config, self._backbone, self._scheduler, self._states = config, backbone, scheduler, states
        self._pairs = [self._hold(dataset, sample) for dataset, sample in chosen]

    @property
    def texts(self) -> set[str]:
        return {pair.text for pair in self._pairs}

    def _hold(self, dataset: TrainingSet, sample: Sample) -> _HeldOut:
        names, side = ("conditioning_image", "image", "mask"), dataset.manifest.resolution
        pictures = {name: picture_of(sample, name, side) for name in names}
        if self._config.region is not None:
            cell = cell_size(self._backbone.vae.config)
            pictures = cut(pictures, draw_window(pictures["mask"], self._config.region, cell))
        source, wanted, mask = (pictures[name] for name in names)
        source_coded, target_coded = code(self._backbone, [source, wanted])
        label = f"{sample.row['source']}, frame {sample.row['frame_index']}"
        shown = source
        if self._config.augmentation.fill:
            dice = generator(self._config.seed, "filling", label)
            shown = fill_attribute(wanted, source, self._config.augmentation.fill_parts, dice)
        return _HeldOut(
            source, shown, wanted, mask, source_coded, target_coded, sample.row["text"], dataset.perfect, label
        )

    @torch.no_grad()
    def run(self, controlnet: Any) -> Trial:
        """Edit the pairs and measure the results. `controlnet` is in float32 and does not change."""
        was_training = controlnet.training
        controlnet.eval()
        tried = self._cast(controlnet)
        outputs = self._edit(tried)
        measured = [
            measure(
                output,
                pair.source,
                pair.target,
                pair.mask,
                source_coded=pair.source_coded,
                target_coded=pair.target_coded,
                perfect=pair.perfect,
            )
            for output, pair in zip(outputs, self._pairs)
        ]
        loss = self._loss(tried)
        controlnet.train(was_training)
        return Trial(average(measured), loss, outputs, tuple(measured))

    def grid(self, trial: Trial, heading: str) -> np.ndarray:
        """Draw a sheet of the pairs, uint8 ``[H, W, 3]``."""
        rows = [(pair.source, output, pair.target) for pair, output in zip(self._pairs, trial.outputs)]
        return render_grid(rows, [pair.label for pair in self._pairs], heading)

    def _cast(self, controlnet: Any) -> Any:
        """The ControlNet in the number format of the frozen models, in which edits run it."""
        compute = self._backbone.compute
        if compute.dtype == "float32":
            return controlnet
        return compute.prepare(merged_copy(controlnet).eval())

    def _edit(self, controlnet: Any) -> np.ndarray:
        from diffusers import DDIMScheduler, StableDiffusionControlNetImg2ImgPipeline

        backbone, settings = self._backbone, self._config.validation
        pipeline = StableDiffusionControlNetImg2ImgPipeline(
            vae=backbone.vae,
            text_encoder=None,
            tokenizer=None,
            unet=backbone.unet,
            controlnet=controlnet,
            scheduler=DDIMScheduler.from_config(self._scheduler.config, timestep_spacing="trailing", clip_sample=False),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        pipeline.set_progress_bar_config(disable=True)
        edited = []
        size = self._config.optimisation.train_batch_size
        for start in range(0, len(self._pairs), size):
            part = self._pairs[start : start + size]
            frames = hints([pair.shown for pair in part])
            edited.append(
                pipeline(
                    prompt_embeds=torch.stack([self._states[pair.text] for pair in part]),
                    image=frames,
                    control_image=frames,
                    strength=settings.strength,
                    num_inference_steps=settings.num_inference_steps,
                    guidance_scale=1.0,
                    controlnet_conditioning_scale=1.0,  # the strength in training; diffusers' default is 0.8
                    # One per pair, so that the result does not depend on the batch size.
                    generator=[self._noise("trial", start + k) for k in range(len(part))],
                    output_type="np",
                ).images
            )
        return (np.concatenate(edited) * 255).round().astype(np.uint8)

    def _loss(self, controlnet: Any) -> float:
        backbone, times = self._backbone, self._times()
        measured = []
        for number, pair in enumerate(self._pairs):
            mean, _ = encode_pictures(backbone, pixels([pair.target]))
            mean = mean.float().expand(len(times), -1, -1, -1) * backbone.vae.config.scaling_factor
            noise = torch.randn(mean.shape, generator=self._noise("loss", number)).to(mean.device)
            cell = pair.mask.shape[1] // mean.shape[-1]
            batch = Batch(
                latents=mean,
                noise=noise,
                timesteps=times.to(mean.device),
                hint=hints([pair.shown]).to(mean.device).expand(len(times), -1, -1, -1),
                cells=cover(pair.mask, cell)[None].to(mean.device),
                states=self._states[pair.text].expand(len(times), -1, -1),
                contrast=torch.tensor([contrast(pair.source, pair.target, pair.mask)]).to(mean.device),
            )
            predicted = predict(controlnet, backbone.unet, self._scheduler, batch, backbone.compute.torch_dtype)
            wanted = target(self._scheduler, batch)
            measured.append(losses(predicted, wanted, batch, self._scheduler, self._config.loss).mean())
        return float(torch.stack(measured).mean())

    def _times(self) -> torch.Tensor:
        """The timesteps at which the loss is measured: those of the training, or an even selection of all."""
        if few := self._backbone.spec.training_timesteps:
            return torch.tensor(sorted(set(few)))
        count = self._scheduler.config.num_train_timesteps
        return ((torch.arange(_TIMES) + 0.5) * count / _TIMES).long()

    def _noise(self, what: str, number: int) -> torch.Generator:
        seed = int(generator(self._config.seed, what, number).integers(2**63))
        return torch.Generator().manual_seed(seed)
