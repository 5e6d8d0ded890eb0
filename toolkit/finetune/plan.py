"""Checks everything that can be checked before a model is loaded."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.backbones import BackboneSpec, check_compatible, describe, identity
from toolkit.backbones.compatible import picture_unit
from toolkit.errors import InputError, MissingExtra, UsageError
from toolkit.files import differences, dump_json, read_json, staging_path
from toolkit.finetune.checkpoints import Checkpoint, Checkpoints
from toolkit.finetune.config import FinetuneConfig
from toolkit.finetune.datasets import TrainingSet, open_datasets
from toolkit.remover import read_remover

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
        init: folder of the ControlNet to start from; None for the tile ControlNet or a copy of the UNet's encoder.
        checkpoint: the checkpoint to resume from, if any.
    """

    config: FinetuneConfig
    spec: BackboneSpec
    resolution: int
    datasets: list[TrainingSet]
    document: dict[str, Any]
    init: Path | None
    checkpoint: Checkpoint | None
    warnings: list[str]

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of the backbone that training uses."""
        return (*FROZEN, *(("controlnet_tile",) if self.config.init == "tile" else ()))


def make_plan(config: FinetuneConfig) -> Plan:
    """Check datasets, backbone and output.

    Raises:
        UsageError: they do not fit together, or the output belongs to something else.
        InputError: a dataset, a checkpoint, or the remover to start from is damaged.
        MissingExtra: a package or weights must be installed or fetched first.
    """
    _require_extras(config)
    spec = describe(config.backbone)
    config = config.resolved(spec)
    resolution = config.resolution or spec.resolution
    _check_region(config, spec, resolution)
    datasets = open_datasets(config.data, resolution, config.pairs)
    init, origin = _init(config, spec)
    parts = [part for part in (*FROZEN, "controlnet_tile") if part in spec.parts]
    if config.init != "tile":
        parts = [part for part in parts if part != "controlnet_tile"]
    check_compatible(spec, parts)
    content = config.content() | {"resolution": resolution, "init": origin}
    # `accelerate launch` sets these two, and the weights depend on them.
    content["processes"] = int(os.environ.get("WORLD_SIZE", "1"))
    content["optimisation"]["mixed_precision"] = config.optimisation.mixed_precision or os.environ.get(
        "ACCELERATE_MIXED_PRECISION", "no"
    )
    document = {
        "config": content,
        "datasets": [{"sha256": dataset.digest, "perfect": dataset.perfect} for dataset in datasets],
        "backbone": identity(spec, parts),
    }
    checkpoint, warnings = _claim(config, document)
    return Plan(config, spec, resolution, datasets, document, init, checkpoint, warnings)


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


def _init(config: FinetuneConfig, spec: BackboneSpec) -> tuple[Path | None, Any]:
    """The folder of the ControlNet to start from, and a value that identifies it."""
    if config.init == "tile":
        if "controlnet_tile" not in spec.parts:
            raise UsageError(f"the backbone {spec.name} has no tile ControlNet; use --init unet or --init REMOVER")
        return None, "tile"
    if config.init == "unet":
        return None, "unet"
    remover = read_remover(Path(config.init))
    return remover.controlnet, dict(sorted(remover.record.files.items()))


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
