"""Checks everything that can be checked before a model is loaded."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.backbones import BackboneSpec, check_compatible, describe, identity, is_same_part
from toolkit.backbones.compatible import picture_unit
from toolkit.device import training_precision
from toolkit.errors import InputError, MissingExtra, UsageError
from toolkit.files import differences, dump_json, read_json, staging_path
from toolkit.finetune.checkpoints import Checkpoint, Checkpoints
from toolkit.finetune.config import FinetuneConfig
from toolkit.finetune.datasets import TrainingSet, open_datasets
from toolkit.remover import Remover, check_backbone, read_remover

SETTINGS = "finetune.json"
"""The file in the output that states what the training depends on. It marks the folder as a finetuning's."""

FROZEN = ("vae", "unet", "text_encoder", "tokenizer", "scheduler")


@dataclass(frozen=True)
class Plan:
    """A finetuning whose settings, datasets, backbone and output fit together.

    Attributes:
        config: the settings, with nothing left to the backbone.
        resolution: side of the pictures in pixels.
        document: what the trained weights depend on, as JSON values.
        init: remover to start from; None for the tile ControlNet or a copy of the UNet's encoder.
        checkpoint: the checkpoint to resume from, if any.
    """

    config: FinetuneConfig
    spec: BackboneSpec
    resolution: int
    datasets: list[TrainingSet]
    document: dict[str, Any]
    init: Remover | None
    checkpoint: Checkpoint | None
    warnings: list[str]


def make_plan(config: FinetuneConfig) -> Plan:
    """Check datasets, backbone and output.

    Raises:
        UsageError: they do not fit together, or the output belongs to something else.
        InputError: a dataset, a checkpoint, or the remover to start from is damaged.
        MissingExtra: a package or weights must be installed or fetched first.
    """
    _require_extras(config)
    spec = describe(config.backbone)
    config = _with_precision(config.resolved(spec))
    resolution = config.resolution or spec.resolution
    _check_region(config, spec, resolution)
    datasets = open_datasets(config.data, resolution, config.pairs)
    init, origin = _init(config, spec)
    parts = [part for part in FROZEN if part in spec.parts]
    if config.init == "tile" or (init is not None and init.record.lora_rank is not None):
        parts.append("controlnet_tile")
    check_compatible(spec, parts)
    content = config.content() | {"resolution": resolution, "init": origin}
    content["processes"] = int(os.environ.get("WORLD_SIZE", "1"))  # by `accelerate launch`; the weights depend on it
    document = {
        "config": content,
        "datasets": [{"sha256": dataset.digest, "perfect": dataset.perfect} for dataset in datasets],
        "backbone": _identity(config.output, spec, parts),
    }
    if not all(dataset.perfect for dataset in datasets):
        document["artefact"] = "inside the mask"  # of imperfect pairs; until 0.1, the mean of four measures
    checkpoint, warnings = _claim(config, document)
    return Plan(config, spec, resolution, datasets, document, init, checkpoint, warnings)


def _with_precision(config: FinetuneConfig) -> FinetuneConfig:
    """The config with the mixed precision that is used: its own, that of `accelerate launch`, or the device's."""
    precision = config.optimisation.mixed_precision or os.environ.get("ACCELERATE_MIXED_PRECISION")
    if precision is None:
        on_cpu = config.cpu or os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes", "on")
        precision = "no" if on_cpu else training_precision()
    optimisation = config.optimisation.model_copy(update={"mixed_precision": precision})
    return config.model_copy(update={"optimisation": optimisation})


def _identity(output: Path, spec: BackboneSpec, parts: list[str]) -> dict[str, Any]:
    """The identity of the backbone, in the form in which this output has it, so that an old training can go on."""
    now = identity(spec, parts)
    try:
        before = read_json(output / SETTINGS)["backbone"]
        recorded = before["parts"]
        same = before["name"] == now["name"] and set(recorded) == set(parts)
        if same and all(
            is_same_part(spec, part, recorded[part]) and recorded[part].get("loras") == now["parts"][part].get("loras")
            for part in parts
        ):
            return before
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        pass  # none, or damaged, which is told later
    return now


