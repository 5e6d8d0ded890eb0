"""The removers that a user names: trained ones, or the backbone's own inpainting instead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from toolkit.backbones import BackboneSpec, identity
from toolkit.backbones.spec import Part
from toolkit.errors import InputError, ToolkitError, UsageError
from toolkit.files import sha256_of
from toolkit.registry import bare_name, load_task
from toolkit.remover import check_backbone, read_remover
from toolkit.remover.layout import RECORD
from toolkit.task import AttributeTask

INPAINT = "inpaint:"
"""Prefix of a task's name: the backbone's ControlNet inpaint fills that task's masks (the paper's ``CN inpaint*``)."""

Hint = Literal["frame", "masked"]
"""Input of a ControlNet: the whole frame, or the frame without its masked part."""


@dataclass(frozen=True)
class EditRemover:
    """A remover as an edit uses it.

    Attributes:
        name: for people.
        tasks: attributes that it removes, as the user names them: with a distribution if several offer the name.
        prompt: text that describes the edited clip.
        resolution: side of its pictures in pixels.
        regions: whether it was trained on parts of crops around the masks.
        filled: parts that were filled in some of its training pictures, as in its record; None if that is not known.
        hint: input of its ControlNet.
        controlnet: location of its weights.
        origin: digest or repository that identifies it, for reports.
    """

    name: str
    tasks: tuple[str, ...]
    prompt: str
    resolution: int
    regions: bool
    filled: Literal["none", "thin", "all"] | None
    hint: Hint
    controlnet: Part
    origin: Mapping[str, Any]

    def with_tasks(self, named: Mapping[str, str]) -> EditRemover:
        """The same remover with tasks as the user named them; `named` maps names to ``distribution:name``."""
        return replace(self, tasks=tuple(named.get(task, task) for task in self.tasks))


def edit_remover(name: str | Path, spec: BackboneSpec, options: Mapping[str, Mapping[str, Any]]) -> EditRemover:
    """Read the remover that a user named: a folder, or ``inpaint:TASK``.

    Args:
        name: the folder, or ``inpaint:TASK``.
        spec: the backbone of the edit.
        options: options of the tasks, by task.

    Raises:
        InputError: the folder holds no intact remover, or one of another backbone.
        UsageError: the backbone has no ControlNet inpaint, or the task does not exist.
    """
    if inpainted := inpainted_task(name):
        return _inpainting(inpainted, spec, options)
    remover = read_remover(name)
    check_backbone(remover, spec)
    record = remover.record
    return EditRemover(
        name=remover.folder.resolve().name,
        tasks=tuple(record.tasks),
        prompt=", ".join(dict.fromkeys(record.prompts[task] for task in record.tasks)),
        resolution=record.resolution,
        regions=record.region is not None,
        filled=record.filled,
        hint="frame",
        controlnet=remover.part(spec),
        origin={"sha256": sha256_of(remover.folder / RECORD)},
    )


def removed_tasks(name: str | Path) -> set[str]:
    """Names of the tasks that a remover removes, without distributions and without checking its files.

    Raises:
        InputError: the folder holds no remover.
    """
    inpainted = inpainted_task(name)
    return {bare_name(inpainted)} if inpainted else set(read_remover(name, verify=False).record.tasks)


def inpainted_task(name: str | Path) -> str | None:
    """The task in ``inpaint:TASK``; None for a folder."""
    text = str(name)
    return text.removeprefix(INPAINT) if text.startswith(INPAINT) else None


def mask_task(name: str, options: Mapping[str, Any] | None) -> AttributeTask:
    """A remover's task, which finds the masks.

    Raises:
        InputError: the task is not installed or broken.
        UsageError: it does not have one of the options.
    """
    try:
        load_task(name)
    except ToolkitError as error:
        raise InputError(
            f"the remover's task {name!r}, which finds the masks, cannot be used: {error}; name the task with --task, "
            "or edit without masks: "
            "--masks off --normalisation none --composite crop"
        ) from error
    return load_task(name, options)


def _inpainting(name: str, spec: BackboneSpec, options: Mapping[str, Mapping[str, Any]]) -> EditRemover:
    if spec.controlnet_inpaint is None:
        raise UsageError(f"the backbone {spec.name} has no ControlNet inpaint, so {INPAINT}{name} cannot be used")
    task = load_task(name, options.get(bare_name(name)))
    return EditRemover(
        name=f"{INPAINT}{name}",
        tasks=(name,),
        prompt=task.prompt,
        resolution=spec.resolution,
        regions=False,
        filled="none",
        hint="masked",
        controlnet=spec.controlnet_inpaint,
        origin=identity(spec, ("controlnet_inpaint",))["parts"]["controlnet_inpaint"],
    )
