"""Fills in what an edit's settings leave open: the backbone, the shipped removers, and the number of steps."""

from __future__ import annotations

from pathlib import Path

from toolkit.backbones import BackboneSpec, backbone_names, describe
from toolkit.edit.config import DenoisingConfig, EditConfig
from toolkit.edit.removers import INPAINT
from toolkit.errors import UsageError
from toolkit.remover import read_remover, shipped_remover
from toolkit.validation import validated

EMBEDDED = "nano"
"""The backbone of the shipped removers, which needs neither download nor GPU."""

NUM_INFERENCE_STEPS = 20
"""Where the backbone was not made for a number of its own."""


def settle(config: EditConfig) -> tuple[EditConfig, BackboneSpec]:
    """The settings with nothing left open, and their backbone.

    Raises:
        UsageError: an unknown backbone or task, a task without a remover for it, a remover that none of the named tasks
            asks for, or fewer than one step.
        InputError: a remover's or a backbone's folder is damaged.
    """
    spec = describe(config.backbone or _backbone_of(config))
    steps = config.denoising.num_inference_steps or spec.num_inference_steps or NUM_INFERENCE_STEPS
    denoising = validated(DenoisingConfig, config.denoising.model_dump() | {"num_inference_steps": steps})
    changes = {"denoising": denoising, "backbone": config.backbone or spec.name, "task": []}
    return config.model_copy(update=changes | {"remover": _removers(config, spec)}), spec


def _backbone_of(config: EditConfig) -> str:
    """What the first trained remover was trained on."""
    for word in config.remover:
        if not str(word).startswith(INPAINT):
            name = str(read_remover(word, verify=False).record.backbone.get("name"))
            if name not in backbone_names():
                raise UsageError(
                    f"the remover {word} was trained on a backbone {name}, which is none of "
                    f"{', '.join(backbone_names())}: name its folder with --backbone"
                )
            return name
    return EMBEDDED


def _removers(config: EditConfig, spec: BackboneSpec) -> list[Path]:
    """The named ones; with tasks, in their order, and the shipped ones for tasks that no named one removes."""
    if not config.task:
        return list(config.remover)
    named = {word: _tasks(word) for word in config.remover}
    asked = set(config.task)
    for word, tasks in named.items():
        if not tasks & asked:
            raise UsageError(
                f"the remover {word} removes {', '.join(sorted(tasks))}, and --task names {', '.join(config.task)}; "
                "leave one of the two out"
            )
    chosen: list[Path] = []
    for task in config.task:
        word = next((word for word, tasks in named.items() if task in tasks), None)
        word = shipped_remover(task, spec.name) if word is None else word
        if word not in chosen:
            chosen.append(word)
    return chosen


def _tasks(word: Path) -> set[str]:
    text = str(word)
    if text.startswith(INPAINT):
        return {text.removeprefix(INPAINT)}
    return set(read_remover(word, verify=False).record.tasks)
