"""What is applied to a video: trained removers, or the backbone's own inpainting in the place of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from toolkit.backbones import BackboneSpec, identity
from toolkit.backbones.spec import Part
from toolkit.errors import UsageError
from toolkit.files import sha256_of
from toolkit.registry import load_task
from toolkit.remover import check_backbone, read_remover
from toolkit.remover.layout import RECORD

INPAINT = "inpaint:"
"""Before a task's name: the backbone's ControlNet inpaint fills that task's masks (the paper's ``CN inpaint*``)."""


@dataclass(frozen=True)
class EditRemover:
    """A remover as an edit uses it.

    Attributes:
        name: for people.
        tasks: attributes that it removes.
        prompt: what the edited clip shows.
        resolution: side of its pictures in pixels.
        hint: what its ControlNet is shown: the frame, or what is left of it around the masks.
        controlnet: where its weights lie.
        origin: what exactly it is, for reports.
    """

    name: str
    tasks: tuple[str, ...]
    prompt: str
    resolution: int
    hint: Literal["frame", "masked"]
    controlnet: Part
    origin: Mapping[str, Any]


def edit_remover(word: Path, spec: BackboneSpec, options: Mapping[str, Mapping[str, Any]]) -> EditRemover:
    """What a user's word means: a remover's folder, or ``inpaint:TASK``.

    Args:
        options: of the tasks, by name.

    Raises:
        InputError: the folder has no sound remover, or one of another backbone.
        UsageError: the backbone has no ControlNet inpaint, or there is no such task.
    """
    text = str(word)
    if text.startswith(INPAINT):
        return _inpainting(text.removeprefix(INPAINT), spec, options)
    remover = read_remover(word)
    check_backbone(remover, spec)
    record = remover.record
    return EditRemover(
        name=remover.folder.resolve().name,
        tasks=tuple(record.tasks),
        prompt=", ".join(dict.fromkeys(record.prompts[task] for task in record.tasks)),
        resolution=record.resolution,
        hint="frame",
        controlnet=Part(class_name="ControlNetModel", folder=remover.controlnet.resolve()),
        origin={"sha256": sha256_of(remover.folder / RECORD)},
    )


def _inpainting(name: str, spec: BackboneSpec, options: Mapping[str, Mapping[str, Any]]) -> EditRemover:
    if spec.controlnet_inpaint is None:
        raise UsageError(f"the backbone {spec.name} has no ControlNet inpaint, so {INPAINT}{name} cannot be used")
    task = load_task(name, options.get(name))
    return EditRemover(
        name=f"{INPAINT}{name}",
        tasks=(name,),
        prompt=task.prompt,
        resolution=spec.resolution,
        hint="masked",
        controlnet=spec.controlnet_inpaint,
        origin=identity(spec, ("controlnet_inpaint",))["parts"]["controlnet_inpaint"],
    )
