"""``pretrain``: datasets in, a part of an embedded backbone out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.backbones.describing import SPEC_FILE
from toolkit.dataset.layout import MANIFEST, dump_json
from toolkit.errors import ToolkitError, UsageError
from toolkit.files import locked, read_json, sha256_of, write_text
from toolkit.pretrain.config import PretrainConfig
from toolkit.pretrain.recipe import RECIPES, Recipe, StageRecipe, read_recipe, recipe_names
from toolkit.pretrain.report import PretrainObserver

TRAINING = ".pretrain"
"""Folder inside the backbone's for what a stage needs to go on."""

LOG = "pretrain.json"
"""File in the backbone's folder: for each stage that was trained its recipe, data and figures."""


@dataclass(frozen=True)
class PretrainReport:
    """What came out.

    Attributes:
        figures: the last measures on the held-out datasets; empty without these.
    """

    output: Path
    steps: int
    figures: dict[str, float]


def pretrain(name: str, config: PretrainConfig, observer: PretrainObserver | None = None) -> PretrainReport:
    """Train one stage of a backbone, and put its parts into the backbone's folder.

    The stage ``backbone`` trains the UNet together with the tile ControlNet, ``inpaint`` and ``tile`` a ControlNet
    before the frozen UNet, and ``motion`` the motion adapter inside both. The same recipe, data and seed give the same
    weights on the same machine, however often the training was interrupted.

    Args:
        name: of the backbone, whose recipe comes with the package.

    Raises:
        UsageError: no such backbone, or recipe, data and output do not fit together.
        InputError: a dataset, the recipe or a part of the backbone is damaged.
        ToolkitError: the loss is not finite, or the disk is full; the last good checkpoint is kept.
        KeyboardInterrupt: Ctrl-C or SIGTERM; where training had begun a checkpoint was written.
    """
    if name not in recipe_names():
        raise UsageError(f"there is no recipe for {name!r}; there is one for {', '.join(recipe_names())}")
    recipe = read_recipe(config.recipe or RECIPES / f"{name}.json")
    if config.stage not in recipe.stages:
        raise UsageError(f"the recipe has no stage {config.stage}; it has {', '.join(recipe.stages)}")
    if config.stage != "backbone" and not (config.output / SPEC_FILE).is_file():
        raise UsageError(f"there is no backbone in {config.output} yet: run --stage backbone first")
    place = config.output / TRAINING / config.stage
    try:
        place.mkdir(parents=True, exist_ok=True)
        with locked(place.parent / "lock", f"another training is writing {config.output}; wait for it or stop it"):
            return _run(recipe, config, place, observer or PretrainObserver())
    except OSError as error:
        raise ToolkitError(f"{error.filename or config.output} cannot be written: {error.strerror or error}") from error


def _run(recipe: Recipe, config: PretrainConfig, place: Path, observer: PretrainObserver) -> PretrainReport:
    import torch

    from toolkit.device import choose_device, flushed_denormals
    from toolkit.interruption import asked_to_stop
    from toolkit.pretrain.checkpoints import Checkpoints
    from toolkit.pretrain.measuring import measure, short_names
    from toolkit.pretrain.release import release
    from toolkit.pretrain.samples import Pictures
    from toolkit.pretrain.stages import make_networks
    from toolkit.pretrain.training import Trainer

    stage = recipe.stages[config.stage]
    compute = choose_device(config.device, "float32")
    pictures = Pictures(config.data, recipe.shape.resolution, stage.clip_length)
    held_out = Pictures(config.held_out, recipe.shape.resolution, stage.clip_length)
    document = _document(recipe, config)
    observer.started(pictures.pairs, stage.steps)
    with flushed_denormals():
        trainer = Trainer(
            make_networks(config.stage, recipe, config.output, compute, config.seed),
            recipe,
            stage,
            compute.device,
        )
        checkpoints = Checkpoints(place, document, stage)
        checkpoint, warnings = checkpoints.latest()
        for sentence in warnings:
            observer.warning(sentence)
        if checkpoint is not None:
            trainer.restore(checkpoint)
            observer.resumed(trainer.step)
        figures: dict[str, float] = {}
        try:
            with asked_to_stop() as interrupted:
                every, workers = config.checkpointing_steps, config.dataloader_num_workers
                names, steps = short_names(config.held_out), recipe.num_inference_steps
                for phase in trainer.run(pictures, config.seed, checkpoints, every, workers, interrupted, observer):
                    if names and not interrupted:
                        figures = measure(trainer, held_out, names, steps, phase.half_size, compute.device)
                        observer.measured(trainer.step, figures)
        except torch.OutOfMemoryError as error:
            raise ToolkitError(
                f"the memory of {compute.device} is too small for this training; use a recipe with a lower "
                "train_batch_size"
            ) from error
        with trainer.averaged():
            release(trainer.networks, recipe, config.output)
    _log(config, document, stage, figures)
    return PretrainReport(config.output, stage.steps, figures)


def _document(recipe: Recipe, config: PretrainConfig) -> dict[str, Any]:
    """What the course of the training depends on, besides its phases."""
    stage = recipe.stages[config.stage].model_dump(mode="json", exclude={"phases"})
    digests = [sha256_of(root / MANIFEST) for root in config.data]
    document = {
        "stage": stage,
        "shape": recipe.shape.model_dump(mode="json"),
        "training_timesteps": recipe.training_timesteps,
        "seed": config.seed,
        "datasets": digests,
    }
    if config.stage != "backbone":
        from toolkit.backbones import describe, identity

        document["backbone"] = identity(describe(config.output), ("unet", "text_encoder"))["parts"]
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
    write_text(path, dump_json(log))
