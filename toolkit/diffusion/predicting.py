"""The networks' part in an edit: residuals of the ControlNet, and the UNet's prediction with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from toolkit.diffusion.shared_sample import SharedSample
from toolkit.libraries import UNetMotionModel


class Predicting:
    """What a pipeline with a `unet` and a `controlnet` predicts for frames.

    F is the number of frames, G the number of prompts: 1, or with guidance 2, the negative prompt first.
    """

    unet: Any
    controlnet: Any
    _shared: Sequence[SharedSample] = ()

    def _control(
        self,
        sample: torch.Tensor,
        t: torch.Tensor,
        hint: torch.Tensor,
        embeds: torch.Tensor,
        scale: float,
        shared: bool = False,
    ) -> list[torch.Tensor]:
        """The ControlNet's residuals for G prompts, the middle block last: ``[G, F, C', h', w']``.

        Args:
            shared: the sample is the same for all frames. Then torch broadcasts a batch of one where the hint is added.
        """
        groups, count = len(embeds), len(sample)
        down, mid = self.controlnet(
            (sample[:1] if shared else torch.cat([sample] * groups)).to(self.controlnet.dtype),
            t,
            encoder_hidden_states=embeds.repeat_interleave(count, dim=0).to(self.controlnet.dtype),
            controlnet_cond=torch.cat([hint.to(self.controlnet.dtype)] * groups),
            conditioning_scale=scale,
            return_dict=False,
        )
        return [residual.unflatten(0, (groups, count)) for residual in (*down, mid)]

    def _predict(
        self,
        sample: torch.Tensor,
        t: torch.Tensor,
        control: list[torch.Tensor],
        embeds: torch.Tensor,
        guidance_scale: float,
        shared: bool = False,
    ) -> torch.Tensor:
        """The guided prediction for a window, ``[F, C, h, w]``.

        Args:
            shared: the sample is the same for all frames, and they do not see each other.
        """
        groups, count = len(embeds), len(sample)
        if shared:
            predicted = torch.stack(self._predict_shared(sample[:1], t, control, embeds))
        else:
            *down, mid = [residual.flatten(0, 1).to(sample.dtype) for residual in control]
            moves = isinstance(self.unet, UNetMotionModel)
            predicted = self.unet(
                torch.stack([sample] * groups).transpose(1, 2) if moves else torch.cat([sample] * groups),
                t,
                encoder_hidden_states=embeds.repeat_interleave(count, dim=0),
                down_block_additional_residuals=tuple(down),
                mid_block_additional_residual=mid,
            ).sample
            predicted = predicted.transpose(1, 2) if moves else predicted.unflatten(0, (groups, count))
        if groups == 1:
            return predicted[0]
        negative, positive = predicted
        return negative + guidance_scale * (positive - negative)

    def _predict_shared(
        self, sample: torch.Tensor, t: torch.Tensor, control: list[torch.Tensor], embeds: torch.Tensor
    ) -> list[torch.Tensor]:
        """The prediction for each prompt, ``[F, C, h, w]``; what all frames share is kept for the next call."""
        prompts = embeds.split(1)
        if len(self._shared) != len(prompts) or not all(
            kept.is_for(self.unet, sample, t, prompt) for kept, prompt in zip(self._shared, prompts)
        ):
            self._shared = [SharedSample(self.unet, sample, t, prompt) for prompt in prompts]
        residuals = [residual.to(sample.dtype) for residual in control]
        return [kept.predict([one[k] for one in residuals]) for k, kept in enumerate(self._shared)]
