"""The training loop of a stage, on one device."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, Sampler

from toolkit.errors import ToolkitError
from toolkit.finetune.loss import faintness
from toolkit.interruption import leave_signals_to_the_parent
from toolkit.pretrain.checkpoints import Checkpoint, Checkpoints
from toolkit.pretrain.config import PretrainConfig
from toolkit.pretrain.recipe import Phase, Recipe, StageRecipe
from toolkit.pretrain.report import PretrainObserver
from toolkit.pretrain.samples import Pictures, SampleStream
from toolkit.pretrain.shape import make_scheduler
from toolkit.pretrain.stages import Networks


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM; a checkpoint was written."""


class Positions(Sampler):
    """The positions of the stream from `first` to before `last`, in batches of `size`."""

    def __init__(self, first: int, last: int, size: int):
        self._starts, self._size = range(first, last, size), size

    def __iter__(self) -> Iterator[list[int]]:
        for start in self._starts:
            yield list(range(start, start + self._size))

    def __len__(self) -> int:
        return len(self._starts)


class Trainer:
    """The state that changes while a stage is trained.

    Args:
        device: torch device of the networks.

    Attributes:
        step: steps that are done.
    """

    def __init__(self, networks: Networks, recipe: Recipe, stage: StageRecipe, device: str):
        self.networks, self._recipe, self.stage, self.device = networks, recipe, stage, device
        self._scheduler = make_scheduler()
        self.step = 0
        self._begin()

    def _begin(self) -> None:
        """Create a new optimizer and a new average."""
        from diffusers.training_utils import EMAModel

        parameters = self.networks.parameters
        self._optimizer = torch.optim.AdamW(
            parameters, self.stage.phases[0].learning_rate, weight_decay=self.stage.adam_weight_decay, fused=True
        )
        # The warm-up keeps the first weights from dominating the average.
        self._ema = EMAModel(parameters, decay=self.stage.ema_decay, use_ema_warmup=True, power=3 / 4, foreach=True)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Resume from a checkpoint."""
        saved = checkpoint.training
        with torch.no_grad():
            for parameter, value in zip(self.networks.parameters, saved["parameters"], strict=True):
                parameter.copy_(value)
        self._optimizer.load_state_dict(saved["optimizer"])
        self._ema.load_state_dict(saved["ema"])
        self._ema.to(self.device)
        self.step = checkpoint.step

    def run(
        self,
        pictures: Pictures,
        config: PretrainConfig,
        checkpoints: Checkpoints,
        interrupted: Any,
        observer: PretrainObserver,
    ) -> Iterator[Phase]:
        """Train to the last step; yields the phase after each checkpoint.

        Args:
            interrupted: becomes true when the user asks to stop; tested after every step.

        Raises:
            Interrupted: a checkpoint was written.
            ToolkitError: the loss is not finite, or a checkpoint cannot be written.
            InputError: a picture cannot be read.
        """
        workers = config.dataloader_num_workers
        observer.phase("training", self.stage.steps, "steps", self.step)
        while self.step < self.stage.steps:
            number, first, position = self.stage.phase_at(self.step)
            phase = self.stage.phases[number]
            if self.step == first and number:
                self._ema.copy_to(self.networks.parameters)
                self._begin()
            loader = DataLoader(
                SampleStream(pictures, self.stage.hints, phase, config.seed),
                batch_sampler=Positions(
                    position + (self.step - first) * phase.train_batch_size,
                    position + phase.steps * phase.train_batch_size,
                    phase.train_batch_size,
                ),
                num_workers=workers,
                multiprocessing_context="spawn" if workers else None,  # forked ones would inherit torch's locks
                worker_init_fn=leave_signals_to_the_parent,
            )
            for batch in loader:
                rate = phase.rate(self.step - first)
                loss = self._train_step(batch, rate, phase)
                if not math.isfinite(loss):
                    raise ToolkitError(f"the loss of step {self.step + 1} is {loss}; {checkpoints.advice()}")
                self.step += 1
                observer.advance(self.step, loss=loss, learning_rate=rate)
                stop = bool(interrupted)
                if stop or self.step % config.checkpointing_steps == 0 or self.step == first + phase.steps:
                    observer.saved(checkpoints.save(self.step, self._training()))
                    yield phase
                if stop and self.step < self.stage.steps:
                    raise Interrupted(f"stopped at step {self.step}; the same command resumes")

    def _training(self) -> dict[str, Any]:
        return {
            "parameters": [parameter.detach().cpu() for parameter in self.networks.parameters],
            "optimizer": self._optimizer.state_dict(),
            "ema": self._ema.state_dict(),
        }

    def _train_step(self, batch: dict[str, torch.Tensor], rate: float, phase: Phase) -> float:
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        image, hint, mask = (batch[name].to(self.device) for name in ("image", "hint", "mask"))
        count, frames = image.shape[:2]
        latents = self._latents(image.flatten(0, 1))
        drawn = torch.tensor(phase.training_timesteps or self._recipe.training_timesteps)
        noise, timesteps = self._noise(batch["seed"], drawn, frames, latents.shape[1:])
        noisy = self._scheduler.add_noise(latents, noise, timesteps.repeat_interleave(frames))
        with torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.stage.bfloat16):
            predicted = self.predict(noisy, timesteps, hint.flatten(0, 1), frames)
        predicted = predicted.float()
        inside = F.max_pool2d(mask.flatten(0, 1), self._recipe.shape.cell)
        factor = faintness(_contrasts(image, hint, mask), phase.contrast_power).repeat_interleave(frames)
        weights = 1 + (self.stage.mask_weight * factor[:, None, None, None] - 1) * inside
        loss = _weighted_mean((predicted - latents) ** 2, weights)
        if self.stage.difference_weight and frames > 1:
            clips = (predicted - latents).unflatten(0, (count, frames))
            moved = (clips[:, 1:] - clips[:, :-1]).flatten(0, 1)
            loss = loss + self.stage.difference_weight * _weighted_mean(
                moved**2, weights.unflatten(0, (count, frames))[:, 1:].flatten(0, 1)
            )
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.networks.parameters, self.stage.max_grad_norm)
        self._optimizer.step()
        self._ema.step(self.networks.parameters)
        return float(loss.detach())

    def _latents(self, pixels: torch.Tensor) -> torch.Tensor:
        shape = self._recipe.shape
        latents = F.pixel_unshuffle(pixels * 2 - 1, shape.cell) * shape.scaling_factor
        return latents.contiguous(memory_format=torch.channels_last)

    def _noise(
        self, seeds: torch.Tensor, drawn: torch.Tensor, frames: int, shape: Sequence[int]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw the noise of each frame and the timestep of each sample, one of `drawn`, from the samples' seeds."""
        noise, timesteps = [], []
        for seed in seeds.tolist():
            rng = torch.Generator().manual_seed(seed)
            timesteps.append(drawn[torch.randint(len(drawn), (), generator=rng)])
            noise.append(torch.randn((frames, *shape), generator=rng))
        return torch.cat(noise).to(self.device), torch.stack(timesteps).to(self.device)

    def predict(self, noisy: torch.Tensor, timesteps: torch.Tensor, hint: torch.Tensor, frames: int) -> torch.Tensor:
        """The UNet's prediction, ``[B * T, C, h, w]``; `timesteps` are ``[B]``, `hint` is ``[B * T, 3, H, W]``."""
        networks = self.networks
        states = networks.text_encoder().last_hidden_state.expand(len(noisy), -1, -1)
        layout = {"memory_format": torch.channels_last}
        down, mid = networks.controlnet(
            noisy.contiguous(**layout),
            timesteps.repeat_interleave(frames),
            encoder_hidden_states=states,
            controlnet_cond=hint.contiguous(**layout),
            return_dict=False,
        )
        if frames > 1:
            noisy = noisy.unflatten(0, (-1, frames)).transpose(1, 2)
        predicted = networks.unet(
            noisy,
            timesteps,
            encoder_hidden_states=states,
            down_block_additional_residuals=down,
            mid_block_additional_residual=mid,
            return_dict=False,
        )[0]
        return predicted.transpose(1, 2).flatten(0, 1) if frames > 1 else predicted

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Meanwhile the networks have the weights that are kept: their moving averages."""
        self._ema.store(self.networks.parameters)
        self._ema.copy_to(self.networks.parameters)
        try:
            yield
        finally:
            self._ema.restore(self.networks.parameters)

    @torch.inference_mode()
    def sample(self, hint: torch.Tensor, steps: int) -> torch.Tensor:
        """Pictures for the hints of one clip or of single frames, ``[N, 3, H, W]`` in 0..1.

        Args:
            steps: denoising steps.
        """
        scheduler, shape = make_scheduler(), self._recipe.shape
        scheduler.set_timesteps(steps)
        frames = self.stage.clip_length
        size = [side // shape.cell for side in hint.shape[2:]]
        noise = torch.randn((len(hint), shape.latent_channels, *size), generator=torch.Generator().manual_seed(0))
        latents = noise.to(self.device)
        for timestep in scheduler.timesteps:
            at = timestep.to(self.device).expand(len(hint) // frames)
            latents = scheduler.step(self.predict(latents, at, hint, frames), timestep, latents).prev_sample
        return ((F.pixel_shuffle(latents / shape.scaling_factor, shape.cell) + 1) / 2).clamp(0, 1)


def _contrasts(image: torch.Tensor, hint: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The attributes' contrast inside their masks, ``[B]``, as `toolkit.finetune.loss.Batch.contrast`.

    Args:
        image, hint: ``[B, T, 3, R, R]`` in 0..1. Hints with holes, which are -1, have the contrast NaN.
        mask: ``[B, T, 1, R, R]``.
    """
    every = (1, 2, 3, 4)
    contrast = ((hint - image) ** 2 * mask).sum(every) / (3 * mask.sum(every))  # NaN if the mask is empty
    return torch.where((hint < 0).flatten(1).any(1), torch.nan, contrast)


def _weighted_mean(squared: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    return (squared * weights).sum() / (weights.sum() * squared.shape[1])
