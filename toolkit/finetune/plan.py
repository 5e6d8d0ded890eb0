"""Everything about a finetuning that can be refused before a model is loaded."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.backbones import BackboneSpec, check_compatible, describe, identity
from toolkit.dataset.layout import dump_json
from toolkit.errors import InputError, MissingExtra, UsageError
from toolkit.files import differences
from toolkit.finetune.checkpoints import Checkpoint, Checkpoints
from toolkit.finetune.config import FinetuneConfig
from toolkit.finetune.datasets import TrainingSet, open_datasets
from toolkit.remover import read_remover

SETTINGS = "finetune.json"
"""In the output: what the training depends on. A folder that has it is a finetuning's."""

FROZEN = ("vae", "unet", "text_encoder", "tokenizer", "scheduler")


@dataclass(frozen=True)
class Plan:
    """A finetuning that may begin.

    Attributes:
        document: what the course of the training depends on, as JSON values.
        init: folder of the ControlNet to start from; None for the tile ControlNet or a copy of the UNet.
        checkpoint: where to go on.
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
        """Parts of the backbone that are needed."""
        return (*FROZEN, *(("controlnet_tile",) if self.config.init == "tile" else ()))


def make_plan(config: FinetuneConfig) -> Plan:
    """Look at datasets, backbone and output.

    Raises:
        UsageError: they do not fit together, or the output belongs to something else.
        InputError: a dataset, a remover to start from or a checkpoint is damaged.
        MissingExtra: something must be installed or fetched first.
    """
    _require_extras(config)
    spec = describe(config.backbone)
    config = config.resolved(spec)
    resolution = config.resolution or spec.resolution
    datasets = open_datasets(config.data, resolution, config.pairs)
    init, origin = _init(config, spec)
    parts = [part for part in (*FROZEN, "controlnet_tile") if part in spec.parts]
    if config.init != "tile":
        parts = [part for part in parts if part != "controlnet_tile"]
    check_compatible(spec, parts)
    content = config.content() | {"resolution": resolution, "init": origin}
    # `accelerate launch` decides these two, and the course of the training depends on them.
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
    """Folder of the ControlNet to start from, and what identifies it."""
    if config.init == "tile":
        if "controlnet_tile" not in spec.parts:
            raise UsageError(f"the backbone {spec.name} has no tile ControlNet; use --init unet, or name a remover")
        return None, "tile"
    if config.init == "unet":
        return None, "unet"
    remover = read_remover(Path(config.init))
    return remover.controlnet, dict(sorted(remover.record.files.items()))


def _claim(config: FinetuneConfig, document: dict[str, Any]) -> tuple[Checkpoint | None, list[str]]:
    """See that the output is empty or this training's own; the checkpoint to go on from."""
    output, settings = config.output, config.output / SETTINGS
    if output.exists() and not output.is_dir():
        raise UsageError(f"the output {output} must be a folder, found a file; name another --output")
    # What a start that failed, as on a full disk, may have left.
    left = {".lock", f"{Path(SETTINGS).stem}.part"}
    inside = sorted({path.name for path in output.iterdir()} - left) if output.is_dir() else []
    if inside and not settings.is_file():
        raise UsageError(
            f"the output {output} must be an empty folder or a training's, found {inside[0]!r} in it; "
            "name another --output"
        )
    checkpoints = Checkpoints(output, config.checkpoints_total_limit)
    if config.resume_from_checkpoint is not None:
        checkpoint, warnings = checkpoints.load(config.resume_from_checkpoint, document)
        if checkpoint is not None:
            return checkpoint, warnings
    elif steps := checkpoints.steps():
        raise UsageError(
            f"the output {output} has checkpoints up to step {steps[-1]}; go on with --resume-from-checkpoint "
            "latest, or name another --output"
        )
    if settings.is_file() and (changed := list(differences(_read(settings), json.loads(dump_json(document))))):
        raise UsageError(
            f"the output {output} belongs to another training: {'; '.join(changed)}; name another --output"
        )
    return None, []


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}; name another --output") from error
