"""Removers that tasks ship as package data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from toolkit.errors import ToolkitError, UsageError
from toolkit.registry import list_tasks, load_task_class


@dataclass(frozen=True)
class Shipped:
    """A remover shipped with a task.

    Attributes:
        task: the task's name, with its distribution if several offer the name.
        backbone: name of the backbone it was trained on.
        folder: path of the remover.
        qualified: the task as ``distribution:name``.
    """

    task: str
    backbone: str
    folder: Path
    qualified: str


def shipped_removers() -> list[Shipped]:
    """List the removers of all tasks that load, sorted by task and backbone. Reads no remover."""
    found = []
    for entry in list_tasks():
        try:
            removers = load_task_class(entry.qualified).removers
        except ToolkitError:
            continue  # `toolkit tasks list` reports the problem
        found += [
            Shipped(entry.label, backbone, Path(folder), entry.qualified) for backbone, folder in removers.items()
        ]
    return sorted(found, key=lambda shipped: (shipped.task, shipped.backbone))


def shipped_remover(task: str, backbone: str) -> Path:
    """Return the folder of a task's remover for a backbone.

    Raises:
        UsageError: the task does not exist, or ships no remover for this backbone.
        ContractError, MissingExtra: the task is broken, or needs a package that is not installed.
    """
    removers = load_task_class(task).removers
    if backbone in removers:
        return Path(removers[backbone])
    has = f"it has one for {', '.join(sorted(removers))}" if removers else "it has none"
    raise UsageError(
        f"the task {task} brings no remover for the backbone {backbone}; {has}; train one with `toolkit finetune` and "
        "pass its folder with --remover"
    )
