"""How well a pretraining does on held-out datasets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from toolkit.pretrain.samples import Pictures, halved
from toolkit.pretrain.training import Trainer

SAMPLES, BATCH = 32, 8


def measure(
    trainer: Trainer, pictures: Pictures, names: Sequence[str], steps: int, half_size: bool, device: str
) -> dict[str, float]:
    """PSNR in dB inside and outside the masks of held-out pairs, by the name of the dataset.

    Of the mean squared error over all samples, colours in 0..1; at most `SAMPLES` clips at even distances. The hints
    are the pictures with the attribute; where a stage never sees these, with their masks cut out.

    Args:
        steps: of the sampling.
        half_size: measure on pictures of half the side.
    """
    figures = {}
    with trainer.averaged():
        for name, clips in zip(names, pictures.clips):
            chosen = [clips[index] for index in np.unique(np.linspace(0, len(clips) - 1, SAMPLES).astype(int))]
            errors: dict[str, list[np.ndarray]] = {"inside": [], "outside": []}
            for first in range(0, len(chosen), BATCH if pictures.length == 1 else 1):
                group = chosen[first : first + (BATCH if pictures.length == 1 else 1)]
                read = [pictures.read(clip) for clip in group]
                if half_size:
                    read = [halved(*one) for one in read]
                image, hint, mask = (np.concatenate(stack) for stack in zip(*read))
                shown = torch.from_numpy(hint).permute(0, 3, 1, 2).float().to(device) / 255
                if not trainer.stage.hints.pair:  # a ControlNet that is shown masks
                    shown = shown.masked_fill(torch.from_numpy(mask)[:, None].to(device), -1)
                made = trainer.sample(shown, steps).permute(0, 2, 3, 1).cpu().numpy()
                squared = ((made - image / np.float32(255)) ** 2).mean(axis=-1)
                errors["inside"].append(squared[mask])
                errors["outside"].append(squared[~mask])
            for place, values in errors.items():
                figures[f"{name} {place}"] = float(-10 * np.log10(np.concatenate(values).mean() + 1e-10))
    return figures


def short_names(roots: Sequence[Path]) -> list[str]:
    """What datasets are called in the measures."""
    return [root.resolve().name for root in roots]
