"""Removers that come with tasks, as their package data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from toolkit.errors import ToolkitError, UsageError
from toolkit.registry import list_tasks, load_task_class


@dataclass(frozen=True)
class Shipped:
    """A remover that a task brings.

    Attributes:
        task: the task's name.
        backbone: name of the backbone that it was trained on.
        folder: where it lies.
    """

    task: str
    backbone: str
    folder: Path


def shipped_removers() -> list[Shipped]:
    """Those of all tasks that can be loaded, by task and backbone; nothing of them is read."""
    found = []
    for entry in list_tasks():
        try:
            removers = load_task_class(entry.name).removers
        except ToolkitError:
            continue  # `toolkit tasks list` says what is wrong with it
        found += [Shipped(entry.name, backbone, Path(folder)) for backbone, folder in removers.items()]
    return sorted(found, key=lambda shipped: (shipped.task, shipped.backbone))


def shipped_remover(task: str, backbone: str) -> Path:
    """The folder of the remover that a task brings for a backbone.

    Raises:
        UsageError: there is no such task, or it brings none for this backbone.
        ContractError, MissingExtra: the task is broken, or needs something that is not installed.
    """
    removers = load_task_class(task).removers
    if backbone in removers:
        return Path(removers[backbone])
    has = f"it has one for {', '.join(sorted(removers))}" if removers else "it has none"
    raise UsageError(
        f"the task {task} brings no remover for the backbone {backbone}; {has}: train one with `toolkit finetune`, and "
        "name its folder with --remover"
    )