def _check_region(config: FinetuneConfig, spec: BackboneSpec, resolution: int) -> None:
    """
    Raises:
        UsageError: the networks cannot see parts of that size.
    """
    if config.region is None:
        return
    unit = picture_unit(spec)
    if not all(unit <= side <= resolution and side % unit == 0 for side in config.region):
        raise UsageError(
            f"--region must be two multiples of {unit} up to {resolution}, as the networks of {spec.name} need, found "
            f"{' and '.join(map(str, config.region))}"
        )


def _require_extras(config: FinetuneConfig) -> None:
    from importlib.util import find_spec

    wanted = {"tensorboard": ("tensorboard", "vlasik-toolkit[train]"), "wandb": ("wandb", "wandb")}
    module, package = wanted.get(config.report_to, (None, None))
    if module and find_spec(module) is None:
        raise MissingExtra(
            f"--report-to {config.report_to} needs a package: pip install '{package}', or use --report-to none"
        )
    if config.optimisation.use_8bit_adam and find_spec("bitsandbytes") is None:
        raise MissingExtra("--use-8bit-adam needs a package: pip install bitsandbytes")


def _init(config: FinetuneConfig, spec: BackboneSpec) -> tuple[Remover | None, Any]:
    """The remover to start from, and a value that identifies where training starts."""
    if config.init == "tile":
        if "controlnet_tile" not in spec.parts:
            raise UsageError(f"the backbone {spec.name} has no tile ControlNet; use --init unet or --init REMOVER")
        return None, "tile"
    if config.init == "unet":
        if config.lora_rank is not None:
            raise UsageError(
                "--lora-rank needs --init tile or a remover of that rank: a copy of the UNet's encoder has new layers, "
                "which low-rank layers cannot stand for"
            )
        return None, "unet"
    remover = read_remover(Path(config.init))
    if config.lora_rank not in (None, remover.record.lora_rank):
        rank = remover.record.lora_rank
        found = "is a whole ControlNet" if rank is None else f"has the rank {rank}"
        raise UsageError(
            f"--lora-rank {config.lora_rank} needs --init tile or a remover of that rank, but {config.init} {found}"
        )
    if remover.record.lora_rank is not None:
        check_backbone(remover, spec)
    return remover, dict(sorted(remover.record.files.items()))


def _claim(config: FinetuneConfig, document: dict[str, Any]) -> tuple[Checkpoint | None, list[str]]:
    """Check that the output is empty or this training's; return the checkpoint to resume from, and warnings."""
    output, settings = config.output, config.output / SETTINGS
    if output.exists() and not output.is_dir():
        raise UsageError(f"the output {output} must be a folder, found a file; use another --output")
    left = {".lock", staging_path(settings).name}  # a failed start, for example on a full disk, leaves these
    inside = sorted({path.name for path in output.iterdir()} - left) if output.is_dir() else []
    if inside and not settings.is_file():
        raise UsageError(
            f"the output {output} must be empty or belong to a training, found {inside[0]!r} in it; "
            "use another --output"
        )
    checkpoints = Checkpoints(output, config.checkpoints_total_limit)
    if config.resume_from_checkpoint is not None:
        checkpoint, warnings = checkpoints.load(config.resume_from_checkpoint, document)
        if checkpoint is not None:
            return checkpoint, warnings
    elif steps := checkpoints.steps():
        raise UsageError(
            f"the output {output} has checkpoints up to step {steps[-1]}; resume with --resume-from-checkpoint "
            "latest, or use another --output"
        )
    if settings.is_file() and (changed := list(differences(_read(settings), json.loads(dump_json(document))))):
        raise UsageError(f"the output {output} belongs to another training: {'; '.join(changed)}; use another --output")
    return None, []


def _read(path: Path) -> Any:
    try:
        return read_json(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}; use another --output") from error
