"""``pretrain``: trains one stage of an embedded backbone from datasets of pairs."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from toolkit.backbones.describing import SPEC_FILE
from toolkit.dataset.layout import MANIFEST
from toolkit.errors import ToolkitError, UsageError
from toolkit.files import atomic, dump_json, locked, read_json, sha256_of, write_text
from toolkit.pretrain.config import PretrainConfig
from toolkit.pretrain.recipe import RECIPES, Recipe, StageRecipe, read_recipe, recipe_names
from toolkit.pretrain.report import PretrainObserver, PretrainReport

TRAINING = ".pretrain"
"""The folder inside the backbone's for the checkpoints of the stages."""

LOG = "pretrain.json"
"""The file in the backbone's folder with the recipe, data and figures of each trained stage."""


def pretrain(name: str, config: PretrainConfig, observer: PretrainObserver | None = None) -> PretrainReport:
    """Train one stage of a backbone, and write its parts into the backbone's folder.

    The stage ``backbone`` trains the UNet together with the tile ControlNet. ``regions`` trains both on, on parts of
    larger pictures around the masks. ``inpaint`` and ``tile`` train a
    ControlNet for the frozen UNet, and ``motion`` trains the motion adapter inside both. The same recipe, data and seed
    give the same weights on the same machine, even if the training was interrupted.

    Args:
        name: the backbone; the package holds its recipe.
        config: settings of the training.
        observer: receives progress.

    Raises:
        UsageError: there is no such backbone, or recipe, data and output do not fit together.
        InputError: a dataset, the recipe or a part of the backbone is damaged.
        ToolkitError: the loss is not finite, or the disk is full; the last good checkpoint is kept.
        KeyboardInterrupt: Ctrl-C or SIGTERM. If training had started, a checkpoint was written.
    """
    if name not in recipe_names():
        raise UsageError(f"there is no recipe for {name!r}; there is one for {', '.join(recipe_names())}")
    recipe = read_recipe(config.recipe or RECIPES / f"{name}.json")
    if config.stage not in recipe.stages:
        raise UsageError(f"the recipe has no stage {config.stage}; it has {', '.join(recipe.stages)}")
    if config.stage != "backbone" and not (config.output / SPEC_FILE).is_file():
        raise UsageError(f"there is no backbone in {config.output} yet; run --stage backbone first")
    folder = config.output / TRAINING / config.stage
    try:
        folder.mkdir(parents=True, exist_ok=True)
        busy = f"another training is writing to {config.output}; wait until it ends, or stop it"
        with locked(folder.parent / "lock", busy):
            return _run(recipe, config, folder, observer or PretrainObserver())
    except OSError as error:
        raise ToolkitError(f"{error.filename or config.output} cannot be written: {error.strerror or error}") from error


def _run(recipe: Recipe, config: PretrainConfig, folder: Path, observer: PretrainObserver) -> PretrainReport:
    import torch

    from toolkit.device import choose_device, flushed_denormals
    from toolkit.interruption import stop_requests
    from toolkit.pretrain.checkpoints import Checkpoints
    from toolkit.pretrain.measuring import measure
    from toolkit.pretrain.release import release
    from toolkit.pretrain.samples import Pictures
    from toolkit.pretrain.stages import make_networks
    from toolkit.pretrain.training import Trainer

    stage = recipe.stages[config.stage]
    compute = choose_device(config.device, "float32")
    side = stage.resolution or recipe.shape.resolution
    pictures = Pictures(config.data, side, stage.clip_length)
    held_out = Pictures(config.held_out, side, stage.clip_length)
    start = _start(config, folder)
    document = _document(recipe, config, start)
    observer.note(f"{pictures.pairs} training pairs, {stage.steps} steps")
    with flushed_denormals():
        networks = make_networks(config.stage, recipe, start, compute, config.seed)
        trainer = Trainer(networks, recipe, stage, compute.device)
        checkpoints = Checkpoints(folder, document, stage)
        checkpoint, warnings = checkpoints.latest()
        for sentence in warnings:
            observer.warning(sentence)
        if checkpoint is not None:
            trainer.restore(checkpoint)
            observer.note(f"resuming from step {trainer.step}")
        figures: dict[str, float] = {}
        try:
            with stop_requests() as interrupted:
                for phase in trainer.run(pictures, config, checkpoints, interrupted, observer):
                    if config.held_out and not interrupted:
                        figures = measure(trainer, held_out, recipe.num_inference_steps, phase)
                        observer.measured(trainer.step, figures)
        except torch.OutOfMemoryError as error:
            raise ToolkitError(
                f"{compute.device} has too little memory for this training; use a recipe with a lower train_batch_size"
            ) from error
        with trainer.averaged():
            release(trainer.networks, recipe, config.output)
    _log(config, document, stage, figures)
    return PretrainReport(config.output, stage.steps, figures)


def _start(config: PretrainConfig, folder: Path) -> Path:
    """The backbone to start from. The stage ``regions`` replaces its parts in the end, so it starts from a copy."""
    if config.stage != "regions":
        return config.output
    start = folder / "start"
    if not start.is_dir():
        with atomic(start) as staged:
            shutil.copytree(config.output, staged, ignore=lambda *_: {TRAINING}, dirs_exist_ok=True)
    return start


def _document(recipe: Recipe, config: PretrainConfig, start: Path) -> dict[str, Any]:
    """What the weights depend on, apart from the phases."""
    document = {
        "stage": recipe.stages[config.stage].model_dump(mode="json", exclude={"phases"}),
        "shape": recipe.shape.model_dump(mode="json"),
        "training_timesteps": recipe.training_timesteps,
        "seed": config.seed,
        "datasets": [sha256_of(root / MANIFEST) for root in config.data],
    }
    if config.stage != "backbone":
        from toolkit.backbones import describe
        from toolkit.backbones.locations import digest

        parts = describe(start).parts
        document["backbone"] = {
            name: {"class_name": parts[name].class_name, "sha256": digest(parts[name].local, parts[name])}
            for name in ("unet", "text_encoder")
        }
    return document


def _log(config: PretrainConfig, document: dict[str, Any], stage: StageRecipe, figures: dict[str, float]) -> None:
    from toolkit.versions import installed

    path = config.output / LOG
    try:
        log = read_json(path)
    except (OSError, ValueError):
        log = {}
    log[config.stage] = document | {
        "phases": [phase.model_dump(mode="json") for phase in stage.phases],
        "figures": {name: round(value, 2) for name, value in figures.items()},
        "versions": installed(("vlasik-toolkit", "torch", "diffusers")),
    }
    write_text(path, dump_json(log), durable=True)
