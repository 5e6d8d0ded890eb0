"""Trials of the remover on held-out pairs: what it makes of them, in pictures and numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from toolkit.backbones import Backbone
from toolkit.dataset.reader import Sample
from toolkit.finetune.augment import fill_attribute
from toolkit.finetune.config import FinetuneConfig
from toolkit.finetune.datasets import TrainingSet, picture_of
from toolkit.finetune.encode import code, contrast, cover, encode_pictures, hints, pixels
from toolkit.finetune.grid import render_grid
from toolkit.finetune.loss import Batch, losses, predict, target
from toolkit.finetune.measures import Measures, average, measure
from toolkit.seeds import generator

_TIMES = 4
"""Noise levels at which the loss of a held-out pair is measured."""


@dataclass(frozen=True)
class Trial:
    """One validation.

    Attributes:
        loss: denoising loss on the held-out pairs, always with the same noise.
        outputs: uint8 ``[K, R, R, 3]``.
    """

    measures: Measures
    loss: float
    outputs: np.ndarray


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
    """Keeps some held-out pairs and edits them with the ControlNet as it is.

    If some pairs are `filled`, these all are: so editing shows them to the remover.
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
        source, wanted, mask = (picture_of(sample, name, side) for name in names)
        coded = code(self._backbone, [source, wanted])
        label = f"{sample.row['source']}, frame {sample.row['frame_index']}"
        shown = source
        if self._config.augmentation.fill:
            dice = generator(self._config.seed, "filling", label)
            shown = fill_attribute(wanted, source, self._config.augmentation.fill_parts, dice)
        return _HeldOut(source, shown, wanted, mask, *coded, sample.row["text"], dataset.perfect, label)

    @torch.no_grad()
    def run(self, controlnet: Any) -> Trial:
        """Edit the pairs and measure what came out; `controlnet` is in float32 and stays as it is."""
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
        return Trial(average(measured), loss, outputs)

    def grid(self, trial: Trial, heading: str) -> np.ndarray:
        """A sheet of input, output and target, uint8 ``[H, W, 3]``."""
        rows = [(pair.source, output, pair.target) for pair, output in zip(self._pairs, trial.outputs)]
        return render_grid(rows, [pair.label for pair in self._pairs], heading)

    def _cast(self, controlnet: Any) -> Any:
        """The ControlNet in the number format of the frozen models, in which it will be used too."""
        compute = self._backbone.compute
        if compute.dtype == "float32":
            return controlnet
        copy = type(controlnet).from_config(controlnet.config)
        copy.load_state_dict(controlnet.state_dict())
        return compute.prepare(copy.eval())

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
        made = []
        size = self._config.optimisation.train_batch_size
        for start in range(0, len(self._pairs), size):
            part = self._pairs[start : start + size]
            frames = hints([pair.shown for pair in part])
            made.append(
                pipeline(
                    prompt_embeds=torch.stack([self._states[pair.text] for pair in part]),
                    image=frames,
                    control_image=frames,
                    strength=settings.strength,
                    num_inference_steps=settings.num_inference_steps,
                    guidance_scale=1.0,
                    controlnet_conditioning_scale=1.0,  # diffusers' default, 0.8, is not what the remover learns for
                    # One for each pair, so that what comes out does not depend on the batch size.
                    generator=[self._noise("trial", start + k) for k in range(len(part))],
                    output_type="np",
                ).images
            )
        return (np.concatenate(made) * 255).round().astype(np.uint8)

    def _loss(self, controlnet: Any) -> float:
        backbone, times = self._backbone, self._times()
        found = []
        for number, pair in enumerate(self._pairs):
            mean, _ = encode_pictures(backbone, pixels([pair.target]))
            mean = mean.float().expand(len(times), -1, -1, -1) * backbone.vae.config.scaling_factor
            noise = torch.randn(mean.shape, generator=self._noise("loss", number)).to(mean.device)
            cell = pair.mask.shape[0] // mean.shape[-1]
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
            found.append(losses(predicted, wanted, batch, self._scheduler, self._config.loss).mean())
        return float(torch.stack(found).mean())

    def _times(self) -> torch.Tensor:
        """Timesteps at which the loss is measured: all that training draws from, or some of very many."""
        if few := self._backbone.spec.training_timesteps:
            return torch.tensor(sorted(set(few)))
        count = self._scheduler.config.num_train_timesteps
        return ((torch.arange(_TIMES) + 0.5) * count / _TIMES).long()

    def _noise(self, what: str, number: int) -> torch.Generator:
        seed = int(generator(self._config.seed, what, number).integers(2**63))
        return torch.Generator().manual_seed(seed)
