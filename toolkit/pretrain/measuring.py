"""Measures a pretraining on held-out datasets."""

from __future__ import annotations

import numpy as np
import torch

from toolkit.pretrain.recipe import Phase
from toolkit.pretrain.samples import Pictures, halved, part
from toolkit.pretrain.training import Trainer

SAMPLES, BATCH = 32, 8


def measure(trainer: Trainer, pictures: Pictures, steps: int, phase: Phase) -> dict[str, float]:
    """PSNR in dB inside and outside the masks of held-out pairs, by the name of the dataset.

    The PSNR is that of the mean squared error over all samples, colours in 0..1. Up to `SAMPLES` evenly spaced clips
    are measured. The hints are the pictures with the attribute; a stage that never sees these gets them with their
    masks cut out.

    Args:
        steps: denoising steps.
        phase: the pictures are measured in its size, and in its part around the mask.
    """
    figures: dict[str, float] = {}
    device, batch = trainer.device, BATCH if pictures.length == 1 else 1
    with trainer.averaged():
        for name, clips in zip(pictures.names, pictures.clips):
            chosen = [clips[index] for index in np.unique(np.linspace(0, len(clips) - 1, SAMPLES).astype(int))]
            errors: dict[str, list[np.ndarray]] = {"inside": [], "outside": []}
            for first in range(0, len(chosen), batch):
                group = chosen[first : first + batch]
                read = [pictures.read(clip) for clip in group]
                if phase.half_size:
                    read = [halved(*one) for one in read]
                read = [part(*one, phase.region) for one in read]
                image, hint, mask = (np.concatenate(stack) for stack in zip(*read))
                shown = torch.from_numpy(hint).permute(0, 3, 1, 2).float().to(device) / 255
                if not trainer.stage.hints.pair:  # the stage sees pictures with a part cut out
                    shown = shown.masked_fill(torch.from_numpy(mask)[:, None].to(device), -1)
                output = trainer.sample(shown, steps).permute(0, 2, 3, 1).cpu().numpy()
                squared = ((output - image / np.float32(255)) ** 2).mean(axis=-1)
                errors["inside"].append(squared[mask])
                errors["outside"].append(squared[~mask])
            for side, values in errors.items():
                figures[f"{name} {side}"] = float(-10 * np.log10(np.concatenate(values).mean() + 1e-10))
    return figures
