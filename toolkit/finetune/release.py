"""Turns the best weights of a training into a remover."""

from __future__ import annotations

import shutil
from pathlib import Path
from platform import python_version
from typing import Any

from toolkit.backbones import provenance
from toolkit.finetune.checkpoints import CONTROLNET, SHEET, Checkpoints
from toolkit.finetune.curve import render_curve
from toolkit.finetune.plan import Plan
from toolkit.finetune.report import FinetuneReport
from toolkit.remover import DatasetUse, RemoverRecord, write_remover
from toolkit.remover.layout import LORA_WEIGHTS
from toolkit.versions import installed

_PATHS = {"data", "output", "backbone", "init", "cache_dir", "resume_from_checkpoint"}
"""Settings that may hold local paths. The record has the checksums of their content instead."""

_LIBRARIES = ("vlasik-toolkit", "torch", "diffusers", "transformers", "accelerate")


def release(plan: Plan, trainer: Any, reason: str) -> FinetuneReport:
    """Write the remover of the best step. The checkpoints stay in the same folder.

    Raises:
        InputError: the best weights are damaged or missing.
        ToolkitError: the remover cannot be written.
    """
    config, stopping = plan.config, trainer.stopping
    step = stopping.best_step
    best = Checkpoints(config.output, config.checkpoints_total_limit).best(step)
    curve = render_curve(stopping.history, step, reason, config.validation.artefact_weight, trainer.figures)
    pictures = {"grid.jpg": (best / SHEET).read_bytes(), "curve.png": curve}
    record = _record(plan, trainer, reason)
    write_remover(config.output, lambda folder: _save(best / CONTROLNET, folder, config.save_dtype), record, pictures)
    history = [{"step": at, **figures} for at, figures in sorted(trainer.figures.items())]
    return FinetuneReport(config.output, step, reason, trainer.figures[step], history)


def _save(source: Path, folder: Path, dtype: str) -> None:
    if dtype == "float32":
        shutil.copytree(source, folder)
        return
    import torch
    from diffusers import ControlNetModel

    if (source / LORA_WEIGHTS).is_file():
        from safetensors.torch import load_file, save_file

        shutil.copytree(source, folder)
        tensors = {name: value.to(getattr(torch, dtype)) for name, value in load_file(source / LORA_WEIGHTS).items()}
        save_file(tensors, folder / LORA_WEIGHTS, metadata={"format": "pt"})
        return
    model = ControlNetModel.from_pretrained(source, torch_dtype=getattr(torch, dtype))
    # diffusers writes the folder that a model came from into its config, which would reveal a local path.
    model.register_to_config(_name_or_path="")
    model.save_pretrained(folder)


def _record(plan: Plan, trainer: Any, reason: str) -> RemoverRecord:
    config = plan.config
    prompts = {dataset.manifest.task: next(dataset.samples("train")).row["text"] for dataset in reversed(plan.datasets)}
    step = trainer.stopping.best_step
    return RemoverRecord(
        tasks=sorted(prompts),
        prompts=prompts,
        backbone=provenance(plan.spec, plan.document["backbone"]["parts"]),
        resolution=plan.resolution,
        region=config.region,
        lora_rank=config.lora_rank,
        filled=config.augmentation.fill_parts if config.augmentation.fill else "none",
        prediction_type=plan.spec.prediction_type,
        step=step,
        held_out=trainer.figures[step],
        stopped=reason,
        datasets=[
            DatasetUse(
                name=Path(dataset.root).resolve().name,
                task=dataset.manifest.task,
                sha256=dataset.digest,
                pairs=dataset.count("train"),
                clips=sum(shard.clips for shard in dataset.manifest.shards if shard.split == "train"),
                perfect=dataset.perfect,
            )
            for dataset in plan.datasets
        ],
        config=config.model_dump(mode="json", exclude=_PATHS) | plan.document["config"],
        versions={"python": python_version(), **installed(_LIBRARIES)},
        licence=plan.spec.licence,
        files={},
    )
