"""The end of a training: the best weights become a remover."""

from __future__ import annotations

import shutil
from pathlib import Path
from platform import python_version
from typing import Any

from toolkit.finetune.checkpoints import CONTROLNET, SHEET, Checkpoints
from toolkit.finetune.curve import render_curve
from toolkit.finetune.plan import Plan
from toolkit.finetune.report import FinetuneReport
from toolkit.remover import DatasetUse, RemoverRecord, write_remover
from toolkit.versions import installed

_PLACES = {"data", "output", "backbone", "init", "cache_dir", "resume_from_checkpoint"}
"""Settings that name places on this machine; what lay there is in the record by its checksums."""

_LIBRARIES = ("vlasik-toolkit", "torch", "diffusers", "transformers", "accelerate")


def release(plan: Plan, trainer: Any, reason: str) -> FinetuneReport:
    """Write the remover of the best step; what the training needs to go on stays beside it.

    Raises:
        InputError: the best weights are damaged or gone.
        ToolkitError: the remover cannot be written.
    """
    config, stopping = plan.config, trainer.stopping
    step = stopping.best_step
    best = Checkpoints(config.output, config.checkpoints_total_limit).best(step)
    curve = render_curve(stopping.history, step, reason, config.validation.artefact_weight)
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

    model = ControlNetModel.from_pretrained(source, torch_dtype=getattr(torch, dtype))
    # diffusers writes the folder that a model came from into its config: a path of this machine.
    model.register_to_config(_name_or_path="")
    model.save_pretrained(folder)


def _record(plan: Plan, trainer: Any, reason: str) -> RemoverRecord:
    prompts = {dataset.manifest.task: next(dataset.samples("train")).row["text"] for dataset in reversed(plan.datasets)}
    step = trainer.stopping.best_step
    return RemoverRecord(
        tasks=sorted(prompts),
        prompts=prompts,
        backbone=plan.document["backbone"],
        resolution=plan.resolution,
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
        config=plan.config.model_dump(mode="json", exclude=_PLACES) | plan.document["config"],
        versions={"python": python_version(), **installed(_LIBRARIES)},
        licence=plan.spec.licence,
        files={},
    )
